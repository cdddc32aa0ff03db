//! Plain columns: a word a line, its label in another column; a blank line ends a sentence.
//!
//! ```text
//! # a comment
//! They PRON
//! left VERB
//!
//! Ada PROPN
//! ```
//!
//! Lines are split as those of entity tags are (`data/conll.rs`): where a line has tabs, they alone separate its columns. The word
//! is the first column and the label the last, unless [`Columns`](crate::data::Columns) says otherwise, by number or by the names
//! in the first line. A label is any text, so that a line that begins with `#` is a comment where it has not as many columns as
//! the others, and a word elsewhere: `# SYM`.

use std::path::Path;

use super::{Sentences, TaggedWords, usual_names};
use crate::data::conll::{self, IndexColumn, split};
use crate::data::layout::{Column, Columns, Layout};
use crate::data::lines::Lines;
use crate::data::{Read, looks, quoted};
use crate::error::{Error, Place, Result};

/// A line holds one word; one of a mebibyte is a file of another kind.
const LONGEST_LINE: usize = 1 << 20;
/// Comments of CoNLL-U that may have two columns.
const MARKS: [&str; 2] = ["newdoc", "newpar"];

/// Where the columns stand, from 0.
struct Places {
    word: usize,
    /// The last column where nobody says.
    tag: Option<usize>,
}

