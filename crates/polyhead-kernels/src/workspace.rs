//! Buffers that are used again: what a step frees is what the next step takes.
//!
//! A step of training allocates and frees hundreds of megabytes, in other sizes each time. Given back to the operating
//! system and taken again, every page of them is a fault and a page of zeros to write; kept here, none is. Buffers are
//! ranges of a few large chunks, taken from the lowest address that is free. A chunk is address space: memory stands behind
//! as much of it as was ever in use at once, and stays.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Below this the allocator is left alone: it keeps small blocks itself. In numbers of four bytes.
const SMALL: usize = 16 * 1024;
/// What ranges are multiples of, in numbers of four bytes: 4 KiB.
const GRAIN: usize = 1024;
/// The length of a chunk, unless one buffer needs more: 256 MiB.
const CHUNK: usize = 64 * 1024 * 1024;

/// Types of four bytes of which any bits are a value.
pub(crate) trait Plain: Copy + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for u32 {}

/// A slice of fixed length that goes back to the workspace when it is dropped.
pub(crate) enum Buffer<T: Plain> {
    Small(Vec<T>),
    Large(Range, std::marker::PhantomData<T>),
}

/// A range of a chunk, owned.
pub(crate) struct Range {
    start: NonNull<u32>,
    len: usize,
    chunk: usize,
    /// Where it begins in its chunk, and how much of the chunk it takes.
    at: usize,
    takes: usize,
}

// SAFETY: a range is memory that no one else reads or writes.
unsafe impl Send for Range {}
// SAFETY: as above; shared, it is only read.
unsafe impl Sync for Range {}

#[derive(Default)]
struct Workspace {
    chunks: Vec<Chunk>,
}

struct Chunk {
    /// Never freed.
    start: NonNull<u32>,
    /// Free ranges: start and length, no two of them touching.
    free: BTreeMap<usize, usize>,
}

// SAFETY: the pointer is to memory that the workspace owns.
unsafe impl Send for Chunk {}

/// How much buffers hold, and the most that they held since somebody asked, in numbers of four bytes.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Runs `f`; and the most bytes that large buffers held meanwhile beyond what they held before. What other threads of the process hold counts
/// too.
pub fn most_held<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let result = f();
    (result, MOST.load(Relaxed).saturating_sub(before) * size_of::<u32>())
}

static WORKSPACE: Mutex<Workspace> = Mutex::new(Workspace { chunks: Vec::new() });

fn workspace() -> MutexGuard<'static, Workspace> {
    // Nothing in here is ever half done where a panic could strike.
    WORKSPACE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workspace {
    fn take(&mut self, len: usize) -> Range {
        let takes = len.next_multiple_of(GRAIN);
        MOST.fetch_max(HELD.fetch_add(takes, Relaxed) + takes, Relaxed);
        self.find(len, takes)
    }

    fn find(&mut self, len: usize, takes: usize) -> Range {
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            if let Some(at) = chunk.take(takes) {
                // SAFETY: the range lies in the chunk.
                return Range { start: unsafe { chunk.start.add(at) }, len, chunk: index, at, takes };
            }
        }
        let size = CHUNK.max(takes);
        // Room for the alignment of a register.
        let memory = Vec::<[u32; 16]>::with_capacity(size.div_ceil(16) + 1).leak();
        let start = NonNull::from(memory).cast::<u32>();
        // SAFETY: at most 63 bytes further, which the room allows for.
        let start = unsafe { start.add(start.align_offset(64)) };
        self.chunks.push(Chunk { start, free: BTreeMap::from([(0, size)]) });
        self.find(len, takes)
    }

    fn put(&mut self, range: &Range) {
        HELD.fetch_sub(range.takes, Relaxed);
        let Some(chunk) = self.chunks.get_mut(range.chunk) else { return };
        let (mut at, mut len) = (range.at, range.takes);
        if let Some(after) = chunk.free.remove(&(at + len)) {
            len += after;
        }
        if let Some((&before, &gap)) = chunk.free.range(..at).next_back()
            && before + gap == at
        {
            at = before;
            len += gap;
        }
        chunk.free.insert(at, len);
    }
}

impl Chunk {
    /// The lowest range that is long enough.
    fn take(&mut self, len: usize) -> Option<usize> {
        let (&at, &free) = self.free.iter().find(|(_, free)| **free >= len)?;
        self.free.remove(&at);
        if free > len {
            self.free.insert(at + len, free - len);
        }
        Some(at)
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        workspace().put(self);
    }
}

impl<T: Plain> Buffer<T> {
    /// A buffer of this length that holds anything: its taker writes all of it before anyone reads.
    pub(crate) fn uninit(len: usize) -> Self {
        if len >= SMALL {
            return Self::Large(workspace().take(len), std::marker::PhantomData);
        }
        let mut values = Vec::with_capacity(len);
        // SAFETY: the capacity suffices, any bits are a value of these types, and every taker writes all of it.
        #[allow(clippy::uninit_vec)]
        unsafe {
            values.set_len(len);
        }
        Self::Small(values)
    }

    /// A copy of a slice.
    pub(crate) fn copy_of(values: &[T]) -> Self {
        let mut buffer = Self::uninit(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Small(values) => values,
            // SAFETY: the range is this buffer's, has `len` numbers of four bytes, and any bits are a value.
            Self::Large(range, _) => unsafe { std::slice::from_raw_parts(range.start.as_ptr().cast(), range.len) },
        }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Small(values) => values,
            // SAFETY: as above.
            Self::Large(range, _) => unsafe { std::slice::from_raw_parts_mut(range.start.as_ptr().cast(), range.len) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    #[test]
    fn what_is_freed_is_taken_again() {
        let mut workspace = Workspace::default();
        let (a, b) = (workspace.take(100_000), workspace.take(50_000));
        let at = a.start;
        workspace.put(&a);
        let c = workspace.take(90_000);
        assert_eq!(c.start, at, "the freed range fits");
        workspace.put(&b);
        workspace.put(&c);
        assert_eq!(workspace.chunks[0].free, BTreeMap::from([(0, CHUNK)]), "ranges that touch become one");
        let large = workspace.take(2 * CHUNK);
        assert_eq!((large.chunk, large.at), (1, 0));
        [a, b, c, large].into_iter().for_each(std::mem::forget);
    }

    #[test]
    fn no_two_buffers_overlap() {
        let key = Key::seed(1);
        let mut held: Vec<(u32, Buffer<u32>)> = Vec::new();
        for step in 0..2000_u32 {
            if held.len() > 40 || key.bits(u64::from(step)).is_multiple_of(3) {
                let at = key.with(1).bits(u64::from(step)) as usize % held.len().max(1);
                if at < held.len() {
                    let (name, buffer) = held.swap_remove(at);
                    assert!(buffer.iter().all(|&x| x == name), "a buffer was written by another");
                }
            }
            let len = key.with(2).bits(u64::from(step)) as usize % (4 * SMALL);
            let mut buffer = Buffer::uninit(len);
            buffer.fill(step);
            held.push((step, buffer));
        }
    }
}
