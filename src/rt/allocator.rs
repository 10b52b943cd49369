//! The process's allocator: mimalloc, with the aligned memory of direct I/O kept for its next use.
//!
//! Memory that the kernel has to hand out anew is cleared by it first, at 0.5 to 2.4 s of CPU per GB on virtual machines
//! (measured), more than writing a batch costs in all. A general allocator gives large blocks back soon, and initialises
//! its lists in those it takes anew; these lists do neither. What comes here is what the data path asks for: aligned
//! memory of two blocks and more, and any memory of [`LARGE_BYTES`] and more, as the frames of producers are.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

use mimalloc::MiMalloc;

use super::buffer::BLOCK_BYTES;

/// To be named `#[global_allocator]` by the binary.
pub struct Allocator;

/// Memory kept comes in these sizes: two blocks, doubled up to two MiB.
const CLASS_BYTES_MIN: usize = 2 * BLOCK_BYTES;
const CLASSES: usize = 9;
/// Memory from this size on is kept whatever its alignment.
const LARGE_BYTES: usize = 64 << 10;
/// What a thread keeps in all, in bytes, at most: as much as tails give back when both files of a journal are drained.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// A block that is not in use begins with this.
struct Free {
    next: *mut Free,
}

/// The heads of the lists of one thread, and the bytes that they keep.
struct Lists(UnsafeCell<([*mut Free; CLASSES], usize)>);

thread_local! {
    // Without a destructor: memory may be freed while a thread ends. What it keeps then is lost, and bounded; threads of
    // ours that do direct I/O live as long as the process.
    static LISTS: Lists = const { Lists(UnsafeCell::new(([ptr::null_mut(); CLASSES], 0))) };
}

/// Which list keeps memory of this layout.
fn class_of(layout: Layout) -> Option<usize> {
    let kept_from = match layout.align() {
        BLOCK_BYTES => CLASS_BYTES_MIN,
        align if align < BLOCK_BYTES => LARGE_BYTES,
        _ => return None,
    };
    if layout.size() < kept_from {
        return None;
    }
    let class = (layout.size().next_power_of_two() / CLASS_BYTES_MIN).trailing_zeros() as usize;
    (class < CLASSES).then_some(class)
}

/// All memory of a class is taken in one layout, so that it serves any layout of the class.
fn layout_of(class: usize) -> Layout {
    Layout::from_size_align(CLASS_BYTES_MIN << class, BLOCK_BYTES)
        .expect("sizes of classes are multiples of a block")
}

