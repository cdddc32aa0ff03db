//! Functions of single elements, with their slopes, by the names that `config.json` has for them.
//!
//! ```text
//! gelu               x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2                    Hendrycks and Gimpel, arXiv:1606.08415
//! gelu_pytorch_tanh  x σ(2 √(2/π) (x + 0.044715 x³)),  the form with tanh     gelu_new, gelu_fast
//! gelu_10            gelu, held between -10 and 10
//! quick_gelu         x σ(1.702 x)
//! silu               x σ(x)                                                   swish
//! tanh, relu
//! ```

use crate::math::{erf, exp, simd};
use candle_core::{Result, Tensor};

/// A function of single elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)`, the exact Gaussian error linear unit.
    Gelu,
    /// The same in its form with tanh.
    GeluTanh,
    /// The exact one, held between -10 and 10.
    ClippedGelu,
    /// `x σ(1.702 x)`.
    QuickGelu,
    /// `x σ(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

/// Where [`Activation::ClippedGelu`] ends.
pub const CLIP: f32 = 10.0;
/// The factor in [`Activation::QuickGelu`].
pub const QUICK: f32 = 1.702;
/// `2 √(2/π)` and the factor of the cube in [`Activation::GeluTanh`].
pub const GELU_TANH: (f32, f32) = (1.595_769_2, 0.044_715);

/// The names that transformers has for them.
const NAMES: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_10", Activation::ClippedGelu),
    ("quick_gelu", Activation::QuickGelu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("relu", Activation::Relu),
];

impl Activation {
    /// That of a name in `hidden_act`.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    /// All names that are known.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Of each element, in place.
    pub(crate) fn forward(self, x: &mut [f32]) {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_tanh(x),
            Self::ClippedGelu => clipped_gelu(x),
            Self::QuickGelu => quick_gelu(x),
            Self::Silu => silu(x),
            Self::Tanh => tanh(x),
            Self::Relu => relu(x),
        }
    }

    /// Multiplies a gradient by the slope at `x`.
    pub(crate) fn backward(self, gradient: &mut [f32], x: &[f32]) {
        match self {
            Self::Gelu => gelu_slope(gradient, x),
            Self::GeluTanh => gelu_tanh_slope(gradient, x),
            Self::ClippedGelu => clipped_gelu_slope(gradient, x),
            Self::QuickGelu => quick_gelu_slope(gradient, x),
            Self::Silu => silu_slope(gradient, x),
            Self::Tanh => tanh_slope(gradient, x),
            Self::Relu => relu_slope(gradient, x),
        }
    }

    /// The same in candle's own operators.
    pub(crate) fn plain(self, x: &Tensor) -> Result<Tensor> {
        // A sigmoid of candle's own has no backward pass in every version.
        let swish = |factor: f64| x.div(&((x * -factor)?.exp()? + 1.0)?);
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => {
                let (scale, cube) = (f64::from(GELU_TANH.0) / 2.0, f64::from(GELU_TANH.1));
                let inner = ((x + (x.powf(3.0)? * cube)?)? * scale)?;
                (x * 0.5)?.mul(&(inner.tanh()? + 1.0)?)
            }
            Self::ClippedGelu => x.gelu_erf()?.clamp(-CLIP, CLIP),
            Self::QuickGelu => swish(QUICK.into()),
            Self::Silu => swish(1.0),
            Self::Tanh => x.tanh(),
            Self::Relu => x.relu(),
        }
    }
}

