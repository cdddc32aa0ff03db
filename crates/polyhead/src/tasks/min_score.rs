//! From which score on an answer is given: `min_score = 0.8`, or `min_score = { precision = 0.95 }`, which training examples that are held
//! back decide ([`crate::metrics::calibration::least_score`]).

use serde::de::{Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// From which score on an answer is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinScore {
    /// From this one on, from 0 to 1.
    Fixed(f64),
    /// From that on from which answers have this precision, above 0 and at most 1.
    Precision(f64),
}

const PRECISION: &str = "precision";

impl Default for MinScore {
    fn default() -> Self {
        Self::Fixed(0.0)
    }
}

impl MinScore {
    /// Whether every answer is given.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The score, where this one was chosen of those of held-back examples.
    pub(super) fn or(self, chosen: Option<f64>) -> f64 {
        match self {
            Self::Fixed(score) => chosen.unwrap_or(score),
            Self::Precision(_) => chosen.unwrap_or_default(),
        }
    }

    /// The precision that it asks for.
    pub(super) fn precision(self) -> Option<f64> {
        match self {
            Self::Fixed(_) => None,
            Self::Precision(precision) => Some(precision),
        }
    }
}

impl Serialize for MinScore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(score) => serializer.serialize_f64(*score),
            Self::Precision(precision) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(PRECISION, precision)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for MinScore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = MinScore;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a score from 0 to 1, or { precision = P } with P above 0 and at most 1")
            }

            fn visit_f64<E: serde::de::Error>(self, score: f64) -> Result<MinScore, E> {
                let wrong = || E::invalid_value(Unexpected::Float(score), &self);
                (0.0..=1.0).contains(&score).then_some(MinScore::Fixed(score)).ok_or_else(wrong)
            }

            fn visit_u64<E: serde::de::Error>(self, score: u64) -> Result<MinScore, E> {
                self.visit_f64(score as f64)
            }

            fn visit_i64<E: serde::de::Error>(self, score: i64) -> Result<MinScore, E> {
                self.visit_f64(score as f64)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MinScore, A::Error> {
                let Some(key) = map.next_key::<String>()? else {
                    return Err(A::Error::invalid_value(Unexpected::Map, &self));
                };
                if key != PRECISION {
                    return Err(A::Error::unknown_field(&key, &[PRECISION]));
                }
                let precision: f64 = map.next_value()?;
                if let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    return Err(A::Error::unknown_field(&key, &[PRECISION]));
                }
                let wrong = || A::Error::invalid_value(Unexpected::Float(precision), &self);
                (precision > 0.0 && precision <= 1.0).then_some(MinScore::Precision(precision)).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Each)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn it_is_a_score_or_a_precision_and_comes_back_as_it_was_written() {
        for (value, want) in [
            (json!(0.8), MinScore::Fixed(0.8)),
            (json!(1), MinScore::Fixed(1.0)),
            (json!({ "precision": 0.95 }), MinScore::Precision(0.95)),
        ] {
            let read: MinScore = from_value(value).unwrap();
            assert_eq!(read, want);
            assert_eq!(from_value::<MinScore>(json!(read)).unwrap(), want);
        }
        for value in [
            json!(1.5),
            json!(-1),
            json!("0.8"),
            json!({}),
            json!({ "precision": 0 }),
            json!({ "precision": 95 }),
            json!({ "recall": 0.9 }),
            json!({ "precision": 0.9, "recall": 0.9 }),
        ] {
            let error = from_value::<MinScore>(value.clone()).unwrap_err().to_string();
            assert!(error.contains("precision"), "{value}: {error}");
        }
    }

    #[test]
    fn what_was_chosen_wins() {
        assert_eq!(MinScore::Fixed(0.5).or(None), 0.5);
        assert_eq!(MinScore::Fixed(0.5).or(Some(0.0)), 0.0);
        assert_eq!(MinScore::Precision(0.9).or(None), 0.0);
        assert_eq!(MinScore::Precision(0.9).or(Some(0.7)), 0.7);
    }
}
