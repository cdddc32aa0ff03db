//! CoNLL column files: a word a line with its columns, the entity tag last; a blank line ends a sentence.
//!
//! ```text
//! -DOCSTART- -X- O O
//!
//! # sent_id = 1
//! EU NNP I-NP B-ORG
//! rejects VBZ I-VP O
//! ```
//!
//! The format of the CoNLL-2003 shared task (Tjong Kim Sang and De Meulder 2003), and of most NER data since. Any
//! number of columns from two on, the same number throughout. Where a line has tabs, they alone separate its columns,
//! so that a word may hold spaces; other lines are split at spaces. The word is the first column and the tag the last,
//! unless [`super::Columns`] says otherwise.
//!
//! A line that begins with `#` is a comment where it can't be a word with its tag: `# O` and `#Lyon B-LOC` are words.

use std::path::Path;

use super::layout::Layout;
use super::lines::Lines;
use super::looks;
use super::schemes;
use super::{Read, Sentence, quoted};
use crate::error::{Error, Place, Result};

/// A line holds one word; one of a mebibyte is a file of another kind.
const LONGEST_LINE: usize = 1 << 20;

/// What the first line calls its columns where it is a header.
const WORD_HEADERS: &[&str] = &["word", "words", "token", "tokens", "form", "text"];
pub(super) const TAG_HEADERS: &[&str] =
    &["tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "entity", "iob", "iob2", "bio"];

/// The columns that are read where a recipe chooses them, counted from 1.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    word: usize,
    tag: usize,
}

impl Chosen {
    fn of(layout: &Layout) -> Result<Option<Self>> {
        let chosen = |columns: &super::Columns| Ok(Self { word: columns.number("word")?, tag: columns.number("tag")? });
        layout.columns.as_ref().map(chosen).transpose()
    }
}

/// Reads the sentences of a column file.
pub(super) fn read(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    let chosen = Chosen::of(layout).map_err(|error| error.at(Place::file(file)))?;
    let mut lines = Lines::open_in(file, LONGEST_LINE, layout.encoding)?;
    let mut sentences = Vec::new();
    let mut open: Option<Sentence> = None;
    let mut width: Option<(usize, usize)> = None; // columns of the first line that has any, and its number
    let mut ahead = None; // the columns of that line, where comments stand before it
    let (mut comments, mut header) = (0_usize, None);
    let mut index = IndexColumn::default();
    let mut document = 0; // told by its first sentence
    while let Some((number, line)) = lines.next()? {
        let row = Row::new(line, chosen, layout);
        if row.cells.is_empty() {
            sentences.extend(open.take());
            index.end_sentence();
            continue;
        }
        let place = || Place::line(file, number);
        if row.cells.first() == Some(&"-DOCSTART-") || row.word() == "-DOCSTART-" {
            sentences.extend(open.take());
            index.end_sentence();
            document = sentences.len();
            continue;
        }
        if line.starts_with('#') {
            if width.is_none() && ahead.is_none() {
                ahead = Some(first_width(file, chosen, layout)?);
            }
            let expected = width.map(|(columns, _)| columns).or(ahead.flatten());
            if row.is_comment(expected, open.is_some()) {
                if is_new_document(line) {
                    document = sentences.len();
                }
                comments += 1;
                continue;
            }
        }
        check_line_ends(line).map_err(|error| error.at(place()))?;
        if width.is_none() && header.is_none() && row.is_header() {
            header = Some(number);
            continue;
        }
        row.check_columns().map_err(|error| error_or_like(error, width.is_none(), file).at(place()))?;
        let is_first = width.is_none();
        let (expected, first) = *width.get_or_insert((row.cells.len(), number));
        if row.cells.len() != expected {
            return Err(another_width(expected, first, row.cells.len(), line).at(place()));
        }
        row.check_tag().map_err(|error| error_or_like(error, is_first, file).at(place()))?;
        let tag = row.tag(layout).map_err(|error| error.at(place()))?;
        index.push(row.cells.first().copied(), row.cells.len(), number);
        let new = || Sentence { place: place(), words: Vec::new(), tags: Vec::new(), document };
        let sentence = open.get_or_insert_with(new);
        sentence.words.push(row.word().to_owned());
        sentence.tags.push(tag);
    }
    sentences.extend(open);
    if chosen.is_none() {
        index.refuse(file)?;
    }
    let notes = notes(&lines, header, comments);
    schemes::finish(file, Read { examples: sentences, skipped: Vec::new(), notes }, limit)
}

