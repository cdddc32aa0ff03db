//! The learning rate of a recipe: a number, or one that follows from the encoder.

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The peak of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LearningRate {
    /// This number.
    Fixed(f64),
    /// One that the width of the encoder decides when training begins.
    Auto,
}

const AUTO: &str = "auto";
/// How many times the rate of an encoder that of what is new in a frozen one is (docs/sharing.md).
const FROZEN: f64 = 4.0;

impl LearningRate {
    /// The number, for hidden states of so many numbers, and an encoder that is trained or one that is frozen but for small parts.
    ///
    /// ```text
    /// 2.5e-4 (384 / width)^(3/2), at most 5e-4; four times that where the encoder is frozen
    /// ```
    ///
    /// Narrow encoders take higher rates. A search with MiniLM (384) found 2.6e-4 (docs/tune.md). 8.8e-5 for 768 and 5.7e-5 for 1,024 are
    /// near those of ELECTRA and BERT (1e-4 and 5e-5; Clark et al. 2020, Devlin et al. 2019) and not measured here.
    pub fn of_encoder(self, width: usize, is_frozen: bool) -> f64 {
        match self {
            Self::Fixed(rate) => rate,
            Self::Auto => {
                let rate = two_digits(2.5e-4 * (384.0 / width.max(1) as f64).powf(1.5)).min(5e-4);
                if is_frozen { two_digits(FROZEN * rate) } else { rate }
            }
        }
    }

    /// The number, if it is one.
    pub fn fixed(self) -> Option<f64> {
        match self {
            Self::Fixed(rate) => Some(rate),
            Self::Auto => None,
        }
    }
}

/// The number to two digits, as people write it.
pub(crate) fn two_digits(value: f64) -> f64 {
    // By way of its text: what is printed is what is used.
    format!("{value:.1e}").parse().unwrap_or(value)
}

impl Serialize for LearningRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(rate) => serializer.serialize_f64(*rate),
            Self::Auto => serializer.serialize_str(AUTO),
        }
    }
}

impl<'de> Deserialize<'de> for LearningRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl Visitor<'_> for Each {
            type Value = LearningRate;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or \"auto\"")
            }
            fn visit_f64<E>(self, rate: f64) -> Result<LearningRate, E> {
                Ok(LearningRate::Fixed(rate))
            }
            fn visit_u64<E>(self, rate: u64) -> Result<LearningRate, E> {
                Ok(LearningRate::Fixed(rate as f64))
            }
            fn visit_i64<E>(self, rate: i64) -> Result<LearningRate, E> {
                Ok(LearningRate::Fixed(rate as f64))
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<LearningRate, E> {
                match name {
                    AUTO => Ok(LearningRate::Auto),
                    _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
                }
            }
        }
        deserializer.deserialize_any(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_with_the_width_of_the_encoder_and_a_number_stays() {
        let widths = [32, 256, 384, 512, 768, 1024];
        let rates = widths.map(|width| LearningRate::Auto.of_encoder(width, false));
        for (rate, want) in rates.into_iter().zip([5e-4, 4.6e-4, 2.5e-4, 1.6e-4, 8.8e-5, 5.7e-5]) {
            assert!((rate / want - 1.0).abs() < 1e-9, "{rates:?}");
        }
        assert_eq!(LearningRate::Fixed(3e-5).of_encoder(384, true), 3e-5);
        assert_eq!(LearningRate::Auto.of_encoder(384, true), 1e-3);
    }
}
