//! Gradients of parameters as values: add, scale, dot product, norm.
//!
//! ```text
//! Dense  [count]                      of every element
//! Rows   [rows, columns] + indices    of some rows of a table, in rising order; the others are zero
//! ```
//!
//! Sums are in f64, in parts whose size depends on the shapes alone and in their order: the same bits at any number of
//! threads. Gradients of tables stay sparse as long as all that is added to them is.

use crate::storage::with_f32s;
use crate::workspace::Buffer;
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

/// Numbers in a part of a sum.
const PART: usize = 16 * 1024;

/// The gradient of a parameter.
pub enum Gradient {
    /// Of every element.
    Dense(GradientValues),
    /// Of some rows of a table `[rows, columns]`; the others are zero.
    Rows {
        /// Which rows, in rising order.
        rows: Vec<u32>,
        /// The width of a row.
        columns: usize,
        /// One gradient a row.
        values: GradientValues,
    },
}

/// The numbers of a gradient.
pub struct GradientValues(pub(crate) Buffer<f32>);

impl std::ops::Deref for GradientValues {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl Gradient {
    /// A dense gradient from a tensor.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        if tensor.device().is_cpu() {
            return with_f32s([tensor], |[values]| Ok(Self::dense(values)));
        }
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self::dense(&values))
    }

    /// The gradients that are not zero by construction.
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Dense(values) | Self::Rows { values, .. } => values,
        }
    }

    /// The whole gradient in this shape.
    pub fn to_tensor(&self, shape: &[usize]) -> Result<Tensor> {
        let count = shape.iter().product();
        let whole = match self {
            Self::Dense(values) => values.to_vec(),
            Self::Rows { rows, columns, values } => {
                let mut whole = vec![0.0; count];
                for (&row, values) in rows.iter().zip(values.chunks_exact((*columns).max(1))) {
                    whole[row as usize * columns..][..*columns].copy_from_slice(values);
                }
                whole
            }
        };
        Tensor::from_vec(whole, shape, &Device::Cpu)
    }

    /// Every number as another one.
    fn mapped(&self, map: impl Fn(f32) -> f32 + Sync) -> Self {
        let (Self::Dense(values) | Self::Rows { values, .. }) = self;
        let mut made = Buffer::copy_of(values);
        made.par_chunks_mut(PART).for_each(|part| part.iter_mut().for_each(|value| *value = map(*value)));
        match self {
            Self::Dense(_) => Self::Dense(GradientValues(made)),
            Self::Rows { rows, columns, .. } => {
                Self::Rows { rows: rows.clone(), columns: *columns, values: GradientValues(made) }
            }
        }
    }

    /// A copy, times a factor.
    pub fn scaled(&self, factor: f32) -> Self {
        self.mapped(|value| value * factor)
    }

    /// The square of every number.
    fn squared(&self) -> Self {
        self.mapped(|value| value * value)
    }

    /// Adds the square of every number of another gradient of the same parameter.
    pub fn add_squares(&mut self, other: &Self) -> Result<()> {
        match (&mut *self, other) {
            (Self::Dense(sum), Self::Dense(values)) if sum.len() == values.len() => {
                sum.0.par_chunks_mut(PART).zip(values.par_chunks(PART)).for_each(|(sum, values)| {
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * value);
                });
                Ok(())
            }
            _ => self.add(&other.squared()),
        }
    }

    /// The sum of the squares of its numbers, each over the root of that number of `sums` plus `epsilon`.
    pub fn squares_over_roots(&self, sums: &Self, epsilon: f32) -> f64 {
        match (self, sums) {
            (Self::Dense(values), Self::Dense(sums)) => {
                let of_part = |(values, sums): (&[f32], &[f32])| -> f64 {
                    let one = |(value, sum): (&f32, &f32)| f64::from(value * value / (sum + epsilon).sqrt());
                    values.iter().zip(sums).map(one).sum()
                };
                let parts: Vec<f64> = values.par_chunks(PART).zip(sums.par_chunks(PART)).map(of_part).collect();
                parts.iter().sum()
            }
            _ => self.squared().dot(&sums.mapped(|sum| 1.0 / (sum + epsilon).sqrt())),
        }
    }

    /// A gradient of some rows, in rising order.
    pub fn of_rows(rows: Vec<u32>, columns: usize, values: &[f32]) -> Self {
        Self::Rows { rows, columns, values: GradientValues(Buffer::copy_of(values)) }
    }

    /// A gradient of every element.
    pub fn dense(values: &[f32]) -> Self {
        Self::Dense(GradientValues(Buffer::copy_of(values)))
    }

    /// Multiplies it by a factor; by 1 it keeps its bits.
    pub fn scale(&mut self, factor: f32) {
        if factor != 1.0 {
            let (Self::Dense(values) | Self::Rows { values, .. }) = self;
            values.0.par_chunks_mut(PART).for_each(|part| part.iter_mut().for_each(|value| *value *= factor));
        }
    }

    /// Adds another gradient of the same parameter. Rows that only one has keep its bits.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        match (&mut *self, other) {
            (Self::Dense(sum), Self::Dense(values)) => {
                if sum.len() != values.len() {
                    candle_core::bail!("gradients of {} and {} elements", sum.len(), values.len());
                }
                sum.0.par_chunks_mut(PART).zip(values.par_chunks(PART)).for_each(|(sum, values)| {
                    crate::gemm::add_to(sum, values);
                });
            }
            (Self::Dense(sum), Self::Rows { .. }) => add_rows(&mut sum.0, other)?,
            (Self::Rows { .. }, Self::Dense(values)) => {
                let mut whole = Buffer::copy_of(values);
                add_rows(&mut whole, self)?;
                *self = Self::Dense(GradientValues(whole));
            }
            (
                Self::Rows { rows: rows_a, columns, values: values_a },
                Self::Rows { rows: rows_b, columns: columns_b, values: values_b },
            ) => {
                if columns != columns_b {
                    candle_core::bail!("gradients of rows of {columns} and of {columns_b}");
                }
                *self = union(rows_a, values_a, rows_b, values_b, *columns);
            }
        }
        Ok(())
    }

    /// `factor self + sum of factor other`, in one walk over all where every one is dense; else one after the other. The bits are the same.
    pub fn weighted_sum(&mut self, factor: f32, others: &[(&Self, f32)]) -> Result<()> {
        let dense = |gradient: &Self| matches!(gradient, Self::Dense(_));
        if !(dense(self) && others.iter().all(|(other, _)| dense(other))) {
            self.scale(factor);
            return others.iter().try_for_each(|(other, factor)| self.add(&other.scaled(*factor)));
        }
        let (Self::Dense(sum) | Self::Rows { values: sum, .. }) = self;
        if let Some((other, _)) = others.iter().find(|(other, _)| other.values().len() != sum.len()) {
            candle_core::bail!("gradients of {} and {} elements", sum.len(), other.values().len());
        }
        sum.0.par_chunks_mut(PART).enumerate().for_each(|(part, sum)| {
            sum.iter_mut().for_each(|value| *value *= factor);
            let places = part * PART..part * PART + sum.len();
            for (other, factor) in others {
                let values = &other.values()[places.clone()];
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * factor);
            }
        });
        Ok(())
    }

    /// The dot products of all pairs of gradients of the same parameter, `[i][j]` for j from i on, in one walk over all where every one is
    /// dense. The bits are those of [`Gradient::dot`].
    pub fn products(all: &[&Self]) -> Vec<Vec<f64>> {
        if !all.iter().all(|gradient| matches!(gradient, Self::Dense(_))) {
            return (0..all.len()).map(|i| all[i..].iter().map(|b| all[i].dot(b)).collect()).collect();
        }
        let count = all.iter().map(|gradient| gradient.values().len()).min().unwrap_or(0);
        let of_part = |part: usize| -> Vec<Vec<f64>> {
            let places = part * PART..count.min((part + 1) * PART);
            let slices: Vec<&[f32]> = all.iter().map(|gradient| &gradient.values()[places.clone()]).collect();
            (0..all.len()).map(|i| slices[i..].iter().map(|b| dot_of(slices[i], b)).collect()).collect()
        };
        let parts: Vec<Vec<Vec<f64>>> = (0..count.div_ceil(PART)).into_par_iter().map(of_part).collect();
        let sum = |i: usize, j: usize| parts.iter().map(|part| part[i][j]).sum();
        (0..all.len()).map(|i| (0..all.len() - i).map(|j| sum(i, j)).collect()).collect()
    }

    /// The dot product with another gradient of the same parameter.
    pub fn dot(&self, other: &Self) -> f64 {
        match (self, other) {
            (Self::Dense(a), Self::Dense(b)) => {
                let parts: Vec<f64> = a.par_chunks(PART).zip(b.par_chunks(PART)).map(|(a, b)| dot_of(a, b)).collect();
                parts.iter().sum()
            }
            (Self::Rows { rows, columns, values }, Self::Dense(dense))
            | (Self::Dense(dense), Self::Rows { rows, columns, values }) => {
                let row = |&row: &u32| dense.get(row as usize * columns..)?.get(..*columns);
                let pairs = rows.iter().map(row).zip(values.chunks_exact((*columns).max(1)));
                dot_of_rows(pairs.filter_map(|(dense, values)| Some((dense?, values))).collect())
            }
            (
                Self::Rows { rows: rows_a, columns, values: values_a },
                Self::Rows { rows: rows_b, values: values_b, .. },
            ) => {
                // Both are in rising order: one walk finds the rows that both have.
                let mut later = rows_b.iter().zip(values_b.chunks_exact((*columns).max(1))).peekable();
                let mut pairs = Vec::new();
                for (row, values) in rows_a.iter().zip(values_a.chunks_exact((*columns).max(1))) {
                    while later.next_if(|(other, _)| *other < row).is_some() {}
                    if let Some((_, others)) = later.next_if(|(other, _)| *other == row) {
                        pairs.push((values, others));
                    }
                }
                dot_of_rows(pairs)
            }
        }
    }
}

