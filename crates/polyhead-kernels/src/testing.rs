//! What the operators' tests share: random tensors, and the comparison of an operator with its plain twin.

use crate::rng::Key;
use candle_core::{Device, Result, Tensor, Var};

/// A tensor of standard normal numbers.
pub(crate) fn normal(seed: u64, shape: &[usize]) -> Tensor {
    let (key, count) = (Key::seed(seed).with(shape.len() as u64), shape.iter().product::<usize>() as u64);
    let values: Vec<f32> = (0..count).map(|i| key.normal(i) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
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
    let run = |f: &dyn Fn([&Tensor; N]) -> Result<Tensor>| -> Vec<Tensor> {
        let vars: Vec<Var> = args.iter().map(|arg| Var::from_tensor(arg).unwrap()).collect();
        let y = f(std::array::from_fn(|i| vars[i].as_tensor())).unwrap();
        let loss = y.mul(&normal(99, y.dims())).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        let mut out = vec![y];
        out.extend(vars.iter().map(|var| grads.get(var).expect("every argument has a gradient").clone()));
        out
    };
    for (i, (got, want)) in run(&fused).iter().zip(&run(&plain)).enumerate() {
        let what = if i == 0 { "value".to_owned() } else { format!("gradient of argument {i}") };
        assert_close(&what, got, want, tolerance);
    }
}

pub(crate) fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (got, want) = (flat(got), flat(want));
    let scale = want.iter().fold(1e-6_f32, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what}[{i}]: {g}, expected {w} (scale {scale})");
    }
}
