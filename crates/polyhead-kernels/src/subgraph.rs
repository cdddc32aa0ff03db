//! Operators without a kernel, on the tape: plain candle first, fused later.
//!
//! ```text
//! forward   inputs and weights as candle tensors -> f -> a hidden state in f32
//! backward  candle's own, of Σ y dy: gradients of inputs go to the tape, those of weights to the weights
//! ```

use crate::gemm::Matrix;
use crate::storage::with_f32s;
use crate::tape::Tape;
use crate::value::{Fused, Node, Rows, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{Device, Result, Tensor, Var};

impl Tape {
    /// A hidden state with these rows that candle computes from values and weights: `f` gets both as tensors, in this order, and
    /// must make a matrix of them out of operators that have a backward pass.
    pub fn candle(
        &mut self,
        inputs: &[&Value],
        weights: &[&Weight],
        rows_of: Rows,
        f: impl FnOnce(&[Tensor], &[Tensor]) -> Result<Tensor>,
    ) -> Result<Value> {
        let inputs: Vec<&Fused> = inputs.iter().map(|value| value.fused()).collect::<Result<_>>()?;
        let mut leaves: Vec<(Node, Var)> = Vec::new();
        let mut tensors = Vec::with_capacity(inputs.len());
        for input in inputs {
            let tensor = Value::Fused(input.clone()).to_tensor()?;
            if self.trains() && input.node.needs_gradient {
                let leaf = Var::from_tensor(&tensor)?;
                tensors.push(leaf.as_tensor().clone());
                leaves.push((input.node, leaf));
            } else {
                tensors.push(tensor);
            }
        }
        let trained: Vec<Weight> = weights
            .iter()
            .filter(|weight| self.trains() && weight.is_trained())
            .map(|weight| (*weight).clone())
            .collect();
        let of_weights: Vec<Tensor> = weights
            .iter()
            .map(|weight| {
                let tensor = weight.tensor()?;
                Ok(if self.trains() && weight.is_trained() { tensor.clone() } else { tensor.detach() })
            })
            .collect::<Result<_>>()?;
        let y = f(&tensors, &of_weights)?;
        let (rows, columns) = y.dims2()?;
        let values = with_f32s([&y], |[values]| Ok(Buffer::copy_of(values)))?;
        let needs_gradient = !(leaves.is_empty() && trained.is_empty());
        let output = self.hidden(Matrix::f32(rows, columns, values), None, rows_of, needs_gradient);
        let node = output.node;
        self.record(node, move |buffers| {
            let dy = Tensor::from_vec(buffers.take_hidden(node)?.to_vec(), (rows, columns), &Device::Cpu)?;
            let store = y.mul(&dy)?.sum_all()?.backward()?;
            for (node, leaf) in leaves {
                if let Some(gradient) = store.get(&leaf) {
                    let gradient = with_f32s([gradient], |[values]| Ok(Buffer::copy_of(values)))?;
                    buffers.add(node, gradient)?;
                }
            }
            for weight in trained {
                if let Some(gradient) = store.get(weight.var()?) {
                    with_f32s([gradient], |[values]| weight.add_gradient(values))?;
                }
            }
            Ok(())
        });
        Ok(Value::Fused(output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::layer_norm::Norm;
    use crate::linear::Part;
    use crate::ops::Ops;
    use crate::pass::{DropoutAt, Inputs, Pass};
    use crate::plain::Plain;
    use crate::rng::Key;
    use crate::segments::Segments;
    use crate::testing::{PRECISIONS, assert_all_close, flat, normal};
    use crate::{Linear, Precision};
    use std::sync::Arc;

    /// The mean of the rows of each span `[first, end)`: an operator that has no kernel.
    fn mean_of_spans(x: &Tensor, spans: &[(usize, usize)]) -> Result<Tensor> {
        let mean = |&(first, end): &(usize, usize)| x.narrow(0, first, end - first)?.mean_keepdim(0);
        Tensor::cat(&spans.iter().map(mean).collect::<Result<Vec<_>>>()?, 0)
    }

    /// `x W yᵀ` of each pair of rows, a weight of its own.
    fn bilinear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
        x.matmul(w)?.matmul(&x.t()?)
    }

    const SPANS: [(usize, usize); 4] = [(0, 1), (2, 7), (5, 9), (0, 13)];

    /// Spans in the middle of a network: what comes before and after them are kernels; a hidden state is read twice, and so
    /// is a value between two products.
    fn network(
        ops: &mut dyn Ops,
        own: &mut dyn FnMut(&mut dyn Ops, &Value, &Weight) -> Result<Value>,
        weights: &[Weight],
    ) -> Result<Value> {
        let [x, up, up_b, down, down_b, gamma, beta, w] = weights else { candle_core::bail!("eight weights") };
        let layer = |w: &Weight, b: &Weight| Arc::new(Linear::new(vec![Part::new(w.clone(), Some(b.clone()))]));
        let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
        let (drop, x) = (DropoutAt::new(0.1, "output"), ops.parameter(x)?);
        let inner = ops.linear_activation(&x, &layer(up, up_b), Activation::Gelu)?;
        let y = ops.linear_residual_norm(&inner, &layer(down, down_b), &x, &norm, drop)?;
        let again = ops.linear_residual_norm(&inner, &layer(down, down_b), &y, &norm, drop)?;
        own(ops, &again, w)
    }

    #[test]
    fn an_operator_without_a_kernel_works_inside_the_tape() {
        let (rows, hidden, inner) = (13, 24, 40);
        let shapes: [&[usize]; 8] = [
            &[rows, hidden],
            &[inner, hidden],
            &[inner],
            &[hidden, inner],
            &[hidden],
            &[hidden],
            &[hidden],
            &[hidden, hidden],
        ];
        let make = || -> Vec<Weight> {
            let tensors = (0..).zip(shapes).map(|(seed, shape)| (normal(seed, shape) * 0.3).unwrap());
            tensors.map(|tensor| Weight::new(&tensor).unwrap()).collect()
        };
        let (pass, inputs) = (Pass::train(Key::seed(1)), Arc::new(Inputs::of_rows(Segments::packed(&[rows]))));
        let gradients = |y: &Tensor, weights: &[Weight]| -> Vec<Tensor> {
            let loss = y.mul(&normal(99, y.dims())).unwrap().sum_all().unwrap();
            let store = loss.backward().unwrap();
            let of = |weight: &Weight| match weight.take_gradient() {
                Some(gradient) => gradient.to_tensor(weight.dims()).unwrap(),
                None => store.get(weight.var().unwrap()).unwrap().clone(),
            };
            std::iter::once(y.clone()).chain(weights.iter().map(of)).collect()
        };
        let compute = |x: &Tensor, w: &Tensor| bilinear(&mean_of_spans(x, &SPANS)?, w);
        let want = {
            let (weights, mut ops) = (make(), Plain::new(pass, inputs.clone()));
            let mut own = |_: &mut dyn Ops, x: &Value, w: &Weight| {
                Ok(Value::Tensor(compute(x.tensor()?, w.tensor()?)?, Rows::Ranges))
            };
            let y = network(&mut ops, &mut own, &weights).unwrap();
            gradients(&ops.finish(&[y]).unwrap()[0], &weights)
        };
        for (precision, tolerance) in PRECISIONS {
            let weights = make();
            let mut tape = Tape::new(precision, pass, inputs.clone());
            let hidden = {
                let mut own = |_: &mut dyn Ops, x: &Value, _: &Weight| Ok(x.clone());
                network(&mut tape, &mut own, &weights).unwrap()
            };
            let y = tape.candle(&[&hidden], &[&weights[7]], Rows::Ranges, |x, w| compute(&x[0], &w[0])).unwrap();
            let y = tape.finish(&[y]).unwrap().remove(0);
            assert_all_close(&gradients(&y, &weights), &want, tolerance);
        }
    }

    #[test]
    fn several_outputs_have_one_backward_pass_and_its_gradients_are_the_sum_of_theirs() {
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[9])));
        let make = || [[9, 8], [3, 8], [5, 8]].map(|shape| Weight::new(&normal(1, &shape)).unwrap());
        let run = |which: &[usize], precision| {
            let [x, a, b] = make();
            let mut tape = Tape::new(precision, Pass::train(Key::seed(1)), inputs.clone());
            let hidden = tape.parameter(&x).unwrap();
            let outputs: Vec<Value> = which
                .iter()
                .map(|&at| {
                    let layer = Arc::new(Linear::new(vec![Part::new([&a, &b][at].clone(), None)]));
                    tape.linear(&hidden, &layer).unwrap()
                })
                .collect();
            let outputs = tape.finish(&outputs).unwrap();
            let mut loss = Tensor::new(0_f32, &Device::Cpu).unwrap();
            for output in &outputs {
                loss = (loss + output.sqr().unwrap().sum_all().unwrap()).unwrap();
            }
            loss.backward().unwrap();
            [x, a, b]
                .map(|weight| weight.take_gradient().map(|gradient| flat(&gradient.to_tensor(weight.dims()).unwrap())))
        };
        for precision in [Precision::F32, Precision::Bf16] {
            let ([both_x, both_a, both_b], [one_x, one_a, none], [other_x, no, other_b]) =
                (run(&[0, 1], precision), run(&[0], precision), run(&[1], precision));
            assert!(none.is_none() && no.is_none());
            assert_eq!((both_a, both_b), (one_a, other_b));
            for ((both, one), other) in both_x.unwrap().iter().zip(one_x.unwrap()).zip(other_x.unwrap()) {
                assert!((both - one - other).abs() <= 1e-5 * (1.0 + both.abs()), "{both}, {one} + {other}");
            }
        }
    }

    #[test]
    fn nothing_runs_back_below_the_lowest_trained_weight() {
        let inputs = Arc::new(Inputs::of_rows(Segments::packed(&[9])));
        let [x, a, b] = [[9, 8], [8, 8], [5, 8]].map(|shape| Weight::new(&normal(1, &shape)).unwrap());
        let layer = |weight: &Weight| Arc::new(Linear::new(vec![Part::new(weight.clone(), None)]));
        let steps = |frozen: &[&Weight]| {
            frozen.iter().for_each(|weight| weight.freeze());
            let mut tape = Tape::new(Precision::F32, Pass::train(Key::seed(1)), inputs.clone());
            let hidden = tape.parameter(&x).unwrap();
            let hidden = tape.linear_activation(&hidden, &layer(&a), Activation::Gelu).unwrap();
            tape.linear(&hidden, &layer(&b)).unwrap();
            tape.recorded()
        };
        assert_eq!(steps(&[]), 3);
        assert_eq!(steps(&[&x]), 2);
        assert_eq!(steps(&[&a]), 1);
        assert_eq!(steps(&[&b]), 0);
    }
}
