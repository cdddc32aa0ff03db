//! What gradients say about training several tasks at once: the norm of each group of layers, and whether the tasks pull the
//! shared encoder the same way.
//!
//! ```text
//! cosine(a, b) = <g_a, g_b> / (|g_a| |g_b|)     g: the gradient of a task's loss, on the encoder's parameters
//! ```
//!
//! Near 1 the tasks agree, near 0 they do not concern each other, below 0 a step for one undoes a part of the other's
//! (Yu et al. 2020, "Gradient Surgery for Multi-Task Learning").

use crate::events::{Cosine, Diagnosis, Norms};
use crate::optim::SquaredNorms;
use crate::parameters::{Gradients, Group, Owner, Parameter, Parameters};
use polyhead_kernels::in_pool;

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
    pub fn norms(&self, squares: &SquaredNorms) -> Norms {
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

/// The name of a parameter's group.
fn group(parameter: &Parameter) -> String {
    match (&parameter.owner, parameter.group) {
        (Owner::Head(task), _) => format!("heads.{task}"),
        (Owner::Private(task), _) => format!("private.{task}"),
        (_, Group::Embeddings) => "embeddings".to_owned(),
        (_, Group::Layer(layer)) => format!("layer.{layer}"),
        (_, Group::Pooler | Group::Head) => "pooler".to_owned(),
    }
}

/// Compares the gradients of tasks, each of a batch of its own with the same parameters.
pub fn cosines(tasks: &[(&str, &Gradients)], parameters: &Parameters) -> Diagnosis {
    in_pool(|| {
        let gradients: Vec<&Gradients> = tasks.iter().map(|(_, gradients)| *gradients).collect();
        let products = Gradients::products(&gradients, parameters);
        let norms: Vec<f64> = (0..tasks.len()).map(|at| products[at][at].sqrt()).collect();
        let mut pairs = Vec::new();
        for (at, (a, _)) in tasks.iter().enumerate() {
            for (to, (b, _)) in tasks.iter().enumerate().skip(at + 1) {
                let lengths = norms[at] * norms[to];
                let cosine = (lengths > 0.0).then(|| products[at][to] / lengths);
                pairs.push(Cosine { a: (*a).to_owned(), b: (*b).to_owned(), cosine });
            }
        }
        let norms = tasks.iter().zip(norms).map(|((name, _), norm)| ((*name).to_owned(), norm)).collect();
        Diagnosis { norms: Norms(norms), cosines: pairs }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::parameters::Role;
    use candle_core::{DType, Device, Tensor};
    use polyhead_kernels::Weight;

    #[test]
    fn groups_go_by_the_owner_and_then_by_the_layer() {
        let named = |owner: Owner, at: Group| {
            let weight = Weight::new(&Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap()).unwrap();
            let (name, role) = ("scale".to_owned(), Role::Weight);
            group(&Parameter { name, weight, owner, group: at, role })
        };
        for (at, expected) in
            [(Group::Embeddings, "embeddings"), (Group::Layer(11), "layer.11"), (Group::Pooler, "pooler")]
        {
            assert_eq!(named(Owner::Encoder, at), expected);
        }
        assert_eq!(named(Owner::Head("qa".into()), Group::Head), "heads.qa");
    }
}