/// Reads the sentences of a column file.
pub(in crate::data) fn read(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<TaggedWords>> {
    let counted = layout.columns.is_some();
    let named = layout.columns.iter().any(|columns| columns.iter().any(|(_, one)| matches!(one, Column::Name(_))));
    let mut width = first_width(file, counted, layout)?;
    let mut lines = Lines::open_in(file, LONGEST_LINE, layout.encoding)?;
    let mut sentences = Sentences::new(layout);
    let mut open: Option<(Place, Vec<String>, Vec<Option<String>>)> = None;
    let mut places: Option<Places> = None;
    let (mut comments, mut header, mut first) = (0_usize, None, None);
    let mut index = IndexColumn::default();
    // To its end, so that a limit does not change what the columns are.
    while let Some((number, line)) = lines.next()? {
        let (cells, starts_empty) = split(line, counted);
        if cells.is_empty() || cells.first() == Some(&"-DOCSTART-") {
            if let Some((place, words, tags)) = open.take().filter(|_| !sentences.is_enough(limit)) {
                sentences.push(place, words, tags);
            }
            index.end_sentence();
            continue;
        }
        let place = Place::line(file, number);
        if line.starts_with('#') && is_comment(line, &cells, width, open.is_some()) {
            comments += 1;
            continue;
        }
        conll::check_line_ends(line).map_err(|error| error.at(place.clone()))?;
        if first.is_none() {
            first = Some(number);
            let (found, is_header) = match layout.columns.as_ref() {
                Some(columns) => (Places::chosen(columns, &cells).map_err(|error| error.at(place.clone()))?, named),
                None => (Places { word: 0, tag: None }, is_header(&cells)),
            };
            places = Some(found);
            if is_header {
                header = Some(number);
                continue;
            }
            if !counted
                && cells.len() < 2
                && let Some(like) = looks::like(file)
            {
                return Err(like.instead_of("columns, the word and its label").at(place));
            }
        }
        let Some(Places { word, tag }) = &places else { continue };
        if is_conllu(&cells, counted) {
            let message = format!("expected a word and its label, found what looks like CoNLL-U: {}", quoted(line));
            return Err(Error::data(message).at(place).hint("give the file the extension .conllu"));
        }
        let cell = |at: usize| cells.get(at).copied().unwrap_or("");
        let expected = *width.get_or_insert(cells.len());
        if cells.len() != expected {
            return Err(conll::another_width(expected, first.unwrap_or(number), cells.len(), line).at(place));
        }
        if !counted && expected < 2 {
            let message = format!("expected at least two columns, the word and its label; found {}", quoted(line));
            return Err(Error::data(message).at(place).hint("`_` stands for a label that is not annotated"));
        }
        let (word, tag) = (cell(*word), cell(tag.unwrap_or(cells.len() - 1)));
        if word.is_empty() || !counted && starts_empty {
            let message = format!("expected a word, found an empty column: {}", quoted(line));
            return Err(Error::data(message).at(place));
        }
        if tag.is_empty() {
            let message = format!("expected a label, found an empty column: {}", quoted(line));
            return Err(Error::data(message).at(place).hint("`_` stands for a label that is not annotated"));
        }
        index.push(cells.first().copied(), cells.len(), number);
        let tag = sentences.label(tag).map_err(|error| error.at(place.clone()))?;
        let (_, words, tags) = open.get_or_insert_with(|| (place, Vec::new(), Vec::new()));
        words.push(word.to_owned());
        tags.push(tag);
    }
    if let Some((place, words, tags)) = open.filter(|_| !sentences.is_enough(limit)) {
        sentences.push(place, words, tags);
    }
    if !counted {
        index.refuse(file)?;
    }
    let notes = conll::notes(&lines, header, comments);
    sentences.finish(file, limit, notes)
}

impl Places {
    /// Those that a recipe chooses, in a file with this first line.
    fn chosen(columns: &Columns, first: &[&str]) -> Result<Self> {
        let place = |role: &str| match columns.get(role) {
            None => Ok(None),
            Some(Column::Number(number)) if (1..=first.len()).contains(number) => Ok(Some(number - 1)),
            Some(Column::Number(number)) => {
                let width = first.len();
                Err(Error::data(format!("columns.{role}: expected one of {width} columns, found {number}")))
            }
            Some(Column::Name(name)) => first.iter().position(|cell| cell == name).map(Some).ok_or_else(|| {
                let (name, names) = (quoted(name), quoted(&first.join(" ")));
                Error::data(format!("columns.{role}: expected {name} in the first line, found {names}"))
            }),
        };
        let (word, tag) = (place("word")?.unwrap_or(0), place("tag")?);
        if tag == Some(word) {
            let message = "columns.tag: expected another column than that of the word, the first if nobody says";
            return Err(Error::usage(message));
        }
        Ok(Self { word, tag })
    }
}

/// Whether a line that begins with `#` is a comment.
fn is_comment(line: &str, cells: &[&str], width: Option<usize>, inside: bool) -> bool {
    let fits = width.is_none_or(|width| width == cells.len());
    let marks = !line.contains('\t') && cells.get(1).is_some_and(|cell| MARKS.contains(cell));
    // Within a sentence a word with a column too many is an error.
    marks || !fits && (!inside || line.starts_with("# "))
}

fn is_header(cells: &[&str]) -> bool {
    let named = |cell: Option<&&str>, role: &str| {
        cell.is_some_and(|cell| usual_names(role).contains(&cell.to_lowercase().as_str()))
    };
    cells.len() > 1 && named(cells.first(), "word") && named(cells.last(), "tag")
}

/// Whether a line has the ten columns of CoNLL-U: a first word without a choice of columns, a token of several words with one.
fn is_conllu(cells: &[&str], counted: bool) -> bool {
    let Some(id) = cells.first().filter(|_| cells.len() == 10) else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = id.split_once('-').is_some_and(|(first, last)| number(first) && number(last));
    range || !counted && *id == "1"
}

/// How many columns the first line has that does not begin with `#`.
fn first_width(file: &Path, counted: bool, layout: &Layout) -> Result<Option<usize>> {
    let mut lines = Lines::open_in(file, LONGEST_LINE, layout.encoding)?;
    while let Some((_, line)) = lines.next()? {
        let (cells, _) = split(line, counted);
        if !(cells.is_empty() || line.starts_with('#') || cells.first() == Some(&"-DOCSTART-")) {
            return Ok(Some(cells.len()));
        }
    }
    Ok(None)
}
