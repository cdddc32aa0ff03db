//! Low-rank additions to linear layers (LoRA; Hu et al., arXiv:2106.09685), in the same product as the layer.
//!
//! ```text
//! y = x Wᵀ + s (m x) Aᵀ Bᵀ + b = [x  t] [W  s B]ᵀ + b      t = (m x) Aᵀ      A [rank, in], B [out, rank], m dropout's mask
//! dt = s dy B    dB = s dyᵀ t    dA = dtᵀ (m x)    dx = dy W + m (dt A)
//! ```
//!
//! The input is widened by t, and the weights by s B: what becomes of the product (a GELU, a LayerNorm) is then the same with
//! and without an addition. Where several layers lie side by side, each one's t meets zeros in the rows of the others.
//!
//! ```text
//! rows of task 0   [x  t0   0]
//! rows of task 1   [x   0  t1] [W  s B0  s B1]ᵀ
//! ```
//!
//! An addition may be private to a task. Each of those that a batch has rows of takes columns of its own, zeros in the rows of others: one
//! product serves them all. A row of t is made, and sent back, by the addition of its task alone.

use super::{Keep, Linear, Part};
use crate::dropout::{Dropout, masked};
use crate::gemm::{
    Matrix, MicroKernel, PackedA, PackedB, PackedElement, Precision, Store, Values, ViewA, add_to, product,
};
use crate::pass::{DropoutAt, Setting, Tasks};
use crate::tape::GradientBuffers;
use crate::value::{Kind, Node, Remake, Rows};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::Result;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// What is added to a linear layer: `scale · dropout(x) Aᵀ Bᵀ`.
#[derive(Clone)]
pub struct LowRank {
    /// `[rank, in]`
    pub a: Weight,
    /// `[out, rank]`
    pub b: Weight,
    /// Usually α / rank.
    pub scale: f32,
    /// Dropout of its input alone.
    pub dropout: DropoutAt,
    /// Of whose rows it is; `None`: of all.
    pub task: Option<usize>,
}

/// An addition in a product: of which part, and which of that part's additions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    part: usize,
    addition: usize,
}

/// Which rows of a batch an addition has; `None` where the batch has none of its task.
pub(super) fn runs(
    task: Option<usize>,
    tasks: &Tasks,
    rows_of: Rows,
    rows: usize,
) -> Result<Option<Vec<Range<usize>>>> {
    let all = Some(std::iter::once(0..rows).collect());
    let Some(task) = task else { return Ok(all) };
    match tasks {
        Tasks::None => {
            candle_core::bail!("an addition that is private to a task, in a batch that is of none")
        }
        Tasks::One(of) => Ok(all.filter(|_| *of == task)),
        Tasks::Several(tasks) => {
            let Some(of) = tasks.iter().find(|of| of.task == task) else { return Ok(None) };
            if rows_of != Rows::Tokens {
                candle_core::bail!("an addition that is private to a task, to rows that are {rows_of:?} of several")
            }
            let chunks = of.rows.chunk_by(|one, next| one + 1 == *next);
            let run = |chunk: &[u32]| Some(*chunk.first()? as usize..*chunk.last()? as usize + 1);
            let runs: Vec<Range<usize>> = chunks.filter_map(run).collect();
            match runs.iter().find(|run| run.end > rows) {
                Some(run) => candle_core::bail!("row {} of a batch of {rows}", run.end - 1),
                None => Ok(Some(runs)),
            }
        }
    }
}

impl LowRank {
    fn rank(&self) -> usize {
        self.a.dims().first().copied().unwrap_or(0)
    }

    /// Columns that it takes in a widened input: even, as bf16 numbers stand in pairs.
    fn columns(&self) -> usize {
        self.rank().next_multiple_of(2)
    }

    pub(super) fn is_trained(&self) -> bool {
        self.a.is_trained() || self.b.is_trained()
    }

    pub(super) fn fits(&self, outer: usize, inner: usize) -> bool {
        // An odd width would put t in the middle of a pair.
        *self.a.dims() == [self.rank(), inner] && *self.b.dims() == [outer, self.rank()] && inner.is_multiple_of(2)
    }
}

