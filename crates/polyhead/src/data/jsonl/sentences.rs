//! Sentences with entities: one a line, or as one JSON list (`array.rs`).
//!
//! ```text
//! {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]}
//! {"tokens": ["EU", "rejects"], "ner_tags": [3, 0], "document": "news 17"}
//! {"text": "EU rejects", "entities": [{"type": "ORG", "text": "EU", "start": 0, "end": 2, "score": 0.99}]}
//! ```
//!
//! Neighbours with the same `document` (or `doc_id`) are of one document. `tokens` and `ner_tags` are other names of `words` and `tags`,
//! as the Hugging Face Hub has them, and `columns` gives them any; numbers are tags by the names that the recipe gives
//! ([`Layout::tag_names`]). The third form is what `predict` answers, and one of those of annotation tools: see
//! `data/annotated/mod.rs`. A record that says nothing of entities is left out and counted; a file of such records alone is an error.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{LONGEST_LINE, note, parse, remember};
use crate::data::annotated::{self, Content, DOCUMENTS};
use crate::data::json::{Fields, Record};
use crate::data::layout::{Column, Layout};
use crate::data::lines::Lines;
use crate::data::spans::Tagger;
use crate::data::{Read, Sentence, quoted, schemes};
use crate::error::{Error, Place, Result};

/// Fields in which other tools keep what is tagged.
const TAGS_ELSEWHERE: &[&str] = &["entities", "labels", "label", "ner", "spans", "named_entities", "annotations"];
const WORDS: &[&str] = &["words", "tokens"];
const TAGS: &[&str] = &["tags", "ner_tags"];
const HINT: &str = "a sentence is {\"words\": [\"EU\", \"is\"], \"tags\": [\"B-ORG\", \"O\"]}, or {\"text\": \"EU is\", \"entities\": \
     [{\"type\": \"ORG\", \"start\": 0, \"end\": 2}]}; fields of other names: data.TASK.columns = { text = \"body\", label = \"spans\" }";

/// Reads sentences, one a line.
pub(in crate::data) fn read_sentences(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let mut sentences = Sentences::new(layout);
    while let Some((number, line)) = lines.next()? {
        if !line.trim().is_empty() {
            sentences.push(Place::line(file, number), parse(file, number, line)?)?;
        }
    }
    sentences.finish(file, limit, lines.notes())
}

/// What was read so far.
pub(super) struct Sentences<'a> {
    layout: &'a Layout,
    sentences: Vec<Sentence>,
    tagger: Tagger,
    /// What the document of the last one is called, and its number.
    document: (Option<Value>, usize),
    ignored: BTreeSet<String>,
    /// Of records that say nothing of entities: how many, and what to say if there are no others.
    open: usize,
    fault: Option<Error>,
    rejected: usize,
}

/// What a record holds: words with their tags, a text with its entities, or neither.
enum Gold {
    Tags { words: Vec<String>, tags: Vec<String> },
    Text(Content),
}

/// The words of a record, and their tags if it has any.
type WordsAndTags = (Vec<String>, Option<Vec<String>>);

