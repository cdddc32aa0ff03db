//! How a file is laid out, where its extension does not tell: which columns to read, and what its class numbers mean.
//!
//! ```text
//! data.ner.columns = { word = 2, tag = 3 }               columns of a column file, counted from 1
//! data.ner.tag_names = ["O", "B-PER", "I-PER"]           the tags that a file writes as 0, 1, 2
//! ```

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::iob;
use crate::error::{Error, Result};

/// What a reader is told of a file besides its extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Which columns of a column file hold the word and its tag. Left open: the first and the last.
    pub columns: Option<Columns>,
    /// The names of tags that the file writes as numbers from 0. Empty: such a file is refused, unless it says itself.
    pub tag_names: Vec<String>,
}

/// Two columns of a column file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The column of the word.
    pub word: usize,
    /// The column of its tag.
    pub tag: usize,
}

impl Layout {
    /// Refuses columns below 1, the same column twice, and names that are no tags. Messages begin with the key.
    pub fn check(&self) -> Result<()> {
        if let Some(Columns { word, tag }) = self.columns
            && (word == 0 || tag == 0 || word == tag)
        {
            let found = format!("word = {word}, tag = {tag}");
            return Err(Error::usage(format!(
                "columns: expected two different columns, counted from 1; found {found}"
            )));
        }
        for (number, name) in self.tag_names.iter().enumerate() {
            if !iob::is_tag(name) {
                let found = super::quoted(name);
                let expected = "tags such as `O`, `B-PER`, `I-PER`";
                return Err(Error::usage(format!("tag_names: expected {expected}; found {found} for {number}")));
            }
        }
        Ok(())
    }

    /// The tag of a class number, or why there is none.
    pub(super) fn tag_of(&self, number: i64) -> Result<String> {
        if self.tag_names.is_empty() {
            return Err(Error::data(format!("expected the name of a tag, such as `B-PER`; found the number {number}"))
                .hint(iob::NAME_THE_NUMBERS));
        }
        let name = usize::try_from(number).ok().and_then(|number| self.tag_names.get(number));
        name.cloned().ok_or_else(|| {
            let count = self.tag_names.len();
            Error::data(format!("expected a tag below {count}, as `tag_names` has {count} names; found {number}"))
        })
    }
}

/// `2,3`: the column of the word and that of the tag.
impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once(',').and_then(|(word, tag)| Some((word.trim().parse().ok()?, tag.trim().parse().ok()?)));
        match numbers {
            Some((word, tag)) if word > 0 && tag > 0 && word != tag => Ok(Self { word, tag }),
            _ => Err("expected two different columns, counted from 1, as in 2,3".into()),
        }
    }
}
