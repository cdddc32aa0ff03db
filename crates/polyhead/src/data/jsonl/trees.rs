//! Dependency trees, one sentence a line.
//!
//! ```text
//! {"words": ["They", "left"], "heads": [2, 0], "deprels": ["nsubj", "root"]}
//! {"tokens": ["They", "left"], "head": ["2", "0"], "deprel": ["nsubj", "root"]}
//! {"text": "They left", "words": [{"text": "They", "head": 2, "label": "nsubj"}, {"text": "left", "head": 0, "label": "root"}]}
//! ```
//!
//! The second form has the names of the Hugging Face Hub, where heads are strings. The third is what `predict` answers.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{LONGEST_LINE, fill, ignore, note, parse, remember};
use crate::data::json::Id;
use crate::data::lines::Lines;
use crate::data::trees::{ParsedSentence, Trees};
use crate::data::words::{ConlluSentence, ConlluWord};
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Place, Result};

/// Reads trees, one a line.
pub(in crate::data) fn read_trees(file: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<ParsedSentence>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let (mut trees, mut ignored) = (Trees::default(), BTreeSet::new());
    while !trees.is_enough(limit) {
        let Some((number, line)) = lines.next()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::line(file, number);
        let Row { words, heads, relations, id, ignored: unused } = parse(file, number, line)?;
        remember(&mut ignored, unused);
        let (count, of_heads, of_relations) = (words.len(), heads.len(), relations.len());
        if count == 0 || of_heads != count || of_relations != count {
            let message = match count {
                0 => "expected words, found none".to_owned(),
                _ => format!(
                    "expected a head and a relation for each of {count} words, found {of_heads} heads and {of_relations} relations"
                ),
            };
            return Err(Error::data(message).at(place));
        }
        let word = |((form, head), relation): ((String, Option<usize>), Option<String>)| ConlluWord {
            line: number,
            form,
            lemma: None,
            upos: None,
            xpos: None,
            feats: None,
            head,
            deprel: relation,
            bytes: 0..0,
        };
        let words = words.into_iter().zip(heads).zip(relations).map(word).collect();
        trees.push(ConlluSentence { place, id, text: String::new(), words, multiword: Vec::new() })?;
    }
    let notes = lines.notes().into_iter().chain(note(&ignored)).collect();
    trees.finish(file, limit, notes)
}

/// A line: as many words as heads and relations, if it is well formed.
struct Row {
    words: Vec<String>,
    heads: Vec<Option<usize>>,
    relations: Vec<Option<String>>,
    id: Option<String>,
    ignored: BTreeSet<String>,
}

/// A word: its form, or all that an answer says of it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a word, or an object with `text`, `head` and `label`")]
enum Cell {
    Form(String),
    Whole { text: String, head: Option<Number>, label: Option<String> },
}

/// The number of a word; as a string on the Hub.
#[derive(Deserialize)]
#[serde(untagged, expecting = "the number of a word, counted from 1, or 0 for the root")]
enum Number {
    Number(usize),
    Text(String),
}

impl Number {
    fn read<E: serde::de::Error>(self) -> Result<usize, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(|_| {
                let found = quoted(&text);
                E::custom(format!(
                    "heads: expected the number of a word, counted from 1, or 0 for the root; found {found}"
                ))
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Row;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `words`, `heads` and `deprels`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let (mut words, mut heads, mut relations) = (None::<Vec<Cell>>, None, None);
                let (mut id, mut ignored) = (None::<Id>, BTreeSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "words" | "tokens" => fill(&mut words, "words", &mut map)?,
                        "heads" | "head" => fill::<_, Option<Vec<Option<Number>>>>(&mut heads, "heads", &mut map)?,
                        "deprels" | "deprel" => {
                            fill::<_, Option<Vec<Option<String>>>>(&mut relations, "deprels", &mut map)?;
                        }
                        "id" | "sent_id" => fill(&mut id, "id", &mut map)?,
                        // What is read is the words; offsets of an answer are of its text.
                        "text" | "offset_unit" => drop(map.next_value::<IgnoredAny>()?),
                        _ => ignore(&mut ignored, key, &mut map)?,
                    }
                }
                let Some(words) = words else { return Err(A::Error::missing_field("words")) };
                let id = id.map(|Id(id)| id);
                let whole = words.iter().filter(|word| matches!(word, Cell::Whole { .. })).count();
                if whole > 0 {
                    if whole < words.len() || heads.is_some() || relations.is_some() {
                        let message =
                            "words: expected words with `heads` and `deprels` beside them, or objects that say both";
                        return Err(A::Error::custom(message));
                    }
                    let mut row = Row { words: Vec::new(), heads: Vec::new(), relations: Vec::new(), id, ignored };
                    for word in words {
                        if let Cell::Whole { text, head, label } = word {
                            row.words.push(text);
                            row.heads.push(head.map(Number::read::<A::Error>).transpose()?);
                            row.relations.push(label);
                        }
                    }
                    return Ok(row);
                }
                let forms = words.into_iter().filter_map(|word| match word {
                    Cell::Form(form) => Some(form),
                    Cell::Whole { .. } => None,
                });
                let words: Vec<String> = forms.collect();
                let Some(heads) = heads else { return Err(A::Error::missing_field("heads")) };
                let Some(relations) = relations else { return Err(A::Error::missing_field("deprels")) };
                // Null for a sentence that is not annotated.
                let heads = heads.unwrap_or_else(|| words.iter().map(|_| None).collect());
                let heads = heads.into_iter().map(|head| head.map(Number::read::<A::Error>).transpose());
                let heads = heads.collect::<Result<Vec<_>, _>>()?;
                let relations = relations.unwrap_or_else(|| vec![None; words.len()]);
                Ok(Row { words, heads, relations, id, ignored })
            }
        }
        from.deserialize_map(Fields)
    }
}
