//! Linear layers.
//!
//! ```text
//! forward   y = x Wᵀ + b               x [tokens, in], W [out, in], b [out] -> y [tokens, out]
//! backward  dx = dy W    dW = dyᵀ x    db = sum of dy over tokens
//! ```
//!
//! [`Linear`] is a layer, or several side by side that read the same input and are computed as one product (queries, keys
//! and values). Each part has its own weights, trained or frozen, and may have low-rank additions (`low_rank.rs`), of all rows or of those of a
//! task. There may be vectors around it (`vectors.rs`), which products know nothing of. Weights
//! are rounded and brought into panels. Those of weights that a step changes are let go after their first product: most steps need no
//! second one, and they take as much memory as the weights. All others are kept until their weights change.
//!
//! A layer [in int8](Linear::in_int8) multiplies bytes (`gemm/int8.rs`): for models that answer, not for training.

mod low_rank;
mod operator;
mod range;
mod vectors;

pub use low_rank::LowRank;
pub(crate) use low_rank::Operand;
pub use vectors::{Around, Vectors};

use crate::dropout::{self, Dropout};
use crate::gemm::{
    Epilogue, Int8Panels, Int8Rows, Matrix, MicroKernel, PackedA, PackedB, PackedElement, Precision, Store, Values,
    ViewA, product, product_int8,
};
use crate::pass::{DropoutAt, Tasks};
use crate::storage::with_f32s;
use crate::value::Rows;
use crate::weight::Weight;
use candle_core::{Result, Tensor};
use low_rank::Slot;
use range::InputRange;
use std::sync::{Arc, Mutex, PoisonError};

/// Linear layers side by side, on one input.
pub struct Linear {
    parts: Vec<Part>,
    inner: usize,
    outer: usize,
    /// What its product is computed in, if not in the precision of the pass.
    precision: Option<Precision>,
    in_f32: Packed<f32>,
    in_bf16: Packed<u32>,
    /// Where it multiplies bytes.
    in_int8: Option<Int8Cache>,
    /// Where its inputs are watched.
    inputs: Option<InputRange>,
    /// What is done to its input and to its output.
    vectors: Option<Vectors>,
}

/// One layer: `x Wᵀ + b`, and what is added to it.
#[derive(Clone)]
pub struct Part {
    /// `[out, in]`; of a convolution `[out, in, size]`, whose inputs are those of [`crate::Ops::neighbours`].
    pub weight: Weight,
    /// `[out]`
    pub bias: Option<Weight>,
    /// Added to the product.
    pub low_rank: Vec<LowRank>,
}

impl Part {
    /// A layer without an addition.
    pub fn new(weight: Weight, bias: Option<Weight>) -> Self {
        Self { weight, bias, low_rank: Vec::new() }
    }

    /// The same with a low-rank addition.
    #[must_use]
    pub fn with_low_rank(mut self, low_rank: LowRank) -> Self {
        self.low_rank.push(low_rank);
        self
    }

    /// The width of its output.
    pub fn outputs(&self) -> usize {
        self.weight.dims().first().copied().unwrap_or(0)
    }
}

/// All weights as one matrix `[out, in]` in panels, for the product with an input and for that with a gradient.
#[derive(Default)]
struct Packed<T: PackedElement> {
    forward: Cache<T>,
    backward: Cache<T>,
}

/// Panels, if they were made.
type Cache<T> = Mutex<Option<Cached<T>>>;

/// Panels in bytes, if they were made, and of what.
type Int8Cache = Mutex<Option<(Versions, Arc<Int8Panels>)>>;

/// Panels, and of what they were made.
struct Cached<T: PackedElement> {
    of: Versions,
    /// None where they were let go after their first product.
    panels: Option<Arc<PackedB<T>>>,
}

/// Of which versions of the weights panels were made, of which additions, and of which versions of those.
#[derive(PartialEq)]
struct Versions {
    weights: u64,
    slots: Vec<Slot>,
    additions: u64,
}

/// Which panels are kept for further products.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Keep {
    /// All.
    All,
    /// Those that are made a second time of the same weights: of layers that are used several times a step, or of several tasks.
    FromSecond,
    /// None: a pass that computes parts twice makes each product twice, so that all would be kept.
    Nothing,
}

impl Keep {
    /// In training weights change after each step, where they are trained.
    fn of(layer: &Linear, trains: bool, recomputes: bool) -> Self {
        match trains && layer.trains_a_weight() {
            true if recomputes => Self::Nothing,
            true => Self::FromSecond,
            false => Self::All,
        }
    }
}