/// The input of a layer as its product reads it, and what the backward pass needs of its additions.
pub(crate) struct Operand {
    /// None once the forward pass is over, where no weight is trained (it was only for dW) or where it is made again.
    matrix: Option<Arc<Matrix>>,
    /// How it is made again, in which precision.
    remake: Option<(Remake, Precision)>,
    /// Those whose columns it has.
    pub(super) slots: Vec<Slot>,
    additions: Vec<Addition>,
    /// Whether the panels that it is multiplied with are of use afterwards.
    pub(super) keep: Keep,
}

/// An addition, and what it made of neighbouring rows.
struct Addition {
    slot: Slot,
    rows: Range<usize>,
    mask: Option<Dropout>,
    /// `m x`, of all rows.
    input: Arc<Matrix>,
    /// `[its rows, rank]`
    t: Matrix,
}

impl Operand {
    pub(crate) fn matrix(&self) -> Result<&Matrix> {
        match &self.matrix {
            Some(matrix) => Ok(matrix),
            None => candle_core::bail!("linear: the input is gone"),
        }
    }
}

impl Linear {
    /// The addition at a place.
    pub(super) fn at(&self, slot: Slot) -> Result<&LowRank> {
        match self.parts.get(slot.part).and_then(|part| part.low_rank.get(slot.addition)) {
            Some(low_rank) => Ok(low_rank),
            None => candle_core::bail!("linear: an addition to a layer that has none"),
        }
    }

    /// The columns of its input, widened by those of additions.
    pub(super) fn width(&self, slots: &[Slot]) -> usize {
        self.inner + slots.iter().map(|slot| self.at(*slot).map_or(0, LowRank::columns)).sum::<usize>()
    }

    /// `[W  s B]` of all parts.
    pub(super) fn extended(&self, slots: &[Slot]) -> Result<Vec<f32>> {
        let (width, added) = (self.width(slots), self.added(slots)?);
        let mut whole = vec![0.0; self.outer * width];
        let mut rows = whole.chunks_exact_mut(width).zip(added.chunks_exact(width - self.inner));
        for part in &self.parts {
            part.weight.read(|weight| {
                for (weight, (row, added)) in weight.chunks_exact(self.inner.max(1)).zip(&mut rows) {
                    let (own, end) = row.split_at_mut(self.inner);
                    own.copy_from_slice(weight);
                    end.copy_from_slice(added);
                }
                Ok(())
            })?;
        }
        Ok(whole)
    }

    /// `s B` of additions, each in its own columns and in the rows of its part.
    pub(super) fn added(&self, slots: &[Slot]) -> Result<Vec<f32>> {
        let columns = self.width(slots) - self.inner;
        let mut whole = vec![0.0; self.outer * columns];
        let mut column = 0;
        for slot in slots {
            let low_rank = self.at(*slot)?;
            let rows = whole.chunks_exact_mut(columns).skip(self.first_output(*slot));
            low_rank.b.read(|b| {
                for (row, b) in rows.zip(b.chunks_exact(low_rank.rank().max(1))) {
                    row[column..].iter_mut().zip(b).for_each(|(to, b)| *to = low_rank.scale * b);
                }
                Ok(())
            })?;
            column += low_rank.columns();
        }
        Ok(whole)
    }

    /// Where the outputs of an addition's part begin.
    fn first_output(&self, slot: Slot) -> usize {
        self.parts.iter().take(slot.part).map(Part::outputs).sum()
    }