/// Refuses a line that holds the end of another.
pub(super) fn check_line_ends(line: &str) -> Result<()> {
    if !line.contains('\r') {
        return Ok(());
    }
    let message = "expected line ends of the form LF or CRLF, found a carriage return inside the line";
    Err(Error::data(message).hint("convert the line ends: tr '\\r' '\\n'"))
}

/// A line that has not as many columns as the first.
pub(super) fn another_width(expected: usize, first: usize, found: usize, line: &str) -> Error {
    let message = format!("expected {expected} columns, as on line {first}; found {found}: {}", quoted(line));
    Error::data(message)
        .hint("where a line has tabs they alone separate columns, otherwise spaces do: a word with a space needs tabs")
}

/// What is said of a file that was read: its header and its comments among the rest.
pub(super) fn notes(lines: &Lines, header: Option<usize>, comments: usize) -> Vec<String> {
    let mut notes = lines.notes();
    notes.extend(header.map(|line| format!("line {line} names the columns and was skipped")));
    if comments > 0 {
        notes.push(format!("lines that are comments (`# ...`) and were skipped: {comments}"));
    }
    notes
}

/// Whether a comment begins a document, as those of CoNLL-U do.
fn is_new_document(comment: &str) -> bool {
    comment.trim_start_matches('#').split_whitespace().next() == Some("newdoc")
}

/// At the first line of all, a file of another kind is named for what it is.
fn error_or_like(error: Error, is_first: bool, file: &Path) -> Error {
    let like = is_first.then(|| looks::like(file)).flatten();
    like.map_or(error, |like| like.instead_of("columns, the word and its tag"))
}

/// The columns of a line, none of a blank one, and whether it begins with an empty one. Places count only where columns are
/// `counted`; else the first and the last are read, and tabs may align.
pub(super) fn split(line: &str, counted: bool) -> (Vec<&str>, bool) {
    let tabs = line.contains('\t');
    let mut cells: Vec<&str> = line.split(if tabs { '\t' } else { ' ' }).map(|cell| cell.trim_matches(' ')).collect();
    let starts_empty = tabs && cells.first().is_some_and(|cell| cell.is_empty());
    if !counted || !tabs || cells.iter().all(|cell| cell.is_empty()) {
        cells.retain(|cell| !cell.is_empty());
    }
    (cells, starts_empty)
}

/// A line split into its columns; none for a blank line.
struct Row<'a> {
    cells: Vec<&'a str>,
    columns: Option<Chosen>,
    /// Whether the line begins with an empty column.
    starts_empty: bool,
    numbers_are_tags: bool,
}

impl<'a> Row<'a> {
    fn new(line: &'a str, columns: Option<Chosen>, layout: &Layout) -> Self {
        let (cells, starts_empty) = split(line, columns.is_some());
        Self { cells, columns, starts_empty, numbers_are_tags: !layout.tag_names.is_empty() }
    }

