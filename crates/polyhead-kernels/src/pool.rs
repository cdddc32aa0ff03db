//! The threads that share the loops of a pass.
//!
//! ```text
//! training, all else    rayon's pool
//! a pass that answers   the same number of threads of a team, held awake from its beginning to its end
//! ```
//!
//! A pass over a sentence is some sixty loops of ten microseconds, with serial stretches between them. Workers of a pool that runs out
//! of work fall asleep in these, and waking one takes as long as several loops. A team's helpers wait for the next loop without
//! sleeping. One pass at a time has the team; others, and all that is not written with [`for_each`], use the pool.
//!
//! Which thread takes which index changes no result: what an index stands for depends on shapes alone.

use crate::storage::Parts;
use rayon::prelude::*;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// Runs `f` on a thread of the pool: a parallel loop that starts there needs no thread to be woken first.
pub fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// The same of a pass that answers: its loops have a team, if that is free.
pub fn in_team<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    in_pool(|| {
        let _held = Team::hold();
        f()
    })
}

/// Calls `run` with each index below `count`, in parallel.
pub(crate) fn for_each(count: usize, run: impl Fn(usize) + Sync) {
    for_each_init(count, || (), |(), index| run(index));
}

/// Calls `run` with each index below `count`, in parallel, of which a thread takes so many at a time.
pub(crate) fn for_each_of(count: usize, together: usize, run: impl Fn(usize) + Sync) {
    for_each_of_init(count, together, || (), |(), index| run(index));
}

/// The same with something that each thread makes for itself first.
pub(crate) fn for_each_of_init<S>(
    count: usize,
    together: usize,
    init: impl Fn() -> S + Sync,
    run: impl Fn(&mut S, usize) + Sync,
) {
    let together = together.max(1);
    for_each_init(count.div_ceil(together), init, |own, part| {
        (part * together..count.min((part + 1) * together)).for_each(|index| run(own, index));
    });
}

/// Calls `run` with each part of a slice and its index, in parallel: parts of this size, the last one perhaps shorter, of which a thread
/// takes so many at a time.
pub(crate) fn for_each_chunk<T: Send>(
    all: &mut [T],
    size: usize,
    together: usize,
    run: impl Fn(usize, &mut [T]) + Sync,
) {
    let (count, size) = (all.len(), size.max(1));
    let parts = Parts::new(all);
    for_each_of(count.div_ceil(size), together, |index| {
        let start = index * size;
        // SAFETY: no two parts overlap, and each comes once.
        run(index, unsafe { parts.part(start, size.min(count - start)) });
    });
}

/// Calls `run` with each index below `count`, in parallel, and with something that each thread makes for itself first.
pub(crate) fn for_each_init<S>(count: usize, init: impl Fn() -> S + Sync, run: impl Fn(&mut S, usize) + Sync) {
    let all = |next: &dyn Fn() -> usize| {
        let mut first = next();
        if first < count {
            let mut own = init();
            while first < count {
                run(&mut own, first);
                first = next();
            }
        }
    };
    match Team::held() {
        _ if count == 1 => run(&mut init(), 0),
        Some(team) => team.share(&all),
        None => (0..count).into_par_iter().for_each_init(&init, |own, index| run(own, index)),
    }
}

/// What a loop does on each thread, which gets what gives it the next index.
type Share<'a> = dyn Fn(&dyn Fn() -> usize) + Sync + 'a;

/// Threads that wait for loops while a pass is under way.
struct Team {
    /// Of the pass that has the team.
    pass: Mutex<()>,
    helpers: usize,
    /// Whether helpers are to wait for loops; else they sleep.
    awake: Mutex<bool>,
    change: Condvar,
    /// The same, read without a lock.
    is_awake: AtomicBool,
    /// The loop under way: its address, valid while `open` is not 0 and until `inside` is 0 again.
    share: UnsafeCell<Option<*const Share<'static>>>,
    /// The number of the loop that helpers may enter; 0: none.
    open: AtomicUsize,
    /// Helpers that may be in a loop.
    inside: AtomicUsize,
    next: AtomicUsize,
    panicked: AtomicBool,
    /// Loops so far.
    loops: AtomicUsize,
}

// SAFETY: `share` is written while no helper is inside and none can enter, and read by those that have entered.
unsafe impl Sync for Team {}
// SAFETY: as above.
unsafe impl Send for Team {}

thread_local! {
    /// Whether the loops of this thread are the team's.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// The team, held by a pass.
struct Held {
    team: &'static Team,
    _pass: MutexGuard<'static, ()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(false);
        self.team.set_awake(false);
    }
}

