//! Reading a host: files below a root directory that stands for `/`.
//!
//! With the machine's own root the answers are this machine's; with another they are a made-up host's, as `tuning/` has it.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where the host's `/` is.
#[derive(Clone, Debug)]
pub struct Root {
    /// Empty for this machine.
    prefix: PathBuf,
}

impl Root {
    /// This machine.
    pub fn machine() -> Root {
        Root {
            prefix: PathBuf::new(),
        }
    }

    /// The host whose files lie below `prefix`; `/` is this machine.
    ///
    /// `Err`: there is no such directory.
    pub fn below(prefix: &Path) -> std::io::Result<Root> {
        let prefix = prefix.canonicalize()?;
        if !prefix.is_dir() {
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        if prefix == Path::new("/") {
            return Ok(Root::machine());
        }
        Ok(Root { prefix })
    }

    /// Whether what is read is of the machine that this process runs on.
    pub fn is_machine(&self) -> bool {
        self.prefix.as_os_str().is_empty()
    }

    /// Where a path of the host is for this process.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match self.is_machine() {
            true => path.to_owned(),
            false => self.prefix.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// The first line of a file; `None` where it cannot be read or is empty. Bytes that are no UTF-8 are replaced.
    pub fn line(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = self.text(path)?;
        match text.split_once('\n') {
            Some((line, _)) => Some(line.to_owned()),
            None if text.is_empty() => None,
            None => Some(text),
        }
    }

    /// A whole small file.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Of `none [mq-deadline] kyber` the chosen one.
    pub fn choice(&self, path: impl AsRef<Path>) -> Option<String> {
        let line = self.line(path)?;
        let chosen = line
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(chosen, _)| chosen.to_owned());
        Some(chosen.unwrap_or(line))
    }

    /// Names in a directory, in the order of their bytes; none where it cannot be read.
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        names
    }

    /// What a symbolic link says.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        fs::read_link(self.path(path)).ok()
    }

    /// A path of the host with its links followed as far as it exists; the rest is taken as it is (`realpath -m`).
    pub fn real(&self, path: impl AsRef<Path>) -> PathBuf {
        let outside = self.path(path);
        let mut known = outside.as_path();
        let mut rest: Vec<Component<'_>> = Vec::new();
        let real = loop {
            match (known.canonicalize(), known.parent()) {
                (Ok(real), _) => break real,
                (Err(_), Some(parent)) => {
                    rest.extend(known.components().next_back());
                    known = parent;
                }
                (Err(_), None) => break known.to_owned(),
            }
        };
        let real = rest.into_iter().rev().fold(real, |mut path, part| {
            match part {
                Component::ParentDir => _ = path.pop(),
                part => path.push(part),
            }
            path
        });
        match real.strip_prefix(&self.prefix) {
            Ok(inside) if !self.is_machine() => Path::new("/").join(inside),
            _ => real,
        }
    }

    /// Whether a process of this name runs, as `/proc/PID/comm` has it (at most 15 characters).
    pub fn runs(&self, name: &str) -> bool {
        let pids = self.names("/proc").into_iter();
        pids.filter(|pid| pid.starts_with(|c: char| c.is_ascii_digit()))
            .any(|pid| {
                let comm = self.line(Path::new("/proc").join(pid).join("comm"));
                comm.is_some_and(|comm| comm == name)
            })
    }
}

/// The last part of a path, as text.
pub(super) fn last_part(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_below_another_root_and_follows_links_inside_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("proc/7")).expect("makes");
        fs::create_dir_all(at("srv/data")).expect("makes");
        fs::write(at("proc/7/comm"), "chronyd\n").expect("writes");
        fs::write(at("choice"), "none [mq-deadline] kyber\n").expect("writes");
        fs::write(at("empty"), "").expect("writes");
        std::os::unix::fs::symlink("srv/data", at("log")).expect("links");
        let root = Root::below(dir.path()).expect("it is there");
        assert!(!root.is_machine());
        assert_eq!(root.choice("/choice").as_deref(), Some("mq-deadline"));
        assert_eq!(root.line("/empty"), None);
        assert!(root.runs("chronyd") && !root.runs("ntpd"));
        assert_eq!(root.real("/log/a/b"), Path::new("/srv/data/a/b"));
        assert_eq!(root.real("/none/../x"), Path::new("/x"));
        assert!(Root::below(&at("choice")).is_err());
        assert!(Root::below(Path::new("/")).expect("is there").is_machine());
    }
}
