//! What must hold before an executor can start, and the words for what does not.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::sys;

/// Why the shards did not start. The text tells an operator what to do.
#[derive(Debug)]
pub enum StartError {
    /// The kernel has no io_uring, or forbids it.
    IoUringOff(String),
    /// The kernel's release, older than what is needed.
    OldKernel(String),
    /// The limit on locked memory, in bytes, is too low for the rings.
    LockedMemory(u64),
    /// The executor could not be made.
    Executor(String),
    /// A log directory cannot be used.
    Directory { path: PathBuf, why: String },
}

/// The rings of one executor need this much lockable memory; the executor refuses to start below it.
const LOCKED_BYTES_MIN: u64 = 512 << 10;
/// From this kernel on only registered buffers are charged to locked memory.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// Checks kernel, io_uring and locked memory, and raises the limit on open files as far as allowed.
pub fn check_io_uring() -> Result<(), StartError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_release(release.trim())?;
    let disabled =
        std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    sys::probe_io_uring()
        .map_err(|error| StartError::IoUringOff(why_off(&error, disabled.trim())))?;
    let locked = sys::raise_limit(libc::RLIMIT_MEMLOCK).unwrap_or(0);
    if locked < LOCKED_BYTES_MIN {
        return Err(StartError::LockedMemory(locked));
    }
    if let Err(error) = sys::raise_limit(libc::RLIMIT_NOFILE) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    Ok(())
}

/// How many files this process may have open, with its own limit raised to what it is allowed.
pub fn open_files_max() -> io::Result<u64> {
    sys::raise_limit(libc::RLIMIT_NOFILE)
}

/// An unreadable release is let pass: the probe of io_uring itself decides.
fn check_release(release: &str) -> Result<(), StartError> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < KERNEL_MIN => {
            Err(StartError::OldKernel(release.to_owned()))
        }
        _ => Ok(()),
    }
}

fn why_off(error: &io::Error, disabled: &str) -> String {
    match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => "this kernel is built without it".to_owned(),
        (_, "2") => "the sysctl kernel.io_uring_disabled is 2; set it to 0".to_owned(),
        (_, "1") => "the sysctl kernel.io_uring_disabled is 1, which leaves it to privileged users; set it to 0, or \
                     add this user to the group in kernel.io_uring_group"
            .to_owned(),
        (Some(libc::EPERM), _) => "it is forbidden here, probably by a container's seccomp profile; allow the calls \
                                   io_uring_setup, io_uring_enter and io_uring_register"
            .to_owned(),
        _ => error.to_string(),
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::IoUringOff(why) => write!(f, "io_uring is off: {why}"),
            StartError::OldKernel(release) => {
                write!(
                    f,
                    "kernel {release} is too old: {}.{} is needed",
                    KERNEL_MIN.0, KERNEL_MIN.1
                )
            }
            StartError::LockedMemory(bytes) => write!(
                f,
                "the limit on locked memory is {} KiB, and {} KiB are needed: raise it with `ulimit -l`, \
                 LimitMEMLOCK= in systemd, or --ulimit memlock= in docker",
                bytes >> 10,
                LOCKED_BYTES_MIN >> 10
            ),
            StartError::Executor(why) => write!(f, "the executor cannot be made: {why}"),
            StartError::Directory { path, why } => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_kernels_before_5_12() {
        assert!(check_release("5.12.0-generic").is_ok());
        assert!(check_release("6.1.0").is_ok());
        assert!(check_release("").is_ok());
        let refused = check_release("5.11.22").unwrap_err().to_string();
        assert_eq!(refused, "kernel 5.11.22 is too old: 5.12 is needed");
        assert!(check_release("4.19").is_err());
    }

    #[test]
    fn says_who_turned_io_uring_off() {
        let eperm = io::Error::from_raw_os_error(libc::EPERM);
        assert!(why_off(&eperm, "2").contains("kernel.io_uring_disabled is 2"));
        assert!(why_off(&eperm, "1").contains("io_uring_group"));
        assert!(why_off(&eperm, "0").contains("seccomp"));
        assert!(
            why_off(&io::Error::from_raw_os_error(libc::ENOSYS), "0").contains("built without")
        );
    }

    #[test]
    fn low_locked_memory_names_the_cure() {
        let text = StartError::LockedMemory(64 << 10).to_string();
        assert!(
            text.contains("64 KiB") && text.contains("512 KiB") && text.contains("ulimit -l"),
            "{text}"
        );
    }
}