impl Team {
    /// That of the process, with a helper for each thread of rayon's pool but one; none where there is one thread alone.
    fn get() -> Option<&'static Self> {
        static TEAM: OnceLock<Option<Team>> = OnceLock::new();
        static STARTED: OnceLock<()> = OnceLock::new();
        let helpers = rayon::current_num_threads() - 1;
        let new = || Self {
            pass: Mutex::default(),
            helpers,
            awake: Mutex::new(false),
            change: Condvar::new(),
            is_awake: AtomicBool::new(false),
            share: UnsafeCell::new(None),
            open: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            loops: AtomicUsize::new(0),
        };
        // A pool of another size, as one may ask for besides that of the process, does without.
        let team = TEAM.get_or_init(|| (helpers > 0).then(new)).as_ref().filter(|team| team.helpers == helpers)?;
        STARTED.get_or_init(|| {
            for number in 0..helpers {
                let thread = std::thread::Builder::new().name(format!("helper-{number}"));
                // Without one that can't be started the others do its work.
                let _ = thread.spawn(|| team.help());
            }
        });
        Some(team)
    }

    fn hold() -> Option<Held> {
        let team = Self::get()?;
        let pass = match team.pass.try_lock() {
            Ok(pass) => pass,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        team.set_awake(true);
        HELD.set(true);
        Some(Held { team, _pass: pass })
    }

    fn held() -> Option<&'static Self> {
        if HELD.get() { Self::get() } else { None }
    }

    fn set_awake(&self, awake: bool) {
        *self.awake.lock().unwrap_or_else(PoisonError::into_inner) = awake;
        self.is_awake.store(awake, Ordering::Release);
        if awake {
            self.change.notify_all();
        }
    }

    /// Runs a loop on this thread and on all helpers that come in time.
    fn share(&self, share: &Share) {
        let number = self.loops.fetch_add(1, Ordering::Relaxed) + 1;
        // SAFETY: none is inside. The lifetime is let go; helpers have left before this returns.
        unsafe { *self.share.get() = Some(std::mem::transmute::<*const Share<'_>, *const Share<'static>>(share)) };
        self.next.store(0, Ordering::Relaxed);
        self.open.store(number, Ordering::SeqCst);
        // A loop within a loop is not the team's.
        HELD.set(false);
        let own = catch_unwind(AssertUnwindSafe(|| share(&|| self.next.fetch_add(1, Ordering::Relaxed))));
        self.open.store(0, Ordering::SeqCst);
        let mut turns = 0;
        while self.inside.load(Ordering::SeqCst) > 0 {
            pause(&mut turns);
        }
        HELD.set(true);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!self.panicked.swap(false, Ordering::SeqCst), "a thread of a parallel loop panicked");
    }

    /// What a helper does all its life.
    fn help(&self) {
        let mut done = 0;
        loop {
            let mut awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
            while !*awake {
                awake = self.change.wait(awake).unwrap_or_else(PoisonError::into_inner);
            }
            drop(awake);
            let mut turns = 0;
            while self.is_awake.load(Ordering::Acquire) {
                let open = self.open.load(Ordering::Relaxed);
                if open == 0 || open == done {
                    pause(&mut turns);
                    continue;
                }
                turns = 0;
                self.inside.fetch_add(1, Ordering::SeqCst);
                // Either the loop is still open, or whoever closed it sees this helper inside.
                let open = self.open.load(Ordering::SeqCst);
                // SAFETY: while it is inside an open loop, the loop is there.
                if let (true, Some(share)) = (open != 0, unsafe { *self.share.get() }) {
                    // SAFETY: as above.
                    let share = unsafe { &*share };
                    let next = || self.next.fetch_add(1, Ordering::Relaxed);
                    if catch_unwind(AssertUnwindSafe(|| share(&next))).is_err() {
                        self.panicked.store(true, Ordering::SeqCst);
                    }
                    done = open;
                }
                self.inside.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

/// Waits a moment; now and then another process gets the processor.
fn pause(turns: &mut usize) {
    *turns += 1;
    match turns.is_multiple_of(64) {
        true => std::thread::yield_now(),
        false => (0..8).for_each(|_| std::hint::spin_loop()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// In a pool of so many threads.
    fn pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    fn counted(count: usize) -> Vec<usize> {
        let times: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        for_each(count, |index| _ = times[index].fetch_add(1, Ordering::Relaxed));
        times.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_index_comes_once_in_passes_that_run_at_the_same_time() {
        // Only one of them has the team; pools of other sizes never do.
        std::thread::scope(|scope| {
            for threads in [1, 2, 2, 3] {
                scope.spawn(move || {
                    pool(threads, || {
                        for count in (0..200).chain([5000]) {
                            assert_eq!(in_team(|| counted(count)), vec![1; count], "{threads} threads");
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn a_loop_within_a_loop_runs_whole() {
        let inner = AtomicUsize::new(0);
        let outer = || for_each(20, |_| for_each(30, |_| _ = inner.fetch_add(1, Ordering::Relaxed)));
        pool(2, || in_team(outer));
        assert_eq!(inner.into_inner(), 600);
    }

    #[test]
    fn a_panic_in_a_loop_comes_to_the_pass_and_the_next_pass_runs() {
        for _ in 0..20 {
            let failing = |index: usize| {
                std::thread::sleep(Duration::from_micros(10));
                assert!(index != 17, "at 17");
            };
            let caught = catch_unwind(AssertUnwindSafe(|| pool(2, || in_team(|| for_each(40, failing)))));
            assert!(caught.is_err());
            assert_eq!(pool(2, || in_team(|| counted(100))), vec![1; 100]);
        }
    }

    /// Where another test has the team, the work is rayon's, which makes it for each piece that it hands out.
    #[test]
    fn each_thread_makes_what_it_needs_once() {
        let made = || {
            let (made, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let init = || made.fetch_add(1, Ordering::Relaxed);
            pool(2, || in_team(|| for_each_init(1000, init, |_, index| _ = sum.fetch_add(index, Ordering::Relaxed))));
            assert_eq!(sum.into_inner(), 499_500);
            made.into_inner()
        };
        assert!((0..50).any(|_| (1..=2).contains(&made())));
    }
}