#[inline(always)]
fn normal_distribution(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn exact(x: f32) -> f32 {
    x * 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn exact_slope(x: f32) -> f32 {
    let density = 0.398_942_3_f32;
    normal_distribution(x) + x * density * exp(-0.5 * x * x)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x σ(a x)` at its slope `σ + a x σ (1 - σ)`.
#[inline(always)]
fn swish_slope(x: f32, factor: f32) -> f32 {
    let s = sigmoid(factor * x);
    s + factor * x * s * (1.0 - s)
}

/// A loop over elements, and one over gradients, for each instruction set.
macro_rules! elementwise {
    ($forward:ident, $backward:ident, |$x:ident| $value:expr, $slope:expr) => {
        simd! {
            fn $forward(x: &mut [f32]) {
                for element in x.iter_mut() {
                    let $x = *element;
                    *element = $value;
                }
            }
        }
        simd! {
            fn $backward(gradient: &mut [f32], x: &[f32]) {
                for (gradient, &$x) in gradient.iter_mut().zip(x) {
                    *gradient *= $slope;
                }
            }
        }
    };
}

elementwise!(gelu, gelu_slope, |x| exact(x), exact_slope(x));
elementwise!(gelu_tanh, gelu_tanh_slope, |x| x * sigmoid(GELU_TANH.0 * (x + GELU_TANH.1 * x * x * x)), {
    let s = sigmoid(GELU_TANH.0 * (x + GELU_TANH.1 * x * x * x));
    s + x * s * (1.0 - s) * GELU_TANH.0 * (1.0 + 3.0 * GELU_TANH.1 * x * x)
});
// The exact one never goes below -0.17.
elementwise!(clipped_gelu, clipped_gelu_slope, |x| exact(x).min(CLIP), {
    if exact(x) <= CLIP { exact_slope(x) } else { 0.0 }
});
elementwise!(quick_gelu, quick_gelu_slope, |x| x * sigmoid(QUICK * x), swish_slope(x, QUICK));
elementwise!(silu, silu_slope, |x| x * sigmoid(x), swish_slope(x, 1.0));
elementwise!(tanh, tanh_slope, |x| 2.0 * sigmoid(2.0 * x) - 1.0, {
    let y = 2.0 * sigmoid(2.0 * x) - 1.0;
    1.0 - y * y
});
elementwise!(relu, relu_slope, |x| x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 });

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    const ALL: [Activation; 7] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::ClippedGelu,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Relu,
    ];

    #[test]
    fn values_and_slopes_are_those_of_candle() {
        // Not at 0, where relu has no slope: it is 0 there, as in PyTorch.
        let x: Vec<f32> = (-1200..=1200).map(|i| i as f32 * 0.0101 + 0.003).collect();
        for activation in ALL {
            let leaf = Var::new(x.as_slice(), &Device::Cpu).unwrap();
            let y = activation.plain(leaf.as_tensor()).unwrap();
            let store = y.sum_all().unwrap().backward().unwrap();
            let (want, slopes) = (y.to_vec1::<f32>().unwrap(), store.get(&leaf).unwrap().to_vec1::<f32>().unwrap());
            let mut found = x.clone();
            activation.forward(&mut found);
            let mut gradient = vec![1.0; x.len()];
            activation.backward(&mut gradient, &x);
            for (at, x) in x.iter().enumerate() {
                assert!((found[at] - want[at]).abs() < 2e-6 * want[at].abs().max(1.0), "{activation:?}({x})");
                assert!(
                    (gradient[at] - slopes[at]).abs() < 5e-6,
                    "{activation:?}'({x}): {} {}",
                    gradient[at],
                    slopes[at]
                );
            }
        }
    }

    #[test]
    fn far_out_nothing_overflows() {
        for activation in ALL {
            for x in [-1e4_f32, -90.0, 90.0, 1e4] {
                let (mut y, mut gradient) = ([x], [1.0]);
                activation.forward(&mut y);
                activation.backward(&mut gradient, &[x]);
                assert!(y[0].is_finite() && gradient[0].is_finite(), "{activation:?}({x}): {y:?} {gradient:?}");
            }
        }
    }

    #[test]
    fn values_have_the_same_bits_on_every_instruction_set() {
        crate::testing::assert_same_on_every_instruction_set(|| {
            let x: Vec<f32> = (-100..100).map(|i| i as f32 * 0.073).collect();
            ALL.iter()
                .flat_map(|activation| {
                    let (mut y, mut gradient) = (x.clone(), vec![1.5; x.len()]);
                    activation.forward(&mut y);
                    activation.backward(&mut gradient, &x);
                    [y, gradient].concat()
                })
                .collect()
        });
    }

    #[test]
    fn names_are_those_of_transformers() {
        assert_eq!(Activation::named("gelu_new"), Some(Activation::GeluTanh));
        assert_eq!(Activation::named("swish"), Some(Activation::Silu));
        assert_eq!(Activation::named("mish"), None);
    }
}
