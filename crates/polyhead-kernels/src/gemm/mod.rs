//! Matrix products, `C = A B`, with the work split over parts of C whose size depends on the shapes alone.
//!
//! ```text
//! PackedB, ViewA (what tiles read) -> product (who makes what) -> Tile (sums in registers) -> Epilogue (what becomes of C)
//! ```
//!
//! One code for f32 and for pairs of bf16 numbers ([`PackedElement`]), and for every instruction set (`tile.rs`). A kept library
//! (`gemm`) would do f32, but packs B again in every call, which costs a single sentence more than its products do, and
//! knows neither bf16 on x86 nor epilogues.
//!
//! What becomes of C is up to an [`Epilogue`]: it gets the parts of C while they are in the processor's cache, so that a bias,
//! an activation or a whole LayerNorm costs no pass over memory of its own.

#[cfg(target_arch = "x86_64")]
mod amx;
mod arguments;
mod dispatch;
mod element;
mod epilogue;
mod int8;
mod isa;
mod matrix;
mod packed;
mod prefetch;
mod product;
mod sums;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use arguments::AccumulatorInit;
pub(crate) use dispatch::MicroKernel;
pub(crate) use element::PackedElement;
pub(crate) use epilogue::{Epilogue, Part, Place, Store};
pub(crate) use int8::{Int8Panels, Int8Rows, product_int8};
use isa::Isa;
pub use isa::Precision;
pub(crate) use matrix::{Matrix, StoreMatrix, Values, Writer};
pub(crate) use packed::{PackedA, PackedB, ViewA};
pub(crate) use product::{Section, product, product_into, section_into};
pub(crate) use sums::{add_to, column_sums, sum_rows};

/// Rows of a tile on this processor: products of a multiple of it waste nothing.
pub(crate) fn tile_rows<T: PackedElement>() -> usize {
    Isa::here(T::PRECISION).rows()
}

/// The best instruction set for products on this processor: `amx_bf16`, `avx512_bf16`, `avx512`, `avx2` or `portable`.
pub fn instructions() -> &'static str {
    Isa::here(Precision::Bf16).name()
}

/// The instruction sets that products are written for on processors of this kind.
#[derive(Debug, Clone)]
pub struct InstructionSets {
    /// Those that this processor has, the best first. Tests run on all of them.
    pub here: Vec<&'static str>,
    /// Those that it has not. Their code does not run here, nor do the tests of it.
    pub missing: Vec<&'static str>,
}