    /// The input as the product reads it.
    pub(crate) fn operand(&self, x: Arc<Matrix>, rows_of: Rows, setting: &Setting) -> Result<Operand> {
        let keep = Keep::of(self, setting.pass.trains(), setting.recomputes);
        let (mut slots, mut additions, mut products) = (Vec::new(), Vec::new(), Vec::new());
        let (inner, mut column) = (self.inner, 0);
        // Additions with one mask, as those of all tasks to a layer have, read one input.
        let mut dropped: Option<(DropoutAt, Arc<Matrix>)> = None;
        for (low_rank, slot) in self.slots() {
            let Some(runs) = runs(low_rank.task, &setting.inputs.tasks, rows_of, x.rows)? else { continue };
            if slots.is_empty() {
                self.check("input", &x, inner)?;
            }
            let mask = setting.mask(low_rank.dropout, rows_of, inner);
            let input = match &dropped {
                _ if mask.is_none() => x.clone(),
                Some((at, input)) if *at == low_rank.dropout => input.clone(),
                _ => Arc::new(rebuilt(&x, inner, |row, values| {
                    x.read(row, 0, values);
                    masked(values, mask, (row * inner) as u32);
                })),
            };
            dropped = Some((low_rank.dropout, input.clone()));
            let rank = low_rank.rank();
            for rows in runs {
                let mut t = Buffer::uninit(rows.len() * rank);
                low_rank.a.read(|a| {
                    let a: Vec<&[f32]> = a.chunks_exact(inner).collect();
                    match &input.values {
                        Values::F32(x) => times(lines(x, &rows, inner), rows.len(), &PackedB::along(&a), &mut t, false),
                        Values::Bf16(x) => {
                            times(lines(x, &rows, inner), rows.len(), &PackedB::along(&a), &mut t, false)
                        }
                    }
                    Ok(())
                })?;
                let kept = Matrix::rounded(x.precision(), rows.len(), rank, &t);
                products.push((rows.clone(), column, rank, t));
                additions.push(Addition { slot, rows, mask, input: input.clone(), t: kept });
            }
            column += low_rank.columns();
            slots.push(slot);
        }
        if slots.is_empty() {
            return Ok(Operand { matrix: Some(x), remake: None, slots, additions, keep });
        }
        let widened = rebuilt(&x, inner + column, |row, values| {
            let (own, added) = values.split_at_mut(inner);
            x.read(row, 0, own);
            added.fill(0.0);
            for (rows, column, rank, t) in products.iter().filter(|(rows, ..)| rows.contains(&row)) {
                let t = &t[(row - rows.start) * rank..][..*rank];
                added[*column..][..*rank].copy_from_slice(t);
            }
        });
        Ok(Operand { matrix: Some(Arc::new(widened)), remake: None, slots, additions, keep })
    }

    /// All additions, with their places.
    fn slots(&self) -> impl Iterator<Item = (&LowRank, Slot)> {
        self.parts.iter().enumerate().flat_map(|(part, of)| {
            of.low_rank.iter().enumerate().map(move |(addition, low_rank)| (low_rank, Slot { part, addition }))
        })
    }

    /// What the backward pass needs of an input, once the product is made; `remake` makes it again, if it can be.
    pub(crate) fn kept(&self, x: Operand, remake: Option<&Remake>) -> Operand {
        match (x.matrix.filter(|_| self.trains_a_weight()), remake) {
            // An addition holds its input.
            (Some(matrix), Some(remake)) if x.additions.is_empty() => {
                Operand { matrix: None, remake: Some((remake.clone(), matrix.precision())), ..x }
            }
            (matrix, _) => Operand { matrix, ..x },
        }
    }

    /// The backward pass of the product: from dy, and its sums over rows, to the weights and the input. `mask` is that of
    /// dropout before the layer.
    pub(crate) fn backward(
        &self,
        buffers: &mut GradientBuffers,
        input: Node,
        mask: Option<Dropout>,
        x: &Operand,
        dy: &Matrix,
        sums: &[f32],
    ) -> Result<()> {
        // A gradient that is rounded is rounded once: where the additions have their part in it, too.
        let apart = mask.is_some() || (!x.additions.is_empty() && input.kind != Kind::Hidden);
        let mut dx = match input.needs_gradient && apart {
            true => {
                let mut dx = Buffer::uninit(dy.rows * self.inner);
                self.backward_input(dy, &Store::new(&mut dx, self.inner))?;
                Some(dx)
            }
            false => {
                buffers.through(input, self, dy)?;
                None
            }
        };
        for addition in &x.additions {
            let dt = match &dy.values {
                Values::F32(elements) => self.through_b(addition, elements)?,
                Values::Bf16(elements) => self.through_b(addition, elements)?,
            };
            self.gather_addition(addition, dy, &dt)?;
            if input.needs_gradient {
                let sum = match &mut dx {
                    Some(dx) => dx,
                    None => buffers.hidden(input)?,
                };
                self.through_a(addition, &dt, sum)?;
            }
        }
        if let Some(mut dx) = dx {
            mask_rows(&mut dx, self.inner, mask, 0);
            buffers.add(input, dx)?;
        }
        match &x.remake {
            Some((remake, precision)) => self.backward_weights(dy, Some(&remake()?.in_precision(*precision)), sums),
            None => self.backward_weights(dy, x.matrix.as_deref(), sums),
        }
    }

