//! The tasks of a recipe: what the trainer reads of each, and the task itself, opened with the rest.

use super::{Recipe, fault, keys, unknown, words};
use crate::error::{Error, Result};
use crate::tasks::{AnyTask, TaskKind};
use serde_json::{Map, Value, json};

/// One task, as a recipe describes it: what the trainer needs, and the rest for the task itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecipe {
    /// Its name.
    pub name: String,
    /// Its kind; its name if the recipe gives none.
    pub kind: String,
    /// Examples (windows) of one step.
    pub batch_size: usize,
    /// What multiplies its loss.
    pub loss_weight: f64,
    /// What the task itself reads.
    pub config: Value,
}

impl Recipe {
    /// The tasks in order.
    pub fn tasks(&self) -> Result<Vec<TaskRecipe>> {
        self.tasks.iter().map(|(name, value)| self.task(name, value)).collect()
    }

    /// The kind of the task of this name: its name if the recipe gives none.
    pub(super) fn kind_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.tasks.get(name).and_then(|task| task.get("kind")).and_then(toml::Value::as_str).unwrap_or(name)
    }

    fn task(&self, name: &str, value: &toml::Value) -> Result<TaskRecipe> {
        let refused = |key: &str, expected: &str, found: &toml::Value| {
            let key = keys::dotted(&format!("tasks.{name}"), key);
            Error::usage(format!("{key}: expected {expected}, found {}", fault::shown(found))).at(self.place(&key))
        };
        let Some(table) = value.as_table() else {
            let key = format!("tasks.{name}");
            let message = format!("{key}: expected a table, found {}", fault::shown(value));
            return Err(Error::usage(message).at(self.place(&key)).hint(format!("as in [{key}]")));
        };
        let mut table = table.clone();
        let kind = match table.remove("kind") {
            None => name.to_owned(),
            Some(toml::Value::String(kind)) => kind,
            Some(other) => return Err(refused("kind", "a string", &other)),
        };
        let batch_size = match table.remove("batch_size") {
            None => 16,
            Some(toml::Value::Integer(size)) if (1..=4096).contains(&size) => size as usize,
            Some(other) => return Err(refused("batch_size", "a whole number from 1 to 4096", &other)),
        };
        let loss_weight = match table.remove("loss_weight") {
            None => 1.0,
            Some(toml::Value::Float(weight)) if weight > 0.0 && weight.is_finite() => weight,
            Some(toml::Value::Integer(weight)) if weight > 0 => weight as f64,
            Some(other) => return Err(refused("loss_weight", "a positive number", &other)),
        };
        let config = serde_json::to_value(table).map_err(|cause| Error::usage(format!("tasks.{name}: {cause}")))?;
        Ok(TaskRecipe { name: name.to_owned(), kind, batch_size, loss_weight, config })
    }

    /// Opens a task with what it reads itself. Whatever is wrong with that is reported with its key and place.
    pub(crate) fn open_task(&self, kinds: &[TaskKind], task: &TaskRecipe) -> Result<Box<dyn AnyTask>> {
        let TaskRecipe { name, kind, config, .. } = task;
        let Some(known) = kinds.iter().find(|known| known.kind == *kind) else {
            return Err(self.unknown_kind(kinds, task));
        };
        let table = format!("tasks.{name}");
        let own = keys::of_kind(known);
        if let Some(key) = config.as_object().into_iter().flat_map(Map::keys).find(|key| !own.contains(key)) {
            let all: Vec<String> = keys::OF_EVERY_TASK.map(str::to_owned).into_iter().chain(own).collect();
            return Err(
                unknown::unknown(&table, key, &all, &self.as_table()).at(self.place(&keys::dotted(&table, key)))
            );
        }
        (known.open)(config.clone()).map_err(|error| {
            let message = error.to_string();
            // A range names its key; a wrong type is found as the value that fails alone in the same way.
            let named = message.split_once(": ").map(|(key, _)| key).filter(|key| own.iter().any(|own| own == key));
            let alone = |(key, value): (&String, &Value)| {
                let refused = (known.open)(json!({ key: value })).err()?;
                (refused.to_string() == message).then(|| (key.clone(), value.to_string()))
            };
            let placed = match named {
                Some(key) => Error::usage(format!("{table}.{message}")).at(self.place(&keys::dotted(&table, key))),
                None => match config.as_object().into_iter().flatten().find_map(alone) {
                    Some((key, _)) => {
                        let key = keys::dotted(&table, &key);
                        let found = keys::get(&self.as_table(), &key).map(fault::shown).unwrap_or_default();
                        Error::usage(format!("{key}: {}", fault::reworded(&message, &found))).at(self.place(&key))
                    }
                    None => Error::usage(format!("{table}: {message}")).at(self.place(&table)),
                },
            };
            match error.hint_text() {
                Some(hint) => placed.hint(hint),
                None => placed,
            }
        })
    }

    fn unknown_kind(&self, kinds: &[TaskKind], task: &TaskRecipe) -> Error {
        let TaskRecipe { name, kind, .. } = task;
        let known: Vec<&str> = kinds.iter().map(|kind| kind.kind).collect();
        let near = words::kind(kind, &known);
        let key = format!("tasks.{name}.kind");
        let expected = format!("expected one of {}", known.join(", "));
        let given = self.tasks.get(name).is_some_and(|task| task.get("kind").is_some());
        if given {
            let error = Error::usage(format!("{key}: {expected}, found `{kind}`")).at(self.place(&key));
            return match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            };
        }
        let choice = match near {
            Some(near) => format!("kind = \"{near}\""),
            None => known.iter().map(|kind| format!("kind = \"{kind}\"")).collect::<Vec<_>>().join(" or "),
        };
        Error::usage(format!("{key}: {expected}, found nothing, and the task's name, `{name}`, is no kind"))
            .at(self.place(&format!("tasks.{name}")))
            .hint(format!("add {choice} to [tasks.{name}]"))
    }

    /// The recipe as a table, for hints.
    pub(super) fn as_table(&self) -> toml::Table {
        toml::Table::try_from(self).unwrap_or_default()
    }
}
