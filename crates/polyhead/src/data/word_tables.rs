//! Tables of words with a tag for each, comma-separated or tab-separated.
//!
//! ```text
//! Sentence #,Word,POS,Tag         a row a word: where the number of the sentence is filled in and another, a sentence begins
//! Sentence: 1,EU,NNP,B-org
//! ,rejects,VBZ,O
//!
//! text,tags                       a row a sentence: words and tags in a cell each, with spaces between them, or as a list
//! EU rejects,B-ORG O
//! "['EU', 'rejects']","['B-ORG', 'O']"
//! ```
//!
//! A table with a column of sentence numbers has a row for each word, any other for each sentence. The first row names the columns,
//! unless `columns` counts them. What a tag is, and which names its column may have, is said by who reads ([`Tags`]).

use std::path::Path;

use super::layout::{Column, Layout};
use super::quoted;
use super::rows::{Form, Rows, by_name, check_width, chosen};
use crate::error::{Error, Place, Result};

/// What a column of words is called in a table with a row for each, and in one with a row for each sentence.
const ONE_WORD_HEADERS: &[&str] = &["word", "token", "form"];
const WORDS_HEADERS: &[&str] = &["words", "tokens", "text", "sentence"];
/// What a column of sentence numbers is called.
const NUMBER_HEADERS: &[&str] =
    &["sentence #", "sentence#", "sentence_id", "sentence id", "sent_id", "sentence_number", "sentence", "sent"];
const HINT: &str = "say which they are, by name or counted from 1: data.TASK.columns = { sentence = 1, word = 2, tag = 4 }; without \
     `sentence` each row is a sentence";

/// The words of a sentence, with a tag for each.
pub(super) type Tagged<T> = (Vec<String>, Vec<T>);

/// What a reader of such tables says of its tags.
pub(super) trait Tags {
    /// A tag as its examples have it.
    type Tag;
    /// What the column is called, the first of these that there is.
    const HEADERS: &'static [&'static str];
    /// Whether a tag may hold spaces.
    const HOLD_SPACES: bool;
    /// The tag that a cell means.
    fn tag(&self, place: &Place, cell: &str) -> Result<Self::Tag>;
    /// The words and tags of a text, where its cell holds no tags but something else that tells them.
    fn other(&mut self, place: &Place, text: &str, cell: &str) -> Result<Option<Tagged<Self::Tag>>>;
    /// Whether a cell holds something else.
    fn is_other(cell: &str) -> bool;
}

/// What a table holds.
pub(super) struct Table<T> {
    /// In the order of the file.
    pub sentences: Vec<(Place, Tagged<T>)>,
    /// What is due to be said.
    pub notes: Vec<String>,
}

/// Whether tab-separated values are such a table, and no columns with blank lines between sentences: as `columns` say, or the first
/// rows. Those of whole sentences are looked for where a tag can't hold a space.
pub(super) fn is_table<T: Tags>(file: &Path, layout: &Layout) -> Result<bool> {
    if let Some(columns) = &layout.columns {
        return Ok(["sentence", "text"].iter().any(|role| columns.get(role).is_some()));
    }
    let mut rows = Rows::open(file, Form::Tsv, layout.encoding)?;
    let Some((_, names)) = rows.next()? else { return Ok(false) };
    let Some(places) = Places::named::<T>(&names) else { return Ok(false) };
    if places.sentence.is_some() || T::HOLD_SPACES {
        return Ok(places.sentence.is_some());
    }
    // A header may stand above columns of words too.
    let Some((_, row)) = rows.next()? else { return Ok(false) };
    let cell = |at: usize| row.get(at).map_or("", String::as_str);
    let (words, tags) = (list(cell(places.word)), list(cell(places.tag)));
    Ok(row.len() == names.len()
        && (tags.len() > 1 && tags.len() == words.len() || T::is_other(cell(places.tag).trim())))
}