// SAFETY: what comes from `MiMalloc` under a layout goes back to it under the same one: the class's, where there is one,
// which is a function of the caller's layout and at least as large and as aligned. A list holds only blocks that are not in
// use, each once, of its thread alone; no code that runs while a list is borrowed allocates.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's contract, passed on.
            return unsafe { MiMalloc.alloc(layout) };
        };
        let kept = LISTS.try_with(|lists| {
            // SAFETY: of this thread, and not borrowed elsewhere, see above.
            let (heads, kept) = unsafe { &mut *lists.0.get() };
            let first = heads[class];
            if !first.is_null() {
                // SAFETY: `first` was put there by `dealloc`, which wrote a `Free` into it.
                heads[class] = unsafe { (*first).next };
                *kept -= CLASS_BYTES_MIN << class;
            }
            first.cast::<u8>()
        });
        match kept {
            Ok(memory) if !memory.is_null() => memory,
            // SAFETY: the layout of a class has a size above zero.
            _ => unsafe { MiMalloc.alloc(layout_of(class)) },
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's contract, passed on.
            return unsafe { MiMalloc.dealloc(memory, layout) };
        };
        let kept = LISTS.try_with(|lists| {
            // SAFETY: as in `alloc`.
            let (heads, kept) = unsafe { &mut *lists.0.get() };
            let bytes = CLASS_BYTES_MIN << class;
            let keeps = *kept + bytes <= KEPT_BYTES_MAX;
            if keeps {
                let free = memory.cast::<Free>();
                // SAFETY: the caller gives the memory up; it is aligned to a block and larger than a `Free`.
                unsafe { free.write(Free { next: heads[class] }) };
                heads[class] = free;
                *kept += bytes;
            }
            keeps
        });
        if kept != Ok(true) {
            // SAFETY: taken under this layout by `alloc`.
            unsafe { MiMalloc.dealloc(memory, layout_of(class)) };
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            // SAFETY: the caller's contract, passed on.
            None => unsafe { MiMalloc.alloc_zeroed(layout) },
            Some(_) => {
                // SAFETY: as above; what was allocated holds at least `layout.size()` bytes.
                unsafe {
                    let memory = self.alloc(layout);
                    if !memory.is_null() {
                        memory.write_bytes(0, layout.size());
                    }
                    memory
                }
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract: `size`, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class_of(layout), class_of(wanted)) {
            // SAFETY: the caller's contract, passed on.
            (None, None) => return unsafe { MiMalloc.realloc(memory, layout, size) },
            (Some(had), Some(wants)) if had == wants => return memory,
            _ => {}
        }
        // SAFETY: the caller's contract; the new memory is another block, and both hold what is copied.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(memory, moved, size.min(layout.size()));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    fn take(layout: Layout) -> *mut u8 {
        // SAFETY: no test asks for a size of zero.
        let memory = unsafe { Allocator.alloc(layout) };
        assert!(!memory.is_null() && (memory as usize).is_multiple_of(layout.align()));
        memory
    }

    fn give(memory: *mut u8, layout: Layout) {
        // SAFETY: the tests give back what they took, under the same layout.
        unsafe { Allocator.dealloc(memory, layout) }
    }

    #[test]
    fn only_aligned_and_large_memory_has_a_class() {
        assert_eq!(class_of(layout(8192, 4096)), Some(0));
        assert_eq!(class_of(layout(8193, 4096)), Some(1));
        assert_eq!(class_of(layout(2 << 20, 4096)), Some(CLASSES - 1));
        assert_eq!(class_of(layout((2 << 20) + 1, 4096)), None);
        assert_eq!(class_of(layout(4096, 4096)), None);
        assert_eq!(class_of(layout(64 << 10, 1)), Some(3));
        assert_eq!(class_of(layout((64 << 10) - 1, 1)), None);
        assert_eq!(class_of(layout(1 << 20, 8192)), None);
    }

    #[test]
    fn memory_comes_back_to_who_asks_next_for_its_class() {
        let (large, aligned) = (layout(100_000, 1), layout(128 << 10, 4096));
        let first = take(large);
        // SAFETY: it was taken with this size.
        unsafe { first.write_bytes(7, 100_000) };
        give(first, large);
        let second = take(aligned);
        assert_eq!(second, first);
        let third = take(aligned);
        assert_ne!(third, second, "what is in use is given to nobody");
        give(second, aligned);
        give(third, aligned);
    }

    #[test]
    fn what_grows_keeps_its_bytes_and_what_must_be_zero_is() {
        let small = layout(1000, 1);
        let mut memory = take(small);
        // SAFETY: the sizes are those of the layouts; each block is used until it is given up.
        unsafe {
            memory.write_bytes(9, 1000);
            memory = Allocator.realloc(memory, small, 70_000);
            let same = Allocator.realloc(memory, layout(70_000, 1), 120_000);
            assert_eq!(same, memory, "within a class nothing moves");
            memory = Allocator.realloc(memory, layout(120_000, 1), 3 << 20);
            assert!(
                std::slice::from_raw_parts(memory, 1000)
                    .iter()
                    .all(|byte| *byte == 9)
            );
            give(memory, layout(3 << 20, 1));
            let zeroed = Allocator.alloc_zeroed(layout(70_000, 1));
            assert!(
                std::slice::from_raw_parts(zeroed, 70_000)
                    .iter()
                    .all(|byte| *byte == 0)
            );
            give(zeroed, layout(70_000, 1));
        }
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_bound() {
        let large = layout(1 << 20, 4096);
        let all: Vec<_> = (0..100).map(|_| take(large)).collect();
        all.into_iter().for_each(|memory| give(memory, large));
        // SAFETY: of this thread, and not borrowed elsewhere.
        LISTS.with(|lists| assert!(unsafe { (*lists.0.get()).1 } <= KEPT_BYTES_MAX));
    }
}