    fn word(&self) -> &'a str {
        let at = self.columns.map_or(0, |columns| columns.word - 1);
        self.cells.get(at).copied().unwrap_or("")
    }

    /// The tag as the file has it; `None` where the line has no such column.
    fn raw_tag(&self) -> Option<&'a str> {
        match self.columns {
            Some(columns) => self.cells.get(columns.tag - 1).copied(),
            None => self.cells.last().copied().filter(|_| self.cells.len() > 1),
        }
    }

    fn is_token(&self) -> bool {
        let is_tag = |tag: &str| schemes::is_tag(tag) || self.numbers_are_tags && tag.parse::<u32>().is_ok();
        !self.word().is_empty() && self.raw_tag().is_some_and(is_tag)
    }

    /// Whether a line that begins with `#` is a comment: it can't be a word with its tag, or not of this file. Within a
    /// sentence a line that is nearly a word is none: a word whose tag is misspelt is an error.
    fn is_comment(&self, width: Option<usize>, inside: bool) -> bool {
        let fits = width.is_none_or(|width| width == self.cells.len());
        match inside {
            false => !(fits && self.is_token()),
            true => !fits && !self.is_token() && self.cells.len() > 1,
        }
    }

    fn is_header(&self) -> bool {
        let named = |cell: &str, names: &[&str]| names.contains(&cell.to_lowercase().as_str());
        named(self.word(), WORD_HEADERS) && self.raw_tag().is_some_and(|tag| named(tag, TAG_HEADERS))
    }

    /// Refuses a line that does not have the columns that are read.
    fn check_columns(&self) -> Result<()> {
        let line = || quoted(&self.cells.join(" "));
        let found = self.cells.len();
        match self.columns {
            Some(Chosen { word, tag }) if found < word.max(tag) => {
                let message = format!("expected at least {} columns, found {found}: {}", word.max(tag), line());
                return Err(Error::data(message).hint("`columns` says which are read, counted from 1"));
            }
            None if found < 2 => {
                let message = format!("expected at least two columns, the word and its tag; found {}", line());
                return Err(Error::data(message).hint(
                    "columns are separated by tabs or spaces; each word needs a tag, `O` where it is outside of entities",
                ));
            }
            _ => {}
        }
        if self.word().is_empty() || self.columns.is_none() && self.starts_empty {
            return Err(Error::data(format!("expected a word, found an empty column: {}", line())));
        }
        Ok(())
    }

    /// Refuses what is no tag.
    fn check_tag(&self) -> Result<()> {
        let tag = self.raw_tag().unwrap_or("");
        let is_several = tag.split(' ').skip(1).any(schemes::is_tag);
        if schemes::is_tag(tag) && !is_several || tag.parse::<i64>().is_ok() && self.numbers_are_tags {
            return Ok(());
        }
        let message = format!("expected {}, found {}", schemes::EXPECTED, quoted(tag));
        let hint = match is_several {
            true => "this line has tabs and spaces: where there are tabs, they alone separate columns".to_owned(),
            false => self.other_column().unwrap_or_else(|| schemes::way_out(tag)),
        };
        Err(Error::data(message).hint(hint))
    }

    /// The way out where another column than that which is read has tags.
    fn other_column(&self) -> Option<String> {
        let word = 1 + self.cells.iter().position(|cell| cell.parse::<f64>().is_err())?;
        let tag = 1 + self.cells.iter().position(|cell| schemes::is_tag(cell) && *cell != "O")?;
        (tag > word && self.cells.len() > 2)
            .then(|| format!("if the tags are in column {tag}: data.TASK.columns = {{ word = {word}, tag = {tag} }}"))
    }

    fn tag(&self, layout: &Layout) -> Result<String> {
        let tag = self.raw_tag().unwrap_or("");
        match tag.parse() {
            Ok(number) => layout.tag_of(number),
            Err(_) => Ok(tag.to_owned()),
        }
    }
}

/// How many columns the first line has that does not begin with `#`.
fn first_width(file: &Path, chosen: Option<Chosen>, layout: &Layout) -> Result<Option<usize>> {
    let mut lines = Lines::open_in(file, LONGEST_LINE, layout.encoding)?;
    while let Some((_, line)) = lines.next()? {
        let cells = Row::new(line, chosen, layout).cells;
        if !(cells.is_empty() || line.starts_with('#') || cells.first() == Some(&"-DOCSTART-")) {
            return Ok(Some(cells.len()));
        }
    }
    Ok(None)
}

/// Whether the first of three or more columns counts: 1, 2, 3 in each sentence or through the file, or from 0.
#[derive(Default)]
pub(super) struct IndexColumn {
    first_line: Option<usize>,
    in_sentence: usize,
    longest: usize,
    words: usize,
    /// Which ways of counting were broken: in each sentence, through the file.
    broken: [bool; 2],
    start: usize,
}

impl IndexColumn {
    /// A word, with the first of its columns and how many there are.
    pub fn push(&mut self, first: Option<&str>, columns: usize, line: usize) {
        let number: Option<usize> = first.and_then(|cell| cell.parse().ok());
        if self.first_line.is_none() {
            self.first_line = Some(line);
            self.start = number.unwrap_or(0);
        }
        let counts = |place: usize| number == Some(self.start + place) && self.start <= 1 && columns > 2;
        self.broken[0] |= !counts(self.in_sentence);
        self.broken[1] |= !counts(self.words);
        self.in_sentence += 1;
        self.words += 1;
        self.longest = self.longest.max(self.in_sentence);
    }

    /// The next word begins a sentence.
    pub fn end_sentence(&mut self) {
        self.in_sentence = 0;
    }

    /// Refuses a first column that counts, where it was read as the words.
    pub fn refuse(&self, file: &Path) -> Result<()> {
        let Some(first) = self.first_line.filter(|_| self.longest > 1 && self.broken != [true, true]) else {
            return Ok(());
        };
        let message = "expected words in the first column, found an index: it counts the words of each sentence";
        let hint = "say which columns to read, counted from 1: data.TASK.columns = { word = 2, tag = 3 }";
        Err(Error::data(message).at(Place::line(file, first)).hint(hint))
    }
}
