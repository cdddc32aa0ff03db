//! One request to several tasks of a model: which tasks it asks, what it asks each of them, and what becomes of their answers.
//!
//! ```text
//! {"text", "question", "tasks", "offset_unit"} -> Ask -> (task, its own request) ... -> (task, its answer) ... -> {TASK: answer}
//! ```
//!
//! What answers (a server, a page in a browser) runs the windows in between as it likes. A task that relates parts of a text is
//! asked about those that another task finds in `text`, where the request does not name them: in a second round, see [`PairsAsk`].

mod fields;

pub use fields::{Known, OWN, example, fields_of};

use crate::error::{Error, Result};
use crate::model::NamedTask;
use crate::tasks::answer::Span;
use crate::tasks::{Answer, Field, Query, Shape, found};
use crate::text::Tokenizer;
use crate::text::offsets::OffsetUnit;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request that was read.
pub struct Ask {
    /// The texts by the names of their fields.
    texts: Map<String, Value>,
    /// The names of the tasks; left out, all that can be answered with what is there.
    tasks: Option<Vec<String>>,
    /// What offsets count.
    unit: OffsetUnit,
}

/// The part of a request that one task is asked.
pub struct TaskAsk {
    /// The task, by its place in the model.
    pub task: usize,
    /// Its name.
    pub name: String,
    /// Its own request, as [`crate::tasks::AnyTask::query`] takes it.
    pub request: Value,
}

/// What is asked of tasks that relate parts of a text once another task has found the parts.
pub struct PairsAsk {
    text: Arc<str>,
    unit: OffsetUnit,
    /// The name of the task that finds them.
    finder: String,
    /// The tasks that relate them, by place and name.
    related: Vec<(usize, String)>,
}

/// The same of one task, once the parts are known.
pub struct PairsBetween {
    /// The task, by its place in the model.
    pub task: usize,
    /// Its name.
    pub name: String,
    /// The text that the parts are of.
    pub text: Arc<str>,
    unit: OffsetUnit,
    spans: Arc<[Span]>,
}

impl Ask {
    /// Reads a request to a model with these tasks.
    ///
    /// # Errors
    /// It is no object, has a field that no task has, or one of another type.
    pub fn read(value: Value, tasks: &[NamedTask]) -> Result<Self> {
        let Value::Object(mut fields) = value else {
            return Err(Error::usage(format!("expected an object, found {}", kind_of(&value))));
        };
        // What is null is left out.
        fields.retain(|_, value| !value.is_null());
        let tasks_named = fields.shift_remove("tasks").map(serde_json::from_value).transpose();
        let unit = fields.shift_remove("offset_unit");
        let unit = unit.map_or(Ok(OffsetUnit::default()), |value| {
            serde_json::from_value(value.clone()).map_err(|_| {
                let found = found(Some(&value));
                Error::usage(format!("offset_unit: expected \"char\", \"byte\" or \"utf16\", found {found}"))
            })
        })?;
        let known = fields_of(tasks);
        for (name, value) in &fields {
            if !known.iter().any(|known| known.name == name) {
                let names: Vec<&str> = known.iter().map(|known| known.name).chain(OWN).collect();
                let name = found(Some(&json!(name)));
                return Err(Error::usage(format!("unknown field {name}, expected some of {}", names.join(", "))));
            }
            if !value.is_string() {
                return Err(Error::usage(format!("{name}: expected a text, found {}", kind_of(value))));
            }
        }
        let wrong = |_| Error::usage("tasks: expected an array of names");
        Ok(Self { texts: fields, tasks: tasks_named.map_err(wrong)?, unit })
    }

