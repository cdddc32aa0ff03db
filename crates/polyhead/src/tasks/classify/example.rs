//! A text, or a pair of texts, with its gold label: out of a file, or out of a request without one.
//!
//! ```text
//! {"text": "...", "text_pair": "...", "label": "LOC:city"} -> Labelled { label: LOC }    label_until = ":"
//! ```

use super::{Config, Inputs, Problem};
use crate::data::{Label, LabelForm, LabelledText, Layout, Read, TEXTS};
use crate::error::{Error, Place, Result};
use crate::tasks::{Field, found};
use serde_json::{Value, json};
use std::path::Path;

/// A text, or a pair of texts, with its gold label if it has one.
pub struct Labelled {
    /// Where it stands.
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) text_pair: Option<String>,
    /// The label, the labels or the number.
    pub(super) gold: Option<Label>,
}

impl Labelled {
    /// The names of its gold labels.
    pub(super) fn labels(&self) -> &[String] {
        match &self.gold {
            Some(Label::Name(name)) => std::slice::from_ref(name),
            Some(Label::Set(names)) => names,
            Some(Label::Number(_)) | None => &[],
        }
    }

    /// Its gold number.
    pub(super) fn number(&self) -> Option<f64> {
        match self.gold {
            Some(Label::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// On one line for people.
    pub(super) fn asked(&self) -> String {
        match &self.text_pair {
            Some(pair) => format!("{} / {pair}", self.text),
            None => self.text.clone(),
        }
    }

    /// Adds what it was to the record of an answer.
    pub(super) fn record(&self, record: &mut Value) {
        let Value::Object(fields) = record else { return };
        fields.insert("text".into(), json!(self.text));
        if let Some(pair) = &self.text_pair {
            fields.insert("text_pair".into(), json!(pair));
        }
        let (name, gold) = match &self.gold {
            Some(Label::Name(name)) => ("gold_label", json!(name)),
            Some(Label::Set(names)) => ("gold_labels", json!(names)),
            Some(Label::Number(number)) => ("gold_value", json!(number)),
            None => return,
        };
        fields.insert(name.into(), gold);
    }
}

/// Reads a file.
pub(super) fn read(config: &Config, path: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Labelled>> {
    let label_form = match config.problem {
        Problem::SingleLabel => LabelForm::Name,
        Problem::MultiLabel => LabelForm::Set,
        Problem::Regression => LabelForm::Number,
    };
    let Read { examples, skipped, notes } = TEXTS.read(path, limit, &Layout { label_form, ..layout.clone() })?;
    let of = |LabelledText { place, text, text_pair, label }| Labelled {
        place,
        text,
        text_pair,
        gold: Some(meant(config, label)),
    };
    Ok(Read { examples: examples.into_iter().map(of).collect(), skipped, notes })
}

/// The label that a file means.
fn meant(config: &Config, label: Label) -> Label {
    let Some(mark) = config.label_until.as_deref() else { return label };
    let before = |name: String| name.split_once(mark).map(|(before, _)| before.to_owned()).unwrap_or(name);
    match label {
        Label::Name(name) => Label::Name(before(name)),
        Label::Set(names) => {
            let mut set = Vec::with_capacity(names.len());
            for name in names.into_iter().map(before) {
                if !set.contains(&name) {
                    set.push(name);
                }
            }
            Label::Set(set)
        }
        number => number,
    }
}

/// Reads a request with these fields.
pub(super) fn requested(inputs: Option<Inputs>, fields: &[Field], request: &Value, place: Place) -> Result<Labelled> {
    let field = |name: &str| match request.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => {
            let fields: Vec<String> = fields.iter().map(|field| format!("{:?}: \"...\"", field.name)).collect();
            let found = found(other);
            let message = format!("expected {{{}}}, found {found} as `{name}`", fields.join(", "));
            Err(Error::data(message).at(place.clone()))
        }
    };
    let text = field("text")?;
    let given = request.get("text_pair").is_some_and(|given| !given.is_null());
    let text_pair = match inputs {
        Some(Inputs::Pair) => Some(field("text_pair")?),
        // A model of elsewhere does not say what it reads.
        None if given => Some(field("text_pair")?),
        Some(Inputs::Text) if given => {
            return Err(
                Error::data("expected one text, found `text_pair` beside it: this model reads no pairs").at(place)
            );
        }
        _ => None,
    };
    Ok(Labelled { place, text, text_pair, gold: None })
}
