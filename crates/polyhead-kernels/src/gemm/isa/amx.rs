//! Whether the matrix unit of Intel's processors (AMX) is there and may be used.

/// Whether the processor has the unit and the kernel lets this process use it.
pub(super) fn available() -> bool {
    has_unit() && is_permitted()
}

/// What CPUID says: AMX-TILE and AMX-BF16, and that the kernel saves their state.
fn has_unit() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// # Safety
    /// The processor must have XSAVE, and the kernel must use it.
    #[target_feature(enable = "xsave")]
    unsafe fn saved() -> u64 {
        // SAFETY: the caller's promise.
        unsafe { _xgetbv(0) }
    }

    const OSXSAVE: u32 = 1 << 27;
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const STATE: u64 = 1 << 17 | 1 << 18;
    __cpuid(0).eax >= 7
        && __cpuid(1).ecx & OSXSAVE != 0
        && __cpuid_count(7, 0).edx & BF16_AND_TILE == BF16_AND_TILE
        // SAFETY: OSXSAVE says both.
        && unsafe { saved() } & STATE == STATE
}

/// Asks for the large state of the registers, which Linux gives only to processes that ask for it.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: a request that changes nothing but what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}
