//! Words with a label for each: parts of speech, morphology. A label is any text; there are no spans.
//!
//! ```text
//! .conllu              a word a line in ten columns, see `conllu.rs`; the label is UPOS, or as `columns` says
//! .txt .conll .tsv     a word a line, its label last, see `columns.rs`
//! .csv .tsv            tables with a row for each word or each sentence, see `tables.rs`
//! .jsonl               {"words": ["They", "do"], "tags": ["PRON", "AUX"]}, see `jsonl/words.rs`
//! .parquet             the same in columns of lists, see `parquet/words.rs`
//! ```
//!
//! `_`, or null in JSON, says that a word has no label: it gives no loss and is not counted.

use super::layout::{Column, Layout};
use super::{Read, Skipped, quoted, start_of};
use crate::error::{Error, Place, Result};
use std::path::Path;

mod columns;
mod conllu;
mod tables;

pub(super) use columns::read as read_columns;
pub(super) use conllu::Sentences as ConlluSentences;
pub use conllu::{ConlluArc, ConlluSentence, ConlluWord, MultiwordToken};
pub(super) use tables::{read_csv, read_tsv};

/// A sentence of words, each with a label where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedWords {
    /// Where it stands in its file.
    pub place: Place,
    /// The words, as the file splits them.
    pub words: Vec<String>,
    /// A label for each word; `None` where nothing is annotated. At least one word has one.
    pub tags: Vec<Option<String>>,
}

/// What stands for a label that is not annotated.
const NOT_ANNOTATED: &str = "_";

/// What columns and fields are called where nobody says: the first of these names that there is.
const WORDS: &[&str] = &["words", "tokens", "word", "token", "form", "forms"];
const TAGS: &[&str] = &["tags", "upos", "pos_tags", "pos", "tag", "label", "labels", "xpos"];

/// The names that a role may have in a file that names its columns.
pub(super) fn usual_names(role: &str) -> &'static [&'static str] {
    if role == "word" { WORDS } else { TAGS }
}

/// What was read so far.
pub(super) struct Sentences<'a> {
    layout: &'a Layout,
    examples: Vec<TaggedWords>,
    skipped: Vec<Skipped>,
}

impl<'a> Sentences<'a> {
    /// None yet, of a file that is laid out so.
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, examples: Vec::new(), skipped: Vec::new() }
    }

    /// The label that a file means.
    ///
    /// # Errors
    /// It is a number that has no name.
    pub fn label(&self, label: &str) -> Result<Option<String>> {
        if label == NOT_ANNOTATED { Ok(None) } else { self.layout.word_label_of(label).map(Some) }
    }

    /// Takes a sentence, or leaves it out with the reason.
    pub fn push(&mut self, place: Place, words: Vec<String>, tags: Vec<Option<String>>) {
        let reason = match () {
            () if words.is_empty() => "it has no words",
            () if tags.iter().all(Option::is_none) => "none of its words has a label",
            () => return self.examples.push(TaggedWords { place, words, tags }),
        };
        let example = start_of(&words.join(" "));
        self.skipped.push(Skipped { place, example, reason: reason.to_owned() });
    }

    /// Whether nothing was taken or left out.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty() && self.skipped.is_empty()
    }

    /// Whether there are as many as asked for.
    pub fn is_enough(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.examples.len() >= limit)
    }

    /// All of them; an error if there is none, though some were asked for.
    pub fn finish(self, file: &Path, limit: Option<usize>, notes: Vec<String>) -> Result<Read<TaggedWords>> {
        let Self { examples, skipped, .. } = self;
        let read = Read { examples, skipped, notes };
        if limit == Some(0) { Ok(read) } else { not_empty(file, read) }
    }
}

/// Refuses a file that holds nothing to use.
fn not_empty<T>(file: &Path, read: Read<T>) -> Result<Read<T>> {
    if !read.examples.is_empty() {
        return Ok(read);
    }
    Err(match read.skipped.first() {
        None => Error::data("expected sentences, found none").at(Place::file(file)),
        Some(first) => Error::data(format!("expected sentences, found none that can be used: {}", first.reason))
            .at(first.place.clone()),
    })
}

/// Reads the sentences of a CoNLL-U file one after the other. `take` makes an example of each, or says why it can't be used; a
/// limit takes the first usable ones.
pub(super) fn read_conllu<T>(
    file: &Path,
    limit: Option<usize>,
    take: &dyn Fn(ConlluSentence) -> Result<Result<T, String>>,
) -> Result<Read<T>> {
    let mut sentences = conllu::Sentences::open(file)?;
    let mut read = Read { examples: Vec::new(), skipped: Vec::new(), notes: Vec::new() };
    while limit.is_none_or(|limit| read.examples.len() < limit) {
        let Some(sentence) = sentences.next()? else { break };
        let (place, example) = (sentence.place.clone(), start_of(&sentence.text));
        match take(sentence)? {
            Ok(example) => read.examples.push(example),
            Err(reason) => read.skipped.push(Skipped { place, example, reason }),
        }
    }
    read.notes = sentences.notes();
    if limit == Some(0) { Ok(read) } else { not_empty(file, read) }
}

/// Reads the sentences of a CoNLL-U file as they are.
pub(super) fn read_whole(file: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<ConlluSentence>> {
    read_conllu(file, limit, &|sentence| Ok(Ok(sentence)))
}

/// A column of CoNLL-U that may be the label of a word: its name and how it is read.
type ConlluColumn = (&'static str, fn(&ConlluWord) -> Option<&str>);

const UPOS: ConlluColumn = ("upos", |word| word.upos.as_deref());
const CONLLU_COLUMNS: [ConlluColumn; 5] = [
    UPOS,
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
            return Ok(Err(format!("none of its words has a value in the column {}", name.to_uppercase())));
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
        let found = quoted(&word.to_string());
        return Err(Error::usage(format!("columns.word: expected form, which is column 2 of CoNLL-U; found {found}")));
    }
    let Some(column) = role("tag") else { return Ok(UPOS) };
    CONLLU_COLUMNS.into_iter().find(|(name, _)| is(column, name)).ok_or_else(|| {
        let known: Vec<&str> = CONLLU_COLUMNS.iter().map(|(name, _)| *name).collect();
        let (known, found) = (known.join(", "), quoted(&column.to_string()));
        Error::usage(format!("columns.tag: expected a column of CoNLL-U, one of {known}; found {found}"))
    })
}
