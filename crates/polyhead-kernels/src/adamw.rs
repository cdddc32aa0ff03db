//! Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as PyTorch's `AdamW` counts it.
//!
//! ```text
//! g = clip · grad
//! w = w (1 - lr · decay)
//! m = β₁ m + (1 - β₁) g,   v = β₂ v + (1 - β₂) g²
//! w = w - lr / (1 - β₁ᵗ) · m / (√(v / (1 - β₂ᵗ)) + ε)
//! ```
//!
//! Of an embedding table, rows that no step has touched have moments of zero, and only the second line does anything to
//! them: they are left alone, and get those factors when they are next read ([`Weight`] keeps account). Rows that were
//! touched once are updated in every step, as the formula has it.

use crate::gradient::Gradient;
use crate::math::simd;
use crate::storage::Parts;
use crate::weight::Weight;
use candle_core::{Result, Tensor};
use rayon::prelude::*;

const BLOCK: usize = 16 * 1024;

/// The constants of the method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// The moments of one parameter and how many updates it has had.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// First moment, in the order of the parameter.
    pub first: Vec<f32>,
    /// Second moment, in the order of the parameter.
    pub second: Vec<f32>,
    /// Updates so far. A parameter without a gradient in some step is not updated in it.
    pub updates: u64,
    /// Of a table whose gradients name rows: which rows ever had one. The moments of the others are zero.
    touched: Vec<bool>,
}

impl Moments {
    /// Those of a parameter of `count` elements that was never updated.
    pub fn zeros(count: usize) -> Self {
        Self::restored(vec![0.0; count], vec![0.0; count], 0)
    }

    /// Those that were kept, after so many updates. Which rows of a table were touched is seen by them.
    pub fn restored(first: Vec<f32>, second: Vec<f32>, updates: u64) -> Self {
        Self { first, second, updates, touched: Vec::new() }
    }
}

/// What one update uses.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub decay: f64,
    /// What multiplies the gradient: `min(1, limit / norm)`.
    pub clip: f64,
}

impl AdamW {
    /// Updates one parameter in place.
    pub fn update(&self, weight: &Weight, gradient: &Gradient, moments: &mut Moments, update: Update) -> Result<()> {
        let count = weight.count();
        if moments.first.len() != count || moments.second.len() != count {
            candle_core::bail!("adamw: {count} weights, {} moments", moments.first.len());
        }
        moments.updates += 1;
        let t = moments.updates.min(i32::MAX as u64) as i32;
        let numbers = Numbers {
            clip: update.clip as f32,
            shrink: (1.0 - update.lr * update.decay) as f32,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            step: (update.lr / (1.0 - self.beta1.powi(t))) as f32,
            correction: (1.0 / (1.0 - self.beta2.powi(t)).sqrt()) as f32,
            epsilon: self.epsilon as f32,
        };
        match gradient {
            Gradient::Dense(values) if values.len() != count => {
                candle_core::bail!("adamw: {count} weights, {} gradients", values.len())
            }
            Gradient::Dense(values) => dense(weight, values, moments, &numbers),
            Gradient::Rows { rows, columns, values } => of_rows(weight, rows, *columns, values, moments, &numbers),
        }
    }
}

fn dense(weight: &Weight, gradient: &[f32], moments: &mut Moments, numbers: &Numbers) -> Result<()> {
    let Moments { first, second, .. } = moments;
    if weight.var()?.device().is_cpu() {
        return weight.change(|w| {
            w.par_chunks_mut(BLOCK)
                .zip(gradient.par_chunks(BLOCK))
                .zip(first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK)))
                .for_each(|((w, g), (m, v))| step(w, g, m, v, numbers));
        });
    }
    // On other devices the numbers come to the CPU and go back: right, not fast.
    let tensor = weight.tensor()?;
    let mut w = tensor.flatten_all()?.to_vec1::<f32>()?;
    step(&mut w, gradient, first, second, numbers);
    weight.set(&Tensor::from_vec(w, tensor.shape(), tensor.device())?)
}

fn of_rows(
    weight: &Weight,
    rows: &[u32],
    columns: usize,
    gradient: &[f32],
    moments: &mut Moments,
    numbers: &Numbers,
) -> Result<()> {
    let table = moments.first.len() / columns.max(1);
    if columns == 0 || rows.iter().any(|&row| row as usize >= table) || gradient.len() != rows.len() * columns {
        candle_core::bail!("adamw: gradients of {} rows for a table of {table} rows", rows.len());
    }
    weight.flush(rows)?;
    let Moments { first, second, touched, .. } = moments;
    if touched.is_empty() {
        // Moments that were read back say themselves which rows had a gradient: only those are not zero.
        let used = |moments: &[f32]| moments.iter().any(|&m| m != 0.0);
        *touched = first.chunks(columns).zip(second.chunks(columns)).map(|(m, v)| used(m) || used(v)).collect();
    }
    for &row in rows {
        touched[row as usize] = true;
    }
    // Every touched row, with where its gradient is if this step has one for it.
    let mut graded = rows.iter().enumerate().peekable();
    let work: Vec<(usize, Option<usize>)> = (0..table)
        .filter(|&row| touched[row])
        .map(|row| (row, graded.next_if(|(_, graded)| **graded as usize == row).map(|(index, _)| index)))
        .collect();
    let zeros = vec![0.0; columns];
    weight.change(|w| {
        let (w, m, v) = (Parts::new(w), Parts::new(first), Parts::new(second));
        work.par_iter().with_min_len(32).for_each(|&(row, index)| {
            let g = index.map_or(&zeros[..], |index| &gradient[index * columns..(index + 1) * columns]);
            let start = row * columns;
            // SAFETY: `work` names each row once.
            unsafe { step(w.part(start, columns), g, m.part(start, columns), v.part(start, columns), numbers) };
        });
    })?;
    if numbers.shrink != 1.0 {
        weight.defer(numbers.shrink, touched);
    }
    Ok(())
}

