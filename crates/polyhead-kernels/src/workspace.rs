//! Buffers that are used again: what a step frees is what the next step takes.
//!
//! A step of training allocates and frees hundreds of megabytes. Given back to the operating system and taken anew, every
//! page of them is a fault and a page of zeros to write; kept here, none is. What is kept never exceeds what was in use
//! at once: when nothing kept fits, the oldest buffers go before a new one is made.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Below this the allocator is left alone: it keeps small blocks itself. In numbers of four bytes.
const SMALL: usize = 16 * 1024;

/// Types of four bytes of which any bits are a value.
pub(crate) trait Plain: Copy + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for u32 {}

/// A slice of fixed length that goes back to the workspace when it is dropped.
pub(crate) struct Buffer<T: Plain> {
    values: Vec<T>,
}

#[derive(Default)]
struct Workspace {
    free: VecDeque<Vec<u32>>,
    /// Numbers that `free` could hold.
    kept: usize,
    /// Numbers that buffers out there could hold, and the most there ever were.
    lent: usize,
    most: usize,
}

static WORKSPACE: Mutex<Workspace> = Mutex::new(Workspace { free: VecDeque::new(), kept: 0, lent: 0, most: 0 });

fn workspace() -> MutexGuard<'static, Workspace> {
    // Nothing in here is ever half done where a panic could strike.
    WORKSPACE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workspace {
    /// The smallest kept vector that holds `len` numbers and wastes at most as many.
    fn take(&mut self, len: usize) -> Vec<u32> {
        let fits = |kept: &Vec<u32>| kept.capacity() >= len && kept.capacity() <= 2 * len;
        let best = self.free.iter().enumerate().filter(|(_, kept)| fits(kept)).min_by_key(|(_, kept)| kept.capacity());
        let best = best.map(|(index, _)| index);
        let taken = best.and_then(|index| self.free.remove(index));
        let values = match taken {
            Some(values) => {
                self.kept -= values.capacity();
                values
            }
            None => {
                // Room to grow by an eighth: the next batch is seldom of the same length.
                let capacity = len + len / 8;
                while self.kept + self.lent + capacity > self.most
                    && let Some(oldest) = self.free.pop_front()
                {
                    self.kept -= oldest.capacity();
                }
                Vec::with_capacity(capacity)
            }
        };
        self.lent += values.capacity();
        self.most = self.most.max(self.lent);
        values
    }

    fn put(&mut self, values: Vec<u32>) {
        self.lent = self.lent.saturating_sub(values.capacity());
        self.kept += values.capacity();
        self.free.push_back(values);
    }
}

impl<T: Plain> Buffer<T> {
    /// A buffer of this length that holds anything: its taker writes all of it before anyone reads.
    pub(crate) fn uninit(len: usize) -> Self {
        let mut values: Vec<T> = if len < SMALL { Vec::with_capacity(len) } else { cast(workspace().take(len)) };
        // SAFETY: the capacity suffices, any bits are a value of these types, and every taker writes all of it.
        #[allow(clippy::uninit_vec)]
        unsafe {
            values.set_len(len);
        }
        Self { values }
    }

    /// A copy of a slice.
    pub(crate) fn copy_of(values: &[T]) -> Self {
        let mut buffer = Self::uninit(values.len());
        buffer.values.copy_from_slice(values);
        buffer
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.values.len() >= SMALL {
            workspace().put(cast(std::mem::take(&mut self.values)));
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

/// The same allocation as a vector of another of the two types.
fn cast<A: Plain, B: Plain>(values: Vec<A>) -> Vec<B> {
    let mut values = std::mem::ManuallyDrop::new(values);
    // SAFETY: both types have four bytes and their alignment, any bits are a value of both, and the vector given away is
    // not dropped.
    unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast(), values.len(), values.capacity()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_taken_again_and_what_is_kept_is_bounded() {
        let mut workspace = Workspace::default();
        let (a, b) = (workspace.take(100_000), workspace.take(50_000));
        let (at, most) = (a.as_ptr(), a.capacity() + b.capacity());
        workspace.put(a);
        let c = workspace.take(90_000);
        assert_eq!(c.as_ptr(), at, "the freed buffer fits");
        workspace.put(c);
        workspace.put(b);
        // Nothing kept fits this one: the oldest must go before it is made.
        let d = workspace.take(120_000);
        assert!(workspace.kept + d.capacity() <= most, "{} kept", workspace.kept);
        assert_eq!(workspace.lent, d.capacity());
    }

    #[test]
    fn a_copy_is_one_in_a_used_buffer_too() {
        let mut used = Buffer::<u32>::uninit(2 * SMALL);
        used.fill(7);
        drop(used);
        for len in [2, 2 * SMALL] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(*Buffer::copy_of(&values), values);
        }
    }
}
