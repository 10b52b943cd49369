//! Subscriptions by regular expression: RE2's syntax, which Kafka's clients write, over a linear-time engine.

use std::collections::BTreeSet;
use std::fmt;

use regex::RegexBuilder;

/// A checked pattern, ready to be matched against whole topic names. Costs up to [`COMPILED_BYTES_MAX`]: made, used
/// and dropped, never kept.
pub struct TopicPattern(regex::Regex);

/// Longest pattern taken, in bytes. Kafka has no bound.
pub const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// Most memory a compiled pattern may take; repetitions of repetitions make one large.
pub const COMPILED_BYTES_MAX: usize = 4 << 20;

/// RE2's own bound on a repetition.
const REPEAT_MAX: u32 = 1000;

/// Why a pattern is refused, in few words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PatternError(&'static str);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl TopicPattern {
    /// Checks RE2's syntax and compiles the pattern.
    ///
    /// - Matching takes time linear in the name, whatever the pattern.
    /// - `Err`: not RE2's syntax (look-around, back-references, nested repetition operators), or too large.
    /// - Source: KIP-848; github.com/google/re2/wiki/Syntax. Topic names are ASCII, so that the Perl classes are too.
    pub fn new(pattern: &str) -> Result<TopicPattern, PatternError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternError("expression too long"));
        }
        let translated = Translation::of(pattern)?;
        RegexBuilder::new(&format!(r"\A(?:{translated})\z"))
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .nest_limit(200)
            .build()
            .map(TopicPattern)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError("expression too large"),
                _ => PatternError("invalid syntax"),
            })
    }

    /// Whether the whole name matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// RE2's syntax read, the engine's written. Both mean the same by most characters; here are those they do not.
struct Translation<'a> {
    rest: &'a str,
    out: String,
    /// Whether what was last read can be repeated, and whether it is a repetition itself.
    last: Last,
    groups_open: usize,
    /// The names of the groups so far; each may be given once.
    names: BTreeSet<&'a str>,
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Atom,
    Repetition,
}