    /// Its texts by the names of their fields.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str().unwrap_or("")))
    }

    /// What each task is asked that it can ask now.
    ///
    /// # Errors
    /// No task can answer with these texts, or one that is named can't, is not there, or is named twice.
    pub fn parts(&self, tasks: &[NamedTask]) -> Result<Vec<TaskAsk>> {
        let part = |task: usize, named: &NamedTask| {
            let of = |field: &Field| Some((field.name.to_owned(), json!(self.text(field)?)));
            let mut own: Map<String, Value> = named.task.fields().iter().filter_map(of).collect();
            own.insert("offset_unit".into(), json!(self.unit));
            TaskAsk { task, name: named.name.clone(), request: Value::Object(own) }
        };
        Ok(self.chosen(tasks)?.into_iter().map(|(index, named)| part(index, named)).collect())
    }

    /// What is asked once parts of the text are found: of the tasks that were not given theirs, if one of these `parts` finds some.
    pub fn pairs(&self, parts: &[TaskAsk], tasks: &[NamedTask]) -> Option<PairsAsk> {
        let text = self.texts.get("text")?.as_str()?.into();
        let finder = parts.iter().find(|part| tasks.get(part.task).is_some_and(|named| named.task.mentions()))?;
        let is_wanted = |name: &String| self.tasks.as_ref().is_none_or(|tasks| tasks.contains(name));
        let lacks = |named: &NamedTask| named.task.takes_pairs() && !self.missing(named.task.fields()).is_empty();
        let related = tasks.iter().enumerate().filter(|(_, named)| is_wanted(&named.name) && lacks(named));
        let related: Vec<(usize, String)> = related.map(|(index, named)| (index, named.name.clone())).collect();
        let finder = finder.name.clone();
        (!related.is_empty()).then_some(PairsAsk { text, unit: self.unit, finder, related })
    }

    /// The answers of the tasks by their names, in the order of the model's tasks. The text of an answer is left out where
    /// whoever asked has it.
    pub fn results(&self, tasks: &[NamedTask], mut answers: BTreeMap<String, Value>) -> Map<String, Value> {
        let in_order = tasks.iter().map(|named| &named.name);
        in_order.filter_map(|name| Some((name.clone(), self.without_text(answers.remove(name)?)))).collect()
    }

    fn without_text(&self, mut answer: Value) -> Value {
        if let Value::Object(fields) = &mut answer
            && fields.get("text").is_some_and(|text| self.texts.values().any(|sent| sent == text))
        {
            fields.shift_remove("text");
        }
        answer
    }

    /// The text of a field, or the one that stands in for it.
    fn text(&self, field: &Field) -> Option<&str> {
        let of = |name: &str| self.texts.get(name)?.as_str();
        of(field.name).or_else(|| of(field.default?))
    }

    fn missing(&self, fields: &'static [Field]) -> Vec<&'static Field> {
        fields.iter().filter(|field| self.text(field).is_none()).collect()
    }

    /// The tasks that are asked, with their places.
    fn chosen<'a>(&self, tasks: &'a [NamedTask]) -> Result<Vec<(usize, &'a NamedTask)>> {
        let Some(names) = &self.tasks else {
            let able = tasks.iter().enumerate().filter(|(_, named)| self.missing(named.task.fields()).is_empty());
            let able: Vec<(usize, &NamedTask)> = able.collect();
            if able.is_empty() {
                let needs = |named: &NamedTask| {
                    let missing: Vec<String> = self.missing(named.task.fields()).into_iter().map(said).collect();
                    format!("`{}` lacks {}", named.name, missing.join(", "))
                };
                let needs: Vec<String> = tasks.iter().map(needs).collect();
                return Err(Error::usage(format!("expected the texts of a task: {}", needs.join("; ")))
                    .hint("/info states the fields of each task"));
            }
            return Ok(able);
        };
        let finds = |name: &String| tasks.iter().any(|named| &named.name == name && named.task.mentions());
        let parts_are_found = self.texts.contains_key("text") && names.iter().any(finds);
        let mut chosen: Vec<(usize, &NamedTask)> = Vec::with_capacity(names.len());
        for name in names {
            let (index, named) = task_named(tasks, name)?;
            if chosen.iter().any(|(known, _)| *known == index) {
                return Err(Error::usage(format!("tasks: expected each once, found `{name}` twice")));
            }
            let missing = self.missing(named.task.fields());
            if named.task.takes_pairs() && parts_are_found && !missing.is_empty() {
                // It is asked once they are found: see `PairsAsk`.
                continue;
            }
            if let Some(missing) = missing.first() {
                let stand_in =
                    missing.default.map_or(String::new(), |default| format!(" (or `{default}` in its place)"));
                let message = format!("{}: expected a text{stand_in}, which `{name}` needs, found none", missing.name);
                return Err(Error::usage(message));
            }
            chosen.push((index, named));
        }
        Ok(chosen)
    }
}

impl PairsAsk {
    /// What each of the tasks is asked, once the tasks that could be asked have answered.
    ///
    /// # Errors
    /// The task that was to find parts answered something else: a fault of ours.
    pub fn between(self, answers: &BTreeMap<String, Value>) -> Result<Vec<PairsBetween>> {
        let answer = answers.get(&self.finder).map(|answer| Shape::Spans.read(answer)).transpose();
        let spans: Arc<[Span]> = match answer {
            Ok(Some(Answer::Spans(spans))) => spans.entities.into(),
            _ => return Err(Error::internal(format!("`{}` found no spans", self.finder))),
        };
        let (text, unit) = (self.text, self.unit);
        let between = |(task, name)| PairsBetween { task, name, text: text.clone(), unit, spans: spans.clone() };
        Ok(self.related.into_iter().map(between).collect())
    }
}

impl PairsBetween {
    /// The query about all pairs of parts: without windows, where there is none.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn query(&self, tasks: &[NamedTask], tokenizer: &Tokenizer) -> Result<Query> {
        let query =
            tasks.get(self.task).and_then(|named| named.task.pairs(&self.text, &self.spans, self.unit, tokenizer));
        query.unwrap_or_else(|| Err(Error::internal("a task that relates no parts")))
    }
}

/// The task of this name, with its place.
///
/// # Errors
/// There is none.
pub fn task_named<'a>(tasks: &'a [NamedTask], name: &str) -> Result<(usize, &'a NamedTask)> {
    tasks.iter().enumerate().find(|(_, named)| named.name == name).ok_or_else(|| {
        let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        Error::usage(format!("expected one of this model's tasks ({}), found `{name}`", known.join(", ")))
    })
}

/// What a value is, in a word.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `context` (or `text`)
fn said(field: &Field) -> String {
    field.default.map_or(format!("`{}`", field.name), |default| format!("`{}` (or `{default}`)", field.name))
}
