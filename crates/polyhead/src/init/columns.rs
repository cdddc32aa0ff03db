//! Which columns of a table, or fields of JSON Lines, hold a text and its label, where their names do not say.
//!
//! ```text
//! id  review                          stars      -> text = review (the longest values), label = stars (few different values)
//! ```

use crate::data::{Column, ColumnNames, Columns, Field, fields};
use std::collections::BTreeSet;
use std::path::Path;

/// The text is so many times as long as the next longest column.
const LONGER: usize = 2;
/// A label has so few different values among the values that were looked at.
const VALUES_OF_A_LABEL: usize = 4;

/// The columns for a text and a label, if exactly one of the columns can be either.
pub(super) fn guess(file: &Path, roles: ColumnNames) -> Option<Columns> {
    if roles.required != ["text", "label"] {
        return None;
    }
    let fields = fields(file)?;
    let length = |field: &Field| field.values.iter().map(|value| value.chars().count()).sum::<usize>();
    let mut by_length: Vec<&Field> = fields.iter().collect();
    by_length.sort_by_key(|field| std::cmp::Reverse(length(field)));
    let (text, rest) = by_length.split_first()?;
    if rest.first().is_none_or(|next| length(text) < LONGER * length(next)) {
        return None;
    }
    let is_label = |field: &&&Field| {
        let different: BTreeSet<&String> = field.values.iter().collect();
        different.len() > 1 && different.len() * VALUES_OF_A_LABEL <= field.values.len()
    };
    let labels: Vec<&&Field> = rest.iter().filter(is_label).collect();
    let [label] = labels.as_slice() else { return None };
    let named = |field: &Field| Column::Name(field.name.clone());
    Some([("text", named(text)), ("label", named(label))].into_iter().collect())
}
