//! Aligned memory for direct I/O: written once, then shared by the cache, the disk and the sockets.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::rc::Rc;

use glommio::io::{DmaBuffer, ReadResult};

/// Direct I/O is done in blocks of this many bytes, whatever smaller block the device would take.
pub const BLOCK_BYTES: usize = 4096;

/// The smallest multiple of [`BLOCK_BYTES`] that is at least `len`.
pub const fn block_ceil(len: usize) -> usize {
    len.next_multiple_of(BLOCK_BYTES)
}

/// The largest multiple of [`BLOCK_BYTES`] that is at most `position`.
pub const fn block_floor(position: u64) -> u64 {
    position - position % BLOCK_BYTES as u64
}

/// Memory that outlives every [`Page`] and [`Slice`] of it.
struct Region {
    /// First byte; points into `backing`, which never moves its memory.
    base: NonNull<u8>,
    /// Bytes of memory.
    size: usize,
    backing: Backing,
}

/// Who frees the memory.
enum Backing {
    /// Ours, and what a write takes. The `RefCell` is borrowed mutably once, by [`AppendBuffer::seal`], while the
    /// inner `Rc` is still unique.
    Written(RefCell<Rc<DmaBuffer>>),
    /// What a read returned; held only to keep its memory.
    Read { _result: ReadResult },
}

impl Region {
    fn of_buffer(mut buffer: DmaBuffer) -> Region {
        let base = NonNull::new(buffer.as_mut_ptr()).expect("an allocation is never null");
        Region {
            base,
            size: buffer.len(),
            backing: Backing::Written(RefCell::new(Rc::new(buffer))),
        }
    }
}

/// Aligned memory of our own, of at least one block. Its bytes are not initialised.
fn allocate(capacity: usize) -> DmaBuffer {
    // The global allocator, not the ring's small registered pool: it is as fast (measured) and works without an executor.
    glommio::allocate_dma_buffer_global(block_ceil(capacity.max(1)))
}

/// Owned, 4096-aligned memory, all zero at first: what small, whole writes are prepared in.
pub struct Buffer {
    memory: DmaBuffer,
}

impl Buffer {
    /// Zeroed memory of `len` bytes, rounded up to whole blocks.
    pub fn zeroed(len: usize) -> Buffer {
        let mut memory = allocate(len);
        let capacity = memory.len();
        // SAFETY: the allocation holds `capacity` bytes and nothing else refers to it.
        unsafe { memory.as_mut_ptr().write_bytes(0, capacity) };
        Buffer { memory }
    }

