//! Optimisation: the learning rate of a step, clipping, and AdamW over a model's parameters.

use crate::error::{Error, Place, Result};
use crate::parameters::{Gradients, Group, Parameters, write_numbers};
use polyhead_kernels::adamw::{AdamW, Moments, Update, sum_of_squares};
use polyhead_kernels::in_pool;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Linear warm-up, then linear decay to 0: a pure function of the step.
///
/// ```text
/// factor(s) = (s + 1) / W          for s < W,   s counted from 0, W = the steps of warm-up
///             (N - s) / (N - W)    after that
/// ```
///
/// The schedule of transformers, `get_linear_schedule_with_warmup`, has `s / W`: its first update is one of rate 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// All steps, N.
    pub steps: usize,
    /// Steps of warm-up, W.
    pub warmup: usize,
}

impl Schedule {
    /// A schedule whose warm-up takes this share of the steps, rounded down.
    pub fn new(steps: usize, warmup_share: f64) -> Self {
        Self { steps, warmup: ((steps as f64 * warmup_share) as usize).min(steps) }
    }

    /// What multiplies the learning rate at a step, counted from 0.
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            self.steps.saturating_sub(step) as f64 / (self.steps - self.warmup).max(1) as f64
        }
    }
}

/// Learning rates by where a parameter stands in the network.
///
/// ```text
/// head               head
/// layer of depth k   layer_decay ^ (layers + 2 - k)    k = 0: the embeddings, 1: the first layer, ... (Clark et al. 2020, ELECTRA)
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// What multiplies the rate of heads.
    pub head: f64,
    /// What multiplies the rate from each layer to the one below it.
    pub layer_decay: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { head: 1.0, layer_decay: 1.0 }
    }
}

impl Rates {
    /// What multiplies the learning rate of a group, of an encoder with so many layers.
    pub fn factor(&self, group: Group, layers: usize) -> f64 {
        let depth = match group {
            Group::Embeddings => 0,
            Group::Layer(layer) => layer + 1,
            Group::Pooler => layers + 1,
            Group::Head => return self.head,
        };
        self.layer_decay.powi((layers + 2).saturating_sub(depth) as i32)
    }
}

/// AdamW with its moments, clipping by the global norm.
pub struct Optimizer {
    rates: Rates,
    method: AdamW,
    decay: f64,
    max_norm: f64,
    moments: HashMap<String, Moments>,
}

impl Optimizer {
    /// With decoupled weight decay (not on biases and LayerNorm) and gradients clipped to a global norm.
    pub fn new(method: AdamW, decay: f64, max_norm: f64) -> Self {
        Self { rates: Rates::default(), method, decay, max_norm, moments: HashMap::new() }
    }

    /// The same with learning rates by group.
    #[must_use]
    pub fn with_rates(self, rates: Rates) -> Self {
        Self { rates, ..self }
    }

