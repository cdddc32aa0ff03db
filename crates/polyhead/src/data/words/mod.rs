//! Words with a label for each: parts of speech, morphology. Labels are any text; there are no spans.
//!
//! ```text
//! .conllu              a word a line in ten columns, see `conllu.rs`; the label is UPOS, or as `columns` says
//! .txt .conll .tsv     a word a line, its label last, see `columns.rs`
//! .jsonl               {"words": ["They", "do"], "tags": ["PRON", "AUX"]}
//! .parquet             the same in columns of lists
//! ```
//!
//! `_`, or null in JSON, says that a word has no label: it gives no loss and is not counted.

use super::layout::{Column, Layout};
use super::{Read, quoted};
use crate::error::{Error, Place, Result};
use std::path::Path;

mod conllu;

pub use conllu::{ConlluArc, ConlluSentence, ConlluWord, MultiwordToken};
pub(super) use conllu::read as read_conllu;

/// A sentence of words with a label for each that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedWords {
    /// Where it stands in its file.
    pub place: Place,
    /// The words, as the file splits them.
    pub words: Vec<String>,
    /// A label for each word; `None` where nothing is annotated.
    pub tags: Vec<Option<String>>,
}

/// What stands for a label that is not annotated.
const NOT_ANNOTATED: &str = "_";

/// A column of CoNLL-U that may be the label of a word: its name and how it is read.
type ConlluColumn = (&'static str, fn(&ConlluWord) -> Option<&str>);

const CONLLU_COLUMNS: [ConlluColumn; 5] = [
    ("upos", |word| word.upos.as_deref()),
    ("xpos", |word| word.xpos.as_deref()),
    ("feats", feats),
    ("lemma", |word| word.lemma.as_deref()),
    ("deprel", |word| word.deprel.as_deref()),
];

/// In a word with a part of speech `_` says that it has no features, which is a label; in others, that nothing is annotated.
fn feats(word: &ConlluWord) -> Option<&str> {
    word.feats.as_deref().or(word.upos.as_ref().map(|_| NOT_ANNOTATED))
}

/// Reads the words of a CoNLL-U file with the column that `columns.tag` chooses, UPOS where nobody does.
pub(super) fn read_conllu_words(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<TaggedWords>> {
    let (name, label) = conllu_column(layout).map_err(|error| error.at(Place::file(file)))?;
    read_conllu(file, limit, &|sentence| {
        let tags: Vec<Option<String>> = sentence.words.iter().map(|word| label(word).map(str::to_owned)).collect();
        if tags.iter().all(Option::is_none) {
            return Ok(Err(format!("none of its words has a {}", name.to_uppercase())));
        }
        let words = sentence.words.into_iter().map(|word| word.form).collect();
        Ok(Ok(TaggedWords { place: sentence.place, words, tags }))
    })
}

fn conllu_column(layout: &Layout) -> Result<ConlluColumn> {
    let role = |role: &str| layout.columns.as_ref().and_then(|columns| columns.get(role));
    let is = |column: &Column, name: &str| match column {
        Column::Name(found) => found.eq_ignore_ascii_case(name),
        Column::Number(number) => conllu::COLUMNS.get(number.wrapping_sub(1)) == Some(&name),
    };
    if let Some(word) = role("word").filter(|word| !is(word, "form")) {
        return Err(Error::usage(format!("columns.word: expected `form`, the second column; found `{word}`")));
    }
    let Some(column) = role("tag") else { return Ok(CONLLU_COLUMNS[0]) };
    CONLLU_COLUMNS.into_iter().find(|(name, _)| is(column, name)).ok_or_else(|| {
        let known: Vec<&str> = CONLLU_COLUMNS.iter().map(|(name, _)| *name).collect();
        Error::usage(format!(
            "columns.tag: expected one of {}, or its number from 1; found {}",
            known.join(", "),
            quoted(&column.to_string())
        ))
    })
}