/// Adds the rows of a sparse gradient to a whole one.
fn add_rows(sum: &mut [f32], sparse: &Gradient) -> Result<()> {
    let Gradient::Rows { rows, columns, values } = sparse else { candle_core::bail!("expected a gradient of rows") };
    for (&row, values) in rows.iter().zip(values.chunks_exact((*columns).max(1))) {
        match sum.get_mut(row as usize * columns..).and_then(|rest| rest.get_mut(..*columns)) {
            Some(sum) => crate::gemm::add_to(sum, values),
            None => candle_core::bail!("a gradient of row {row} of a table of {} elements", sum.len()),
        }
    }
    Ok(())
}

/// The rows of both, those that both have added.
fn union(rows_a: &[u32], a: &[f32], rows_b: &[u32], b: &[f32], columns: usize) -> Gradient {
    let width = columns.max(1);
    let mut from_b = rows_b.iter().zip(b.chunks_exact(width)).peekable();
    let mut sums = Vec::with_capacity(rows_a.len() + rows_b.len());
    for (&row, values) in rows_a.iter().zip(a.chunks_exact(width)) {
        while let Some((&other, values)) = from_b.next_if(|(other, _)| **other < row) {
            sums.push((other, values, None));
        }
        sums.push((row, values, from_b.next_if(|(other, _)| **other == row).map(|(_, values)| values)));
    }
    sums.extend(from_b.map(|(&row, values)| (row, values, None)));
    let mut values = Buffer::uninit(sums.len() * columns);
    values.par_chunks_mut(width).zip(&sums).for_each(|(sum, (_, one, other))| {
        sum.copy_from_slice(one);
        other.iter().for_each(|other| crate::gemm::add_to(sum, other));
    });
    Gradient::Rows { rows: sums.iter().map(|(row, ..)| *row).collect(), columns, values: GradientValues(values) }
}