impl<'a> Sentences<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            sentences: Vec::new(),
            tagger: Tagger::default(),
            document: (None, 0),
            ignored: BTreeSet::new(),
            open: 0,
            fault: None,
            rejected: 0,
        }
    }

    /// Takes a record, or counts it among those that can't be used.
    pub(super) fn push(&mut self, place: Place, record: Record) -> Result<()> {
        let at = |error: Error| error.at_least(place.clone());
        let fault = |fields: &Fields| {
            let found = fields.found();
            let message = format!("expected words and their tags, or a text and its entities; found {found}");
            Error::data(message).at(place.clone()).hint(HINT)
        };
        let gold = match &record {
            Record::Object(fields) => match self.words_and_tags(fields).map_err(at)? {
                Some((words, Some(tags))) => Gold::Tags { words, tags },
                Some((_, None)) => match annotated::read(&record, self.layout).map_err(at)? {
                    Content::Other => Gold::Text(Content::Open),
                    content => Gold::Text(content),
                },
                None => Gold::Text(annotated::read(&record, self.layout).map_err(at)?),
            },
            Record::List(_) => Gold::Text(annotated::read(&record, self.layout).map_err(at)?),
        };
        let by_words = matches!(gold, Gold::Tags { .. });
        let (words, tags) = match gold {
            Gold::Tags { words, tags } => (words, tags),
            Gold::Text(Content::Annotated(text)) => self.tagger.tags(&place, &text).map_err(at)?,
            Gold::Text(Content::Rejected) => {
                self.rejected += 1;
                return Ok(());
            }
            Gold::Text(Content::Open) => {
                self.open += 1;
                if let (Record::Object(fields), None) = (&record, &self.fault) {
                    self.fault = Some(fault(fields));
                }
                return Ok(());
            }
            Gold::Text(Content::Other) => {
                return Err(match &record {
                    Record::Object(fields) => fault(fields),
                    Record::List(items) => {
                        let found = quoted(&Value::Array(items.clone()).to_string());
                        let message = format!("expected an object, or a text and its entities; found {found}");
                        let hint = match items.first() {
                            Some(Value::Object(_) | Value::Array(_)) => "a list of records has the extension .json",
                            _ => "as in [\"Ada left.\", {\"entities\": [[0, 3, \"PER\"]]}]",
                        };
                        Error::data(message).at(place).hint(hint)
                    }
                });
            }
        };
        for tag in &tags {
            schemes::check_tag(tag, || place.clone())?;
        }
        let mut document = None;
        if let Record::Object(fields) = &record {
            document = document_of(fields).map_err(at)?;
            let ignored = if by_words { self.unread(fields) } else { annotated::unread(fields, self.layout) };
            remember(&mut self.ignored, ignored);
        }
        if document != self.document.0 && !self.sentences.is_empty() {
            self.document.1 = self.sentences.len();
        }
        self.document.0 = document;
        self.sentences.push(Sentence { place, words, tags, document: self.document.1 });
        Ok(())
    }

    /// Counts a record in whose place nothing stands.
    pub(super) fn push_nothing(&mut self) {
        self.open += 1;
    }

    /// The names of fields beside words and tags.
    fn unread(&self, fields: &Fields) -> BTreeSet<String> {
        let chosen = |name: &str| {
            self.layout
                .columns
                .as_ref()
                .is_some_and(|columns| columns.iter().any(|(_, column)| column.to_string() == name))
        };
        let usual = |name: &str| [WORDS, TAGS, DOCUMENTS, &["id"]].iter().any(|names| names.contains(&name));
        fields.names().filter(|name| !usual(name) && !chosen(name)).map(str::to_owned).collect()
    }

    /// The words of a record, and their tags if it has any; nothing where it has no words.
    fn words_and_tags(&self, fields: &Fields) -> Result<Option<WordsAndTags>> {
        let Some((words_name, words)) = self.list("word", WORDS, fields)? else { return Ok(None) };
        // Tokens with their places are those of a text with spans.
        if words.first().is_some_and(Value::is_object) {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            let Value::String(word) = word else {
                let found = quoted(&word.to_string());
                return Err(Error::data(format!("{words_name}[{at}]: expected a word, found {found}")));
            };
            all.push(word.clone());
        }
        let Some((tags_name, tags)) = self.list("tag", TAGS, fields)? else { return Ok(Some((all, None))) };
        if tags.len() != all.len() {
            let (expected, found) = (all.len(), tags.len());
            let message = format!("{tags_name}: expected a tag for each of {expected} words, found {found}");
            return Err(Error::data(message));
        }
        let tag = |(at, tag): (usize, &Value)| match tag {
            Value::String(tag) => Ok(tag.clone()),
            other => match other.as_i64() {
                Some(number) => self.layout.tag_of(number),
                None => {
                    let found = quoted(&other.to_string());
                    let message =
                        format!("{tags_name}[{at}]: expected a tag such as `B-PER`, or its number; found {found}");
                    Err(Error::data(message))
                }
            },
        };
        Ok(Some((all, Some(tags.iter().enumerate().map(tag).collect::<Result<_>>()?))))
    }

    /// The list of a role, with the name of its field.
    fn list<'b>(
        &self,
        role: &str,
        usual: &'static [&'static str],
        fields: &'b Fields,
    ) -> Result<Option<(&'b str, &'b [Value])>> {
        let names: Vec<&str> = match self.layout.columns.as_ref().map(|columns| columns.get(role)) {
            None => usual.to_vec(),
            Some(None) => return Ok(None),
            Some(Some(Column::Name(name))) => vec![name],
            Some(Some(Column::Number(number))) => {
                return Err(Error::usage(format!("columns.{role}: expected the name of a field, found {number}")));
            }
        };
        let mut found = fields.0.iter().filter(|(name, value)| names.contains(&name.as_str()) && !value.is_null());
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((name, Value::Array(items))), None) => Ok(Some((name, items))),
            (Some((name, other)), None) => {
                Err(Error::data(format!("{name}: expected a list, found {}", quoted(&other.to_string()))))
            }
            (Some((first, _)), Some((second, _))) => {
                let message = format!("expected one of `{first}` and `{second}`, which mean the same; found both");
                Err(Error::data(message)
                    .hint("data.TASK.columns = { word = \"tokens\", tag = \"ner_tags\" } says which is read"))
            }
        }
    }

    /// All of them, as every reader of sentences ends.
    pub(super) fn finish(self, file: &Path, limit: Option<usize>, mut notes: Vec<String>) -> Result<Read<Sentence>> {
        let elsewhere = self.ignored.iter().find(|name| TAGS_ELSEWHERE.contains(&name.as_str()));
        let mut tags = self.sentences.iter().flat_map(|sentence| &sentence.tags).peekable();
        if let (Some(name), true) = (elsewhere, tags.peek().is_some() && tags.all(|tag| tag == "O")) {
            let message = format!("expected entities in `tags`, found `O` alone, while {} is not read", quoted(name));
            return Err(Error::data(message).at(Place::file(file)).hint("leave out the one that is not meant"));
        }
        if let (true, Some(fault)) = (self.sentences.is_empty(), self.fault) {
            return Err(fault);
        }
        if self.sentences.is_empty() && self.rejected > 0 {
            let message = format!("expected sentences, found {} that were rejected, and no others", self.rejected);
            return Err(Error::data(message)
                .at(Place::file(file))
                .hint("`answer` is `accept` where an annotation holds"));
        }
        notes.extend(note(&self.ignored));
        for (count, what) in [
            (self.open, "records that say nothing of entities, of which there is no example"),
            (
                self.rejected,
                "records that were rejected, ignored or cancelled by who annotated them, and were left out",
            ),
        ] {
            if count > 0 {
                notes.push(format!("{what}: {count}"));
            }
        }
        notes.extend(self.tagger.notes());
        schemes::finish(file, Read { examples: self.sentences, skipped: Vec::new(), notes }, limit)
    }
}

/// What a record calls the document that it is of.
fn document_of(fields: &Fields) -> Result<Option<Value>> {
    let Some((name, value)) = DOCUMENTS.iter().find_map(|name| Some((*name, fields.get(name)?))) else {
        return Ok(None);
    };
    match value.is_string() || value.is_i64() || value.is_u64() {
        true => Ok(Some(value.clone())),
        false => Err(Error::data(format!("{name}: expected a text or a number, found {}", quoted(&value.to_string())))),
    }
}