/// The sum of squares of a gradient, in f64 and a fixed order.
pub fn sum_of_squares(gradient: &Gradient) -> f64 {
    // A vectorised f32 sum over short blocks, then f64: no long f32 accumulation.
    let of = |block: &[f32]| block.chunks(512).map(|part| f64::from(squares(part))).sum::<f64>();
    let values = gradient.values();
    if values.len() <= BLOCK {
        return of(values);
    }
    let blocks: Vec<f64> = values.par_chunks(BLOCK).map(of).collect();
    blocks.iter().sum()
}

simd! {
    fn squares(x: &[f32]) -> f32 {
        crate::math::dot(x, x)
    }
}

#[derive(Clone, Copy)]
struct Numbers {
    clip: f32,
    shrink: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    step: f32,
    correction: f32,
    epsilon: f32,
}

simd! {
    fn step(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], n: &Numbers) {
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * n.clip;
            *m = n.beta1 * *m + n.rest1 * g;
            *v = n.beta2 * *v + n.rest2 * g * g;
            *w = *w * n.shrink - n.step * *m / (v.sqrt() * n.correction + n.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::with_f32s;
    use crate::testing::{normal, reference_device};
    use candle_core::Device;

    fn dense_of(tensor: &Tensor) -> Gradient {
        Gradient::from_tensor(tensor).unwrap()
    }

    #[test]
    fn an_update_is_that_of_the_formula_in_f64() {
        let (method, update) = (AdamW::default(), Update { lr: 1e-2, decay: 0.1, clip: 0.5 });
        let start = normal(1, &[20_000]);
        let weights =
            [Device::Cpu, reference_device()].map(|device| Weight::new(&start.to_device(&device).unwrap()).unwrap());
        let mut moments = [Moments::zeros(20_000), Moments::zeros(20_000)];
        let mut want: Vec<f64> = start.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
        let (mut m, mut v) = (vec![0.0; want.len()], vec![0.0; want.len()]);
        for t in 1..=3 {
            let gradient = normal(10 + t as u64, &[20_000]);
            for (weight, moments) in weights.iter().zip(&mut moments) {
                let gradient = dense_of(&gradient.to_device(weight.tensor().unwrap().device()).unwrap());
                method.update(weight, &gradient, moments, update).unwrap();
            }
            for (i, g) in gradient.to_vec1::<f32>().unwrap().into_iter().enumerate() {
                let g = f64::from(g) * 0.5;
                want[i] *= 1.0 - 1e-2 * 0.1;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh): (f64, f64) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                want[i] -= 1e-2 * mh / (vh.sqrt() + 1e-8);
            }
        }
        for weight in weights {
            for (got, want) in weight.tensor().unwrap().to_vec1::<f32>().unwrap().into_iter().zip(&want) {
                assert!((f64::from(got) - want).abs() < 1e-5, "{got} for {want}");
            }
        }
    }

    /// Decay that waits for its row gives the bits of decay in every step: rows that are touched never, late, once,
    /// often; tables that are read in between; moments that were saved and read back.
    #[test]
    fn deferred_decay_is_exact() {
        let (rows, columns, steps) = (40, 70, 60_u64);
        let start = normal(1, &[rows, columns]);
        let (lazy, eager) = (Weight::new(&start).unwrap(), Weight::new(&start).unwrap());
        let count = rows * columns;
        let (mut lazy_moments, mut eager_moments) = (Moments::zeros(count), Moments::zeros(count));
        let method = AdamW::default();
        let bits = |weight: &Weight| -> Vec<u32> {
            let values = weight.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        for t in 0..steps {
            // Each step uses a few rows below a bound that rises; the last ten rows are never used.
            let used: Vec<u32> = (0..5).map(|i| ((t * 7 + i * 11) % (3 + t / 2).min(30)) as u32).collect();
            let gradients = normal(100 + t, &[used.len(), columns]).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            with_f32s([lazy.tensor_of_rows(&used).unwrap()], |[values]| {
                eager.read(|want| {
                    for &row in &used {
                        let at = row as usize * columns..(row as usize + 1) * columns;
                        assert_eq!(values[at.clone()], want[at], "row {row} as the forward pass reads it in step {t}");
                    }
                    Ok(())
                })
            })
            .unwrap();
            lazy.add_gradient_of_rows(&used, &gradients).unwrap();
            let gradient = lazy.take_gradient().unwrap();
            let whole = dense_of(&gradient.to_tensor(&[rows, columns]).unwrap());
            let update = Update { lr: 1e-2 / (1 + t) as f64, decay: 0.1, clip: 0.7 };
            method.update(&lazy, &gradient, &mut lazy_moments, update).unwrap();
            method.update(&eager, &whole, &mut eager_moments, update).unwrap();
            if t % 23 == 5 {
                assert_eq!(bits(&lazy), bits(&eager), "the table as a whole after step {t}");
            }
            if t == 40 {
                lazy_moments.touched.clear();
            }
        }
        assert_eq!(bits(&lazy), bits(&eager));
        assert_eq!((lazy_moments.first, lazy_moments.second), (eager_moments.first, eager_moments.second));
        assert!(!lazy_moments.touched[39], "a row that no step used is spared");
    }

    #[test]
    fn the_norm_is_exact() {
        let x = normal(1, &[100_001]);
        let want: f64 = x.to_vec1::<f32>().unwrap().into_iter().map(|x| f64::from(x).powi(2)).sum();
        assert!((sum_of_squares(&dense_of(&x)) - want).abs() < 1e-6 * want);
    }
}