/// The instruction sets that this processor has, and those that it has not.
pub fn instruction_sets() -> InstructionSets {
    let all = Isa::all(Precision::Bf16);
    let (here, missing): (Vec<Isa>, _) = Isa::EVERY.iter().partition(|isa| all.contains(isa));
    let names = |sets: Vec<Isa>| sets.into_iter().map(Isa::name).collect();
    InstructionSets { here: names(here), missing: names(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;
    use std::ops::Range;

    /// `[m, n, k]`: edges of tiles, of panels, of tasks, of blocks of k; odd lengths; as many rows as make tasks of whole
    /// rows.
    const SHAPES: [[usize; 3]; 10] = [
        [1, 1, 1],
        [3, 5, 7],
        [1, 200, 33],
        [200, 1, 33],
        [130, 70, 64],
        [8, 48, 96],
        [205, 98, 131],
        [600, 50, 20],
        [70, 300, 20],
        [9, 30, 700],
    ];

    fn normal(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|i| Key::seed(seed).normal(i) as f32).collect()
    }

    fn transpose(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|c| (0..rows).map(move |r| x[r * columns + c])).collect()
    }

    /// Three loops in f64, over factors that are changed first.
    fn reference([m, n, k]: [usize; 3], a: &[f32], b: &[f32], change: fn(f32) -> f32) -> Vec<f32> {
        let product = |i: usize, j: usize, p: usize| f64::from(change(a[i * k + p])) * f64::from(change(b[p * n + j]));
        (0..m * n).map(|at| (0..k).map(|p| product(at / n, at % n, p)).sum::<f64>() as f32).collect()
    }

    fn assert_close(shape: [usize; 3], what: &str, got: &[f32], want: &[f32]) {
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-4 * (1.0 + w.abs()), "{shape:?} {what}: {g} for {w}");
        }
        assert_eq!(got.len(), want.len());
    }

    /// The rows of a matrix `[.., columns]` in elements.
    fn elements<T: MicroKernel>(values: &[f32], columns: usize) -> Vec<T> {
        let mut all = Vec::new();
        for row in values.chunks_exact(columns) {
            let mut elements = vec![T::default(); T::count(columns)];
            T::along(&mut elements, row);
            all.extend(elements);
        }
        all
    }

    /// C of every form of both factors and every way out, on one instruction set: all are to have the same bits.
    fn product_in_every_form<T: MicroKernel>(shape: [usize; 3], isa: Isa) -> Vec<f32> {
        let [m, n, k] = shape;
        let (a, b, bias) = (normal(1, m * k), normal(2, k * n), normal(3, n));
        let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
        let (a_elements, at_elements) = (elements::<T>(&a, k), elements::<T>(&at, m));
        let (b_elements, bt_elements) = (elements::<T>(&b, n), elements::<T>(&bt, k));
        let turned = PackedA::transposed_for(&at_elements, k, 0..m, T::count(m), isa);
        let mut across = vec![T::default(); T::count(k) * m];
        for (across, rows) in across.chunks_exact_mut(m).zip(at.chunks(m * T::DEPTH)) {
            let (first, second) = rows.split_at(m);
            T::across(across, first, (second.len() == m).then_some(second));
        }
        let (columns, rows): (Vec<&[f32]>, Vec<&[f32]>) = (bt.chunks(k).collect(), b.chunks(n).collect());
        let rights = [
            PackedB::along_for(&columns, isa),
            PackedB::across_for(&rows, isa),
            PackedB::along_elements_for(&bt_elements, n, k, T::count(k), isa),
            PackedB::across_elements_for(&b_elements, k, n, T::count(n), isa),
        ];
        let mut first: Option<Vec<f32>> = None;
        for left in [ViewA::plain(&a_elements, m, T::count(k)), turned.left(), ViewA::across(&across, m, m)] {
            for right in &rights {
                let mut c = vec![f32::NAN; m * n];
                product(left, right, &Store::new(&mut c, n));
                let want = first.get_or_insert_with(|| c.clone());
                assert!(c == *want, "{shape:?} on {isa:?}: the bits depend on the form of the factors");
                let mut parts = Matrix::uninit(Precision::F32, m, n);
                product(left, right, &StoreMatrix { writer: parts.writer(), bias: None });
                let Values::F32(parts) = &parts.values else { panic!("not in f32") };
                assert!(parts[..] == want[..], "{shape:?} on {isa:?}: the bits depend on the epilogue");
                // SAFETY: c holds m rows of n.
                unsafe { product_into(left, right, AccumulatorInit::Zeros, c.as_mut_ptr(), n) };
                assert!(c == *want, "{shape:?} on {isa:?}: the bits depend on where C goes");
                product(left, right, &Store::new(&mut c, n).adding(true));
                assert_close(shape, "added", &c, &want.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
                // SAFETY: c holds m rows of n.
                unsafe { product_into(left, right, AccumulatorInit::There, c.as_mut_ptr(), n) };
                assert_close(shape, "added there", &c, &want.iter().map(|x| 3.0 * x).collect::<Vec<_>>());
                product(left, right, &Store::new(&mut c, n).with_bias(Some(&bias)));
                let unbiased: Vec<f32> = c.iter().enumerate().map(|(i, x)| x - bias[i % n]).collect();
                assert_close(shape, "biased", &unbiased, want);
            }
        }
        first.unwrap()
    }

    fn every_instruction_set_gives_the_same_bits_and_they_are_right<T: MicroKernel>(change: fn(f32) -> f32) {
        for shape in SHAPES {
            let [m, n, k] = shape;
            let want = reference(shape, &normal(1, m * k), &normal(2, k * n), change);
            let all = Isa::tested(T::PRECISION).into_iter().map(|isa| (isa, product_in_every_form::<T>(shape, isa)));
            let all: Vec<_> = all.inspect(|(_, c)| assert_close(shape, "product", c, &want)).collect();
            // The matrix unit adds in an order of its own.
            let alike: Vec<_> = all.iter().filter(|(isa, _)| !isa.takes_rows()).collect();
            for (isa, c) in &alike {
                assert!(*c == alike[0].1, "{shape:?}: {isa:?} differs from {:?}", alike[0].0);
            }
        }
    }

    #[test]
    fn products_in_f32_are_those_of_three_loops_on_every_instruction_set() {
        every_instruction_set_gives_the_same_bits_and_they_are_right::<f32>(|x| x);
    }

    /// Rounded to bf16 (ties to even) a product of two numbers is exact in f32, so the tolerance is that of f32 sums.
    #[test]
    fn products_in_bf16_are_those_of_rounded_factors_on_every_instruction_set() {
        every_instruction_set_gives_the_same_bits_and_they_are_right::<u32>(|x| {
            f32::from_bits((x.to_bits() + 0x7fff + (x.to_bits() >> 16 & 1)) & 0xffff_0000)
        });
    }

    /// What a host's library on the same thread may do to the unit's registers between two products.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_library_that_takes_or_releases_the_matrix_unit_between_products_changes_nothing() {
        use super::amx::{Emulated, Instructions};
        let shape = [33, 50, 40];
        let want = product_in_every_form::<u32>(shape, Isa::AmxEmulated);
        for change in [Emulated::release, Emulated::take_for_something_else] {
            // In this thread, whose registers they are.
            change();
            let [m, n, k] = shape;
            let (a, b) = (elements::<u32>(&normal(1, m * k), k), normal(2, k * n));
            let right = PackedB::across_for(&b.chunks(n).collect::<Vec<_>>(), Isa::AmxEmulated);
            let mut c = vec![f32::NAN; m * n];
            // SAFETY: c holds m rows of n.
            unsafe {
                product_into(
                    ViewA::plain(&a, m, <u32 as PackedElement>::count(k)),
                    &right,
                    AccumulatorInit::Zeros,
                    c.as_mut_ptr(),
                    n,
                )
            };
            assert!(c == want);
        }
        if Isa::all(Precision::Bf16).contains(&Isa::Amx) {
            let [m, n, k] = shape;
            let (a, b) = (elements::<u32>(&normal(1, m * k), k), normal(2, k * n));
            let right = PackedB::across_for(&b.chunks(n).collect::<Vec<_>>(), Isa::Amx);
            for _ in 0..2 {
                let mut c = vec![f32::NAN; m * n];
                // SAFETY: c holds m rows of n; the unit is there.
                unsafe {
                    product_into(
                        ViewA::plain(&a, m, <u32 as PackedElement>::count(k)),
                        &right,
                        AccumulatorInit::Zeros,
                        c.as_mut_ptr(),
                        n,
                    );
                    Instructions::release();
                }
                assert!(c == want, "the unit differs from its emulation");
            }
        }
    }

    fn every_row_ends_once_after_all_its_columns<T: MicroKernel>() {
        use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        struct Count(Vec<AtomicUsize>, Vec<AtomicUsize>, usize);
        impl Epilogue for Count {
            fn part(&self, mut part: Part<'_>) {
                let columns = part.columns;
                part.each_row().for_each(|(row, _)| _ = self.0[row].fetch_add(columns, Relaxed));
            }
            fn rows(&self, rows: Range<usize>) {
                for row in rows {
                    assert_eq!(self.0[row].load(Relaxed), self.2, "row {row} ended early");
                    self.1[row].fetch_add(1, Relaxed);
                }
            }
        }
        for [m, n, k] in SHAPES {
            let (a, b) = (elements::<T>(&normal(1, m * k), k), normal(2, k * n));
            let zeros = || (0..m).map(|_| AtomicUsize::new(0)).collect();
            let epilogue = Count(zeros(), zeros(), n);
            let panels = PackedB::across(&b.chunks(n).collect::<Vec<_>>());
            product(ViewA::plain(&a, m, T::count(k)), &panels, &epilogue);
            assert!(epilogue.1.iter().all(|count| count.load(Relaxed) == 1), "{m} x {n}");
        }
    }

    #[test]
    fn every_row_of_a_product_ends_once_after_all_its_columns() {
        every_row_ends_once_after_all_its_columns::<f32>();
        every_row_ends_once_after_all_its_columns::<u32>();
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        fn product_of<T: MicroKernel>(a: &[f32], b: &[f32]) -> Vec<f32> {
            let mut c = vec![0.0; 700 * 210];
            let panels = PackedB::across(&b.chunks(210).collect::<Vec<_>>());
            product(ViewA::plain(&elements::<T>(a, 170), 700, T::count(170)), &panels, &Store::new(&mut c, 210));
            c
        }
        let (a, b) = (normal(1, 700 * 170), normal(2, 170 * 210));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let c = product_of::<f32>(&a, &b);
                (
                    sum_rows(700, 210, |row, sums| add_to(sums, &c[row * 210..(row + 1) * 210])),
                    c,
                    product_of::<u32>(&a, &b),
                )
            })
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{threads} threads differ from one");
        }
    }
}
