//! The directories of this configuration and the addresses it listens on: whether a broker started here could use them.
//! Nothing is left in them.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Host;
use super::item::{Item, Knob, Verdict};
use super::memory::size;
use crate::config::BrokerConfig;
use crate::rt::{BoundListener, DirLock, ListenOptions, Space, Unnamed};
use crate::storage::reserve_bytes;

const ACCESS: Knob = Knob {
    name: "dir.access",
    severity: "high",
    title: "whose the directory is, and whether the broker may write there",
    risk: "",
    source: "tuning/systemd/ringlog.service: User=ringlog",
};
const DIRECT: Knob = Knob {
    name: "dir.direct",
    severity: "high",
    title: "direct writes",
    risk: "",
    source: "open(2), O_DIRECT; src/rt: all files of the data are opened so",
};
const SPACE: Knob = Knob {
    name: "dir.space",
    severity: "high",
    title: "free space against the reserve",
    risk: "",
    source: "src/storage/room.rs: a fiftieth of the file system, at most 256 MiB, is not given to appends",
};
const LOCK: Knob = Knob {
    name: "dir.lock",
    severity: "high",
    title: "nobody else uses the directory",
    risk: "",
    source: "src/storage/directories.rs: .lock, as Kafka has it",
};
const IDENTITY: Knob = Knob {
    name: "dir.identity",
    severity: "high",
    title: "the directory belongs to this node",
    risk: "",
    source: "meta.properties (KIP-866); node.id",
};
const PORT: Knob = Knob {
    name: "listen.port",
    severity: "high",
    title: "addresses that the broker listens on",
    risk: "",
    source: "listeners (ringlog config list)",
};

/// A directory that is used up within so many reserves is full soon.
const TIGHT_RESERVES: u64 = 8;

pub(super) fn look(
    host: &Host,
    config: &BrokerConfig,
    directories: &[PathBuf],
    items: &mut Vec<Item>,
) {
    let user = Users::of(host);
    for directory in directories {
        let at = directory.to_string_lossy();
        items.push(access(directory, &user));
        items.push(direct(directory));
        if let Ok(space) = space(directory) {
            let verdict = room(space);
            let (free, total) = (size(space.available_bytes), size(space.total_bytes));
            items.push(Item::new(
                &SPACE,
                &at,
                format!("{free} of {total}"),
                verdict,
            ));
        }
        items.extend(lock(directory));
    }
    items.extend(identities(config.data_dirs(), config.node_id));
    for listener in config.client_listeners() {
        let address = format!("{}:{}", listener.host, listener.port);
        let options = ListenOptions::default();
        let bound = BoundListener::bind_host(&listener.host, listener.port, &options);
        let item = Item::new(&PORT, &listener.name, address, listening(bound.err()));
        items.push(item);
    }
}

/// A directory, or what is there of the path to it.
fn existing(directory: &Path) -> &Path {
    let there = directory.ancestors().find(|path| path.exists());
    there.unwrap_or(Path::new("/"))
}

fn space(directory: &Path) -> io::Result<Space> {
    crate::rt::space(existing(directory))
}

/// Who may be the broker's user.
struct Users {
    own: u32,
    /// The unit's user, where it is there.
    ringlog: Option<u32>,
    /// `name:x:uid:...` lines.
    passwd: String,
}

impl Users {
    fn of(host: &Host) -> Users {
        let passwd = host.root.text("/etc/passwd").unwrap_or_default();
        let own = std::fs::metadata("/proc/self").map(|own| own.uid());
        let find = |name: &str| {
            let line = passwd
                .lines()
                .find(|line| line.split(':').next() == Some(name))?;
            line.split(':').nth(2)?.parse().ok()
        };
        Users {
            own: own.unwrap_or(0),
            ringlog: find("ringlog"),
            passwd,
        }
    }

    fn name(&self, uid: u32) -> String {
        let of = |line: &&str| line.split(':').nth(2) == Some(uid.to_string().as_str());
        let line = self.passwd.lines().find(of);
        let name = line.and_then(|line| line.split(':').next());
        name.map_or_else(|| uid.to_string(), str::to_owned)
    }
}

