//! Where the result of a load run goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::load::{Logs, Report, page, write_log};

use super::failure::Failure;
use super::output::{Rows, print_json};

/// Where it shall go.
pub(super) struct Outputs {
    /// `-` for standard output.
    pub json: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub hdr_log: Option<PathBuf>,
}

/// The outputs of a run, looked at before it begins, so that an hour's measuring does not end at a wrong path. Files of an
/// earlier run stay as they are until this one has something to put in their place.
pub(super) struct Targets {
    json: Json,
    html: Option<Target>,
    hdr_log: Option<PathBuf>,
}

enum Json {
    No,
    Stdout,
    At(Target),
}

enum Target {
    /// Written beside it, and put in its place when it is whole.
    File(PathBuf),
    /// What is no file, as a pipe, is written to as it is; held open, since its reader goes with its last writer.
    Open(PathBuf, File),
}

impl Outputs {
    /// Leaves nothing behind where the run does not come to its end.
    ///
    /// - `Err`: a file or folder that cannot be written.
    pub fn open(&self) -> Result<Targets, Failure> {
        let json = match &self.json {
            None => Json::No,
            Some(path) if path.as_os_str() == "-" => Json::Stdout,
            Some(path) => Json::At(Target::open(path)?),
        };
        let html = self.html.as_deref().map(Target::open).transpose()?;
        if let Some(dir) = &self.hdr_log {
            folder_can_be_made(dir).map_err(|error| Failure::io(dir.display(), &error))?;
        }
        Ok(Targets {
            json,
            html,
            hdr_log: self.hdr_log.clone(),
        })
    }
}

impl Targets {
    pub fn write(self, report: &mut Report) -> Result<(), Failure> {
        if let Some(dir) = &self.hdr_log {
            write_logs(dir, report)?;
        }
        if let Some(target) = self.html {
            target.write(page(report).as_bytes())?;
        }
        match self.json {
            Json::Stdout => return print_json(report),
            Json::At(target) => {
                let mut text = serde_json::to_vec_pretty(report)
                    .map_err(|error| Failure::Fault(format!("JSON: {error}")))?;
                text.push(b'\n');
                target.write(&text)?;
            }
            Json::No => {}
        }
        let mut rows = Rows::new(&["measured", ""]);
        for (what, figure) in report.rows() {
            rows.push(vec![what, figure]);
        }
        rows.print()
    }
}

impl Target {
    fn open(path: &Path) -> Result<Target, Failure> {
        Target::look(path).map_err(|error| Failure::io(path.display(), &error))
    }

    fn look(path: &Path) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(about) if !about.is_file() => {
                let open = OpenOptions::new().write(true).open(path)?;
                Ok(Target::Open(path.to_owned(), open))
            }
            Ok(_) => {
                // What a link leads to is replaced, not the link.
                let path = fs::canonicalize(path)?;
                can_write_beside(&path)?;
                Ok(Target::File(path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                can_write_beside(path)?;
                Ok(Target::File(path.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Target::File(path) => replace(&path, |out| out.write_all(bytes)),
            Target::Open(path, mut file) => file
                .write_all(bytes)
                .map_err(|error| Failure::io(path.display(), &error)),
        }
    }
}

/// Puts what `write` writes in the place of `path`, whole or not at all.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Failure> {
    let beside = beside(path);
    let written = || {
        let mut out = BufWriter::new(File::create(&beside)?);
        write(&mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&beside, path)
    };
    let outcome = written();
    if outcome.is_err() {
        let _ = fs::remove_file(&beside);
    }
    outcome.map_err(|error| Failure::io(path.display(), &error))
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".ringlog-load-{}.new", std::process::id()))
}

/// `Err`: no file can be made in the folder that `path` is in.
fn can_write_beside(path: &Path) -> io::Result<()> {
    let beside = beside(path);
    File::create(&beside)?;
    fs::remove_file(&beside)
}

/// `Err`: a file could not be made in `dir`, or `dir` itself in what there is of its path.
fn folder_can_be_made(dir: &Path) -> io::Result<()> {
    let above = dir.ancestors().find(|above| above.exists());
    let above = above.filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    match above.is_dir() {
        true => can_write_beside(&above.join("produce.hlog")),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn write_logs(dir: &Path, report: &mut Report) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::io(dir.display(), &error))?;
    let began = UNIX_EPOCH + Duration::from_millis(report.began_unix_ms);
    let logs = [
        ("produce.hlog", &mut report.logs.produced),
        ("end-to-end.hlog", &mut report.logs.consumed),
    ];
    for (name, series) in logs {
        let Some(series) = series else { continue };
        let intervals = Logs::logged(series).into_iter();
        replace(&dir.join(name), |out| write_log(out, began, intervals))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn refused(outputs: &Outputs) -> String {
        match outputs.open() {
            Err(Failure::Fault(why)) => why,
            _ => panic!("it was not refused"),
        }
    }

    #[test]
    fn an_earlier_result_stays_until_it_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.json"), dir.path().join("link"));
        fs::write(&file, "earlier, and longer").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let outputs = Outputs {
            json: Some(link.clone()),
            html: Some(dir.path().join("a.html")),
            hdr_log: Some(dir.path().join("more/logs")),
        };
        drop(outputs.open().unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "earlier, and longer");
        assert_eq!(names(dir.path()), ["a.json", "link"], "nothing is left");
        let Json::At(target) = outputs.open().unwrap().json else {
            panic!("a file was named");
        };
        target.write(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(dir.path()), ["a.json", "link"]);
        let torn = replace(&file, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(torn.is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert_eq!(names(dir.path()), ["a.json", "link"]);
    }

    #[test]
    fn what_cannot_be_written_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/such/file");
        let why = refused(&Outputs {
            json: Some(missing.clone()),
            html: None,
            hdr_log: None,
        });
        assert!(why.starts_with(&missing.display().to_string()), "{why}");
        let why = refused(&Outputs {
            json: None,
            html: Some(dir.path().to_owned()),
            hdr_log: None,
        });
        assert!(why.contains("directory"), "{why}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let why = refused(&Outputs {
            json: None,
            html: None,
            hdr_log: Some(file.join("logs")),
        });
        assert!(why.contains("not a directory"), "{why}");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn what_is_no_file_is_written_to_and_not_replaced() {
        let null = Target::open(Path::new("/dev/null")).unwrap();
        null.write(b"gone").unwrap();
        let about = fs::metadata("/dev/null").unwrap();
        assert!(!about.is_file());
    }
}