    /// Adds `m (dt A)` to a gradient of the input, in the rows of an addition.
    fn through_a(&self, addition: &Addition, dt: &Matrix, dx: &mut Buffer<f32>) -> Result<()> {
        let (inner, rows) = (self.inner, addition.rows.len());
        let dx = &mut dx[addition.rows.start * inner..][..rows * inner];
        self.at(addition.slot)?.a.read(|a| {
            let a: Vec<&[f32]> = a.chunks_exact(inner).collect();
            let times = |dx: &mut [f32], adds| match &dt.values {
                Values::F32(dt) => times(dt, rows, &PackedB::across(&a), dx, adds),
                Values::Bf16(dt) => times(dt, rows, &PackedB::across(&a), dx, adds),
            };
            if addition.mask.is_none() {
                times(dx, true);
                return Ok(());
            }
            let mut back = Buffer::uninit(dx.len());
            times(&mut back, false);
            mask_rows(&mut back, inner, addition.mask, addition.rows.start);
            let pairs = dx.par_chunks_mut(inner).zip(back.par_chunks(inner));
            pairs.with_min_len(16).for_each(|(dx, back)| add_to(dx, back));
            Ok(())
        })
    }

    /// dt of an addition.
    fn through_b<T: MicroKernel>(&self, addition: &Addition, dy: &[T]) -> Result<Matrix> {
        let (low_rank, rows) = (self.at(addition.slot)?, addition.rows.len());
        let rank = low_rank.rank();
        let scaled = low_rank.b.read(|b| Ok(b.iter().map(|b| low_rank.scale * b).collect::<Vec<f32>>()))?;
        let scaled: Vec<&[f32]> = scaled.chunks_exact(rank.max(1)).collect();
        let mut dt = vec![0.0; rows * rank];
        let first = T::count(self.first_output(addition.slot));
        let dy = ViewA::plain(&lines(dy, &addition.rows, self.outer)[first..], rows, T::count(self.outer));
        product(dy, &PackedB::across(&scaled), &Store::new(&mut dt, rank));
        Ok(Matrix::rounded(T::PRECISION, rows, rank, &dt))
    }

    /// Sends the gradients of an addition to those of its weights that are trained.
    fn gather_addition(&self, addition: &Addition, dy: &Matrix, dt: &Matrix) -> Result<()> {
        match (&dy.values, &addition.t.values, &dt.values, &addition.input.values) {
            (Values::F32(dy), Values::F32(t), Values::F32(dt), Values::F32(input)) => {
                self.gather_factors(addition, [dy, t, dt, input])
            }
            (Values::Bf16(dy), Values::Bf16(t), Values::Bf16(dt), Values::Bf16(input)) => {
                self.gather_factors(addition, [dy, t, dt, input])
            }
            _ => candle_core::bail!("linear: an input and a gradient of different precision"),
        }
    }

