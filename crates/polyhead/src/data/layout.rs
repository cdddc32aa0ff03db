//! How a file is laid out, where its extension does not tell: which columns to read, what its class numbers mean, how its
//! characters are encoded.
//!
//! ```text
//! data.ner.columns = { word = 2, tag = 3 }               columns of a column file, counted from 1
//! data.topic.columns = { text = "body", label = "class" } columns or fields by their names
//! data.ner.tag_names = ["O", "B-PER", "I-PER"]           the tags that a file writes as 0, 1, 2
//! data.topic.label_names = ["neg", "pos"]                the labels that a file writes as 0, 1
//! data.topic.label_separator = ","                       what stands between the labels of one text: `a,b`
//! data.topic.encoding = "latin-1"                        what is not UTF-8
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::schemes;
use crate::error::{Error, Result};

/// What a reader knows of a file besides its extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Which columns hold what. Left open, the reader knows the usual places and names.
    pub columns: Option<Columns>,
    /// The names of tags that the file writes as numbers from 0. Empty: a file of entity tags is refused, unless it says
    /// itself; elsewhere the numbers are the tags.
    pub tag_names: Vec<String>,
    /// The names of labels that the file writes as numbers from 0. Empty: the numbers are the labels, unless it says itself.
    pub label_names: Vec<String>,
    /// What stands between the labels of one text, where a text may have several and its file has no lists.
    pub label_separator: Option<String>,
    /// How the characters of a text file are encoded.
    pub encoding: Encoding,
    /// What labels of texts are to be: no matter of the file, but of the task that reads.
    pub label_form: LabelForm,
}

/// What labels of texts are to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabelForm {
    /// One name of several.
    #[default]
    Name,
    /// Any number of names.
    Set,
    /// A number.
    Number,
}

/// How the characters of a text file are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1: every byte is the character of its number.
    #[serde(rename = "latin-1")]
    Latin1,
}

/// Which column holds what, by the name of its role: `word` and `tag`, or `text` and `label`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Columns(BTreeMap<String, Column>);

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Column {
    /// Its number, counted from 1.
    Number(usize),
    /// Its name in the first line, or that of a field.
    Name(String),
}

/// The roles that columns may have for one type of example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnNames {
    /// All of them must be said, if any is.
    pub required: &'static [&'static str],
    /// Instead of the required ones all of these may be said, where files come in two forms.
    pub instead: &'static [&'static str],
    /// These may be said besides.
    pub optional: &'static [&'static str],
}

impl ColumnNames {
    /// Of files whose columns nobody chooses.
    pub const NONE: Self = Self { required: &[], instead: &[], optional: &[] };

    /// All of them, the required ones first.
    pub fn all(self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.instead).chain(self.optional).copied()
    }

    /// The first that is needed beside those that are said, and is not.
    pub fn missing(self, is_said: impl Fn(&str) -> bool) -> Option<&'static str> {
        let first = |names: &'static [&'static str]| names.iter().copied().find(|name| !is_said(name));
        // Of two forms that which was begun.
        match self.instead.iter().any(|name| is_said(name)) && !self.required.iter().any(|name| is_said(name)) {
            true => first(self.instead),
            false => first(self.required),
        }
    }

    /// Refuses columns of other roles, and those without one that is required. Messages begin with the key.
    pub fn check(self, columns: &Columns) -> Result<()> {
        let known = || self.all().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if let Some((other, _)) = columns.iter().find(|(name, _)| !self.all().any(|known| known == *name)) {
            let expected = if self.all().next().is_none() { "no columns".to_owned() } else { known() };
            return Err(Error::usage(format!("columns: expected {expected}; found `{other}`")));
        }
        match self.missing(|name| columns.get(name).is_some()) {
            Some(missing) => {
                Err(Error::usage(format!("columns.{missing}: expected {}, found nothing", Column::EXPECTED)))
            }
            None => Ok(()),
        }
    }
}

impl Column {
    /// What stands for one.
    pub const EXPECTED: &'static str = "a column, counted from 1, or its name";
}

impl<'a> FromIterator<(&'a str, Column)> for Columns {
    fn from_iter<I: IntoIterator<Item = (&'a str, Column)>>(columns: I) -> Self {
        Self(columns.into_iter().map(|(role, column)| (role.to_owned(), column)).collect())
    }
}

impl Columns {
    /// These.
    pub fn of<const N: usize>(columns: [(&str, usize); N]) -> Self {
        Self(columns.into_iter().map(|(role, number)| (role.to_owned(), Column::Number(number))).collect())
    }

    /// The column of a role.
    pub fn get(&self, role: &str) -> Option<&Column> {
        self.0.get(role)
    }