    /// A copy of `bytes`, padded with zeros to whole blocks.
    pub fn copy_of(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::zeroed(bytes.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        buffer
    }

    /// Makes it immutable and shared.
    pub fn freeze(self) -> Page {
        let len = self.memory.len();
        Page::new(Rc::new(Region::of_buffer(self.memory)), 0..len)
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.memory.as_bytes()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.as_bytes_mut()
    }
}

/// Aligned memory that grows at its end while what was appended before is being read.
///
/// Bytes below [`len`](AppendBuffer::len) are written once: `append` and `reserve` lend out only bytes that no
/// [`Slice`] can cover yet, since a slice cannot be taken while the loan lasts. That is what makes the shared
/// reading sound. [`seal`](AppendBuffer::seal) ends the growing.
pub struct AppendBuffer {
    region: Rc<Region>,
    len: usize,
    capacity: usize,
}

impl AppendBuffer {
    /// Room for `capacity` bytes, rounded up to whole blocks.
    pub fn with_capacity(capacity: usize) -> AppendBuffer {
        let memory = allocate(capacity);
        let capacity = memory.len();
        AppendBuffer {
            region: Rc::new(Region::of_buffer(memory)),
            len: 0,
            capacity,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many more bytes fit.
    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Copies `bytes` to the end and lends out the copy, for stamping, until the next use of the buffer.
    ///
    /// Panics if `bytes` is longer than [`room`](AppendBuffer::room).
    pub fn append(&mut self, bytes: &[u8]) -> &mut [u8] {
        assert!(
            bytes.len() <= self.room(),
            "append of {} bytes into room for {}",
            bytes.len(),
            self.room()
        );
        // SAFETY: `len + bytes.len() <= capacity`, so the target is inside the allocation; no slice covers it, since
        // slices end at or below `len`; and `bytes` cannot overlap it, for a reference to it would need `&mut self`.
        let fresh = unsafe {
            let target = self.region.base.as_ptr().add(self.len);
            target.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            std::slice::from_raw_parts_mut(target, bytes.len())
        };
        self.len += bytes.len();
        fresh
    }

    /// Appends `count` zero bytes and lends them out to be filled.
    ///
    /// Panics if `count` is more than [`room`](AppendBuffer::room).
    pub fn reserve(&mut self, count: usize) -> &mut [u8] {
        assert!(
            count <= self.room(),
            "reservation of {count} bytes in room for {}",
            self.room()
        );
        // SAFETY: as in `append`; the bytes are initialised before the reference to them exists.
        let fresh = unsafe {
            let target = self.region.base.as_ptr().add(self.len);
            target.write_bytes(0, count);
            std::slice::from_raw_parts_mut(target, count)
        };
        self.len += count;
        fresh
    }

    /// All that was appended, to be changed in place: only while nobody holds a slice of it.
    pub fn unshared(&mut self) -> Option<&mut [u8]> {
        Rc::get_mut(&mut self.region)?;
        // SAFETY: bytes below `len` are initialised, and no slice nor page of them is there, since the region is not shared.
        Some(unsafe { std::slice::from_raw_parts_mut(self.region.base.as_ptr(), self.len) })
    }

    /// Pins bytes `start..end`, which stay readable however much is appended later.
    pub fn slice(&self, start: usize, end: usize) -> Slice {
        assert!(
            start <= end && end <= self.len,
            "slice {start}..{end} of {} bytes",
            self.len
        );
        Slice::new(self.region.clone(), start..end)
    }

    /// Ends the growing: pads with zeros up to `padded_len` and makes a page that can be written and cached.
    ///
    /// Slices taken before stay valid. Panics unless `len <= padded_len <= capacity`.
    pub fn seal(self, padded_len: usize) -> Page {
        assert!(
            self.len <= padded_len && padded_len <= self.capacity,
            "seal of {} bytes at {padded_len} of {}",
            self.len,
            self.capacity
        );
        // SAFETY: the pad lies inside the allocation and above `len`, where no slice reaches.
        unsafe {
            self.region
                .base
                .as_ptr()
                .add(self.len)
                .write_bytes(0, padded_len - self.len)
        };
        if let Backing::Written(cell) = &self.region.backing {
            // Only the recorded length changes: no reference to the bytes themselves is made here.
            let mut shared = cell.borrow_mut();
            Rc::get_mut(&mut shared)
                .expect("not shared with a write before it is sealed")
                .trim_to_size(padded_len);
        }
        Page::new(self.region, 0..padded_len)
    }
}

impl Deref for AppendBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: bytes below `len` are initialised, and mutable loans of them end with their borrow of `self`.
        unsafe { std::slice::from_raw_parts(self.region.base.as_ptr(), self.len) }
    }
}

/// Immutable bytes, counted by reference: what was written, or what a read returned.
#[derive(Clone)]
pub struct Page(Slice);

impl Page {
    fn new(region: Rc<Region>, range: Range<usize>) -> Page {
        Page(Slice::new(region, range))
    }

    /// A page of what a read returned, without the bytes around `range` that alignment made it read.
    pub(super) fn of_read(result: ReadResult, range: Range<usize>) -> Page {
        assert!(
            range.end <= result.len(),
            "{range:?} of a read of {}",
            result.len()
        );
        // The pointer is used for reading only: no mutable reference is ever made from a read's region.
        let base = NonNull::from(&result[..]).cast::<u8>();
        Page::new(
            Rc::new(Region {
                base,
                size: result.len(),
                backing: Backing::Read { _result: result },
            }),
            range,
        )
    }

