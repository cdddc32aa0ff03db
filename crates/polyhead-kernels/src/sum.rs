//! Weighted sums of values: residuals, and what several parts of a network say of the same rows.
//!
//! ```text
//! forward   y = Σ cᵢ xᵢ            each [rows, columns]
//! backward  dxᵢ += cᵢ dy
//! ```

use crate::gemm::Matrix;
use crate::math::simd;
use crate::tape::Tape;
use crate::value::{Fused, Node, Value};
use crate::workspace::Buffer;
use candle_core::{Result, Tensor};

impl Tape {
    /// The sum of these values, each times its factor: a hidden state.
    pub(crate) fn fused_weighted_sum(&mut self, values: &[(&Fused, f32)]) -> Result<Value> {
        let Some(((first, factor), others)) = values.split_first() else { candle_core::bail!("a sum of nothing") };
        let Node { rows, columns, rows_of, .. } = first.node;
        let different = |node: &Node| (node.rows, node.columns, node.rows_of) != (rows, columns, rows_of);
        if let Some((other, _)) = others.iter().find(|(other, _)| different(&other.node)) {
            candle_core::bail!("the sum of {:?} and {:?}", first.node, other.node);
        }
        let mut y = first.to_buffer();
        scale(&mut y, *factor);
        for (value, factor) in others {
            match value.floats() {
                Ok(values) => add_scaled(&mut y, values, *factor),
                Err(_) => add_scaled(&mut y, &value.to_vec(), *factor),
            }
        }
        let needs_gradient = self.trains() && values.iter().any(|(value, _)| value.node.needs_gradient);
        let y = self.hidden(Matrix::f32(rows, columns, y), None, rows_of, needs_gradient);
        let output = y.node;
        let inputs: Vec<(Node, f32)> = values.iter().map(|(value, factor)| (value.node, *factor)).collect();
        self.record(output, move |buffers| {
            let dy = buffers.take_hidden(output)?;
            for (node, factor) in inputs.into_iter().filter(|(node, _)| node.needs_gradient) {
                let mut own = Buffer::copy_of(&dy);
                scale(&mut own, factor);
                buffers.add(node, own)?;
            }
            Ok(())
        });
        Ok(Value::Fused(y))
    }
}

simd! {
    fn scale(y: &mut [f32], factor: f32) {
        if factor != 1.0 {
            y.iter_mut().for_each(|y| *y *= factor);
        }
    }
}

simd! {
    fn add_scaled(y: &mut [f32], x: &[f32], factor: f32) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
    }
}

/// The same in candle's operators.
pub(crate) fn plain(values: &[(&Tensor, f32)]) -> Result<Tensor> {
    let scaled = |(value, factor): &(&Tensor, f32)| match *factor {
        1.0 => Ok((*value).clone()),
        factor => *value * f64::from(factor),
    };
    let Some((first, others)) = values.split_first() else { candle_core::bail!("a sum of nothing") };
    others.iter().try_fold(scaled(first)?, |sum, other| sum.add(&scaled(other)?))
}

#[cfg(test)]
mod tests {
    use crate::activation::Activation;
    use crate::ops::Ops;
    use crate::testing::{assert_tapes, normal, weights};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        let args = [normal(1, &[7, 6]), normal(2, &[7, 6]), normal(3, &[6, 6]), normal(4, &[6])];
        assert_tapes(&args, |ops: &mut dyn Ops, [a, b, w, bias]| {
            let (a, b) = (ops.parameter(a)?, ops.parameter(b)?);
            let layer = weights([(w, bias)]);
            // One of them twice, and one that is between two products.
            let inner = ops.linear_activation(&a, &layer, Activation::Gelu)?;
            let sum = ops.weighted_sum(&[(&a, 1.0), (&inner, 4.0), (&a, -0.5)])?;
            ops.add(&sum, &b)
        });
    }

    #[test]
    fn values_of_other_shapes_are_refused() {
        use crate::pass::{Inputs, Pass};
        use crate::segments::Segments;
        let inputs = std::sync::Arc::new(Inputs::of_rows(Segments::packed(&[2])));
        let mut tape = crate::Tape::new(crate::Precision::F32, Pass::Evaluate, inputs);
        let [a, b] = [[2, 3], [2, 4]].map(|shape| {
            let weight = crate::Weight::new(&normal(1, &shape)).unwrap();
            tape.parameter(&weight).unwrap()
        });
        assert!(tape.add(&a, &b).is_err() && tape.weighted_sum(&[]).is_err());
    }
}
