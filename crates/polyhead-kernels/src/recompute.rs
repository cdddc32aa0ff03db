//! Gradient checkpointing (Chen et al., arXiv:1604.06174): of a part of the network its inputs are kept, and what lies in between is
//! computed again when its gradient arrives.
//!
//! ```text
//! forward   y = body(x), whose values are let go
//! backward  body(x) again, kept this time; then its own backward pass from dy to dx
//! ```
//!
//! Masks of dropout are a function of their key, so that both runs have the same bits, and with them the gradients.

use crate::gemm::Precision;
use crate::ops::Body;
use crate::pass::Setting;
use crate::tape::Tape;
use crate::value::{Fused, Node, Value};
use candle_core::Result;

/// A part of a network with its inputs: what is kept of it.
struct Part {
    precision: Precision,
    setting: Setting,
    /// The first of them is what it is a function of, the others stand beside it.
    inputs: Vec<Fused>,
    body: Body,
}

impl Part {
    /// Runs it on a tape of its own, whose first values are the inputs.
    fn run(&self, keeps: bool) -> Result<(Tape, Fused)> {
        let (mut tape, own) = Tape::of_part(self.precision, self.setting.clone(), &self.inputs, keeps);
        let [x, beside @ ..] = own.as_slice() else { candle_core::bail!("a part of a network without an input") };
        let y = (self.body)(&mut tape, x, beside)?;
        Ok((tape, y.fused()?.clone()))
    }
}

impl Tape {
    /// What a body makes of its inputs, of which nothing in between is kept.
    pub(crate) fn fused_recomputed(&mut self, x: &Value, beside: &[Value], body: Body) -> Result<Value> {
        let inputs = std::iter::once(x).chain(beside);
        let inputs: Vec<Fused> = inputs.map(|value| value.fused().cloned()).collect::<Result<_>>()?;
        let part = Part { precision: self.precision, setting: self.setting.clone(), inputs, body };
        let y = self.adopted(&part.run(false)?.1);
        let output = y.node;
        self.record(output, move |buffers| {
            let gradient = buffers.take(output)?;
            let (tape, y) = part.run(true)?;
            let inputs: Vec<Node> = part.inputs.iter().map(|input| input.node).collect();
            tape.backward(y.node, gradient, &inputs, buffers)
        });
        Ok(Value::Fused(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::layer_norm::Norm;
    use crate::ops::{Attention, Ops};
    use crate::pass::{DropoutAt, Inputs, Pass};
    use crate::rng::Key;
    use crate::segments::Segments;
    use crate::testing::{PRECISIONS, flat, normal, weights};
    use crate::weight::Weight;
    use std::sync::Arc;

    /// Two layers with dropout; the numbers and the gradients of all weights, and how many operators were kept.
    fn two_layers(precision: Precision, recompute: bool) -> (Vec<f32>, usize) {
        let (rows, hidden, inner) = (23, 24, 42);
        let weight = |seed, shape: &[usize]| Weight::new(&(normal(seed, shape) * 0.3).unwrap()).unwrap();
        let layer = |first: u64| {
            let shapes: [&[usize]; 8] = [
                &[3 * hidden, hidden],
                &[3 * hidden],
                &[inner, hidden],
                &[inner],
                &[hidden, inner],
                &[hidden],
                &[hidden],
                &[hidden],
            ];
            let mut seeds = first..;
            shapes.map(|shape| weight(seeds.next().unwrap(), shape))
        };
        let (layers, input, beside) = ([layer(1), layer(20)], weight(40, &[rows, hidden]), weight(41, &[rows, hidden]));
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[3, 20])));
        let mut tape = Tape::new(precision, Pass::train(Key::seed(4)), inputs).recomputing(recompute);
        let mut x = tape.parameter(&input).unwrap();
        let beside_all = tape.parameter(&beside).unwrap();
        for (depth, layer) in layers.iter().enumerate() {
            let [w, b, up, up_b, down, down_b, gamma, beta] = layer.clone();
            let body = move |ops: &mut dyn Ops, x: &Value, beside: &[Value]| {
                let drop = |place| DropoutAt::new(0.2, place).of_layer(depth);
                let y = ops.self_attention(x, &weights([(&w, &b)]), Attention::plain(2, drop("attention")))?;
                let y = ops.linear_activation(&y, &weights([(&up, &up_b)]), Activation::Gelu)?;
                let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
                let residual = ops.add(x, &beside[0])?;
                ops.linear_residual_norm(&y, &weights([(&down, &down_b)]), &residual, &norm, drop("output"))
            };
            x = tape.recomputed(&x, std::slice::from_ref(&beside_all), Arc::new(body)).unwrap();
        }
        let recorded = tape.recorded();
        let y = tape.finish(&[x]).unwrap().remove(0);
        y.mul(&normal(99, y.dims())).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = flat(&y);
        for weight in layers.iter().flatten().chain([&input, &beside]) {
            let gradient = weight.take_gradient().expect("every weight has a gradient");
            all.extend(flat(&gradient.to_tensor(weight.dims()).unwrap()));
        }
        (all, recorded)
    }

    #[test]
    fn what_is_computed_again_has_the_same_bits_and_so_have_all_gradients() {
        for (precision, _) in PRECISIONS {
            let ((kept, steps), (again, fewer)) = (two_layers(precision, false), two_layers(precision, true));
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert!(bits(kept) == bits(again), "{precision:?}");
            // The two weights that are values, and the layers.
            assert_eq!((steps, fewer), (10, 4));
        }
    }

    #[test]
    fn what_has_nothing_trained_in_it_or_before_it_is_not_kept_at_all() {
        let frozen = |shape: &[usize]| {
            let weight = Weight::new(&normal(1, shape)).unwrap();
            weight.freeze();
            weight
        };
        let (w, b) = (frozen(&[6, 6]), frozen(&[6]));
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[4])));
        let mut tape = Tape::new(Precision::F32, Pass::train(Key::seed(4)), inputs).recomputing(true);
        let x = tape.constant(&normal(2, &[4, 6])).unwrap();
        let body = move |ops: &mut dyn Ops, x: &Value, _: &[Value]| ops.linear(x, &weights([(&w, &b)]));
        let y = tape.recomputed(&x, &[], Arc::new(body)).unwrap();
        assert_eq!((tape.recorded(), y.fused().unwrap().node.needs_gradient), (0, false));
    }
}