    /// The memory as a write takes it: the same memory where the page is a whole written one, else a copy.
    pub(super) fn for_write(&self) -> Rc<DmaBuffer> {
        if let Backing::Written(cell) = &self.0.region.backing {
            let memory = cell.borrow();
            if self.0.start == 0 && memory.len() == self.len() {
                return memory.clone();
            }
        }
        let mut copy = allocate(self.len());
        copy.as_bytes_mut()[..self.len()].copy_from_slice(self);
        copy.trim_to_size(self.len());
        Rc::new(copy)
    }

    /// The memory back, to be written anew: of a whole page of a frozen [`Buffer`] that nobody else holds and no write has
    /// under way.
    ///
    /// - `Err`: the page, which stays as it is.
    pub fn thaw(self) -> Result<Buffer, Page> {
        let whole = match &self.0.region.backing {
            Backing::Written(cell) => {
                let memory = cell.borrow();
                let is_whole = self.0.start == 0 && memory.len() == self.len();
                is_whole && Rc::strong_count(&memory) == 1
            }
            Backing::Read { .. } => false,
        };
        if !whole || Rc::strong_count(&self.0.region) > 1 {
            return Err(self);
        }
        let region = Rc::into_inner(self.0.region).expect("it was counted");
        let Backing::Written(cell) = region.backing else {
            unreachable!("it was looked at")
        };
        let memory = Rc::into_inner(cell.into_inner()).expect("it was counted");
        Ok(Buffer { memory })
    }

    /// The page without what is outside `range`.
    pub(super) fn part(self, range: Range<usize>) -> Page {
        Page(self.0.slice(range))
    }

    /// Pins a part of the page.
    pub fn slice(&self, range: Range<usize>) -> Slice {
        self.0.slice(range)
    }
}

impl Deref for Page {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Page> for Slice {
    fn from(page: Page) -> Slice {
        page.0
    }
}

/// A pinned range of a page or of an open [`AppendBuffer`]. Cloning counts a reference.
#[derive(Clone)]
pub struct Slice {
    region: Rc<Region>,
    start: u32,
    len: u32,
}

impl Slice {
    fn new(region: Rc<Region>, range: Range<usize>) -> Slice {
        let start = u32::try_from(range.start).expect("pages are smaller than 4 GiB");
        let len = u32::try_from(range.len()).expect("pages are smaller than 4 GiB");
        Slice { region, start, len }
    }

    /// Bytes of memory that it keeps: all of those it is a part of.
    pub fn pinned_bytes(&self) -> usize {
        self.region.size
    }

    /// Whether it is of a page that was read from a file.
    pub fn was_read(&self) -> bool {
        matches!(self.region.backing, Backing::Read { .. })
    }

    /// The same bytes in memory of their own.
    pub fn copy_of(bytes: &[u8]) -> Slice {
        let page = Buffer::copy_of(bytes).freeze();
        page.slice(0..bytes.len())
    }

