//! Instruction sets that products are written for: which this processor has, and the shape of a tile in each.

#[cfg(target_arch = "x86_64")]
mod amx;

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// What products are computed in. Sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Factors rounded to bf16. Where the processor does not multiply it natively this is slower than f32, but gives the
    /// same numbers.
    Bf16,
}

impl Precision {
    /// `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// bf16 where the processor multiplies it faster than f32: see [`Isa::gains_by_bf16`].
    pub fn auto() -> Self {
        if Isa::here(Self::Bf16).gains_by_bf16() { Self::Bf16 } else { Self::F32 }
    }
}

/// Whether the processor calls itself one of AMD's, or one made by Hygon after theirs.
#[cfg(target_arch = "x86_64")]
fn is_of_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat();
    name == b"AuthenticAMD" || name == b"HygonGenuine"
}

/// Rows of a tile. AVX-512 has 32 registers, of which 24 are sums; AVX2 has 16, of which 12 are; AMX makes two of its registers
/// at a time; in plain Rust, as many sums as there are registers for.
#[cfg(target_arch = "x86_64")]
pub(super) const ROWS_AMX: usize = 32;
#[cfg(target_arch = "x86_64")]
pub(super) const ROWS_512: usize = 8;
#[cfg(target_arch = "x86_64")]
pub(super) const ROWS_256: usize = 6;
pub(super) const ROWS_PORTABLE: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };

/// An instruction set that products are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// The matrix unit, which multiplies pairs alone. It never comes without AVX-512 BF16.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// The same code with the unit in plain Rust, for tests where there is no unit.
    #[cfg(all(test, target_arch = "x86_64"))]
    AmxEmulated,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Four lanes in plain Rust. On 64-bit Arm the compiler makes NEON of it, fused multiply-adds included.
    Portable,
}

impl Isa {
    /// All that this processor multiplies numbers of this precision with, the best first.
    pub(crate) fn all(precision: Precision) -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(not(target_arch = "x86_64"))]
        let _ = precision;
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            let pairs = wide && is_x86_feature_detected!("avx512bf16");
            let candidates = [
                (Self::Amx, precision == Precision::Bf16 && pairs && amx::available()),
                (Self::Avx512Bf16, pairs),
                (Self::Avx512, wide),
                (Self::Avx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
            ];
            all.extend(candidates.into_iter().filter_map(|(isa, here)| here.then_some(isa)));
        }
        all.push(Self::Portable);
        all
    }

    /// All that there are on processors of this kind, the best first.
    pub(crate) const EVERY: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Amx,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Bf16,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        Self::Portable,
    ];

    /// All that the tests can run on this processor: the matrix unit's code in any case.
    #[cfg(test)]
    pub(crate) fn tested(precision: Precision) -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut all = Self::all(precision);
        #[cfg(target_arch = "x86_64")]
        if precision == Precision::Bf16 {
            all.push(Self::AmxEmulated);
        }
        all
    }

    /// The best that this processor multiplies numbers of this precision with.
    pub(crate) fn here(precision: Precision) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            static F32: LazyLock<Isa> = LazyLock::new(|| Isa::all(Precision::F32)[0]);
            static PAIRS: LazyLock<Isa> = LazyLock::new(|| Isa::all(Precision::Bf16)[0]);
            if precision == Precision::Bf16 { *PAIRS } else { *F32 }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = precision;
            Self::Portable
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx_bf16",
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => "amx_bf16, emulated",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "avx512_bf16",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Whether it multiplies bf16 in one instruction. Without, pairs are widened: right, but no faster than f32.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn multiplies_bf16(self) -> bool {
        matches!(self, Self::Amx | Self::Avx512Bf16)
    }

    /// Whether bf16 is faster than f32 with it. Intel's processors begin as many AVX-512 BF16 instructions a cycle as one of their
    /// two units for f32 can, which leaves nothing for the conversion of the factors; AMD's begin twice as many.
    fn gains_by_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Amx => true,
            Self::Avx512Bf16 => is_of_amd(),
            _ => false,
        };
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether a left factor must lie row by row.
    pub(crate) fn takes_rows(self) -> bool {
        #[cfg(all(test, target_arch = "x86_64"))]
        if self == Self::AmxEmulated {
            return true;
        }
        #[cfg(target_arch = "x86_64")]
        return self == Self::Amx;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Rows of a tile: with the registers across, as many sums as there are registers for.
    pub(crate) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => ROWS_AMX,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => ROWS_AMX,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 | Self::Avx512 => ROWS_512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => ROWS_256,
            Self::Portable => ROWS_PORTABLE,
        }
    }

    /// Registers across a tile at most.
    pub(crate) fn across(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => 3,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => 3,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 2,
            Self::Portable if cfg!(target_arch = "aarch64") => 3,
            Self::Portable => 2,
        }
    }

    /// Numbers that a register holds.
    pub(crate) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => 16,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::AmxEmulated => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            Self::Portable => 4,
        }
    }
}
