//! What gradients say about training several tasks at once: the norm of each group of layers, and whether the tasks pull the
//! shared encoder the same way.
//!
//! ```text
//! cosine(a, b) = <g_a, g_b> / (|g_a| |g_b|)     g: the gradient of a task's loss, on the encoder's parameters
//! ```
//!
//! Near 1 the tasks agree, near 0 they do not concern each other, below 0 a step for one undoes a part of the other's
//! (Yu et al. 2020, "Gradient Surgery for Multi-Task Learning").
//!
//! Sums are in f64, in parts whose size depends on the shapes alone and in their order: the same bits at any number of
//! threads. Gradients of tables stay sparse: only rows that both have count.

use crate::optim::Squares;
use crate::parameters::{Gradients, Owner, Parameter, Parameters};
use polyhead_kernels::Gradient;
use polyhead_kernels::tape::in_pool;
use rayon::prelude::*;
use serde::{Serialize, Serializer};

/// Numbers in a part of a sum.
const PART: usize = 16 * 1024;

/// Named norms, in the order of the model; as JSON an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Norms(pub Vec<(String, f64)>);

impl Serialize for Norms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, norm)| (name, norm)))
    }
}

/// The groups of layers of a model: `embeddings`, `layer.0`, `layer.1`, ..., `heads.TASK`.
pub struct Groups {
    names: Vec<String>,
    /// The group of each trained parameter, in their order.
    members: Vec<usize>,
}

impl Groups {
    /// The groups of a model's trained parameters, in the order in which they are declared.
    pub fn new(parameters: &Parameters) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut member = |parameter: &Parameter| {
            let name = group(parameter);
            names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            })
        };
        let members = parameters.trained().map(&mut member).collect();
        Self { names, members }
    }

    /// The norm of each group's gradient. A group that received none (the head of another task) is left out.
    pub fn norms(&self, squares: &Squares) -> Norms {
        let mut sums = vec![None; self.names.len()];
        for (&member, square) in self.members.iter().zip(&squares.0) {
            if let (Some(sum), Some(square)) = (sums.get_mut(member), square) {
                *sum = Some(sum.unwrap_or(0.0) + square);
            }
        }
        let named = self.names.iter().zip(sums);
        Norms(named.filter_map(|(name, sum): (_, Option<f64>)| Some((name.clone(), sum?.sqrt()))).collect())
    }
}

/// The group of a parameter. Encoders number their layers and name them so: `encoder.layer.3.output.dense.weight` is of
/// `layer.3`; what stands outside of layers goes by its first word, `embeddings`, `pooler`.
fn group(parameter: &Parameter) -> String {
    if let Owner::Head(task) = &parameter.owner {
        return format!("heads.{task}");
    }
    let words: Vec<&str> = parameter.name.split('.').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = words.iter().zip(words.iter().skip(1)).find(|(_, next)| is_number(next));
    match numbered {
        Some((layer, number)) => format!("{layer}.{number}"),
        None => words.first().copied().unwrap_or_default().to_owned(),
    }
}

/// How the tasks pull the shared encoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The norm of each task's gradient on the encoder.
    pub norms: Norms,
    /// The cosine of each pair.
    pub cosines: Vec<Cosine>,
}

/// The cosine between the gradients of two tasks on the encoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cosine {
    /// One task.
    pub a: String,
    /// The other, which comes later in the model.
    pub b: String,
    /// The cosine; none where a gradient is zero.
    pub cosine: Option<f64>,
}

/// Compares the gradients of tasks, each of a batch of its own with the same parameters.
pub fn cosines(tasks: &[(&str, &Gradients)], parameters: &Parameters) -> Diagnosis {
    in_pool(|| {
        let norm = |&(name, gradients): &(&str, &Gradients)| {
            (name.to_owned(), encoder_dot(parameters, gradients, gradients).sqrt())
        };
        let norms: Vec<(String, f64)> = tasks.iter().map(norm).collect();
        let mut pairs = Vec::new();
        for (at, ((a, of_a), (_, norm_a))) in tasks.iter().zip(&norms).enumerate() {
            for ((b, of_b), (_, norm_b)) in tasks.iter().zip(&norms).skip(at + 1) {
                let product = norm_a * norm_b;
                let cosine = (product > 0.0).then(|| encoder_dot(parameters, of_a, of_b) / product);
                pairs.push(Cosine { a: (*a).to_owned(), b: (*b).to_owned(), cosine });
            }
        }
        Diagnosis { norms: Norms(norms), cosines: pairs }
    })
}

