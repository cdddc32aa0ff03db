//! CoNLL column files: a word a line with its columns, the entity tag last; a blank line ends a sentence.
//!
//! ```text
//! -DOCSTART- -X- O O
//!
//! EU NNP I-NP B-ORG
//! rejects VBZ I-VP O
//! ```
//!
//! The format of the CoNLL-2003 shared task (Tjong Kim Sang and De Meulder 2003), and of most NER data since. Any
//! number of columns from two on, separated by spaces or tabs, the same number throughout.

use std::path::Path;

use super::lines::Lines;
use super::{Read, Sentence, iob, quoted};
use crate::error::{Error, Place, Result};

/// A line holds one word; one of a mebibyte is a file of another kind.
const LONGEST_LINE: usize = 1 << 20;

/// Reads the sentences of a column file.
pub(super) fn read(file: &Path, limit: Option<usize>) -> Result<Read<Sentence>> {
    let mut lines = Lines::open(file, LONGEST_LINE)?;
    let mut sentences = Vec::new();
    let mut open: Option<Sentence> = None;
    let mut width: Option<(usize, usize)> = None; // columns of the first line that has any, and its number
    while let Some((number, line)) = lines.next()? {
        let Some((word, tag, columns)) = columns_of(line) else {
            sentences.extend(open.take());
            continue;
        };
        let place = || Place::line(file, number);
        if word == "-DOCSTART-" {
            sentences.extend(open.take());
            continue;
        }
        if line.contains('\r') {
            let message = "expected line ends of the form LF or CRLF, found a carriage return inside the line";
            return Err(Error::data(message).at(place()).hint("convert the line ends: tr '\\r' '\\n'"));
        }
        let Some(tag) = tag else {
            let message = format!("expected at least two columns, the word and its tag; found {}", quoted(line));
            return Err(Error::data(message).at(place()).hint("columns are separated by spaces or tabs"));
        };
        let (expected, first) = *width.get_or_insert((columns, number));
        if columns != expected {
            let message = format!("expected {expected} columns, as on line {first}; found {columns}: {}", quoted(line));
            return Err(Error::data(message).at(place()).hint("a word can't hold a space, and comments are not read"));
        }
        iob::check_tag(tag, place)?;
        let sentence = open.get_or_insert_with(|| Sentence { place: place(), words: Vec::new(), tags: Vec::new() });
        sentence.words.push(word.to_owned());
        sentence.tags.push(tag.to_owned());
    }
    sentences.extend(open);
    iob::finish(file, sentences, lines.notes(), limit)
}

/// The first column, the last if there are two, and how many there are; `None` for a blank line.
fn columns_of(line: &str) -> Option<(&str, Option<&str>, usize)> {
    let mut columns = line.split([' ', '\t']).filter(|column| !column.is_empty());
    let word = columns.next()?;
    let (last, count) = columns.fold((None, 1), |(_, count), column| (Some(column), count + 1));
    Some((word, last, count))
}