fn access(directory: &Path, users: &Users) -> Item {
    let at = directory.to_string_lossy();
    let there = existing(directory);
    let found = std::fs::metadata(there);
    let current = match &found {
        Ok(found) if there == directory => {
            format!("{} {:o}", users.name(found.uid()), found.mode() & 0o7777)
        }
        Ok(_) => "not made yet".to_owned(),
        Err(error) => error.to_string(),
    };
    let written = Unnamed::create(there).map(drop);
    let verdict = match (written, found) {
        (Ok(()), Ok(found)) if there == directory => match users.ringlog {
            // The superuser may write anywhere; the unit's user may not.
            Some(ringlog) if users.own == 0 && found.uid() != ringlog => Verdict::advise(
                "ringlog",
                "You may write here, but the unit runs the broker as the user ringlog, who may not.",
            )
            .by(format!("chown -R ringlog:ringlog {at}")),
            _ => Verdict::fine("The broker may write here."),
        },
        (Ok(()), _) => Verdict::fine("The broker makes it at its first start."),
        (Err(error), _) => Verdict::advise(
            "a directory that the broker may write to",
            format!("A file cannot be made in {}: {error}.", there.display()),
        )
        .by(match there == directory {
            true => format!("chown -R {}: {at}, or look at its mount", users.name(users.own)),
            false => format!("install -d -m 750 -o {} {at}", users.name(users.own)),
        }),
    };
    Item::new(&ACCESS, &at, current, verdict)
}

fn direct(directory: &Path) -> Item {
    let at = directory.to_string_lossy();
    let tried = Unnamed::create(existing(directory)).and_then(|file| file.try_direct());
    match tried {
        Ok(()) => Item::new(
            &DIRECT,
            &at,
            "work",
            Verdict::fine("A block was written and synced with O_DIRECT."),
        ),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::InvalidInput => {
                    "Its file system does not take direct I/O: the broker does not start."
                        .to_owned()
                }
                _ => format!("A block could not be written: {error}."),
            };
            let verdict = Verdict::advise("work", why).by("use XFS or ext4 on a block device");
            Item::new(&DIRECT, &at, "fail", verdict)
        }
    }
}

fn room(space: Space) -> Verdict {
    let reserve = reserve_bytes(space);
    if space.available_bytes <= reserve {
        Verdict::advise(
            format!("more than {}", size(reserve)),
            "Only the reserve is left: appends are refused, reads and deletions go on.",
        )
        .by("delete topics or lower their retention once it runs, or make the file system larger")
    } else if space.available_bytes < TIGHT_RESERVES * reserve {
        Verdict::advise(
            format!("{} or more", size(TIGHT_RESERVES * reserve)),
            format!(
                "Appends are refused when only {} are left, and a segment takes up to log.segment.bytes.",
                size(reserve)
            ),
        )
        .severe("medium")
    } else {
        Verdict::fine(format!(
            "The last {} are kept from appends, for deletions to work with.",
            size(reserve)
        ))
    }
}

/// Whether a broker, ours or Kafka's, uses the directory now. One whose lock may not be looked at is taken for free.
pub fn is_in_use(directory: &Path) -> bool {
    let file = directory.join(".lock");
    let opened = std::fs::File::options().read(true).write(true).open(&file);
    let Ok(opened) = opened else {
        return false;
    };
    // Kafka's lock is of another kind.
    opened.try_lock().is_err() || DirLock::take(directory).is_err()
}

/// `None`: nobody has used it yet.
fn lock(directory: &Path) -> Option<Item> {
    let file = directory.join(".lock");
    if !file.exists() {
        return None;
    }
    let at = directory.to_string_lossy();
    Some(match is_in_use(directory) {
        false => Item::new(&LOCK, &at, "free", Verdict::fine("No broker runs on it.")),
        true => Item::new(
            &LOCK,
            &at,
            "in use",
            Verdict::advise(
                "free",
                "Another process, a broker of ours or Kafka's, holds its .lock: a second one does not start.",
            )
            .by(format!("lsof {}", file.display())),
        ),
    })
}

