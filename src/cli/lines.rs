//! Text to records: a record is a line without its line feed.

/// Cuts chunks of a stream into lines at each `\n` and at nothing else: carriage returns, empty lines and bytes
/// that are not UTF-8 stay as they are. Writing every record followed by `\n` gives the stream back, but for a
/// last line that had no line feed, which [`Lines::finish`] tells apart.
#[derive(Debug)]
pub struct Lines {
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Lines handed out so far.
    count: u64,
    line_bytes_max: usize,
}

/// A line longer than any record may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineTooLong {
    /// Counted from 1.
    pub line: u64,
    pub max: usize,
}

impl Lines {
    pub fn new(line_bytes_max: usize) -> Lines {
        Lines {
            partial: Vec::new(),
            count: 0,
            line_bytes_max,
        }
    }

    /// Gives each line that `chunk` completes to `take`.
    pub fn push<E: From<LineTooLong>>(
        &mut self,
        mut chunk: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr(chunk) {
            let (head, tail) = (&chunk[..end], &chunk[end + 1..]);
            self.check(head.len())?;
            self.count += 1;
            if self.partial.is_empty() {
                take(head)?;
            } else {
                self.partial.extend_from_slice(head);
                take(&self.partial)?;
                self.partial.clear();
            }
            chunk = tail;
        }
        self.check(chunk.len())?;
        self.partial.extend_from_slice(chunk);
        Ok(())
    }

    /// At the end of the stream: the last line if it had no line feed.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.partial.is_empty() {
            return None;
        }
        self.count += 1;
        Some(std::mem::take(&mut self.partial))
    }

    fn check(&self, more: usize) -> Result<(), LineTooLong> {
        if self.partial.len() + more > self.line_bytes_max {
            return Err(LineTooLong {
                line: self.count + 1,
                max: self.line_bytes_max,
            });
        }
        Ok(())
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}

/// Splits a line at the first `separator`: key and value, or no key where there is none.
pub fn split_key<'a>(line: &'a [u8], separator: &[u8]) -> (Option<&'a [u8]>, &'a [u8]) {
    match line
        .windows(separator.len())
        .position(|window| window == separator)
    {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Prng;

    fn cut(stream: &[u8], chunk: usize) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let mut lines = Lines::new(1 << 20);
        let mut records = Vec::new();
        for chunk in stream.chunks(chunk) {
            lines
                .push::<LineTooLong>(chunk, |line| {
                    records.push(line.to_vec());
                    Ok(())
                })
                .unwrap();
        }
        let last = lines.finish();
        (records, last)
    }

    #[test]
    fn joined_by_line_feeds_the_records_are_the_stream_whatever_the_chunks() {
        let mut prng = Prng::new(3);
        for round in 0..200 {
            let mut stream = vec![0; prng.below(300) as usize];
            prng.fill(&mut stream);
            // Line feeds and carriage returns are rare in random bytes: make them common.
            for byte in &mut stream {
                match *byte % 8 {
                    0 => *byte = b'\n',
                    1 => *byte = b'\r',
                    _ => {}
                }
            }
            stream.push(b'\n');
            let (records, last) = cut(&stream, 1 + prng.below(40) as usize);
            let mut joined = records.join(&b'\n');
            joined.push(b'\n');
            assert_eq!(joined, stream, "round {round}");
            assert_eq!(last, None);
        }
    }

    #[test]
    fn a_last_line_without_line_feed_is_told_apart() {
        assert_eq!(cut(b"a\nb", 2), (vec![b"a".to_vec()], Some(b"b".to_vec())));
        assert_eq!(cut(b"", 1), (vec![], None));
        assert_eq!(cut(b"\n", 1), (vec![vec![]], None));
    }

    #[test]
    fn carriage_returns_and_empty_lines_are_kept() {
        assert_eq!(
            cut(b"\n\r\n\xff\r\n\n", 3).0,
            [&b""[..], b"\r", b"\xff\r", b""]
        );
    }

    #[test]
    fn a_line_over_the_bound_is_refused_by_number_even_before_it_ends() {
        let mut lines = Lines::new(4);
        let mut seen = 0;
        let mut take = |_: &[u8]| {
            seen += 1;
            Ok(())
        };
        lines.push::<LineTooLong>(b"ab\nabc", &mut take).unwrap();
        assert_eq!(
            lines.push(b"de", &mut take),
            Err(LineTooLong { line: 2, max: 4 })
        );
        assert_eq!(seen, 1);
    }

    #[test]
    fn the_key_ends_at_the_first_separator() {
        assert_eq!(split_key(b"k:v:w", b":"), (Some(&b"k"[..]), &b"v:w"[..]));
        assert_eq!(split_key(b"k=>v", b"=>"), (Some(&b"k"[..]), &b"v"[..]));
        assert_eq!(split_key(b"no key", b":"), (None, &b"no key"[..]));
        assert_eq!(split_key(b":v", b":"), (Some(&b""[..]), &b"v"[..]));
    }
}