    /// Writes the moments of all parameters that were updated into a safetensors file: `NAME.first`, `NAME.second`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, path: &Path, parameters: &Parameters) -> Result<()> {
        let kept = parameters.trained().filter_map(|parameter| Some((parameter, self.moments.get(&parameter.name)?)));
        let both = kept.flat_map(|(parameter, moments)| {
            let of = |which: &str| (format!("{}.{which}", parameter.name), parameter.weight.dims());
            let ((first, dims), (second, same)) = (of("first"), of("second"));
            [(first, dims, &moments.first[..]), (second, same, &moments.second[..])]
        });
        write_numbers(path, both.collect())
    }

    /// How many updates each parameter has had.
    pub fn updates(&self) -> BTreeMap<String, u64> {
        self.moments.iter().map(|(name, moments)| (name.clone(), moments.updates)).collect()
    }

    /// Takes moments that [`Optimizer::save`] wrote, and the updates that belong to them.
    ///
    /// # Errors
    /// They are not those of these parameters.
    pub fn restore(&mut self, path: &Path, parameters: &Parameters, updates: &BTreeMap<String, u64>) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|cause| Error::reading(path, cause))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|cause| Error::data(format!("not a safetensors file: {cause}")).at(Place::file(path)))?;
        self.moments.clear();
        for (name, &count) in updates {
            // One that is frozen now needs none.
            if parameters.get(name).is_some_and(|parameter| !parameter.is_trained()) {
                continue;
            }
            let parameter = parameters.trained().find(|parameter| parameter.name == *name).ok_or_else(|| {
                Error::data("expected moments of this model's parameters, found those of another")
                    .at(Place::tensor(path, name))
            })?;
            let read = |which: &str| {
                let name = format!("{name}.{which}");
                let view = file
                    .tensor(&name)
                    .map_err(|cause| Error::data(cause.to_string()).at(Place::tensor(path, &name)))?;
                if view.dtype() != Dtype::F32 || view.shape() != parameter.weight.dims() {
                    let (expected, found) = (parameter.weight.dims(), view.shape());
                    return Err(Error::data(format!("expected f32 {expected:?}, found {:?} {found:?}", view.dtype()))
                        .at(Place::tensor(path, &name)));
                }
                let (numbers, _) = view.data().as_chunks::<4>();
                Ok(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect::<Vec<f32>>())
            };
            self.moments.insert(name.clone(), Moments::restored(read("first")?, read("second")?, count));
        }
        Ok(())
    }

    /// Updates every trained parameter that has a gradient; returns how large the gradients were before clipping.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Gradients, lr: f64) -> Result<SquaredNorms> {
        in_pool(|| self.step_here(parameters, gradients, lr))
    }

    fn step_here(&mut self, parameters: &Parameters, gradients: &Gradients, lr: f64) -> Result<SquaredNorms> {
        let squares =
            SquaredNorms(gradients.of(parameters).map(|(_, gradient)| gradient.map(sum_of_squares)).collect());
        for (parameter, sum) in parameters.trained().zip(&squares.0) {
            if sum.is_some_and(|sum| !sum.is_finite()) {
                return Err(Error::internal(format!("the gradient of `{}` is not finite", parameter.name))
                    .hint("a smaller learning rate helps; the model was not updated"));
            }
        }
        let norm = squares.norm();
        // As torch.nn.utils.clip_grad_norm_ does it.
        let clip = if self.max_norm > 0.0 { (self.max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let layers = parameters.layers();
        for (parameter, gradient) in gradients.of(parameters) {
            let Some(gradient) = gradient else { continue };
            let lr = lr * self.rates.factor(parameter.group, layers);
            let count = parameter.weight.count();
            let moments = self.moments.entry(parameter.name.clone()).or_insert_with(|| Moments::zeros(count));
            let decay = if parameter.decays() { self.decay } else { 0.0 };
            self.method.update(&parameter.weight, gradient, moments, Update { lr, decay, clip })?;
        }
        Ok(squares)
    }
}

/// The sum of the squares of each trained parameter's gradient, in the order of the model; none where it received none.
#[derive(Debug, Clone, PartialEq)]
pub struct SquaredNorms(pub Vec<Option<f64>>);

impl SquaredNorms {
    /// The global norm.
    pub fn norm(&self) -> f64 {
        self.0.iter().flatten().sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_from_the_head_down_to_the_embeddings_as_those_of_electra() {
        let rates = Rates { head: 10.0, layer_decay: 0.5 };
        let groups = [Group::Head, Group::Layer(2), Group::Layer(0), Group::Embeddings];
        assert_eq!(groups.map(|group| rates.factor(group, 3)), [10.0, 0.25, 0.0625, 0.03125]);
        assert!(groups.iter().all(|&group| Rates::default().factor(group, 3) == 1.0));
    }

    #[test]
    fn the_rate_rises_to_one_and_falls_to_zero_without_a_wasted_step() {
        let schedule = Schedule::new(10, 0.2);
        let factors: Vec<f64> = (0..11).map(|step| schedule.factor(step)).collect();
        assert_eq!(factors[..3], [0.5, 1.0, 1.0]);
        assert_eq!(factors[9], 1.0 / 8.0);
        assert_eq!(factors[10], 0.0);
        assert_eq!(Schedule::new(4, 0.0).factor(0), 1.0);
        assert_eq!(Schedule::new(1, 1.0).factor(0), 1.0);
    }
}
