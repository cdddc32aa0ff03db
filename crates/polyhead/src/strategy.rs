//! Strategies that a recipe names: a sampler, a balancer. One a file, each an entry of an ordered list.
//!
//! ```text
//! train.sample = "temperature"                                 its defaults
//! train.sample = { name = "temperature", temperature = 5.0 }   with options of its own
//! ```

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// A strategy as a recipe names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    /// Its name.
    pub name: String,
    /// What its entry reads.
    pub options: toml::Table,
}

impl Strategy {
    /// A strategy with its defaults.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), options: toml::Table::new() }
    }
}

/// In words, for people.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<String> = self.options.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        match options.as_slice() {
            [] => write!(f, "`{}`", self.name),
            options => write!(f, "`{}` ({})", self.name, options.join(", ")),
        }
    }
}

impl Serialize for Strategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.options.is_empty() {
            return serializer.serialize_str(&self.name);
        }
        let mut table = toml::Table::from_iter([("name".to_owned(), self.name.clone().into())]);
        table.extend(self.options.clone());
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a name, or a table with a name and options")]
        enum Form {
            Name(String),
            Table(toml::Table),
        }
        match Form::deserialize(deserializer)? {
            Form::Name(name) => Ok(Self { name, options: toml::Table::new() }),
            Form::Table(mut options) => match options.remove("name") {
                Some(toml::Value::String(name)) => Ok(Self { name, options }),
                _ => Err(D::Error::custom("expected a name, or a table with a name and options")),
            },
        }
    }
}

/// An entry of a list of strategies that stand behind the trait `T`.
pub struct Registered<T: ?Sized> {
    /// What a recipe calls it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// Opens it with its options. An error names the option that is at fault, as in `temperature: expected ...`.
    pub open: fn(&toml::Table) -> Result<Box<T>>,
}

/// The entry of this name.
pub fn find<'a, T: ?Sized>(all: &'a [Registered<T>], name: &str) -> Option<&'a Registered<T>> {
    all.iter().find(|entry| entry.name == name)
}

/// The options of a strategy as the type that declares them.
pub fn options<T: DeserializeOwned>(table: &toml::Table) -> Result<T> {
    table.clone().try_into().map_err(|cause: toml::de::Error| Error::usage(cause.message().to_owned()))
}

/// For strategies that have no options.
pub fn without_options(table: &toml::Table) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct None {}
    options::<None>(table).map(|None {}| ())
}

/// The softmax.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum = weights.iter().sum::<f64>();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Refuses an option that is not a number above 0.
///
/// # Errors
/// It is not.
pub fn positive(option: &str, found: f64) -> Result<()> {
    match found > 0.0 && found.is_finite() {
        true => Ok(()),
        false => Err(Error::usage(format!("{option}: expected a number above 0, found {found}"))),
    }
}

/// Refuses an option that is not a number of at least 0.
///
/// # Errors
/// It is not.
pub fn not_negative(option: &str, found: f64) -> Result<()> {
    match found >= 0.0 && found.is_finite() {
        true => Ok(()),
        false => Err(Error::usage(format!("{option}: expected a number of at least 0, found {found}"))),
    }
}

/// What a checkpoint holds of a strategy; of one that has learnt nothing yet, `null`.
pub fn restored<T: Default + DeserializeOwned>(name: &str, state: &Value) -> Result<T> {
    match state {
        Value::Null => Ok(T::default()),
        state => serde_json::from_value(state.clone())
            .map_err(|cause| Error::data(format!("not the state of `{name}`: {cause}"))),
    }
}

/// A number that a strategy learns, by Adam without decay (Kingma and Ba 2015), with its moments.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Learnt {
    /// The number.
    pub value: f64,
    first: f64,
    second: f64,
    updates: i32,
}

impl Learnt {
    /// One that was not updated yet.
    pub fn at(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// One update.
    pub fn step(&mut self, gradient: f64, rate: f64) {
        self.updates += 1;
        self.first = 0.9 * self.first + 0.1 * gradient;
        self.second = 0.999 * self.second + 0.001 * gradient * gradient;
        let first = self.first / (1.0 - 0.9_f64.powi(self.updates));
        let second = self.second / (1.0 - 0.999_f64.powi(self.updates));
        self.value -= rate * first / (second.sqrt() + 1e-8);
    }
}