    /// A part of this slice; `range` counts from its first byte.
    pub fn slice(&self, range: Range<usize>) -> Slice {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "slice {range:?} of {} bytes",
            self.len()
        );
        let start = self.start as usize + range.start;
        Slice::new(self.region.clone(), start..start + range.len())
    }
}

impl Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: every constructor takes a range of initialised bytes inside the region, which nothing writes again,
        // and `region` keeps the memory. Only plain reads happen here, so other threads may do it too (see `Foreign`).
        unsafe {
            std::slice::from_raw_parts(
                self.region.base.as_ptr().add(self.start as usize),
                self.len as usize,
            )
        }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes)", self.len)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stays_readable_while_more_is_appended_and_after_the_seal() {
        let mut buffer = AppendBuffer::with_capacity(10_000);
        assert_eq!(buffer.capacity(), 12_288);
        buffer.append(b"first")[0] = b'F';
        let first = buffer.slice(0, 5);
        buffer.append(b"second");
        buffer.reserve(3).copy_from_slice(b"end");
        let second = buffer.slice(5, 11);
        assert_eq!(
            (&*first, &*second, &*buffer),
            (&b"First"[..], &b"second"[..], &b"Firstsecondend"[..])
        );
        let page = buffer.seal(BLOCK_BYTES);
        assert_eq!(page.len(), BLOCK_BYTES);
        assert!(
            page[14..].iter().all(|&b| b == 0),
            "the pad must not leak old memory"
        );
        drop(page);
        assert_eq!(&*first.slice(1..3), b"ir");
    }

    #[test]
    fn a_slice_tells_what_it_keeps_and_a_copy_keeps_less() {
        let mut buffer = AppendBuffer::with_capacity(1 << 20);
        buffer.append(b"little of much");
        let slice = buffer.slice(0, 6);
        assert_eq!((slice.pinned_bytes(), slice.was_read()), (1 << 20, false));
        let copy = Slice::copy_of(&slice);
        assert_eq!((&*copy, copy.pinned_bytes()), (&b"little"[..], BLOCK_BYTES));
    }

    #[test]
    fn what_was_appended_may_change_only_while_nobody_holds_a_slice() {
        let mut buffer = AppendBuffer::with_capacity(100);
        buffer.append(b"head, body");
        let slice = buffer.slice(0, 4);
        assert!(buffer.unshared().is_none());
        drop(slice);
        buffer.unshared().unwrap()[..4].copy_from_slice(b"HEAD");
        assert_eq!(&*buffer, b"HEAD, body");
    }

    #[test]
    fn a_sealed_page_is_written_without_a_copy_and_a_part_with_one() {
        let mut buffer = AppendBuffer::with_capacity(2 * BLOCK_BYTES);
        buffer.append(&[7; 100]);
        let page = buffer.seal(BLOCK_BYTES);
        assert_eq!(page.for_write().as_ptr(), page.as_ptr());
        assert_eq!(page.for_write().len(), BLOCK_BYTES);
        assert_eq!(page.as_ptr() as usize % BLOCK_BYTES, 0);
        let part = Page(page.slice(0..100));
        assert_ne!(part.for_write().as_ptr(), part.as_ptr());
    }

    #[test]
    #[should_panic(expected = "append of 4097 bytes into room for 4096")]
    fn refuses_to_append_past_its_capacity() {
        AppendBuffer::with_capacity(1).append(&[0; 4097]);
    }

    #[test]
    #[should_panic(expected = "slice 0..2 of 1 bytes")]
    fn refuses_a_slice_of_what_is_not_appended() {
        let mut buffer = AppendBuffer::with_capacity(1);
        buffer.append(b"a");
        buffer.slice(0, 2);
    }

    #[test]
    fn a_page_is_thawed_only_by_its_one_holder() {
        let page = Buffer::copy_of(b"abc").freeze();
        let at = page.as_ptr();
        let other = page.clone();
        let page = page.thaw().err().expect("another holds it");
        drop(other);
        let write = page.for_write();
        let page = page.thaw().err().expect("a write has it");
        drop(write);
        let slice = page.slice(0..3);
        let page = page.thaw().err().expect("a part of it is held");
        drop(slice);
        let mut buffer = page.thaw().expect("nobody else holds it");
        assert_eq!((buffer.as_ptr(), &buffer[..3]), (at, &b"abc"[..]));
        buffer[0] = b'A';
        assert_eq!(&buffer.freeze()[..3], b"Abc");
        let part = Page(Buffer::zeroed(2 * BLOCK_BYTES).freeze().slice(0..100));
        assert!(part.thaw().is_err(), "a part is not the whole");
    }

    #[test]
    fn a_frozen_buffer_is_padded_with_zeros() {
        let page = Buffer::copy_of(b"abc").freeze();
        assert_eq!((&page[..3], page.len()), (&b"abc"[..], BLOCK_BYTES));
        assert!(page[3..].iter().all(|&b| b == 0));
    }
}