impl<'a> Translation<'a> {
    fn of(pattern: &'a str) -> Result<String, PatternError> {
        let mut translation = Translation {
            rest: pattern,
            out: String::with_capacity(pattern.len() * 2),
            last: Last::Nothing,
            groups_open: 0,
            names: BTreeSet::new(),
        };
        while let Some(c) = translation.next() {
            translation.one(c)?;
        }
        match translation.groups_open {
            0 => Ok(translation.out),
            _ => Err(PatternError("missing closing )")),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn one(&mut self, c: char) -> Result<(), PatternError> {
        match c {
            '(' => self.group(),
            ')' => {
                let left = self.groups_open.checked_sub(1);
                self.groups_open = left.ok_or(PatternError("unexpected )"))?;
                self.put(")");
                Ok(())
            }
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
                Ok(())
            }
            '*' | '+' | '?' => {
                self.out.push(c);
                self.repeated()
            }
            '{' => match self.counts() {
                Some((low, high, length)) => {
                    let bound = high.unwrap_or(low).max(low);
                    let ordered = high.is_none_or(|high| low <= high);
                    if bound > REPEAT_MAX || !ordered {
                        return Err(PatternError("invalid repeat count"));
                    }
                    self.out.push('{');
                    self.out.push_str(&self.rest[..length]);
                    self.rest = &self.rest[length..];
                    self.repeated()
                }
                None => {
                    self.put(r"\{");
                    Ok(())
                }
            },
            '[' => self.class(),
            '\\' => self.escape(),
            '^' | '$' | '.' => {
                self.put(c.encode_utf8(&mut [0; 4]));
                Ok(())
            }
            _ => {
                self.put_literal(c);
                Ok(())
            }
        }
    }

    fn put(&mut self, atom: &str) {
        self.out.push_str(atom);
        self.last = Last::Atom;
    }

    fn put_literal(&mut self, c: char) {
        let text = regex::escape(c.encode_utf8(&mut [0; 4]));
        self.put(&text);
    }

    /// After an operator: a `?` makes it lazy, another operator is refused.
    fn repeated(&mut self) -> Result<(), PatternError> {
        match self.last {
            Last::Nothing => Err(PatternError("missing argument to repetition operator")),
            Last::Repetition => Err(PatternError("invalid nested repetition operator")),
            Last::Atom => {
                if let Some(rest) = self.rest.strip_prefix('?') {
                    self.out.push('?');
                    self.rest = rest;
                }
                self.last = Last::Repetition;
                Ok(())
            }
        }
    }

    /// `n}`, `n,}` or `n,m}` ahead, with its length; anything else is a plain brace to RE2.
    fn counts(&self) -> Option<(u32, Option<u32>, usize)> {
        let end = self.rest.find('}')?;
        let (low, high) = match self.rest[..end].split_once(',') {
            Some((low, high)) => (low, Some(high)),
            None => (&self.rest[..end], None),
        };
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().unwrap_or(u32::MAX))
        };
        let high = match high {
            Some("") | None => None,
            Some(high) => Some(number(high)?),
        };
        Some((number(low)?, high, end + 1))
    }

    /// `(`, `(?flags)`, `(?flags:`, `(?P<name>` and `(?<name>`; every other `(?` is not RE2's.
    fn group(&mut self) -> Result<(), PatternError> {
        let unsupported = PatternError("invalid or unsupported Perl syntax");
        let Some(rest) = self.rest.strip_prefix('?') else {
            self.open("(");
            return Ok(());
        };
        let named = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<'));
        if let Some(named) = named {
            let end = named
                .find('>')
                .ok_or(PatternError("invalid named capture"))?;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if end == 0 || !named[..end].chars().all(word) {
                return Err(PatternError("invalid named capture"));
            }
            if !self.names.insert(&named[..end]) {
                return Err(PatternError("duplicate capture group name"));
            }
            // What is captured is never asked for, and the engine is choosier about names.
            self.rest = &named[end + 1..];
            self.open("(?:");
            return Ok(());
        }
        let end = rest
            .find([':', ')'])
            .ok_or(PatternError("missing closing )"))?;
        let flags = &rest[..end];
        let (on, off) = flags.split_once('-').unwrap_or((flags, ""));
        let known = |flags: &str| flags.chars().all(|flag| "imsU".contains(flag));
        let dangling = flags.contains('-') && off.is_empty();
        if !known(on) || !known(off) || dangling {
            return Err(unsupported);
        }
        let opens = rest[end..].starts_with(':');
        self.rest = &rest[end + 1..];
        match (opens, flags.is_empty()) {
            (true, _) => self.open(&format!("(?{flags}:")),
            (false, true) => return Err(PatternError("missing argument to repetition operator")),
            (false, false) => {
                self.out.push_str(&format!("(?{flags})"));
                self.last = Last::Nothing;
            }
        }
        Ok(())
    }

    fn open(&mut self, with: &str) {
        self.groups_open += 1;
        self.out.push_str(with);
        self.last = Last::Nothing;
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        let Some(c) = self.next() else {
            return Err(PatternError("trailing backslash at end of expression"));
        };
        match c {
            'A' | 'z' => self.put(if c == 'A' { r"\A" } else { r"\z" }),
            'b' | 'B' => self.put(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" }),
            'Q' => {
                let (quoted, rest) = match self.rest.split_once(r"\E") {
                    Some((quoted, rest)) => (quoted, rest),
                    None => (self.rest, ""),
                };
                self.rest = rest;
                quoted.chars().for_each(|c| self.put_literal(c));
            }
            'E' => {}
            _ => {
                let atom = self.class_escape(c)?;
                self.put(&atom);
            }
        }
        Ok(())
    }

    /// An escape that means the same inside a class and outside.
    fn class_escape(&mut self, c: char) -> Result<String, PatternError> {
        let invalid = PatternError("invalid escape sequence");
        let set = match c {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => return Ok(format!("\\{c}")),
            'p' | 'P' => return self.property(c),
            'x' => return self.hexadecimal().ok_or(invalid),
            '0'..='7' => return self.octal(c).ok_or(invalid),
            _ if c.is_ascii_punctuation() => return Ok(regex::escape(c.encode_utf8(&mut [0; 4]))),
            _ => return Err(invalid),
        };
        Ok(set.to_owned())
    }

    fn property(&mut self, sign: char) -> Result<String, PatternError> {
        let invalid = PatternError("invalid character class range");
        let first = self.next().ok_or(invalid.clone())?;
        let name = match first {
            '{' => {
                let (name, rest) = self.rest.split_once('}').ok_or(invalid.clone())?;
                self.rest = rest;
                name.to_owned()
            }
            _ => first.to_string(),
        };
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (true, name.to_owned()),
            None => (false, name),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(invalid);
        }
        let sign = if negated != (sign == 'P') { 'P' } else { 'p' };
        Ok(format!("\\{sign}{{{name}}}"))
    }

    /// `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Option<String> {
        let digits = match self.rest.strip_prefix('{') {
            Some(rest) => {
                let (digits, rest) = rest.split_once('}')?;
                self.rest = rest;
                digits
            }
            None => {
                let digits = self.rest.get(..2)?;
                self.rest = &self.rest[2..];
                digits
            }
        };
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| plain)?;
        char::from_u32(code).map(|c| format!("\\x{{{:x}}}", c as u32))
    }

    /// `\012`, and `\12` where it cannot be a back-reference: up to three digits, the first one `0` or two at least.
    fn octal(&mut self, first: char) -> Option<String> {
        let mut digits = String::from(first);
        while let Some(digit) = self.rest.chars().next().filter(|c| ('0'..='7').contains(c)) {
            if digits.len() == 3 {
                break;
            }
            digits.push(digit);
            self.rest = &self.rest[1..];
        }
        if first != '0' && digits.len() == 1 {
            return None;
        }
        u32::from_str_radix(&digits, 8)
            .ok()
            .map(|code| format!("\\x{{{code:x}}}"))
    }

    /// A class, rewritten so that what only the engine knows (`&&`, `--`, `~~`, nested classes) stands for itself.
    fn class(&mut self) -> Result<(), PatternError> {
        let missing = PatternError("missing closing ]");
        let mut class = String::from("[");
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            class.push('^');
        }
        let mut first = true;
        loop {
            let c = self.next().ok_or(missing.clone())?;
            match c {
                ']' if !first => break,
                '[' if self.rest.starts_with(':') && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").expect("just seen") + 2;
                    let name = &self.rest[1..end - 2];
                    if !name.chars().all(|c| c.is_ascii_lowercase() || c == '^') {
                        return Err(PatternError("invalid character class range"));
                    }
                    class.push_str(&format!("[:{name}:]"));
                    self.rest = &self.rest[end..];
                }
                '\\' => {
                    let c = self.next().ok_or(missing.clone())?;
                    class.push_str(&self.class_escape(c)?);
                }
                '-' if first || self.rest.starts_with(']') => class.push_str(r"\-"),
                '-' => class.push('-'),
                '[' | ']' | '&' | '~' | '^' => {
                    class.push('\\');
                    class.push(c);
                }
                _ => class.push(c),
            }
            first = false;
        }
        class.push(']');
        self.put(&class);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what Kafka's brokers take is taken, and what they refuse is refused. Method: the answers of Kafka 4.3.1.
    #[test]
    fn takes_what_re2_takes() {
        let fine = [
            "(?<n>t)",
            "(?P<n>t)",
            "(?i)T4",
            r"\Qt4\E",
            r"\pL+",
            r"\p{Greek}",
            r"[[:alpha:]]\d",
            r"\z",
            "(?U)t",
            r"\x{10FFFF}",
            r"\01",
            "x{,5}",
            "[a&&b]",
            r"\b",
            "[^]a]",
            r"\_",
            "é",
            "(?s).",
            "[[a]b]",
            r"\<",
            r"\/",
            "{",
            "a{1,",
            r"\a",
            "",
            "a|b|",
            "a{1000}",
            "(?:a)?",
            "x#y",
            "[a-z0-9._-]+",
            r"[\w.-]*",
            "a*?",
            "a{2}?",
            "^t.*$",
        ];
        for pattern in fine {
            let result = TopicPattern::new(pattern).map(drop);
            assert_eq!(result, Ok(()), "{pattern}");
        }
        let wrong = [
            "(",
            ")",
            "t{2000}",
            "(?=t)",
            "a{1001}",
            r"\C",
            r"\Z",
            "t**",
            r"\h",
            r"\R",
            "a++",
            "(?x)t 4",
            r"\u0041",
            r"\U",
            r"\e",
            r"\cA",
            "(?P=n)",
            "*",
            "[a",
            r"a\",
            r"\1",
            "[z-a]",
            "(?<!a)b",
            "a{3,2}",
            r"\p{Nope}",
            "a{2}{3}",
            "(?<n>a)(?P<n>b)",
        ];
        for pattern in wrong {
            assert!(TopicPattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn matches_whole_names_by_re2s_meaning() {
        let matches = |pattern: &str, name: &str| {
            let pattern = TopicPattern::new(pattern).expect("it is valid");
            pattern.matches(name)
        };
        assert!(matches("t.*", "t4") && !matches("t.*", "at4") && !matches("t", "t4"));
        assert!(matches(r"\Qa.b\E", "a.b") && !matches(r"\Qa.b\E", "aXb"));
        assert!(matches("a|bc", "bc") && !matches("a|bc", "ac"));
        assert!(matches("x{,5}", "x{,5}") && matches("[a&&b]", "&") && matches("[[a]b]", "[b]"));
        assert!(matches("(?i)ORDERS", "orders") && matches(r"\d+", "12") && matches("[^]a]", "b"));
        assert!(matches("x#y z", "x#y z") && matches(r"\101", "A") && matches("[a-]", "-"));
    }

    /// A pattern made to explode is refused, or matched in linear time.
    #[test]
    fn hostile_patterns_are_cheap() {
        let begin = std::time::Instant::now();
        let nested = "(((((((a{900}){900}){900}){900}){900}){900}){900})";
        assert!(TopicPattern::new(nested).is_err());
        assert!(TopicPattern::new(&"(".repeat(10_000)).is_err());
        assert!(TopicPattern::new(&format!("{}{}", "(".repeat(5000), ")".repeat(5000))).is_err());
        assert!(TopicPattern::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        let slow = TopicPattern::new("(a*)*(a*)*(a|aa)+(a|a?)+c").expect("it is valid");
        assert!(!slow.matches(&"a".repeat(249)));
        assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
    }
}
