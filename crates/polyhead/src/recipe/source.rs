//! Where the values of a recipe stand: lines of its file, or overrides of the command line. Dotted key -> place.
//!
//! Kept beside the values, so that whatever is found wrong with one, and however late, is reported where it was written.

use super::{fault, keys, renamed};
use crate::error::{Error, Place};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The text of a recipe and the overrides that were applied to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
    overrides: Vec<String>,
}

impl Source {
    pub fn new(path: &Path, text: &str, overrides: &[String]) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), overrides: overrides.to_vec() }
    }

    /// The overrides, in order.
    pub fn overrides(&self) -> &[String] {
        &self.overrides
    }

    /// The override that sets a key or a table around it, else its line, else the override that made it a table; then the
    /// same of the table that it stands in, else the file.
    pub fn place(&self, key: &str) -> Place {
        if let Some(pair) = self.last_override(|name| name == key || is_within(key, name)) {
            return override_place(pair);
        }
        let table = key.rsplit_once('.').map(|(table, _)| table);
        let found = [Some(key), renamed::old_name(key), table].into_iter().flatten().find_map(|key| {
            let written = span_of(&self.text, key).map(|span| self.at(span.start));
            written.or_else(|| self.last_override(|name| is_within(name, key)).map(override_place))
        });
        found.unwrap_or_else(|| Place::file(&self.path))
    }

    fn last_override(&self, fits: impl Fn(&str) -> bool) -> Option<&str> {
        let of = |pair: &&String| pair.split_once('=').is_some_and(|(name, _)| fits(name.trim()));
        self.overrides.iter().rev().find(of).map(String::as_str)
    }

    /// The line and column of a byte of the text.
    fn at(&self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or("");
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Place::column(&self.path, before.matches('\n').count() + 1, column)
    }

    /// A text that is no TOML.
    pub fn malformed(&self, cause: &toml::de::Error) -> Error {
        let at = cause.span().map_or(0, |span| span.start);
        Error::usage(cause.message().to_owned()).at(self.at(at))
    }

    /// A value that is not what its key takes, or a key that is missing. `cause` is about `merged`, which is the recipe
    /// with its overrides as text.
    pub fn refused(&self, cause: &toml::de::Error, merged: &str) -> Error {
        let table = toml::from_str::<toml::Table>(merged).unwrap_or_default();
        if let Some(field) = fault::missing_field(cause.message()) {
            let (within, key) = keys::missing(&table, field);
            let error = Error::usage(format!("{key}: expected {}, found nothing", keys::purpose(field)));
            return match within.is_empty() {
                true => error.at(Place::file(&self.path)),
                false => error.at(self.place(&within)),
            };
        }
        let at = cause.span().map_or(0, |span| span.start);
        let Some(key) = DeTable::parse(merged).ok().and_then(|all| key_at(all.get_ref(), at)) else {
            return Error::usage(cause.message().to_owned()).at(Place::file(&self.path));
        };
        let found = keys::get(&table, &key).map_or_else(|| "nothing".to_owned(), fault::shown);
        Error::usage(format!("{key}: {}", fault::reworded(cause.message(), &found))).at(self.place(&key))
    }
}

fn override_place(pair: &str) -> Place {
    Place::file(format!("--set {pair}"))
}

/// Whether a dotted key stands below another.
fn is_within(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// Where a dotted key stands in a text of TOML.
fn span_of(text: &str, key: &str) -> Option<Range<usize>> {
    let all = DeTable::parse(text).ok()?;
    let mut table = all.get_ref();
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        if parts.peek().is_none() {
            return Some(name.span());
        }
        table = match value.get_ref() {
            DeValue::Table(table) => table,
            _ => return None,
        };
    }
    None
}

/// The dotted key of the value at a byte of a text of TOML, or of the value that it names.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let deeper = match value.get_ref() {
            DeValue::Table(table) => key_at(table, at).map(|rest| format!("{}.{rest}", name.get_ref())),
            _ => None,
        };
        let here = || (name.span().contains(&at) || value.span().contains(&at)).then(|| name.get_ref().to_string());
        deeper.or_else(here)
    })
}
