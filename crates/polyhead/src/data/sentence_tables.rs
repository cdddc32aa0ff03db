//! Sentences with entities out of tables, comma-separated or tab-separated.
//!
//! ```text
//! Sentence #,Word,POS,Tag         a row a word: where the number of the sentence is filled in and another, a sentence begins
//! Sentence: 1,EU,NNP,B-org
//! ,rejects,VBZ,O
//!
//! text,tags                       a row a sentence: words and tags in a cell each, with spaces between them, or as a list
//! EU rejects,B-ORG O
//! "['EU', 'rejects']","['B-ORG', 'O']"
//!
//! text,label                      a row a text, its entities as JSON: Label Studio's export CSV
//! EU rejects,"[{""start"": 0, ""end"": 2, ""labels"": [""ORG""]}]"
//! ```
//!
//! A table with a column of sentence numbers has a row for each word, any other for each sentence. The first row names the columns,
//! unless `columns` counts them. A file of tab-separated values without such a first row, and with `columns` that are counted, is one
//! of CoNLL columns (`conll.rs`), where a blank line ends a sentence.

use std::path::Path;

use serde_json::Value;

use super::annotated::{self, Content};
use super::conll::{self, TAG_HEADERS};
use super::json::{Fields, Record};
use super::layout::{Column, Layout};
use super::lines::Lines;
use super::rows::{LONGEST_ROW, NextRow, by_name, check_width, chosen, csv_row, tsv_row};
use super::spans::Tagger;
use super::{Read, Sentence, quoted, schemes};
use crate::error::{Error, Place, Result};

/// What a column of words is called in a table with a row for each, and in one with a row for each sentence.
const ONE_WORD_HEADERS: &[&str] = &["word", "token", "form"];
const WORDS_HEADERS: &[&str] = &["words", "tokens", "text", "sentence"];
/// What a column of sentence numbers is called.
const NUMBER_HEADERS: &[&str] =
    &["sentence #", "sentence#", "sentence_id", "sentence id", "sent_id", "sentence_number", "sentence", "sent"];
const HINT: &str = "say which they are, by name or counted from 1: data.TASK.columns = { sentence = 1, word = 2, tag = 4 }; without \
     `sentence` each row is a sentence";

/// Reads comma-separated values.
pub(super) fn read_csv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    read(file, limit, layout, csv_row)
}

/// Reads tab-separated values, or CoNLL columns.
pub(super) fn read_tsv(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    match is_table(file, layout)? {
        true => read(file, limit, layout, tsv_row),
        false => conll::read(file, limit, layout),
    }
}

/// Whether tab-separated values are a table: as `columns` say, or the first rows.
fn is_table(file: &Path, layout: &Layout) -> Result<bool> {
    if let Some(columns) = &layout.columns {
        return Ok(by_name(columns) || ["sentence", "text"].iter().any(|role| columns.get(role).is_some()));
    }
    let mut lines = Lines::open_in(file, LONGEST_ROW, layout.encoding)?;
    let Some((_, names)) = tsv_row(file, &mut lines)? else { return Ok(false) };
    let Some(places) = Places::named(&names) else { return Ok(false) };
    if places.sentence.is_some() {
        return Ok(true);
    }
    // A header may stand above columns of words too.
    let Some((_, row)) = tsv_row(file, &mut lines)? else { return Ok(false) };
    let cell = |at: usize| row.get(at).map_or("", String::as_str);
    let (words, tags) = (list(cell(places.word)), list(cell(places.tag)));
    Ok(row.len() == names.len() && (tags.len() > 1 && tags.len() == words.len() || spans(cell(places.tag)).is_some()))
}

/// Where the columns stand, from 0.
struct Places {
    /// None: a row is a sentence.
    sentence: Option<usize>,
    word: usize,
    tag: usize,
}

impl Places {
    /// Those of a row of names, if it is one.
    fn named(names: &[String]) -> Option<Self> {
        let place = |known: &[&str], taken: Option<usize>| {
            let named = |name: &&str| names.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
            known.iter().filter_map(named).find(|at| Some(*at) != taken)
        };
        let tag = place(TAG_HEADERS, None)?;
        // Numbers may stand beside the sentences themselves.
        match place(ONE_WORD_HEADERS, Some(tag)) {
            Some(word) => Some(Self { sentence: place(NUMBER_HEADERS, Some(tag)), word, tag }),
            None => Some(Self { sentence: None, word: place(WORDS_HEADERS, Some(tag))?, tag }),
        }
    }

