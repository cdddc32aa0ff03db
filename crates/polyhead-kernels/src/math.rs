//! Elementary functions in a form that the compiler vectorises: no branches, no calls, no table.
//!
//! `simd!` compiles a loop over them once for each instruction set and picks one at run time. Fused multiply-adds are
//! written as such, so every instruction set gives the same bits; one without them computes them slowly.

/// Compiles a function for AVX-512, AVX2 and the baseline, and calls the best that the processor has.
macro_rules! simd {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        // One number or slice each: a struct for them would only rename the arguments.
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn portable($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                match $crate::math::instructions() {
                    // SAFETY: the processor has these instructions, as detected.
                    $crate::math::Instructions::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::math::Instructions::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::math::Instructions::Baseline => {}
                }
            }
            portable($($arg),*)
        }
    };
}
pub(crate) use simd;

/// What `simd!` chooses from.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Instructions {
    Baseline,
    Avx2,
    Avx512,
}

/// What `simd!` uses now.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn instructions() -> Instructions {
    #[cfg(test)]
    if let Some(chosen) = crate::testing::chosen_instructions() {
        return chosen;
    }
    detected()
}

/// The best of what this processor has.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn detected() -> Instructions {
    static DETECTED: std::sync::LazyLock<Instructions> = std::sync::LazyLock::new(|| {
        let fused = is_x86_feature_detected!("fma");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        match (fused, wide, is_x86_feature_detected!("avx2")) {
            (true, true, _) => Instructions::Avx512,
            (true, false, true) => Instructions::Avx2,
            _ => Instructions::Baseline,
        }
    });
    *DETECTED
}

/// `e^x` within 2 units in the last place; 0 below -87.3, infinite nowhere (the argument is held to 88).
///
/// An exact 0, not the smallest normal number: products with that are denormal, and each takes the processor as long as hundreds of others.
///
/// Cody and Waite's reduction to `|r| <= ln 2 / 2` and a polynomial of degree 6.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    let vanishes = x < LOWEST;
    let x = x.clamp(LOWEST, 88.0);
    // Rounds to the nearest integer by adding and taking away 1.5 * 2^23.
    let shifter = 12_582_912.0_f32;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, shifter);
    let n = shifted - shifter;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // The integer stands in the lowest bits of what was shifted: from there it goes to the exponent.
    let y = p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if vanishes { 0.0 } else { y }
}

/// The error function, within 4e-7 absolute.
///
/// A rational approximation of `erf(x) / x` in `x^2` on `|x| <= 4` (the form used by Eigen and XLA), beyond which f32
/// rounds to 1.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let p = -2.726_142e-10_f32;
    let p = p.mul_add(s, 2.770_681_6e-8);
    let p = p.mul_add(s, -2.101_024_1e-6);
    let p = p.mul_add(s, -5.692_506_4e-5);
    let p = p.mul_add(s, -7.349_906_3e-4);
    let p = p.mul_add(s, -2.954_600_1e-3);
    let p = p.mul_add(s, -1.609_603_3e-2);
    let q = -1.456_607_2e-5_f32;
    let q = q.mul_add(s, -2.133_740_3e-4);
    let q = q.mul_add(s, -1.682_827e-3);
    let q = q.mul_add(s, -7.373_329e-3);
    let q = q.mul_add(s, -1.426_473_9e-2);
    x * p / q
}

/// The sum of a slice, in sixteen lanes and a fixed order.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    fold(x, 0.0, |a, b| a + b)
}

/// The dot product of two slices of one length, in sixteen lanes and a fixed order.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (mut xs, mut ys) = (x.chunks_exact(16), y.chunks_exact(16));
    for (a, b) in (&mut xs).zip(&mut ys) {
        for i in 0..16 {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    let tail: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + tail
}

/// The largest value of a slice; minus infinity for none.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    fold(x, f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
}

#[inline(always)]
fn fold(x: &[f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 16];
    let mut chunks = x.chunks_exact(16);
    for chunk in &mut chunks {
        for i in 0..16 {
            lanes[i] = f(lanes[i], chunk[i]);
        }
    }
    let tail = chunks.remainder().iter().fold(start, |a, &b| f(a, b));
    f(lanes.iter().fold(start, |a, &b| f(a, b)), tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in -80_000..80_000 {
            let x = i as f32 * 1e-3;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 2.5e-7, "exp({x}): relative error {error}");
        }
        for x in [-87.4, -1000.0, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "exp({x})");
        }
    }

    #[test]
    fn erf_matches_its_series() {
        // erf by its Taylor series in f64, exact to 1e-15 on |x| <= 4.
        let series = |x: f64| {
            let (mut term, mut total) = (x, x);
            for n in 1..200 {
                term *= -x * x / n as f64;
                total += term / (2 * n + 1) as f64;
            }
            total * 2.0 / std::f64::consts::PI.sqrt()
        };
        for i in -4000..=4000 {
            let x = i as f32 * 1e-3;
            let error = (f64::from(erf(x)) - series(f64::from(x))).abs();
            assert!(error < 4e-7, "erf({x}): error {error}");
        }
        assert!((erf(30.0) - 1.0).abs() < 1e-6 && (erf(-30.0) + 1.0).abs() < 1e-6);
    }

    #[test]
    fn reductions_cover_head_and_tail() {
        let x: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(sum(&x), 666.0);
        assert_eq!(dot(&x, &x), 16206.0);
        assert_eq!(max(&x), 36.0);
    }

    simd! {
        fn functions(x: &mut [f32], y: &[f32]) -> [f32; 3] {
            let reduced = [sum(x), dot(x, y), max(x)];
            for x in x.iter_mut() {
                *x = exp(*x) + erf(*x);
            }
            reduced
        }
    }

    #[test]
    fn functions_and_reductions_have_the_same_bits_on_every_instruction_set() {
        crate::testing::assert_same_on_every_instruction_set(|| {
            let mut all = Vec::new();
            for count in [1, 15, 16, 17, 1000] {
                let of = |seed: u64| (0..count).map(move |i| 3.0 * crate::rng::Key::seed(seed).normal(i) as f32);
                let (mut x, y): (Vec<f32>, Vec<f32>) = (of(1).collect(), of(2).collect());
                all.extend(functions(&mut x, &y));
                all.extend(x);
            }
            all
        });
    }
}
