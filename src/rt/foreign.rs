//! Memory of one shard, read by another and released at home (Seastar's `foreign_ptr`).

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::thread::ThreadId;

use smallvec::SmallVec;

use super::buffer::Slice;
use crate::types::ShardId;

/// Slices of its home shard's pages. Any shard may read them; dropped abroad, they go home by mail.
pub struct Foreign {
    /// `None` only after it was sent home.
    parcel: Option<Parcel>,
    mesh: u64,
    home: ShardId,
}

/// Slices that only their home thread may release; elsewhere they are leaked, which happens only at the end of a
/// process, when no mail is delivered any more.
pub(super) struct Parcel {
    slices: ManuallyDrop<SmallVec<[Slice; 2]>>,
    home: ThreadId,
}

// SAFETY: a `Slice` counts references without synchronisation, so another thread must neither clone nor drop it.
// `Parcel` is private to this file but for its `Drop`, which releases on the home thread only; `Foreign` lends out
// nothing but bytes and how many they are, whose reading touches no count (`Slice::deref`, `Slice::pinned_bytes`), and nobody
// writes published bytes.
unsafe impl Send for Parcel {}

impl Foreign {
    pub(super) fn new(
        slices: impl IntoIterator<Item = Slice>,
        mesh: u64,
        home: ShardId,
    ) -> Foreign {
        let slices = ManuallyDrop::new(slices.into_iter().collect());
        Foreign {
            parcel: Some(Parcel {
                slices,
                home: std::thread::current().id(),
            }),
            mesh,
            home,
        }
    }

    /// The bytes, piece by piece.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.parcel
            .iter()
            .flat_map(|parcel| parcel.slices.iter().map(|slice| &**slice))
    }

    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.chunks().map(<[u8]>::len).sum()
    }

    /// Bytes of memory that it keeps at home.
    pub fn pinned_bytes(&self) -> usize {
        let parcel = self.parcel.iter();
        parcel
            .flat_map(|parcel| parcel.slices.iter().map(Slice::pinned_bytes))
            .sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shard whose memory it is.
    pub fn home(&self) -> ShardId {
        self.home
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel.take()
            && !parcel.is_home()
        {
            Route::send(self.mesh, self.home, parcel);
        }
    }
}

impl Parcel {
    fn is_home(&self) -> bool {
        self.home == std::thread::current().id()
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.is_home() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.slices) }
        }
    }
}

type Carry = Rc<dyn Fn(ShardId, Parcel)>;

thread_local! {
    /// This shard's way to every home, one for each mesh it has joined.
    static ROUTES: RefCell<Vec<(u64, Carry)>> = const { RefCell::new(Vec::new()) };
}

/// This shard's way to send parcels home through one mesh, as long as it lives.
pub(super) struct Route(u64);

impl Route {
    pub(super) fn register(mesh: u64, send: Carry) -> Route {
        ROUTES.with_borrow_mut(|routes| routes.push((mesh, send)));
        Route(mesh)
    }

    /// Without a route the parcel is dropped, which leaks its slices.
    fn send(mesh: u64, home: ShardId, parcel: Parcel) {
        let find = |routes: &RefCell<Vec<(u64, Carry)>>| {
            routes
                .borrow()
                .iter()
                .find(|(id, _)| *id == mesh)
                .map(|(_, send)| send.clone())
        };
        // A thread that is ending has no routes any more.
        if let Ok(Some(send)) = ROUTES.try_with(find) {
            send(home, parcel);
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let removed = ROUTES.try_with(|routes| {
            let mut routes = routes.borrow_mut();
            routes
                .iter()
                .position(|(id, _)| *id == self.0)
                .map(|index| routes.swap_remove(index))
        });
        // Dropped here, outside the borrow: the closure owns the last of the outboxes, whose mail may hold `Foreign`s.
        drop(removed);
    }
}
