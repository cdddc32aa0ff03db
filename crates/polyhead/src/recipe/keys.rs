//! Every key that a recipe can have, as the structs themselves know them; an unknown one is refused.
//!
//! ```text
//! table -> its keys            ""  train  encoder  encoder.lora  data.NAME    here
//!                                            tasks.NAME                       the task's kind, see `train`
//! ```

use super::{DataRecipe, EncoderRecipe, Recipe, TrainRecipe, fault};
use crate::balance::BALANCERS;
use crate::parameters::Lora;
use crate::sample::SAMPLERS;
use crate::sharing::SHARINGS;
use crate::strategy::Registered;
use crate::tasks::{TASKS, TaskKind};
use serde::de::DeserializeOwned;

/// The keys of every task, whatever its kind.
pub(crate) const OF_EVERY_TASK: [&str; 3] = ["kind", "batch_size", "loss_weight"];

/// A key that a recipe can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Dotted: `train.epochs`, `data.NAME.limit`, `tasks.NAME.max_length`. `NAME` is that of a task.
    pub key: String,
    /// The kind of task that has it, if not every recipe can have it.
    pub kind: Option<&'static str>,
}

/// All keys of a recipe whose tasks are of these kinds.
pub fn keys(kinds: &[TaskKind]) -> Vec<Key> {
    let mut all = Vec::new();
    for table in ["", "encoder", "encoder.lora", "train", "data.NAME"] {
        let known = of_table(table).unwrap_or_default();
        all.extend(known.into_iter().map(|name| Key { key: dotted(table, &name), kind: None }));
    }
    all.extend(OF_EVERY_TASK.map(|name| Key { key: dotted("tasks.NAME", name), kind: None }));
    for kind in kinds {
        let of_kind = of_kind(kind).into_iter();
        all.extend(of_kind.map(|name| Key { key: dotted("tasks.NAME", &name), kind: Some(kind.kind) }));
    }
    for (table, of_strategies) in of_strategies() {
        all.extend(of_strategies.into_iter().map(|name| Key { key: dotted(table, &name), kind: None }));
    }
    // Tables are no values.
    all.retain(|key| !["encoder", "encoder.lora", "train", "tasks", "data"].contains(&key.key.as_str()));
    all
}

/// The keys of a table; `None` where anything goes, or its keys are another's matter (`tasks.NAME`).
pub(super) fn of_table(table: &str) -> Option<Vec<String>> {
    match table.split('.').collect::<Vec<_>>().as_slice() {
        [""] => Some(fields::<Recipe>()),
        ["encoder"] => Some(fields::<EncoderRecipe>()),
        ["encoder", "lora"] => Some(fields::<Lora>()),
        ["train"] => Some(fields::<TrainRecipe>()),
        ["data", _] => Some(fields::<DataRecipe>()),
        _ => None,
    }
}

/// The keys that a kind of task adds to those of every task.
pub(crate) fn of_kind(kind: &TaskKind) -> Vec<String> {
    let refused = (kind.open)(serde_json::json!({ UNKNOWN: null })).err();
    refused.map_or_else(Vec::new, |error| known_of(&error.to_string()))
}

/// The keys of the table that names a strategy, its options and `name`.
pub(super) fn of_strategy<T: ?Sized>(entry: &Registered<T>) -> Vec<String> {
    let unknown = toml::Table::from_iter([(UNKNOWN.to_owned(), 0.into())]);
    let refused = (entry.open)(&unknown).err();
    let options = refused.map_or_else(Vec::new, |error| known_of(&error.to_string()));
    std::iter::once("name".to_owned()).chain(options).collect()
}