fn dot_of_rows(pairs: Vec<(&[f32], &[f32])>) -> f64 {
    let rows: Vec<f64> = pairs.into_par_iter().with_min_len(16).map(|(a, b)| dot_of(a, b)).collect();
    rows.iter().sum()
}

/// In eight lanes, which the compiler vectorises. The product of two f32 is exact in f64.
fn dot_of(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, b) = (a.chunks_exact(lanes.len()), b.chunks_exact(lanes.len()));
    let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(product).sum();
    for (a, b) in a.zip(b) {
        for (lane, pair) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += product(pair);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;
    use crate::weight::Weight;

    fn random(key: u64, count: usize) -> Vec<f32> {
        let key = Key::seed(key);
        (0..count as u64).map(|index| (key.uniform(index) - 0.5) as f32).collect()
    }

    fn dense(key: u64, shape: [usize; 2]) -> Gradient {
        let values = random(key, shape[0] * shape[1]);
        Gradient::from_tensor(&Tensor::from_vec(values, &shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn sparse(key: u64, shape: [usize; 2], rows: &[u32]) -> Gradient {
        let weight = Weight::new(&Tensor::zeros(&shape, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
        weight.add_gradient_of_rows(rows, &random(key, rows.len() * shape[1])).unwrap();
        weight.take_gradient().unwrap()
    }

    /// The plain sum over every element of both.
    fn dense_dot(a: &Gradient, b: &Gradient, shape: [usize; 2]) -> f64 {
        let whole = |gradient: &Gradient| gradient.to_tensor(&shape).unwrap().flatten_all().unwrap();
        let [a, b] = [a, b].map(|gradient| whole(gradient).to_vec1::<f32>().unwrap());
        a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Dense and sparse gradients of a table of more than one part, its width no multiple of the lanes.
    fn some(shape: [usize; 2]) -> Vec<Gradient> {
        let of = |every: usize, from: u32| -> Vec<u32> { (from..shape[0] as u32).step_by(every).collect() };
        vec![
            dense(1, shape),
            dense(2, shape),
            sparse(3, shape, &of(3, 0)),
            sparse(4, shape, &of(5, 2)),
            sparse(5, shape, &of(6, 1)),
            sparse(6, shape, &[]),
        ]
    }

    #[test]
    fn sums_and_products_of_several_have_the_bits_of_one_after_the_other() {
        let rows = |key, rows: &[u32]| sparse(key, [40, 900], rows);
        for forms in [0, 1, 2] {
            let make = |key: u64| match (forms, key) {
                (0, _) | (2, 1) => dense(key, [40, 900]),
                _ => rows(key, if key == 2 { &[1, 7, 39] } else { &[0, 7] }),
            };
            let all: Vec<Gradient> = (0..4).map(make).collect();
            let factors = [0.5, -1.25, 3.0, 1.0];
            let products = Gradient::products(&all.iter().collect::<Vec<_>>());
            for (i, row) in products.iter().enumerate() {
                for (j, found) in row.iter().enumerate() {
                    assert_eq!(found.to_bits(), all[i].dot(&all[i + j]).to_bits());
                }
            }
            let mut want = make(0);
            want.scale(factors[0]);
            for (key, factor) in factors.iter().enumerate().skip(1) {
                let mut other = make(key as u64);
                other.scale(*factor);
                want.add(&other).unwrap();
            }
            let mut found = make(0);
            let others: Vec<(&Gradient, f32)> = all[1..].iter().zip(factors[1..].iter().copied()).collect();
            found.weighted_sum(factors[0], &others).unwrap();
            let bits = |gradient: &Gradient| -> Vec<u32> {
                let tensor = gradient.to_tensor(&[40, 900]).unwrap().flatten_all().unwrap();
                tensor.to_vec1::<f32>().unwrap().iter().map(|value| value.to_bits()).collect()
            };
            assert_eq!(bits(&found), bits(&want), "{forms}");
        }
    }

    #[test]
    fn squares_over_roots_are_those_of_the_numbers_written_out() {
        for gradient in [dense(1, [40, 900]), sparse(1, [40, 900], &[3, 9])] {
            let mut sums = gradient.scaled(0.0);
            sums.add_squares(&gradient).unwrap();
            sums.add_squares(&gradient).unwrap();
            let want: f64 =
                gradient.values().iter().map(|&g| f64::from(g * g) / f64::from((2.0 * g * g + 1e-7).sqrt())).sum();
            let found = gradient.squares_over_roots(&sums, 1e-7);
            assert!((found - want).abs() < 1e-5 * want, "{found} for {want}");
        }
    }

    #[test]
    fn products_are_those_of_the_whole_gradients() {
        for shape in [[401, 83], [3, 1], [40, 8]] {
            let all = some(shape);
            for (at, a) in all.iter().enumerate() {
                for (other, b) in all.iter().enumerate() {
                    let (found, want) = (a.dot(b), dense_dot(a, b, shape));
                    let scale = (dense_dot(a, a, shape) * dense_dot(b, b, shape)).sqrt();
                    assert!((found - want).abs() <= 1e-12 * scale, "{shape:?}, {at} by {other}: {found}, {want}");
                }
            }
        }
        // Rows 0, 3, 6, ... and 1, 7, 13, ... have none in common.
        let all = some([401, 83]);
        assert_eq!(all[2].dot(&all[4]), 0.0);
        assert_ne!(all[2].dot(&all[3]), 0.0);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let all = some([3001, 83]);
        let products =
            || -> Vec<u64> { all.iter().flat_map(|a| all.iter().map(move |b| a.dot(b).to_bits())).collect() };
        let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(products);
        let one = with(1);
        assert!((2..=5).all(|threads| with(threads) == one));
    }

    /// What `change` makes of copies of both, element by element.
    fn sum(a: &Gradient, b: &Gradient, shape: [usize; 2], factor: f32) -> Vec<f32> {
        let whole = |gradient: &Gradient| gradient.to_tensor(&shape).unwrap().flatten_all().unwrap();
        let [a, b] = [a, b].map(|gradient| whole(gradient).to_vec1::<f32>().unwrap());
        a.iter().zip(&b).map(|(a, b)| a * factor + b).collect()
    }

    #[test]
    fn sums_are_those_of_the_whole_gradients_and_rows_stay_rows() {
        for shape in [[401, 83], [3, 1], [40, 8]] {
            for at in 0..some(shape).len() {
                for other in 0..some(shape).len() {
                    let (mut found, b) = (some(shape).swap_remove(at), some(shape).swap_remove(other));
                    let want = sum(&found, &b, shape, 0.3);
                    let both_sparse = matches!((&found, &b), (Gradient::Rows { .. }, Gradient::Rows { .. }));
                    found.scale(0.3);
                    found.add(&b).unwrap();
                    if let Gradient::Rows { rows, .. } = &found {
                        assert!(both_sparse && rows.is_sorted_by(|a, b| a < b), "{rows:?}");
                    }
                    assert_eq!(matches!(found, Gradient::Rows { .. }), both_sparse);
                    let found = found.to_tensor(&shape).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    assert!(found == want, "{shape:?}: {at} and {other}");
                }
            }
        }
        let mut all = some([401, 83]);
        assert!(all[0].add(&dense(1, [3, 1])).is_err(), "another parameter's");
        assert!(all[2].add(&sparse(1, [401, 8], &[1])).is_err(), "another table's");
        let mut small = dense(1, [2, 83]);
        assert!(small.add(&sparse(1, [401, 83], &[7])).is_err(), "a row that it has not");
    }
}
