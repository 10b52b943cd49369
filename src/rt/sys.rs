//! The system calls that no safe wrapper of ours reaches. Each function is safe to call as it stands.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Free and whole size of the file system a path is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub total_bytes: u64,
    /// What an unprivileged process may still use.
    pub available_bytes: u64,
}

/// Lends an open descriptor; `fd` must stay open as long as the loan, which its owner's borrow guarantees.
pub(super) fn lend<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `owner`, which the returned loan borrows.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// The length of an open file, asked of the descriptor: a path may have been renamed since.
pub(super) fn file_len(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has room for the answer, which is complete when the call returns 0.
    let stat = unsafe {
        check(libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()))?;
        stat.assume_init()
    };
    Ok(stat.st_size as u64)
}

/// Space on the file system that holds `path`. Blocks.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero byte, and `stat` has room for the answer, complete when the call returns 0.
    let stat = unsafe {
        check(libc::statvfs(path.as_ptr(), stat.as_mut_ptr()))?;
        stat.assume_init()
    };
    Ok(Space {
        total_bytes: stat.f_blocks * stat.f_frsize,
        available_bytes: stat.f_bavail * stat.f_frsize,
    })
}

/// Whether a ring can be set up at all: `ENOSYS` without it, `EPERM` where it is forbidden.
pub(super) fn probe_io_uring() -> io::Result<()> {
    // `struct io_uring_params` is 120 bytes, all input fields zero.
    let mut params = [0u64; 15];
    // SAFETY: `params` has the size the kernel reads and writes; the descriptor returned is closed at once.
    unsafe {
        let fd = libc::syscall(libc::SYS_io_uring_setup, 1u32, params.as_mut_ptr());
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::close(fd as libc::c_int);
    }
    Ok(())
}

/// A resource's soft limit, raised to the hard one where it was lower.
pub(super) fn raise_limit(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives through both calls.
    unsafe {
        check(libc::getrlimit(resource, &mut limit))?;
        if limit.rlim_cur < limit.rlim_max {
            let wanted = libc::rlimit {
                rlim_cur: limit.rlim_max,
                ..limit
            };
            if check(libc::setrlimit(resource, &wanted)).is_ok() {
                limit = wanted;
            }
        }
    }
    Ok(limit.rlim_cur)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