/// The keys that name strategies, and the options of these.
fn of_strategies() -> [(&'static str, Vec<String>); 3] {
    [("sharing", options(SHARINGS)), ("train.sample", options(SAMPLERS)), ("train.balance", options(BALANCERS))]
}

/// The options of all strategies of a list, each once.
fn options<T: ?Sized>(all: &[Registered<T>]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in all.iter().flat_map(of_strategy).filter(|name| name != "name") {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// A key that nothing has: it is refused with a list of those that are known.
const UNKNOWN: &str = "?";

fn fields<T: DeserializeOwned>() -> Vec<String> {
    let refused = toml::from_str::<T>(&format!("\"{UNKNOWN}\" = 0")).err();
    refused.map_or_else(Vec::new, |error| known_of(error.message()))
}

fn known_of(message: &str) -> Vec<String> {
    fault::quoted_names(message).filter(|name| *name != UNKNOWN).map(str::to_owned).collect()
}

/// A key of a table, dotted.
pub(super) fn dotted(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// The value of a dotted key.
pub(super) fn get<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
    }
}

/// Where a key may stand, under the names of a recipe's tasks: `batch_size` in `tasks.ner.batch_size` and
/// `tasks.qa.batch_size`.
pub(super) fn everywhere(key: &str, recipe: &toml::Table) -> Vec<String> {
    let mut places: Vec<String> = ["", "encoder", "encoder.lora", "train"]
        .into_iter()
        .filter(|table| of_table(table).is_some_and(|known| known.iter().any(|name| name == key)))
        .map(|table| dotted(table, key))
        .collect();
    for (table, options) in of_strategies() {
        places.extend(options.iter().filter(|name| *name == key).map(|name| dotted(table, name)));
    }
    for (table, names) in [("tasks", task_names(recipe, key)), ("data", data_names(recipe, key))] {
        places.extend(names.into_iter().map(|name| format!("{table}.{name}.{key}")));
    }
    places
}

/// The tasks whose kind has a key; `NAME` if it is some kind's, but of no task here.
fn task_names(recipe: &toml::Table, key: &str) -> Vec<String> {
    let of_kind = |kind: &TaskKind| OF_EVERY_TASK.contains(&key) || of_kind(kind).iter().any(|name| name == key);
    let having: Vec<&str> = TASKS.iter().filter(|kind| of_kind(kind)).map(|kind| kind.kind).collect();
    if having.is_empty() {
        return Vec::new();
    }
    let tasks = recipe.get("tasks").and_then(toml::Value::as_table).into_iter().flatten();
    let kind = |name: &str, task: &toml::Value| match task.get("kind").and_then(toml::Value::as_str) {
        Some(kind) => kind.to_owned(),
        None => name.to_owned(),
    };
    let names: Vec<String> = tasks
        .filter(|(name, task)| OF_EVERY_TASK.contains(&key) || having.contains(&kind(name, task).as_str()))
        .map(|(name, _)| name.clone())
        .collect();
    if names.is_empty() { vec!["NAME".to_owned()] } else { names }
}

fn data_names(recipe: &toml::Table, key: &str) -> Vec<String> {
    if !fields::<DataRecipe>().iter().any(|name| name == key) {
        return Vec::new();
    }
    let names: Vec<String> = ["data", "tasks"]
        .into_iter()
        .filter_map(|table| recipe.get(table)?.as_table().filter(|table| !table.is_empty()))
        .map(|table| table.keys().cloned().collect())
        .next()
        .unwrap_or_default();
    if names.is_empty() { vec!["NAME".to_owned()] } else { names }
}

/// The table that lacks a field which it must have, and the field's dotted key.
pub(super) fn missing(recipe: &toml::Table, field: &str) -> (String, String) {
    let data = recipe.get("data").and_then(toml::Value::as_table).into_iter().flatten();
    let of_data = data.map(|(name, _)| format!("data.{name}"));
    let tables = ["encoder".to_owned()].into_iter().chain(of_data);
    let lacks = |table: &String| {
        let known = of_table(table).unwrap_or_default();
        known.iter().any(|name| name == field)
            && get(recipe, table).and_then(toml::Value::as_table).is_some_and(|table| !table.contains_key(field))
    };
    let top = of_table("").unwrap_or_default().iter().any(|name| name == field) && !recipe.contains_key(field);
    let table = if top { String::new() } else { tables.into_iter().find(lacks).unwrap_or_default() };
    let key = dotted(&table, field);
    (table, key)
}

/// What a key that must be there is for.
pub(super) fn purpose(field: &str) -> &'static str {
    match field {
        "name" => "the name of the run, as in name = \"first\"",
        "encoder" => "the pretrained encoder, as in [encoder] with checkpoint = \"bert-base-uncased\"",
        "checkpoint" => "the pretrained encoder, as in checkpoint = \"bert-base-uncased\"",
        "tasks" => "at least one task, as in [tasks.ner]",
        "data" => "the data of each task, as in [data.ner] with train = \"train.conll\"",
        "train" => "the file to train on, as in train = \"train.conll\"",
        "word" | "tag" => "a column, counted from 1, or its name, as in columns = { word = 2, tag = 3 }",
        "text" | "label" => "a column, counted from 1, or its name, as in columns = { text = 2, label = \"class\" }",
        _ => "a value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_struct_says_its_keys() {
        let all: Vec<String> = keys(TASKS).into_iter().map(|key| key.key).collect();
        for key in [
            "name",
            "seed",
            "output",
            "encoder.checkpoint",
            "encoder.dropout",
            "train.epochs",
            "train.max_steps",
            "data.NAME.train",
            "data.NAME.validation_limit",
            "tasks.NAME.kind",
            "tasks.NAME.max_length",
            "tasks.NAME.labels",
            "tasks.NAME.null_threshold",
        ] {
            assert!(all.iter().any(|known| known == key), "{key}: {all:?}");
        }
        assert!(!all.iter().any(|key| key.contains(UNKNOWN) || key == "train"), "{all:?}");
    }

    #[test]
    fn what_must_be_there_has_a_purpose() {
        for field in ["name", "encoder", "checkpoint", "tasks", "data", "train"] {
            assert_ne!(purpose(field), "a value");
        }
    }
}