    /// Those of a table with this first row, and whether it is one of names.
    fn of(first: &[String], layout: &Layout) -> Result<(Self, bool)> {
        let Some(columns) = &layout.columns else {
            let found = || quoted(&first.join(", "));
            return Self::named(first).map(|places| (places, true)).ok_or_else(|| {
                let words: Vec<&str> = ONE_WORD_HEADERS.iter().chain(WORDS_HEADERS).copied().collect();
                let (words, tags) = (words.join(", "), TAG_HEADERS.join(", "));
                let message = format!(
                    "expected a first line with the name of the words' column ({words}) and of the tags' \
                    ({tags}); found {}",
                    found()
                );
                Error::data(message).hint(HINT)
            });
        };
        let place = |role: &str, other: &str| match chosen(columns, role, first)? {
            Some(at) => Ok(at),
            None => chosen(columns, other, first)?
                .ok_or_else(|| Error::usage(format!("columns.{role}: expected {}, found nothing", Column::EXPECTED))),
        };
        let places = Self {
            sentence: chosen(columns, "sentence", first)?,
            word: place("word", "text")?,
            tag: place("tag", "label")?,
        };
        let names = by_name(columns)
            || Self::named(first).is_some_and(|named| (named.word, named.tag) == (places.word, places.tag));
        Ok((places, names))
    }
}

fn read(file: &Path, limit: Option<usize>, layout: &Layout, next: NextRow) -> Result<Read<Sentence>> {
    let mut lines = Lines::open_in(file, LONGEST_ROW, layout.encoding)?;
    let Some((number, first)) = next(file, &mut lines)? else {
        return Err(Error::data("expected sentences, found none").at(Place::file(file)));
    };
    let (places, is_header) = Places::of(&first, layout).map_err(|error| error.at_least(Place::line(file, number)))?;
    let mut table =
        Table { layout, sentences: Vec::new(), sentence: None, tagger: Tagger::default(), open: 0, several: false };
    let width = first.len();
    let mut row = if is_header { next(file, &mut lines)? } else { Some((number, first)) };
    while let Some((number, cells)) = row {
        let place = Place::line(file, number);
        check_width(width, &cells)
            .and_then(|()| table.push(&places, &place, &cells))
            .map_err(|error| error.at_least(place))?;
        row = next(file, &mut lines)?;
    }
    table.finish(file, limit, &places, lines.notes())
}

/// What was read so far.
struct Table<'a> {
    layout: &'a Layout,
    sentences: Vec<Sentence>,
    /// The number of the last sentence, where words have a row each.
    sentence: Option<String>,
    tagger: Tagger,
    /// Rows without tags.
    open: usize,
    /// Whether a row held several words, where each is a sentence.
    several: bool,
}