/// Reads a table.
pub(super) fn read<T: Tags>(file: &Path, layout: &Layout, form: Form, tags: &mut T) -> Result<Table<T::Tag>> {
    let mut rows = Rows::open(file, form, layout.encoding)?;
    let Some((number, first)) = rows.next()? else {
        return Err(Error::data("expected sentences, found none").at(Place::file(file)));
    };
    let (places, is_header) =
        Places::of::<T>(&first, layout).map_err(|error| error.at_least(Place::line(file, number)))?;
    let mut reading = Reading { tags, sentences: Vec::new(), sentence: None, open: 0, several: false };
    let width = first.len();
    let mut row = if is_header { rows.next()? } else { Some((number, first)) };
    while let Some((number, cells)) = row {
        let place = Place::line(file, number);
        check_width(width, &cells)
            .and_then(|()| reading.push(&places, &place, &cells))
            .map_err(|error| error.at_least(place))?;
        row = rows.next()?;
    }
    let Reading { sentences, open, several, .. } = reading;
    if let (None, false, [(first, _), _, ..]) = (places.sentence, several, sentences.as_slice()) {
        let message = "expected a row for each sentence, or a column with the number of the sentence; found rows of one word alone";
        return Err(Error::data(message).at(first.clone()).hint(
            "data.TASK.columns = { sentence = 1, word = 2, tag = 4 }; where blank lines part the sentences, write tabs between \
             the columns and give the file the extension .conll",
        ));
    }
    let mut notes = rows.notes();
    if open > 0 {
        notes.push(format!("rows without tags, of which there is no example: {open}"));
    }
    Ok(Table { sentences, notes })
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
    fn named<T: Tags>(names: &[String]) -> Option<Self> {
        let place = |known: &[&str], taken: Option<usize>| {
            let named = |name: &&str| names.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
            known.iter().filter_map(named).find(|at| Some(*at) != taken)
        };
        let tag = place(T::HEADERS, None)?;
        // Numbers may stand beside the sentences themselves.
        match place(ONE_WORD_HEADERS, Some(tag)) {
            Some(word) => Some(Self { sentence: place(NUMBER_HEADERS, Some(tag)), word, tag }),
            None => Some(Self { sentence: None, word: place(WORDS_HEADERS, Some(tag))?, tag }),
        }
    }

    /// Those of a table with this first row, and whether it is one of names.
    fn of<T: Tags>(first: &[String], layout: &Layout) -> Result<(Self, bool)> {
        let named = Self::named::<T>(first);
        let Some(columns) = &layout.columns else {
            return named.map(|places| (places, true)).ok_or_else(|| {
                let words: Vec<&str> = ONE_WORD_HEADERS.iter().chain(WORDS_HEADERS).copied().collect();
                let (words, tags, found) = (words.join(", "), T::HEADERS.join(", "), quoted(&first.join(", ")));
                Error::data(format!(
                    "expected a first line with the name of the words' column ({words}) and of the tags' ({tags}); found {found}"
                ))
                .hint(HINT)
            });
        };
        // The words may be left to their usual names, where the task says so.
        let word = match (chosen(columns, "word", first)?, chosen(columns, "text", first)?) {
            (Some(word), _) | (None, Some(word)) => word,
            (None, None) => Self::usual_word(first).ok_or_else(|| {
                Error::data(format!("columns.word: expected {}, found nothing", Column::EXPECTED)).hint(HINT)
            })?,
        };
        let tag = match (chosen(columns, "tag", first)?, chosen(columns, "label", first)?) {
            (Some(tag), _) | (None, Some(tag)) => tag,
            (None, None) => {
                return Err(Error::usage(format!("columns.tag: expected {}, found nothing", Column::EXPECTED)));
            }
        };
        let places = Self { sentence: chosen(columns, "sentence", first)?, word, tag };
        let names = by_name(columns) || named.is_some_and(|named| (named.word, named.tag) == (places.word, places.tag));
        Ok((places, names))
    }

    fn usual_word(first: &[String]) -> Option<usize> {
        let named = |name: &&str| first.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
        ONE_WORD_HEADERS.iter().chain(WORDS_HEADERS).find_map(named)
    }
}

/// What was read so far.
struct Reading<'a, T: Tags> {
    tags: &'a mut T,
    sentences: Vec<(Place, Tagged<T::Tag>)>,
    /// The number of the last sentence, where words have a row each.
    sentence: Option<String>,
    open: usize,
    /// Whether a row held several words, where each is a sentence.
    several: bool,
}

impl<T: Tags> Reading<'_, T> {
    fn push(&mut self, places: &Places, place: &Place, cells: &[String]) -> Result<()> {
        let cell = |at: usize| cells.get(at).map_or("", String::as_str);
        let (word, tag) = (cell(places.word), cell(places.tag).trim());
        match places.sentence {
            Some(at) => self.word(place, cell(at).trim(), word.trim_matches(' '), tag),
            None => self.whole(place, word, tag),
        }
    }

    /// Takes a row of a word.
    fn word(&mut self, place: &Place, sentence: &str, word: &str, tag: &str) -> Result<()> {
        if word.is_empty() || tag.is_empty() {
            let what = if word.is_empty() { "a word" } else { "a tag" };
            return Err(
                Error::data(format!("expected {what}, found an empty cell")).hint("each word has a row with its tag")
            );
        }
        let tag = self.tags.tag(place, tag)?;
        let begins = !sentence.is_empty() && self.sentence.as_deref() != Some(sentence);
        if begins {
            self.sentence = Some(sentence.to_owned());
        }
        match self.sentences.last_mut().filter(|_| !begins) {
            Some((_, (words, tags))) => {
                words.push(word.to_owned());
                tags.push(tag);
            }
            None => self.sentences.push((place.clone(), (vec![word.to_owned()], vec![tag]))),
        }
        Ok(())
    }

    /// Takes a row of a sentence.
    fn whole(&mut self, place: &Place, text: &str, cell: &str) -> Result<()> {
        if cell.is_empty() && !text.trim().is_empty() {
            self.open += 1;
            return Ok(());
        }
        if let Some(tagged) = self.tags.other(place, text, cell)? {
            self.several = true;
            self.sentences.push((place.clone(), tagged));
            return Ok(());
        }
        let (words, tags) = (list(text), list(cell));
        if words.len() != tags.len() {
            let (expected, found) = (words.len(), tags.len());
            return Err(Error::data(format!("expected a tag for each of {expected} words, found {found}"))
                .hint("words and tags stand in a cell each, with spaces between them, or as lists"));
        }
        self.several |= words.len() > 1;
        let tags = tags.iter().map(|tag| self.tags.tag(place, tag)).collect::<Result<_>>()?;
        self.sentences.push((place.clone(), (words, tags)));
        Ok(())
    }
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