    fn gather_factors<T: MicroKernel>(&self, addition: &Addition, [dy, t, dt, input]: [&[T]; 4]) -> Result<()> {
        let (low_rank, start) = (self.at(addition.slot)?, self.first_output(addition.slot));
        let (rank, inner, rows) = (low_rank.rank(), self.inner, addition.rows.len());
        let [dy, input] = [(dy, self.outer), (input, inner)].map(|(all, columns)| lines(all, &addition.rows, columns));
        let outputs = low_rank.b.count() / rank.max(1);
        if low_rank.b.is_trained() {
            let t = PackedB::across_elements(t, rows, rank, T::count(rank));
            let dy = PackedA::transposed(dy, rows, start..start + outputs, T::count(self.outer));
            let mut db = vec![0.0; outputs * rank];
            product(dy.left(), &t, &Store::new(&mut db, rank));
            db.iter_mut().for_each(|db| *db *= low_rank.scale);
            low_rank.b.add_gradient(&db)?;
        }
        if low_rank.a.is_trained() {
            let inputs = PackedB::across_elements(input, rows, inner, T::count(inner));
            low_rank.a.gather(|sum, holds| {
                let dt = PackedA::transposed(dt, rows, 0..rank, T::count(rank));
                product(dt.left(), &inputs, &Store::new(sum, inner).adding(holds));
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A matrix of so many columns, in the precision of another, whose rows `make` writes.
fn rebuilt(like: &Matrix, columns: usize, make: impl Fn(usize, &mut [f32]) + Sync) -> Matrix {
    let mut matrix = Matrix::uninit(like.precision(), like.rows, columns);
    let writer = matrix.writer();
    (0..like.rows).into_par_iter().with_min_len(16).for_each_init(
        || vec![0.0; columns],
        |values, row| {
            make(row, values);
            // SAFETY: every row is visited once.
            unsafe { writer.write(row, 0, values) };
        },
    );
    matrix
}

/// `a b`, in place of what is there or added to it.
fn times<T: MicroKernel>(a: &[T], rows: usize, b: &PackedB<T>, into: &mut [f32], adds: bool) {
    product(ViewA::plain(a, rows, b.depth), b, &Store::new(into, b.columns).adding(adds));
}

/// The elements of neighbouring rows of a matrix of so many columns, and of what lies behind them.
fn lines<'a, T: PackedElement>(elements: &'a [T], rows: &Range<usize>, columns: usize) -> &'a [T] {
    &elements[rows.start * T::count(columns)..]
}

/// Multiplies the rows of a matrix, which begin with this one, with their masks.
pub(super) fn mask_rows(values: &mut [f32], columns: usize, mask: Option<Dropout>, first: usize) {
    if mask.is_some() {
        values.par_chunks_mut(columns.max(1)).with_min_len(16).enumerate().for_each(|(row, values)| {
            masked(values, mask, ((first + row) * columns) as u32);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::{Cache, Side};
    use crate::pass::{Inputs, Pass};
    use crate::segments::Segments;
    use crate::tape::Tape;
    use crate::testing::{PRECISIONS, normal};
    use crate::value::Value;
    use crate::{Ops, rng::Key};

    fn part(seed: u64, outer: usize, inner: usize, rank: usize) -> Part {
        let weight = |seed, shape: &[usize]| Weight::new(&normal(seed, shape)).unwrap();
        let (a, b) = (weight(seed + 1, &[rank, inner]), weight(seed + 2, &[outer, rank]));
        let low_rank = LowRank { a, b, scale: 0.7, dropout: DropoutAt::new(0.0, "addition"), task: None };
        Part::new(weight(seed, &[outer, inner]), None).with_low_rank(low_rank)
    }

    /// Where only additions changed, the panels of the frozen weights are not made again, and those of the additions are.
    #[test]
    fn panels_follow_the_additions_and_the_weights_and_are_those_of_a_new_layer() {
        fn check<T: MicroKernel + PartialEq>(layer: &Linear, caches: &[Cache<T>; 2], kept: bool) {
            let fresh = Linear::new(layer.parts().to_vec());
            let slots: Vec<Slot> = layer.slots().map(|(_, slot)| slot).collect();
            for (cache, side) in caches.iter().zip([Side::Forward(&slots), Side::Backward]) {
                let at = |panels: &Arc<PackedB<T>>| panels.elements.as_ptr();
                let before = cache.lock().unwrap().as_ref().map(|cached| at(cached.panels.as_ref().unwrap()));
                let (found, want) = (layer.packed(cache, side, Keep::All).unwrap(), fresh.pack(side).unwrap());
                assert!(found.elements[..] == want.elements[..]);
                assert!(!kept || before == Some(at(&found)), "panels were made anew");
            }
        }
        for (inner, ranks) in [(34, [3, 4]), (64, [8, 1]), (130, [5, 40])] {
            let layer = Linear::new(vec![part(1, 18, inner, ranks[0]), part(11, 24, inner, ranks[1])]);
            let (floats, pairs): ([Cache<f32>; 2], [Cache<u32>; 2]) = Default::default();
            let both = |kept| {
                check(&layer, &floats, kept);
                check(&layer, &pairs, kept);
            };
            both(false);
            both(true);
            for seed in 0..3 {
                for part in layer.parts() {
                    let b = &part.low_rank[0].b;
                    b.set(&normal(100 + seed, b.dims())).unwrap();
                    both(true);
                }
            }
            let weight = &layer.parts()[1].weight;
            weight.set(&normal(200, weight.dims())).unwrap();
            both(false);
            both(true);
        }
    }

    #[test]
    fn panels_of_trained_weights_are_kept_from_their_second_product_on_and_all_others_at_once() {
        let layer = Linear::new(vec![Part::new(Weight::new(&normal(1, &[18, 34])).unwrap(), None)]);
        let weight = &layer.parts()[0].weight;
        let cache = Cache::<f32>::default();
        let held = |keep| {
            layer.packed(&cache, Side::Forward(&[]), keep).unwrap();
            cache.lock().unwrap().as_ref().is_some_and(|cached| cached.panels.is_some())
        };
        assert!(Keep::of(&layer, true, false) == Keep::FromSecond && Keep::of(&layer, false, false) == Keep::All);
        assert!(Keep::of(&layer, true, true) == Keep::Nothing);
        for _ in 0..2 {
            assert_eq!([Keep::FromSecond; 3].map(held), [false, true, true]);
            assert!(!held(Keep::Nothing));
            weight.set(&normal(2, &[18, 34])).unwrap();
        }
        assert!(held(Keep::All));
        weight.freeze();
        assert!(Keep::of(&layer, true, true) == Keep::All);
    }

    /// Where the input needs no gradient (frozen embeddings), the gradients of the additions are bit-identical.
    #[test]
    fn the_gradients_of_additions_are_the_same_whether_the_input_has_one_or_not() {
        for (precision, _) in PRECISIONS {
            let gradients = |trained: bool| {
                let x = Weight::new(&normal(50, &[70, 34])).unwrap();
                if !trained {
                    x.freeze();
                }
                let parts = vec![part(1, 18, 34, 3), part(11, 24, 34, 4)];
                parts.iter().for_each(|part| part.weight.freeze());
                let factors: Vec<Weight> = parts
                    .iter()
                    .flat_map(|part| part.low_rank.iter().flat_map(|one| [one.a.clone(), one.b.clone()]))
                    .collect();
                let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[70])));
                let mut tape = Tape::new(precision, Pass::train(Key::seed(1)), inputs);
                let x = tape.parameter(&x).unwrap();
                let y = tape.linear(&x, &Arc::new(Linear::new(parts))).unwrap();
                let y = tape.finish(&[y]).unwrap().remove(0);
                (y * normal(60, &[70, 42])).unwrap().sum_all().unwrap().backward().unwrap();
                factors.iter().map(|factor| factor.take_gradient().unwrap().values().to_vec()).collect::<Vec<_>>()
            };
            let [with, without] = [true, false].map(gradients);
            assert_eq!(with, without, "{precision:?}");
            assert!(with.iter().flatten().any(|value| value.abs() > 1.0));
        }
    }

    #[test]
    fn what_only_frozen_weights_would_need_is_not_kept() {
        let x = || Arc::new(Matrix::rounded(Precision::F32, 70, 34, &vec![1.0; 70 * 34]));
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[70])));
        let setting = Setting { pass: Pass::train(Key::seed(1)), inputs, recomputes: false };
        let held = |part: Part, frozen: bool| {
            if frozen {
                part.weight.freeze();
            }
            let (layer, x) = (Linear::new(vec![part]), x());
            let operand = layer.operand(x.clone(), crate::value::Rows::Tokens, &setting).unwrap();
            let operand = layer.kept(operand, None);
            // What else holds the input: the operand, for dW, and an addition, for dA.
            (operand.matrix.is_some(), Arc::strong_count(&x) - 1)
        };
        let plain = || Part::new(Weight::new(&normal(1, &[18, 34])).unwrap(), None);
        assert_eq!(held(plain(), false), (true, 1));
        assert_eq!(held(plain(), true), (false, 0));
        assert_eq!(held(part(1, 18, 34, 3), true), (false, 1));
    }

    #[test]
    fn an_output_of_a_frozen_layer_has_no_backward_pass_where_nothing_below_is_trained() {
        let weight = Weight::new(&normal(1, &[18, 34])).unwrap();
        weight.freeze();
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[70])));
        let mut tape = Tape::new(Precision::F32, Pass::train(Key::seed(1)), inputs);
        let x = tape.constant(&normal(2, &[70, 34])).unwrap();
        let layer = Arc::new(Linear::new(vec![Part::new(weight, None)]));
        let y = tape.linear(&x, &layer).unwrap();
        assert!(matches!(&y, Value::Fused(y) if !y.node.needs_gradient));
        assert_eq!(tape.recorded(), 0);
    }
}