impl Table<'_> {
    fn push(&mut self, places: &Places, place: &Place, cells: &[String]) -> Result<()> {
        let cell = |at: usize| cells.get(at).map_or("", String::as_str);
        let (word, tag) = (cell(places.word), cell(places.tag));
        match places.sentence {
            Some(at) => self.word(place, cell(at).trim(), word.trim_matches(' '), tag.trim()),
            None => self.whole(place, word, tag.trim()),
        }
    }

    /// Takes a row of a word.
    fn word(&mut self, place: &Place, sentence: &str, word: &str, tag: &str) -> Result<()> {
        if word.is_empty() || tag.is_empty() {
            let what = if word.is_empty() { "a word" } else { "a tag" };
            return Err(Error::data(format!("expected {what}, found an empty cell"))
                .hint("each word has a row with its tag, `O` where it is outside of entities"));
        }
        let tag = self.tag(place, tag)?;
        let begins = !sentence.is_empty() && self.sentence.as_deref() != Some(sentence);
        if begins {
            self.sentence = Some(sentence.to_owned());
        }
        match self.sentences.last_mut().filter(|_| !begins) {
            Some(open) => {
                open.words.push(word.to_owned());
                open.tags.push(tag);
            }
            None => self.sentences.push(Sentence {
                place: place.clone(),
                words: vec![word.to_owned()],
                tags: vec![tag],
                document: 0,
            }),
        }
        Ok(())
    }

    /// Takes a row of a sentence.
    fn whole(&mut self, place: &Place, text: &str, tags: &str) -> Result<()> {
        if tags.is_empty() && !text.trim().is_empty() {
            self.open += 1;
            return Ok(());
        }
        if let Some(spans) = spans(tags) {
            let fields = vec![("text".to_owned(), Value::String(text.to_owned())), ("label".to_owned(), spans)];
            let plain = Layout::default();
            if let Content::Annotated(text) = annotated::read(&Record::Object(Fields(fields)), &plain)? {
                let (words, tags) = self.tagger.tags(place, &text)?;
                self.several = true;
                self.sentences.push(Sentence { place: place.clone(), words, tags, document: 0 });
            }
            return Ok(());
        }
        let (words, tags) = (list(text), list(tags));
        if words.len() != tags.len() {
            let (expected, found) = (words.len(), tags.len());
            return Err(Error::data(format!("expected a tag for each of {expected} words, found {found}"))
                .hint("words and tags stand in a cell each, with spaces between them, or as lists"));
        }
        self.several |= words.len() > 1;
        let tags = tags.iter().map(|tag| self.tag(place, tag)).collect::<Result<_>>()?;
        self.sentences.push(Sentence { place: place.clone(), words, tags, document: 0 });
        Ok(())
    }

    /// The tag that a file means.
    fn tag(&self, place: &Place, tag: &str) -> Result<String> {
        let tag = match tag.parse() {
            Ok(number) if !self.layout.tag_names.is_empty() => self.layout.tag_of(number)?,
            _ => tag.to_owned(),
        };
        schemes::check_tag(&tag, || place.clone())?;
        Ok(tag)
    }

    fn finish(
        self,
        file: &Path,
        limit: Option<usize>,
        places: &Places,
        mut notes: Vec<String>,
    ) -> Result<Read<Sentence>> {
        if let (None, false, [first, _, ..]) = (places.sentence, self.several, self.sentences.as_slice()) {
            let message = "expected a row for each sentence, or a column with the number of the sentence; found rows of one word alone";
            return Err(Error::data(message).at(first.place.clone()).hint(
                "data.TASK.columns = { sentence = 1, word = 2, tag = 4 }; where blank lines part the sentences, write tabs \
                 between the columns and give the file the extension .conll",
            ));
        }
        if self.open > 0 {
            notes.push(format!("rows without tags, of which there is no example: {}", self.open));
        }
        notes.extend(self.tagger.notes());
        schemes::finish(file, Read { examples: self.sentences, skipped: Vec::new(), notes }, limit)
    }
}

/// The spans of a cell, if it holds any as JSON.
fn spans(cell: &str) -> Option<Value> {
    if !cell.starts_with('[') {
        return None;
    }
    serde_json::from_str(cell).ok().filter(annotated::are_spans)
}

/// The items of a cell: of a list in brackets, as Python and JSON write it, or what white space parts.
fn list(cell: &str) -> Vec<String> {
    let cell = cell.trim();
    let inside = cell.strip_prefix('[').and_then(|cell| cell.strip_suffix(']'));
    inside.and_then(quoted_items).unwrap_or_else(|| cell.split_whitespace().map(str::to_owned).collect())
}

/// Texts in single or double quotes with commas between them.
fn quoted_items(text: &str) -> Option<Vec<String>> {
    let mut items = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mark = rest.chars().next().filter(|mark| matches!(mark, '\'' | '"'))?;
        let (mut item, mut end, mut escaped) = (String::new(), None, false);
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    item.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                c if c == mark => {
                    end = Some(at + 1);
                    break;
                }
                c => item.push(c),
            }
        }
        items.push(item);
        rest = rest.get(end?..)?.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_a_cell_are_parted_by_space_or_stand_in_a_list() {
        for (cell, want) in [
            ("EU  rejects ", &["EU", "rejects"][..]),
            ("['EU', 'it\\'s', \"don't\",'a, b']", &["EU", "it's", "don't", "a, b"]),
            ("[\"a\"]", &["a"]),
            ("[]", &[]),
            ("", &[]),
            ("[ a ]", &["[", "a", "]"]),
            ("['a' 'b']", &["['a'", "'b']"]),
            ("['a]", &["['a]"]),
        ] {
            assert_eq!(list(cell), want, "{cell}");
        }
    }
}