/// The dot product of two gradients on the encoder's parameters.
fn encoder_dot(parameters: &Parameters, a: &Gradients, b: &Gradients) -> f64 {
    let both = a.of(parameters).zip(b.of(parameters)).filter(|((parameter, _), _)| parameter.owner == Owner::Encoder);
    both.filter_map(|((_, a), (_, b))| Some(dot(a?, b?))).sum()
}

/// The dot product of two gradients of one parameter.
pub fn dot(a: &Gradient, b: &Gradient) -> f64 {
    match (a, b) {
        (Gradient::Dense(a), Gradient::Dense(b)) => {
            let parts: Vec<f64> = a.par_chunks(PART).zip(b.par_chunks(PART)).map(|(a, b)| dot_of(a, b)).collect();
            parts.iter().sum()
        }
        (Gradient::Rows { rows, columns, values }, Gradient::Dense(dense))
        | (Gradient::Dense(dense), Gradient::Rows { rows, columns, values }) => {
            let row = |&row: &u32| dense.get(row as usize * columns..)?.get(..*columns);
            let pairs = rows.iter().map(row).zip(values.chunks_exact((*columns).max(1)));
            dot_of_rows(pairs.filter_map(|(dense, values)| Some((dense?, values))).collect())
        }
        (
            Gradient::Rows { rows: rows_a, columns, values: values_a },
            Gradient::Rows { rows: rows_b, values: values_b, .. },
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
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::parameters::Train;
    use candle_core::{Device, Tensor};
    use polyhead_kernels::Weight;
    use polyhead_kernels::rng::Key;

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
    fn products_are_those_of_the_whole_gradients() {
        for shape in [[401, 83], [3, 1], [40, 8]] {
            let all = some(shape);
            for (at, a) in all.iter().enumerate() {
                for (other, b) in all.iter().enumerate() {
                    let (found, want) = (dot(a, b), dense_dot(a, b, shape));
                    let scale = (dense_dot(a, a, shape) * dense_dot(b, b, shape)).sqrt();
                    assert!((found - want).abs() <= 1e-12 * scale, "{shape:?}, {at} by {other}: {found}, {want}");
                }
            }
        }
        // Rows 0, 3, 6, ... and 1, 7, 13, ... have none in common.
        let all = some([401, 83]);
        assert_eq!(dot(&all[2], &all[4]), 0.0);
        assert_ne!(dot(&all[2], &all[3]), 0.0);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let all = some([3001, 83]);
        let products =
            || -> Vec<u64> { all.iter().flat_map(|a| all.iter().map(move |b| dot(a, b).to_bits())).collect() };
        let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(products);
        let one = with(1);
        assert!((2..=5).all(|threads| with(threads) == one));
    }

    #[test]
    fn groups_go_by_the_owner_and_then_by_the_layer() {
        let named = |name: &str, owner: Owner| {
            let weight = Weight::new(&Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
            group(&Parameter { name: name.into(), weight, train: Train::Yes, owner })
        };
        for (name, expected) in [
            ("embeddings.LayerNorm.weight", "embeddings"),
            ("encoder.layer.11.attention.self.query.weight", "layer.11"),
            ("transformer.h.0.mlp.0.weight", "h.0"),
            ("pooler.dense.bias", "pooler"),
            ("scale", "scale"),
        ] {
            assert_eq!(named(name, Owner::Encoder), expected);
        }
        assert_eq!(named("heads.qa.layer.0.weight", Owner::Head("qa".into())), "heads.qa");
    }
}