/// What `meta.properties` of the directories say, against this node and each other.
fn identities(directories: &[PathBuf], node_id: i32) -> Vec<Item> {
    let mut items = Vec::new();
    let mut clusters = BTreeSet::new();
    for directory in directories {
        let Ok(text) = std::fs::read_to_string(directory.join("meta.properties")) else {
            continue;
        };
        let value = |key: &str| {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let mut values = pairs.filter(|(k, _)| k.trim() == key);
            values.next().map(|(_, value)| value.trim().to_owned())
        };
        let (node, cluster) = (value("node.id"), value("cluster.id"));
        let current = format!(
            "node {} of {}",
            node.as_deref().unwrap_or("?"),
            cluster.as_deref().unwrap_or("?")
        );
        clusters.extend(cluster);
        let verdict = if node.as_deref() != Some(node_id.to_string().as_str()) {
            Verdict::advise(
                format!("node {node_id}"),
                "It belongs to another node: the broker does not start on it.",
            )
            .by("node.id as the directory has it, or another directory")
        } else if clusters.len() > 1 {
            Verdict::advise(
                "one cluster",
                "Another of log.dirs belongs to another cluster: the broker does not start on both.",
            )
        } else {
            Verdict::fine("It is this node's.")
        };
        items.push(Item::new(
            &IDENTITY,
            &directory.to_string_lossy(),
            current,
            verdict,
        ));
    }
    items
}

fn listening(refused: Option<io::Error>) -> Verdict {
    match refused {
        None => Verdict::fine("Free."),
        Some(error) if error.kind() == io::ErrorKind::AddrInUse => Verdict::advise(
            "free",
            "Another process listens there: the broker does not start.",
        )
        .by("ss -ltnp"),
        Some(error) => Verdict::advise(
            "an address of this host",
            format!("It cannot be listened on: {error}."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    #[test]
    fn a_directory_in_use_is_told_and_one_that_was_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(lock(dir.path()), None, "nobody was there");
        let name = dir.path().join(".lock");
        let file = std::fs::File::create(&name).expect("makes it");
        let status = || lock(dir.path()).expect("a lock is there").status;
        assert_eq!(status(), Status::Ok);
        file.lock().expect("locks");
        assert_eq!(status(), Status::Advice);
        drop(file);
        let _kafka = DirLock::take(dir.path()).expect("takes it");
        assert_eq!(status(), Status::Advice);
    }

    #[test]
    fn room_is_judged_against_the_reserve() {
        let of = |free_mib: u64| {
            let space = Space {
                total_bytes: 1 << 40,
                available_bytes: free_mib << 20,
            };
            Item::new(&SPACE, "", "", room(space))
        };
        assert_eq!((of(256).status, of(256).severity), (Status::Advice, "high"));
        assert_eq!(
            (of(300).status, of(300).severity),
            (Status::Advice, "medium")
        );
        assert_eq!(of(10_000).status, Status::Ok);
    }

    #[test]
    fn another_nodes_directory_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let text = "#\ncluster.id=c\nnode.id=7\n";
        std::fs::write(dir.path().join("meta.properties"), text).expect("writes");
        let dirs = [dir.path().to_owned()];
        assert_eq!(identities(&dirs, 7)[0].status, Status::Ok);
        let other = &identities(&dirs, 8)[0];
        assert_eq!(
            (other.status, other.current.as_str()),
            (Status::Advice, "node 7 of c")
        );
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let users = Users {
            own: 1,
            ringlog: None,
            passwd: "me:x:1:1::/:/bin/sh\n".to_owned(),
        };
        let item = access(Path::new("/proc/none/such"), &users);
        assert_eq!(item.status, Status::Advice, "{item:?}");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let item = access(&dir.path().join("new"), &users);
        assert_eq!(
            (item.status, item.current.as_str()),
            (Status::Ok, "not made yet")
        );
        assert!(!dir.path().join("new").exists(), "and nothing is made");
        let root = Users {
            own: 0,
            ringlog: Some(u32::MAX),
            ..users
        };
        let item = access(dir.path(), &root);
        assert_eq!(
            (item.status, item.wanted.as_str()),
            (Status::Advice, "ringlog")
        );
    }
}
