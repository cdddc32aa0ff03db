//! What the operators' tests share: random tensors, and the comparison of an operator with its plain twin.

use crate::gemm::Precision;
use crate::linear::Linear;
use crate::rng::Key;
use crate::tape::{Tape, Value};
use crate::weight::Weight;
use candle_core::{Device, Result, Tensor, Var};
use std::sync::Arc;

/// The precisions with the tolerance of an operator in each, relative to the largest magnitude of a tensor. A number
/// rounded to bf16 is off by up to 2^-9 = 0.002 of itself; several roundings follow one another.
pub(crate) const PRECISIONS: [(Precision, f32); 2] = [(Precision::F32, 2e-5), (Precision::Bf16, 2e-2)];

/// A tensor of standard normal numbers.
pub(crate) fn normal(seed: u64, shape: &[usize]) -> Tensor {
    let (key, count) = (Key::seed(seed).with(shape.len() as u64), shape.iter().product::<usize>() as u64);
    let values: Vec<f32> = (0..count).map(|i| key.normal(i) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A layer of weights and biases side by side.
pub(crate) fn weights<const N: usize>(parts: [(&Weight, &Weight); N]) -> Arc<Linear> {
    Arc::new(Linear::new(parts.map(|(weight, bias)| (weight.clone(), bias.clone())).into()))
}

/// Asserts that two functions have the same value and, under a random linear loss, the same gradients.
///
/// `tolerance` is relative to the largest magnitude of each tensor.
pub(crate) fn assert_twins<const N: usize>(
    args: &[Tensor; N],
    fused: impl Fn([&Tensor; N]) -> Result<Tensor>,
    plain: impl Fn([&Tensor; N]) -> Result<Tensor>,
    tolerance: f32,
) {
    assert_all_close(&run(args, &fused), &run(args, &plain), tolerance);
}

/// The same for operators of the tape and their plain twins; they find their arguments as weights. Without a way back
/// the value is the same.
pub(crate) fn assert_tape<const N: usize>(
    args: &[Tensor; N],
    precision: Precision,
    operator: impl Fn(&mut Tape, [&Weight; N]) -> Result<Value>,
    tolerance: f32,
) {
    let run = |mut tape: Tape| {
        let weights: Vec<Weight> = args.iter().map(|arg| Weight::new(arg).unwrap()).collect();
        let value = operator(&mut tape, std::array::from_fn(|i| &weights[i])).unwrap();
        let trains = tape.trains;
        let y = tape.finish(&value).unwrap();
        let mut out = vec![y.clone()];
        if trains {
            let grads = y.mul(&normal(99, y.dims())).unwrap().sum_all().unwrap().backward().unwrap();
            out.extend(weights.iter().map(|weight| match weight.take_gradient() {
                Some(gradient) => gradient.to_tensor(weight.dims()).unwrap(),
                None => grads.get(weight.var().unwrap()).expect("every argument has a gradient").clone(),
            }));
        }
        out
    };
    let got = run(Tape::new(precision, true, &Device::Cpu));
    let without = run(Tape::new(precision, false, &Device::Cpu));
    assert_eq!(flat(&got[0]), flat(&without[0]), "a pass that does not train computes something else");
    assert_all_close(&got, &run(Tape::plain(true, &Device::Cpu)), tolerance);
}

/// The value and the gradient of each argument.
fn run<const N: usize>(args: &[Tensor; N], f: &dyn Fn([&Tensor; N]) -> Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> = args.iter().map(|arg| Var::from_tensor(arg).unwrap()).collect();
    let y = f(std::array::from_fn(|i| vars[i].as_tensor())).unwrap();
    let loss = y.mul(&normal(99, y.dims())).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut out = vec![y];
    out.extend(vars.iter().map(|var| grads.get(var).expect("every argument has a gradient").clone()));
    out
}

/// A tensor that is a thousand times smaller than the largest is zero in theory (the gradient of keys' biases, which
/// softmax does not see): what rounding left of it is held against the largest.
fn assert_all_close(got: &[Tensor], want: &[Tensor], tolerance: f32) {
    let scale_of = |tensor: &Tensor| flat(tensor).iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
    let largest = want.iter().skip(1).map(scale_of).fold(1e-6, f32::max);
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let what = if i == 0 { "value".to_owned() } else { format!("gradient of argument {i}") };
        assert_eq!(got.dims(), want.dims(), "{what}");
        let own = scale_of(want);
        let scale = if i > 0 && own < 1e-3 * largest { largest } else { own };
        for (i, (g, w)) in flat(got).iter().zip(&flat(want)).enumerate() {
            assert!((g - w).abs() <= tolerance * scale, "{what}[{i}]: {g}, expected {w} (scale {scale})");
        }
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