    /// All of them with their roles.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.0.iter().map(|(role, column)| (role.as_str(), column))
    }

    /// The number of a role's column in a file whose columns have no names.
    pub(super) fn number(&self, role: &str) -> Result<usize> {
        match self.get(role) {
            Some(Column::Number(number)) => Ok(*number),
            Some(Column::Name(name)) => {
                let found = super::quoted(name);
                Err(Error::usage(format!("columns.{role}: expected a number, counted from 1; found the name {found}")))
            }
            None => Err(Error::usage(format!("columns.{role}: expected a column, counted from 1; found nothing"))),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Column;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(Column::EXPECTED)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Column, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(number), &self);
                usize::try_from(number).map(Column::Number).map_err(|_| wrong())
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Column, E> {
                usize::try_from(number).map(Column::Number).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Column, E> {
                Ok(Column::Name(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "latin-1" | "latin1" | "iso-8859-1" => Ok(Self::Latin1),
            _ => Err("expected utf-8 or latin-1".into()),
        }
    }
}

impl Layout {
    /// Whether a recipe chooses a column for this role.
    pub(super) fn has(&self, role: &str) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.get(role).is_some())
    }

    /// Refuses columns below 1, the same column twice, and names that are blank or come twice. Messages begin with the key.
    pub fn check(&self) -> Result<()> {
        if let Some(columns) = &self.columns {
            let different: BTreeSet<String> = columns.iter().map(|(_, column)| column.to_string()).collect();
            let below = columns.iter().any(|(_, column)| *column == Column::Number(0));
            if below || different.len() < columns.0.len() {
                let count = if columns.0.len() == 2 { "two different columns" } else { "different columns" };
                let found: Vec<String> = columns.iter().map(|(role, column)| format!("{role} = {column}")).collect();
                let found = found.join(", ");
                return Err(Error::usage(format!("columns: expected {count}, counted from 1; found {found}")));
            }
        }
        for (key, names) in [("tag_names", &self.tag_names), ("label_names", &self.label_names)] {
            let mut seen = BTreeSet::new();
            if let Some(name) = names.iter().find(|name| name.trim().is_empty() || !seen.insert(*name)) {
                let found = super::quoted(name);
                return Err(Error::usage(format!("{key}: expected different names, found {found} twice or blank")));
            }
        }
        if self.label_separator.as_ref().is_some_and(String::is_empty) {
            return Err(Error::usage("label_separator: expected what stands between labels, as in `,`; found nothing"));
        }
        Ok(())
    }

    /// Refuses names that are no tags of entities, for sentences with entities. Messages begin with the key.
    pub fn check_entity_tags(&self) -> Result<()> {
        match self.tag_names.iter().enumerate().find(|(_, name)| !schemes::is_tag(name)) {
            None => Ok(()),
            Some((number, name)) => {
                let found = super::quoted(name);
                let expected = "tags such as `O`, `B-PER`, `I-PER`";
                Err(Error::usage(format!("tag_names: expected {expected}; found {found} for {number}")))
            }
        }
    }

    /// The tag of a class number, or why there is none.
    pub(super) fn tag_of(&self, number: i64) -> Result<String> {
        if self.tag_names.is_empty() {
            return Err(Error::data(format!("expected the name of a tag, such as `B-PER`; found the number {number}"))
                .hint(schemes::NAME_THE_NUMBERS));
        }
        let name = usize::try_from(number).ok().and_then(|number| self.tag_names.get(number));
        name.cloned().ok_or_else(|| {
            let count = self.tag_names.len();
            Error::data(format!("expected a tag below {count}, as `tag_names` has {count} names; found {number}"))
        })
    }
}

impl Layout {
    /// Refuses what does not go with the labels that a task reads. Messages begin with the key.
    pub(super) fn check_labels(&self) -> Result<()> {
        if let (Some(separator), LabelForm::Name | LabelForm::Number) = (&self.label_separator, self.label_form) {
            let found = super::quoted(separator);
            let message = format!("label_separator: expected none where a text has one label, found {found}");
            return Err(Error::usage(message).hint("several labels of a text are data of `problem = \"multi_label\"`"));
        }
        if self.label_form == LabelForm::Number && !self.label_names.is_empty() {
            return Err(Error::usage("label_names: expected none where labels are numbers that mean themselves"));
        }
        Ok(())
    }

    /// The label that a file means: what it says, or the name of its number.
    pub(super) fn label_of(&self, label: &str) -> Result<String> {
        named(label, &self.label_names, "label_names")
    }

    /// The same of a word's label, which may be any text.
    pub(super) fn word_label_of(&self, label: &str) -> Result<String> {
        named(label, &self.tag_names, "tag_names")
    }
}

/// A label that is one of these names or the number of one; itself where there are none.
fn named(label: &str, names: &[String], key: &str) -> Result<String> {
    if names.is_empty() || names.iter().any(|name| name == label) {
        return Ok(label.to_owned());
    }
    let name = label.parse::<usize>().ok().and_then(|number| names.get(number));
    name.cloned().ok_or_else(|| {
        let (most, found) = (names.len() - 1, super::quoted(label));
        Error::data(format!("expected a label from 0 to {most}, or a name of `{key}`; found {found}"))
    })
}

/// `2,3`: the column of the word and that of the tag. `text=body,label=1`: columns by their roles.
impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected two different columns, counted from 1, as in 2,3, or with their roles, as in text=1,label=2"
                .to_owned()
        };
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if parts.iter().all(|part| part.contains('=')) {
            let column = |part: &&str| {
                let (role, column) = part.split_once('=').ok_or_else(expected)?;
                let column = column.trim();
                let column = column.parse().map_or_else(|_| Column::Name(column.to_owned()), Column::Number);
                Ok((role.trim().to_owned(), column))
            };
            return parts.iter().map(column).collect::<Result<_, String>>().map(Self);
        }
        let numbers: Vec<usize> = parts.iter().map_while(|part| part.parse().ok()).collect();
        match numbers.as_slice() {
            [word, tag] if parts.len() == 2 && *word > 0 && *tag > 0 && word != tag => {
                Ok(Self::of([("word", *word), ("tag", *tag)]))
            }
            _ => Err(expected()),
        }
    }
}
