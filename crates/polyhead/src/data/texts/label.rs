//! What stands where a text has its label: one name, any number of names, or a number, as the task that reads asks for it
//! ([`LabelForm`]).
//!
//! ```text
//! Raw: nothing, a cell, a list -> Label, or none: not annotated
//! ```
//!
//! What is missing is not negative: a text without a label has none, while an empty list says that none of the labels holds.

use crate::data::layout::{LabelForm, Layout};
use crate::data::quoted;
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::fmt;

/// What a text is labelled with.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// One name of several.
    Name(String),
    /// Any number of names, each once, in the order of the file.
    Set(Vec<String>),
    /// A number.
    Number(f64),
}

/// A label as a file has it.
pub(in crate::data) enum Raw<'a> {
    /// There is none.
    Missing,
    /// A cell of a table, a word of a line, a value: perhaps blank.
    Cell(Cow<'a, str>),
    /// Several values.
    List(Vec<String>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Set(names) => f.write_str(&names.join(", ")),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Raw<'_> {
    /// The label that is meant; `None` where the text is not annotated.
    pub fn read(self, layout: &Layout) -> Result<Option<Label>> {
        match layout.label_form {
            LabelForm::Name => self.name(layout),
            LabelForm::Set => self.set(layout),
            LabelForm::Number => self.number(),
        }
    }

    fn name(self, layout: &Layout) -> Result<Option<Label>> {
        let name = match &self {
            Raw::Cell(name) if !name.trim().is_empty() => name.trim(),
            Raw::Missing | Raw::Cell(_) => return Ok(None),
            Raw::List(names) => {
                let found = if names.is_empty() { "an empty list".to_owned() } else { quoted(&names.join(", ")) };
                return Err(Error::data(format!("expected one label, found {found}"))
                    .hint("a task of `problem = \"multi_label\"` reads lists of labels"));
            }
        };
        layout.label_of(name).map(|name| Some(Label::Name(name)))
    }

    fn set(self, layout: &Layout) -> Result<Option<Label>> {
        let names: Vec<String> = match (self, &layout.label_separator) {
            (Raw::Missing, _) => return Ok(None),
            (Raw::List(names), _) => names,
            (Raw::Cell(cell), Some(_)) if cell.trim().is_empty() => Vec::new(),
            (Raw::Cell(cell), Some(separator)) => cell.split(separator.as_str()).map(str::to_owned).collect(),
            (Raw::Cell(cell), None) if cell.trim().is_empty() => return Ok(None),
            (Raw::Cell(cell), None) => vec![cell.into_owned()],
        };
        let mut set = Vec::with_capacity(names.len());
        for name in &names {
            if name.trim().is_empty() {
                let found = quoted(&names.join(layout.label_separator.as_deref().unwrap_or(", ")));
                return Err(Error::data(format!("expected names of labels, found a blank one in {found}")));
            }
            let name = layout.label_of(name.trim())?;
            if !set.contains(&name) {
                set.push(name);
            }
        }
        Ok(Some(Label::Set(set)))
    }

    fn number(self) -> Result<Option<Label>> {
        let cell = match &self {
            Raw::Cell(cell) if !cell.trim().is_empty() => cell.trim(),
            Raw::Missing | Raw::Cell(_) => return Ok(None),
            Raw::List(values) => {
                let found = quoted(&values.join(", "));
                return Err(Error::data(format!("expected a number as the label, found the list {found}")));
            }
        };
        let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
        // Losses are f32.
        if let Some(number) = number.filter(|number| number.abs() <= f64::from(f32::MAX)) {
            return Ok(Some(Label::Number(number)));
        }
        let expected = if number.is_some() { "a number below 3.4e38" } else { "a number as the label" };
        let error = Error::data(format!("expected {expected}, found {}", quoted(cell)));
        Err(match cell.replace(',', ".").parse::<f64>() {
            Ok(_) if cell.contains(',') => error.hint("a number has a decimal point, and nothing between thousands"),
            _ => {
                error.hint("a task of `problem = \"regression\"` reads finite numbers; one of names is `single_label`")
            }
        })
    }
}
