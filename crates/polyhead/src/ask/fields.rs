//! The fields of requests: those of a model's tasks together, those that belong to no task, and an example.

use crate::model::NamedTask;
use crate::tasks::Field;
use serde_json::{Map, Value};

/// Fields of a request that are not those of a task.
pub const OWN: [&str; 2] = ["tasks", "offset_unit"];

/// A field of requests, as the tasks that have it say it.
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What it holds, in the words of each task.
    pub about: Vec<String>,
    /// A text that shows what is meant.
    pub example: &'static str,
    /// How many tasks have it.
    pub needed: usize,
    /// The field that stands in for it.
    pub default: Option<&'static str>,
}

/// The fields of all tasks, and those that may stand in for one, in order.
pub fn fields_of(tasks: &[NamedTask]) -> Vec<Known> {
    let mut all: Vec<Known> = Vec::new();
    let declared = tasks.iter().flat_map(|named| named.task.fields().iter().map(move |field| (&named.name, field)));
    for (task, field) in declared {
        let about = format!("{} Of `{task}`.", field.about);
        match all.iter_mut().find(|known| known.name == field.name) {
            Some(known) => {
                known.about.push(about);
                known.needed += 1;
                known.default = known.default.filter(|default| Some(*default) == field.default);
            }
            None => {
                let Field { name, example, default, .. } = *field;
                all.push(Known { name, about: vec![about], example, needed: 1, default });
            }
        }
    }
    for field in tasks.iter().flat_map(|named| named.task.fields()) {
        let Some(default) = field.default else { continue };
        let about = format!("Stands in for `{}` where that is left out.", field.name);
        match all.iter_mut().find(|known| known.name == default) {
            Some(known) => known.about.push(about),
            None => {
                let (about, example) = (vec![about], field.example);
                all.push(Known { name: default, about, example, needed: 0, default: None });
            }
        }
    }
    all
}

/// An input in the form that a task takes, of its fields' examples: its only text, or all of them by name.
pub fn example(named: &NamedTask) -> Option<Value> {
    let fields = named.task.fields().iter().map(|field| (field.name.to_owned(), Value::from(field.example)));
    let fields: Map<String, Value> = fields.collect();
    let only = fields.values().next().filter(|_| fields.len() == 1).cloned();
    let forms = [only, Some(Value::Object(fields))];
    named.task.pipeline()?;
    forms.into_iter().flatten().find(|form| named.task.accepts(form))
}
