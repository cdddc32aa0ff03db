//! Several heads on one hidden state whose gradients are changed before they come together there.
//!
//! ```text
//! forward   hidden [rows, columns] -> a value of its own for each head
//! backward  gradients of the heads, [rows, columns] each -> join changes them in place -> their sum is that of the hidden state
//! ```
//!
//! What a strategy for several tasks needs that looks at the gradients on the shared representation, not at those of the parameters:
//! one backward pass through the encoder, whatever it makes of them.

use crate::gemm::{Matrix, add_to};
use crate::tape::{GradientBuffers, Tape};
use crate::value::{Fused, Node, Value};
use crate::workspace::Buffer;
use candle_core::Result;

/// The gradients of heads on one hidden state.
pub struct HeadGradients<'a> {
    /// The hidden state, `[rows, columns]`.
    pub hidden: &'a [f32],
    /// How many numbers a row has.
    pub columns: usize,
    /// The gradient of each head on it, of the same shape.
    pub heads: &'a mut [Vec<f32>],
}

/// Changes the gradients of heads in place; their sum goes on.
pub type Join = Box<dyn FnOnce(HeadGradients) + Send>;

impl Tape {
    /// A hidden state as a value of its own for each head. In the backward pass `join` has the gradients of all of them; that of a head that sends none
    /// is zeros.
    pub fn for_heads(&mut self, hidden: &Value, heads: usize, join: Join) -> Result<Vec<Value>> {
        let hidden = hidden.fused()?.clone();
        if !hidden.node.needs_gradient {
            return Ok(vec![Value::Fused(hidden); heads]);
        }
        let own: Vec<Fused> = (0..heads).map(|_| self.adopted(&hidden)).collect();
        let nodes: Vec<Node> = own.iter().map(|value| value.node).collect();
        self.record_always(move |buffers| joined(&hidden, &nodes, join, buffers));
        Ok(own.into_iter().map(Value::Fused).collect())
    }
}

fn joined(hidden: &Fused, heads: &[Node], join: Join, buffers: &mut GradientBuffers) -> Result<()> {
    let Node { rows, columns, .. } = hidden.node;
    let found: Vec<Option<Matrix>> = heads.iter().map(|head| buffers.take_if_any(*head)).collect();
    if found.iter().all(Option::is_none) {
        return Ok(());
    }
    let zeros = || vec![0.0; rows * columns];
    let numbers = |gradient: Option<Matrix>| gradient.map_or_else(zeros, |gradient| gradient.to_vec());
    let mut gradients: Vec<Vec<f32>> = found.into_iter().map(numbers).collect();
    join(HeadGradients { hidden: hidden.floats()?, columns, heads: &mut gradients });
    let mut sum = zeros();
    gradients.iter().for_each(|gradient| add_to(&mut sum, gradient));
    buffers.add(hidden.node, Buffer::copy_of(&sum))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gemm::Precision;
    use crate::ops::Ops;
    use crate::pass::{Inputs, Pass};
    use crate::rng::Key;
    use crate::segments::Segments;
    use crate::testing::{normal, weights};
    use crate::weight::Weight;
    use std::sync::Arc;

    /// The gradient of `x` where head `i` is a linear layer whose output has the loss `sum(scale_i y_i)`.
    fn gradient(x: &Weight, layers: &[Arc<crate::Linear>], scales: &[f64], join: Join) -> Vec<f32> {
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[4])));
        let mut tape = Tape::new(Precision::F32, Pass::train(Key::seed(1)), inputs);
        let hidden = tape.parameter(x).unwrap();
        let own = tape.for_heads(&hidden, layers.len(), join).unwrap();
        let outputs: Vec<Value> = own.iter().zip(layers).map(|(own, layer)| tape.linear(own, layer).unwrap()).collect();
        let outputs = tape.finish(&outputs).unwrap();
        let losses = outputs.iter().zip(scales).map(|(output, scale)| (output.sum_all().unwrap() * *scale).unwrap());
        losses.reduce(|a, b| (a + b).unwrap()).unwrap().backward().unwrap();
        x.take_gradient().unwrap().values().to_vec()
    }

    #[test]
    fn heads_are_summed_as_the_join_left_them() {
        let weight = |seed, shape: &[usize]| Weight::new(&normal(seed, shape)).unwrap();
        let x = weight(1, &[4, 6]);
        let layer = |seed| weights([(&weight(seed, &[3, 6]), &weight(seed + 1, &[3]))]);
        let layers = [layer(2), layer(4)];
        let apart: Vec<Vec<f32>> =
            [[1.0, 0.0], [0.0, 2.0]].iter().map(|scales| gradient(&x, &layers, scales, Box::new(|_| ()))).collect();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tells = seen.clone();
        let found = gradient(
            &x,
            &layers,
            &[1.0, 2.0],
            Box::new(move |found| {
                *tells.lock().unwrap() = found.heads.to_vec();
                assert_eq!((found.hidden.len(), found.columns), (24, 6));
                found.heads[0].iter_mut().for_each(|value| *value *= 3.0);
                found.heads[1][5] = 0.0;
            }),
        );
        assert_eq!(*seen.lock().unwrap(), apart);
        for (at, found) in found.iter().enumerate() {
            let second = if at == 5 { 0.0 } else { apart[1][at] };
            assert!((found - (3.0 * apart[0][at] + second)).abs() < 1e-5, "{at}: {found}");
        }
    }
}
