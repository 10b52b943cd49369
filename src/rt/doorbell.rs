//! How another thread wakes a shard: an eventfd that the shard's main ring reads.
//!
//! Not the executor's own cross-thread wakers. Their eventfd completes on the ring whose completions mean "look at your
//! rings before you run tasks", and when such a completion wakes nobody (its waker was found a moment earlier) the
//! executor goes to sleep with the tasks it had just made runnable. A read on the main ring always wakes the task that
//! waits for it, and the kernel keeps a bell that rang while nobody was reading.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glommio::io::BufferedFile;

use super::notify::Notify;
use super::sys;

/// Wakes one shard from any thread. Clones ring the same bell.
#[derive(Clone)]
pub(super) struct Doorbell(Arc<Bell>);

struct Bell {
    event: OwnedFd,
    /// Rung, and the shard has not looked since: ringing again would tell it nothing new.
    rung: AtomicBool,
}

impl Doorbell {
    /// Publish first, then ring: the shard looks at everything that was published before.
    pub(super) fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            sys::signal_event(&self.0.event);
        }
    }
}

thread_local! {
    static OWN: RefCell<Option<OwnBell>> = const { RefCell::new(None) };
}

/// A shard's end of its own bell.
#[derive(Clone)]
pub(super) struct OwnBell {
    pub(super) remote: Doorbell,
    /// Everyone on this shard who waits for something from another thread; each looks for itself.
    pub(super) rung: Rc<Notify>,
}

/// This shard's bell. Panics outside an executor of ours.
pub(super) fn own_bell() -> OwnBell {
    OWN.with_borrow(Clone::clone).expect("inside an executor")
}

/// Hangs up this thread's bell; the future answers it for as long as the executor lives.
pub(super) fn hang_up() -> std::io::Result<impl Future<Output = ()>> {
    let event = sys::event()?;
    let reader = sys::event_reader(&event)?;
    let remote = Doorbell(Arc::new(Bell {
        event,
        rung: AtomicBool::new(false),
    }));
    let rung = Rc::new(Notify::default());
    OWN.set(Some(OwnBell {
        remote: remote.clone(),
        rung: rung.clone(),
    }));
    Ok(answer(reader, remote, rung))
}

/// Takes this thread's bell down.
pub(super) fn take_down() {
    // Dropped outside the borrow, as everything with a destructor of its own.
    drop(OWN.take());
}

async fn answer(reader: BufferedFile, bell: Doorbell, rung: Rc<Notify>) {
    loop {
        if let Err(error) = reader.read_at(0, 8).await {
            // An eventfd cannot fail to be read; a shard that hears no bell must not go on.
            panic!("a shard's doorbell failed: {error}");
        }
        // Lowered before anyone looks, and synchronising with whoever raised it.
        bell.0.rung.swap(false, Ordering::AcqRel);
        rung.notify_all();
    }
}