/// Which product panels are for.
#[derive(Clone, Copy)]
enum Side<'a> {
    /// That of an input: `[W  s B]` with these additions, elements along its rows.
    Forward(&'a [Slot]),
    /// That of a gradient: W, elements across its rows.
    Backward,
}

impl Side<'_> {
    fn slots(&self) -> &[Slot] {
        match self {
            Self::Forward(slots) => slots,
            Self::Backward => &[],
        }
    }
}

impl Linear {
    /// Layers side by side: so lie their outputs.
    pub fn new(parts: Vec<Part>) -> Self {
        let inner = parts.first().map_or(0, |part| part.weight.dims().iter().skip(1).product());
        let outer = parts.iter().map(Part::outputs).sum();
        let (in_f32, in_bf16) = Default::default();
        Self { parts, inner, outer, precision: None, in_f32, in_bf16, in_int8: None, inputs: None, vectors: None }
    }

    /// The same, with the product of an input in bytes: for a model that answers. There is no gradient of it.
    #[must_use]
    pub fn in_int8(self) -> Self {
        Self { in_int8: Some(Mutex::default()), ..self }
    }

    /// The same, which takes note of the range of its inputs.
    #[must_use]
    pub fn watching_inputs(self) -> Self {
        Self { inputs: Some(InputRange::default()), ..self }
    }

    /// The least and the largest number of the inputs that it had since [`Linear::watching_inputs`]; none where it had none.
    pub fn input_range(&self) -> Option<[f32; 2]> {
        self.inputs.as_ref().and_then(InputRange::get)
    }

