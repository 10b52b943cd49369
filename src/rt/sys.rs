//! The system calls that no safe wrapper of ours reaches. Each function is safe to call as it stands.

use std::ffi::CString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::task::{Poll, ready};

use bytes::BytesMut;
use glommio::io::BufferedFile;
use glommio::net::{TcpListener, TcpStream};

/// Free and whole size of the file system a path is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub total_bytes: u64,
    /// What an unprivileged process may still use.
    pub available_bytes: u64,
}

/// CPUs that a thread may run on, of the first 1,024.
#[derive(Clone, Copy)]
pub(super) struct Cpus(libc::cpu_set_t);

impl Cpus {
    /// Of the calling thread.
    pub(super) fn own() -> io::Result<Cpus> {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: `set` has room for as many bytes as are named, and all-zero is a valid set; 0 is the calling thread.
        let set = unsafe {
            check(libc::sched_getaffinity(
                0,
                size_of_val(&set),
                set.as_mut_ptr(),
            ))?;
            set.assume_init()
        };
        Ok(Cpus(set))
    }

    /// Lets the calling thread run on these and on no other.
    pub(super) fn adopt(&self) -> io::Result<()> {
        // SAFETY: the set lives through the call, which only reads it; 0 is the calling thread.
        check(unsafe { libc::sched_setaffinity(0, size_of_val(&self.0), &self.0) })?;
        Ok(())
    }
}

/// Lends an open descriptor; `fd` must stay open as long as the loan, which its owner's borrow guarantees.
pub(super) fn lend<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `owner`, which the returned loan borrows.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// The length of an open file, asked of the descriptor: a path may have been renamed since.
pub(super) fn file_len(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(status(fd)?.st_size as u64)
}

/// The number of names that an open file has.
pub(super) fn file_links(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(status(fd)?.st_nlink as u64)
}

fn status(fd: BorrowedFd<'_>) -> io::Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has room for the answer, which is complete when the call returns 0.
    unsafe {
        check(libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

/// Space on the file system that holds `path`. Blocks.
pub fn space(path: &Path) -> io::Result<Space> {
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

/// Tries to lock the whole file for this open description, against any other description and against POSIX locks.
///
/// `Ok(false)`: somebody else holds it.
pub(super) fn try_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all-zero is a valid `flock`: from the start of the file to its end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: `lock` lives through the call.
    match check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &lock) }) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Sends from several places at once, without waiting. `Ok(n)`: the first `n` bytes are in the socket's buffer.
pub(super) fn send_vectored(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all-zero is a valid `msghdr` without address, control data or slices.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` is ABI-compatible with `iovec`, as its documentation guarantees on Unix.
    message.msg_iov = slices.as_ptr() as *mut libc::iovec;
    message.msg_iovlen = slices.len() as _;
    // SAFETY: `message` and the slices it names live through the call, which only reads them.
    let sent = unsafe {
        libc::sendmsg(
            fd.as_raw_fd(),
            &message,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(sent as usize)
    }
}

/// Has a poll for reading wait until `bytes` are there (`SO_RCVLOWAT`).
pub(super) fn set_low_water(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let value = bytes.min(i32::MAX as usize) as libc::c_int;
    // SAFETY: `value` lives through the call, which reads its size of bytes.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(set).map(|_| ())
}

/// Reads into the spare capacity of `buffer` and lengthens it by what `read` says it filled.
///
/// `read` must only write to what it is lent, as a `recv` does: those bytes are not initialised.
pub(super) fn fill_spare(
    buffer: &mut BytesMut,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len();
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and `read` does not look at the bytes before it wrote them.
    let count = ready!(read(unsafe {
        &mut *(std::ptr::from_mut(spare) as *mut [u8])
    }))?;
    assert!(count <= room, "{count} bytes read into room for {room}");
    // SAFETY: the first `count` spare bytes have just been written.
    unsafe { buffer.set_len(buffer.len() + count) };
    Poll::Ready(Ok(count))
}

/// A counter that one thread reads through its ring and others raise.
pub(super) fn event() -> io::Result<OwnedFd> {
    // SAFETY: the descriptor returned is new and owned by nobody else. It must block: a ring answers reads of
    // non-blocking ones at once.
    unsafe {
        Ok(OwnedFd::from_raw_fd(check(libc::eventfd(
            0,
            libc::EFD_CLOEXEC,
        ))?))
    }
}

/// Raises an [`event`] by one.
pub(super) fn signal_event(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight bytes are read from `one`. The write fails or blocks only at 2^64 - 2, which one ring a look
    // does not reach.
    unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// The end of an [`event`] that this thread's executor reads.
pub(super) fn event_reader(event: &OwnedFd) -> io::Result<BufferedFile> {
    let copy = event.try_clone()?;
    // SAFETY: the copy is owned by nobody else from here on.
    Ok(unsafe { BufferedFile::from_raw_fd(copy.into_raw_fd()) })
}

/// Hands a listening socket to this thread's executor.
pub(super) fn executor_listener(socket: OwnedFd) -> TcpListener {
    // SAFETY: the descriptor is open, a listening socket, and owned by nobody else from here on.
    unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

/// Hands a connected socket to this thread's executor.
pub(super) fn executor_stream(socket: OwnedFd) -> TcpStream {
    // SAFETY: the descriptor is open, a connected socket, and owned by nobody else from here on.
    unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) }
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
