//! Hints that a line of memory will be read. Any address will do: what is not there is not fetched.

/// Into the first cache.
#[inline(always)]
pub(super) fn fetch_near<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that every such processor has, and which never fails.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Into the second cache.
#[inline(always)]
pub(super) fn fetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