    /// The same, computed in this precision whatever that of the pass is: the layers of heads are f32.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision: Some(precision), ..self }
    }

    /// The layers.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The width of its output.
    pub fn outputs(&self) -> usize {
        self.outer
    }

    /// What it is computed in, in a pass of this precision.
    pub(crate) fn precision(&self, of_pass: Precision) -> Precision {
        self.precision.unwrap_or(of_pass)
    }

    /// Whether any of its weights is trained.
    pub(crate) fn is_trained(&self) -> bool {
        self.trains_a_bias()
            || self
                .parts
                .iter()
                .any(|Part { weight, low_rank, .. }| weight.is_trained() || low_rank.iter().any(LowRank::is_trained))
    }

    /// Whether any of its matrices is trained, additions aside.
    pub(crate) fn trains_a_weight(&self) -> bool {
        self.parts.iter().any(|part| part.weight.is_trained())
    }

    /// Whether sums of its output's gradient are of use.
    pub(crate) fn trains_a_bias(&self) -> bool {
        self.parts.iter().any(|part| part.bias.as_ref().is_some_and(Weight::is_trained))
    }

    /// All biases, end to end, with zeros for a part that has none; `None` if no part has one.
    pub(crate) fn bias(&self) -> Result<Option<Vec<f32>>> {
        if self.parts.iter().all(|part| part.bias.is_none()) {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(self.outer);
        for part in &self.parts {
            match &part.bias {
                None => all.resize(all.len() + part.outputs(), 0.0),
                Some(bias) => bias.read(|bias| {
                    all.extend_from_slice(bias);
                    Ok(())
                })?,
            }
        }
        Ok(Some(all))
    }

    /// `x Wᵀ`, without the bias.
    pub(crate) fn forward<S: Epilogue>(&self, x: &Operand, epilogue: &S) -> Result<()> {
        let (slots, keep, x) = (&x.slots[..], x.keep, x.matrix()?);
        self.check("input", x, self.width(slots))?;
        if let Some(inputs) = &self.inputs {
            inputs.widen(x, self.inner);
        }
        if let Some(cache) = &self.in_int8 {
            product_int8(&Int8Rows::of(x), &*self.packed_int8(cache, slots)?, epilogue);
            return Ok(());
        }
        match &x.values {
            Values::F32(elements) => {
                self.multiply(x.rows, elements, &self.in_f32.forward, Side::Forward(slots), keep, epilogue)
            }
            Values::Bf16(elements) => {
                self.multiply(x.rows, elements, &self.in_bf16.forward, Side::Forward(slots), keep, epilogue)
            }
        }
    }

    /// `dy W`.
    pub(crate) fn backward_input<S: Epilogue>(&self, dy: &Matrix, epilogue: &S) -> Result<()> {
        self.check("output gradient", dy, self.outer)?;
        let keep = Keep::of(self, true, false);
        match &dy.values {
            Values::F32(elements) => {
                self.multiply(dy.rows, elements, &self.in_f32.backward, Side::Backward, keep, epilogue)
            }
            Values::Bf16(elements) => {
                self.multiply(dy.rows, elements, &self.in_bf16.backward, Side::Backward, keep, epilogue)
            }
        }
    }

    /// A matrix of so many rows, times the weights in panels.
    fn multiply<T: MicroKernel, S: Epilogue>(
        &self,
        rows: usize,
        elements: &[T],
        cache: &Cache<T>,
        side: Side<'_>,
        keep: Keep,
        epilogue: &S,
    ) -> Result<()> {
        let panels = self.packed(cache, side, keep)?;
        product(ViewA::plain(elements, rows, panels.depth), &panels, epilogue);
        Ok(())
    }

    /// Sends `dyᵀ x` and the sums of dy to the weights and biases that are trained. Where no weight is, x is not there.
    fn backward_weights(&self, dy: &Matrix, x: Option<&Matrix>, sums: &[f32]) -> Result<()> {
        self.check("output gradient", dy, self.outer)?;
        if let Some(x) = x {
            match (&dy.values, &x.values) {
                (Values::F32(dy), Values::F32(input)) => self.gather([x.rows, x.columns], dy, input)?,
                (Values::Bf16(dy), Values::Bf16(input)) => self.gather([x.rows, x.columns], dy, input)?,
                _ => candle_core::bail!("linear: an input and a gradient of different precision"),
            }
        }
        let mut start = 0;
        for part in &self.parts {
            let end = start + part.outputs();
            if let (Some(bias), Some(sums)) =
                (part.bias.as_ref().filter(|bias| bias.is_trained()), sums.get(start..end))
            {
                bias.add_gradient(sums)?;
            }
            start = end;
        }
        Ok(())
    }

    /// x is `[tokens, columns]`, of which the first are the layer's input.
    fn gather<T: MicroKernel>(&self, [tokens, columns]: [usize; 2], dy: &[T], x: &[T]) -> Result<()> {
        let inputs = PackedB::across_elements(x, tokens, self.inner, T::count(columns));
        let mut start = 0;
        for part in &self.parts {
            let rows = start..start + part.outputs();
            start = rows.end;
            if part.weight.is_trained() {
                part.weight.gather(|sum, holds| {
                    let store = Store::new(sum, self.inner).adding(holds);
                    match T::DEPTH {
                        1 => product(ViewA::across(&dy[rows.start..], rows.len(), self.outer), &inputs, &store),
                        _ => {
                            let dy = PackedA::transposed(dy, tokens, rows, T::count(self.outer));
                            product(dy.left(), &inputs, &store);
                        }
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// The same in candle's own operators, its weights as `weight` gives them and masks of x as `mask` does.
    pub(crate) fn plain(
        &self,
        x: &Tensor,
        rows_of: Rows,
        tasks: &Tasks,
        weight: impl Fn(&Weight) -> Result<Tensor>,
        mask: impl Fn(DropoutAt) -> Option<Dropout>,
    ) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let part = |Part { weight: w, bias, low_rank }: &Part| -> Result<Tensor> {
            let mut y = x.matmul(&weight(w)?.flatten_from(1)?.t()?)?;
            for LowRank { a, b, scale, dropout, task } in low_rank {
                let Some(runs) = low_rank::runs(*task, tasks, rows_of, rows)? else { continue };
                let inner = dropout::plain(x, mask(*dropout))?.matmul(&weight(a)?.t()?)?;
                let addition = (inner.matmul(&weight(b)?.t()?)? * f64::from(*scale))?;
                let of_task: Vec<f32> =
                    (0..rows).map(|row| f32::from(u8::from(runs.iter().any(|run| run.contains(&row))))).collect();
                y = (y + addition.broadcast_mul(&Tensor::from_vec(of_task, (rows, 1), x.device())?)?)?;
            }
            match bias {
                Some(bias) => y.broadcast_add(&weight(bias)?),
                None => Ok(y),
            }
        };
        match self.parts.as_slice() {
            [only] => part(only),
            parts => Tensor::cat(&parts.iter().map(part).collect::<Result<Vec<_>>>()?, 1),
        }
    }

    fn check(&self, what: &str, x: &Matrix, columns: usize) -> Result<()> {
        let fits = |part: &Part| {
            part.weight.dims().iter().product::<usize>() == part.outputs() * self.inner
                && part.bias.as_ref().is_none_or(|bias| *bias.dims() == [part.outputs()])
                && part.low_rank.iter().all(|low_rank| low_rank.fits(part.outputs(), self.inner))
        };
        if x.columns == columns && self.parts.iter().all(fits) {
            return Ok(());
        }
        let dims = |weight: &Weight| weight.dims().to_vec();
        let parts: Vec<_> = self.parts.iter().map(|part| (dims(&part.weight), part.bias.as_ref().map(dims))).collect();
        candle_core::bail!("linear: an {what} of {} columns for weights and biases {parts:?}", x.columns)
    }

    /// The rows of all weights in panels: rebuilt only when a weight has changed, and of additions only what these have changed.
    fn packed<T: PackedElement>(&self, cache: &Cache<T>, side: Side, keep: Keep) -> Result<Arc<PackedB<T>>> {
        let of = self.versions(side.slots())?;
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, old) = match cache.take() {
            Some(cached) => (Some(cached.of), cached.panels),
            None => (None, None),
        };
        let again = known.as_ref() == Some(&of);
        // Others of the same width take the same place.
        let fits = |known: &Versions| known.weights == of.weights && self.width(&known.slots) == self.width(&of.slots);
        let panels = match old {
            Some(panels) if again => panels,
            // Where another thread still multiplies with them, they are rebuilt.
            Some(mut panels) if known.as_ref().is_some_and(fits) && Arc::strong_count(&panels) == 1 => {
                let added = self.added(&of.slots)?;
                if let Some(panels) = Arc::get_mut(&mut panels) {
                    panels.set_along(self.inner, &rows_of(&[&added], self.width(&of.slots) - self.inner));
                }
                panels
            }
            old => {
                // Its memory serves the new one.
                drop(old);
                Arc::new(self.pack(side)?)
            }
        };
        let keeps = keep == Keep::All || keep == Keep::FromSecond && again;
        let kept = keeps.then(|| panels.clone());
        *cache = Some(Cached { of, panels: kept });
        Ok(panels)
    }

    /// What panels with these additions are made of.
    fn versions(&self, slots: &[Slot]) -> Result<Versions> {
        let weights = self.parts.iter().map(|part| part.weight.version()).sum();
        let additions = slots.iter().map(|slot| Ok(self.at(*slot)?.b.version())).sum::<Result<_>>()?;
        Ok(Versions { weights, slots: slots.to_vec(), additions })
    }

    /// The rows of all weights in bytes: rebuilt only when one has changed.
    fn packed_int8(&self, cache: &Int8Cache, slots: &[Slot]) -> Result<Arc<Int8Panels>> {
        let of = self.versions(slots)?;
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, panels)) = &*cache
            && *known == of
        {
            return Ok(panels.clone());
        }
        let panels = Arc::new(self.with_rows(slots, Int8Panels::of)?);
        *cache = Some((of, panels.clone()));
        Ok(panels)
    }

    /// The rows of all weights in panels, made now.
    fn pack<T: PackedElement>(&self, side: Side) -> Result<PackedB<T>> {
        match side {
            Side::Forward(slots) => self.with_rows(slots, PackedB::along),
            Side::Backward => self.with_rows(&[], PackedB::across),
        }
    }

    /// What `make` makes of the rows of all weights, with those of additions beside them.
    fn with_rows<R>(&self, slots: &[Slot], make: impl Fn(&[&[f32]]) -> R) -> Result<R> {
        if !slots.is_empty() {
            let whole = self.extended(slots)?;
            return Ok(make(&rows_of(&[&whole], self.width(slots))));
        }
        let tensors = self.parts.iter().map(|part| part.weight.tensor()).collect::<Result<Vec<_>>>()?;
        match tensors.as_slice() {
            &[a] => with_f32s([a], |[a]| Ok(make(&rows_of(&[a], self.inner)))),
            &[a, b] => with_f32s([a, b], |parts| Ok(make(&rows_of(&parts, self.inner)))),
            &[a, b, c] => with_f32s([a, b, c], |parts| Ok(make(&rows_of(&parts, self.inner)))),
            all => {
                let whole = Tensor::cat(all, 0)?;
                with_f32s([&whole], |[a]| Ok(make(&rows_of(&[a], self.inner))))
            }
        }
    }
}

fn rows_of<'a>(parts: &[&'a [f32]], inner: usize) -> Vec<&'a [f32]> {
    parts.iter().flat_map(|part| part.chunks_exact(inner.max(1))).collect()
}
