//! CoNLL-U: a word a line in ten columns, with tabs between them; comments before a sentence, a blank line after it.
//!
//! ```text
//! # sent_id = weblog-7
//! # text = They don't.
//! 1     They   they   PRON    PRP   Case=Nom|...   2   nsubj    _   _
//! 2-3   don't  _      _       _     _              _   _        _   SpaceAfter=No
//! 2     do     do     VERB    VBP   Mood=Ind|...   0   root     _   _
//! 3     n't    not    PART    RB    Polarity=Neg   2   advmod   _   _
//! 4     .      .      PUNCT   .     _              2   punct    _   _
//! ```
//!
//! The columns are ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS and MISC (<https://universaldependencies.org/format.html>).
//! `2-3` is a token that several words share, and no word; `5.1` is an empty node of the enhanced graph, and is passed over. `_` says
//! that nothing is annotated. A file without heads is read as well: whoever needs a tree asks for it ([`ConlluSentence::tree`]).

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::data::lines::Lines;
use crate::data::{looks, quoted};
use crate::error::{Error, Place, Result};

/// A line holds one word; one of a mebibyte is a file of another kind.
const LONGEST_LINE: usize = 1 << 20;

/// The columns in their order.
pub(in crate::data) const COLUMNS: [&str; 10] =
    ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"];

/// A sentence of a CoNLL-U file, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct ConlluSentence {
    /// Where it stands in its file: the line of its first word or range.
    pub place: Place,
    /// What the file calls it (`# sent_id`).
    pub id: Option<String>,
    /// As it was written: `# text`, or else the forms, with a space after each that has no `SpaceAfter=No`.
    pub text: String,
    /// Its words, one at least. The word with the ID `n` is `words[n - 1]`.
    pub words: Vec<ConlluWord>,
    /// The tokens that hold several words, in their order.
    pub multiword: Vec<MultiwordToken>,
}

/// A word with what is annotated of it, as the file has it. `None` is `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConlluWord {
    /// The line of the file, from 1.
    pub line: usize,
    /// The word.
    pub form: String,
    /// Its lemma.
    pub lemma: Option<String>,
    /// Its universal part of speech.
    pub upos: Option<String>,
    /// Its part of speech in a tag set of the language.
    pub xpos: Option<String>,
    /// Its features: `Case=Nom|Number=Plur`.
    pub feats: Option<String>,
    /// The ID of its head, counted from 1; 0 for a root. Not checked: see [`ConlluSentence::tree`].
    pub head: Option<usize>,
    /// Its relation to the head.
    pub deprel: Option<String>,
    /// Where it lies in the sentence's text, in bytes. A word of a [`MultiwordToken`] has its own place where the forms of the
    /// token's words make up the token's, else all of it: French `du` is the place of both `de` and `le`.
    pub bytes: Range<usize>,
}

/// A token that is written as one and holds several words: English `don't`, French `du`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiwordToken {
    /// As it is written.
    pub form: String,
    /// Its words, as indices into [`ConlluSentence::words`].
    pub words: Range<usize>,
    /// Where it lies in the sentence's text, in bytes.
    pub bytes: Range<usize>,
}

/// A word's head and relation in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConlluArc<'a> {
    /// The index of its head; `None` for the root.
    pub head: Option<usize>,
    /// Its relation.
    pub relation: &'a str,
}

impl ConlluSentence {
    /// Whether any word has a head or a relation. If not, the sentence is not annotated with a tree, which is no error.
    pub fn has_heads(&self) -> bool {
        self.words.iter().any(|word| word.head.is_some() || word.deprel.is_some())
    }

    /// The arc of each word.
    ///
    /// # Errors
    /// With the line of the word: it has no head or no relation, its head is no word of the sentence or itself, there is not
    /// exactly one root, or heads lead in a circle.
    pub fn tree(&self) -> Result<Vec<ConlluArc<'_>>> {
        let mut arcs = Vec::with_capacity(self.words.len());
        let mut root: Option<usize> = None;
        for (at, word) in self.words.iter().enumerate() {
            let fault =
                |message: String, hint: &str| Err(Error::data(message).at(self.place_of(at)).hint(hint.to_owned()));
            let (id, count) = (at + 1, self.words.len());
            let form = quoted(&word.form);
            let Some(head) = word.head else {
                return fault(format!("expected a HEAD for word {id}, {form}; found `_`"), ALL_OR_NONE);
            };
            let Some(relation) = &word.deprel else {
                return fault(format!("expected a DEPREL for word {id}, {form}; found `_`"), ALL_OR_NONE);
            };
            if head > count {
                let message = format!("expected a HEAD from 0 to {count} for word {id}, {form}; found {head}");
                return fault(message, "HEAD is the ID of a word of the same sentence, 0 for the root");
            }
            if head == id {
                return fault(
                    format!("expected another word as the HEAD of word {id}, {form}; found itself"),
                    ONE_ROOT,
                );
            }
            if head == 0
                && let Some(first) = root.replace(at)
            {
                let message =
                    format!("expected one root, found a second, word {id}, {form}; word {} is one", first + 1);
                return fault(message, ONE_ROOT);
            }
            arcs.push(ConlluArc { head: head.checked_sub(1), relation });
        }
        if root.is_none() {
            let message = "expected a root, found a sentence without one";
            return Err(Error::data(message).at(self.place.clone()).hint(ONE_ROOT));
        }
        match in_a_circle(&arcs) {
            None => Ok(arcs),
            Some(at) => {
                let form = self.words.get(at).map_or(String::new(), |word| quoted(&word.form));
                let message =
                    format!("expected heads that lead to the root, found a circle at word {}, {form}", at + 1);
                Err(Error::data(message).at(self.place_of(at)).hint(ONE_ROOT))
            }
        }
    }

    /// Where a word stands in its file.
    pub fn place_of(&self, word: usize) -> Place {
        self.words.get(word).map_or_else(|| self.place.clone(), |word| self.place.at_line(word.line))
    }
}

const ALL_OR_NONE: &str = "a sentence has a head and a relation for each of its words, or for none";
const ONE_ROOT: &str = "one word of a sentence has HEAD 0, and the heads of all others lead to it";

/// A word whose heads lead back to it.
fn in_a_circle(arcs: &[ConlluArc]) -> Option<usize> {
    // The walk that first came by a word: one that meets itself goes in a circle.
    let mut seen: Vec<Option<usize>> = vec![None; arcs.len()];
    for start in 0..arcs.len() {
        let mut at = start;
        loop {
            match seen.get_mut(at)? {
                Some(walk) if *walk == start => return Some(at),
                Some(_) => break,
                slot => *slot = Some(start),
            }
            match arcs.get(at)?.head {
                Some(head) => at = head,
                None => break,
            }
        }
    }
    None
}

/// The sentences of a file, one after the other.
pub(in crate::data) struct Sentences {
    file: PathBuf,
    lines: Lines,
    /// Sentences whose `# text` is not what their words say: how many, and the first.
    other_texts: Option<(usize, Place)>,
    any: bool,
}

impl Sentences {
    /// Opens a file.
    pub fn open(file: &Path) -> Result<Self> {
        Ok(Self { file: file.to_owned(), lines: Lines::open(file, LONGEST_LINE)?, other_texts: None, any: false })
    }

    /// The next sentence; none at the end of the file.
    pub fn next(&mut self) -> Result<Option<ConlluSentence>> {
        let mut open = Open::default();
        while let Some((number, line)) = self.lines.next()? {
            if line.trim().is_empty() {
                if open.place.is_some() {
                    break;
                }
                // Comments that no sentence follows.
                open = Open::default();
                continue;
            }
            let place = Place::line(&self.file, number);
            if let Some(comment) = line.strip_prefix('#') {
                open.comment(comment);
                continue;
            }
            open.push(line, number).map_err(|error| match looks::like(&self.file).filter(|_| !self.any) {
                Some(like) => like.instead_of("CoNLL-U").at(place.clone()),
                None => error.at(place.clone()),
            })?;
            open.place.get_or_insert(place);
            self.any = true;
        }
        let Some(place) = open.place.clone() else { return Ok(None) };
        let (sentence, as_said) = open.finish(place)?;
        if !as_said {
            self.other_texts.get_or_insert_with(|| (0, sentence.place.clone())).0 += 1;
        }
        Ok(Some(sentence))
    }

    /// The notes that are due after the last sentence.
    pub fn notes(&self) -> Vec<String> {
        let other = self.other_texts.as_ref().map(|(count, first)| {
            format!("sentences whose `# text` differs from their words, which were read instead: {count} (the first: {first})")
        });
        self.lines.notes().into_iter().chain(other).collect()
    }
}

/// A sentence that is being read.
#[derive(Default)]
struct Open {
    place: Option<Place>,
    id: Option<String>,
    text: Option<String>,
    words: Vec<ConlluWord>,
    tokens: Vec<Token>,
    /// Empty nodes since the last word.
    empty: usize,
}

/// What is written between two spaces or ends: a word, or a token of several words.
struct Token {
    form: String,
    words: Range<usize>,
    is_range: bool,
    space_after: bool,
}

/// What a line is, by its ID.
enum Id {
    Word(usize),
    Range(usize, usize),
    Empty(usize, usize),
}

impl Id {
    fn of(cell: &str) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        if let Some((first, last)) = cell.split_once('-') {
            return Some(Self::Range(number(first)?, number(last)?));
        }
        match cell.split_once('.') {
            Some((word, place)) => Some(Self::Empty(number(word)?, number(place)?)),
            None => number(cell).map(Self::Word),
        }
    }
}

impl Open {
    fn comment(&mut self, comment: &str) {
        match comment.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("sent_id", id)) => self.id = Some(id.to_owned()),
            Some(("text", text)) => self.text = Some(text.to_owned()),
            _ => {}
        }
    }

    fn push(&mut self, line: &str, number: usize) -> Result<()> {
        let cells: Vec<&str> = line.split('\t').collect();
        let [id, form, lemma, upos, xpos, feats, head, deprel, _, misc] = cells.as_slice() else {
            let count = cells.len();
            let message = format!("expected the ten columns of CoNLL-U, found {count}: {}", quoted(line));
            return Err(Error::data(message).hint(match count {
                1 => "columns are separated by tabs, sentences by a blank line",
                _ => "ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC; `_` where nothing is annotated",
            }));
        };
        if let Some((name, _)) = COLUMNS.iter().zip(&cells).find(|(_, cell)| cell.trim().is_empty()) {
            let message =
                format!("expected a value in the column {}, found none: {}", name.to_uppercase(), quoted(line));
            return Err(Error::data(message).hint("`_` stands for a value that is not annotated"));
        }
        let space_after = !misc.split('|').any(|part| part == "SpaceAfter=No");
        let next = self.words.len() + 1;
        let inside = self.tokens.last().is_some_and(|token| token.words.end >= next);
        let fault = |expected: &str| {
            Err(Error::data(format!("expected {expected}, found the ID {}: {}", quoted(id), quoted(line)))
                .hint("IDs count the words of a sentence from 1; a blank line ends a sentence"))
        };
        let annotated = |cell: &str| (cell != "_").then(|| cell.to_owned());
        match Id::of(id) {
            Some(Id::Word(found)) if found == next => {
                let head = annotated(head).map(|head| {
                    head.parse().map_err(|_| {
                        Error::data(format!("expected the ID of a word as HEAD, 0 or `_`; found {}", quoted(&head)))
                    })
                });
                self.words.push(ConlluWord {
                    line: number,
                    form: (*form).to_owned(),
                    // The lemma of an underscore is an underscore.
                    lemma: if *form == "_" { Some((*lemma).to_owned()) } else { annotated(lemma) },
                    upos: annotated(upos),
                    xpos: annotated(xpos),
                    feats: annotated(feats),
                    head: head.transpose()?,
                    deprel: annotated(deprel),
                    bytes: 0..0,
                });
                if !inside {
                    let words = next - 1..next;
                    self.tokens.push(Token { form: (*form).to_owned(), words, is_range: false, space_after });
                }
                self.empty = 0;
            }
            Some(Id::Range(first, last)) if first == next && last >= first && !inside => {
                let words = first - 1..last;
                self.tokens.push(Token { form: (*form).to_owned(), words, is_range: true, space_after });
            }
            Some(Id::Empty(word, place)) if word + 1 == next && place == self.empty + 1 => self.empty += 1,
            Some(Id::Range(..)) if inside => return fault(&format!("the word {next} of the token before")),
            Some(Id::Range(..)) => return fault(&format!("a token of words from {next} on")),
            Some(Id::Empty(..)) => return fault(&format!("the empty node {}.{}", next - 1, self.empty + 1)),
            Some(Id::Word(_)) => return fault(&format!("word {next}")),
            None => return fault("a number, a range such as 1-2, or an empty node such as 1.1"),
        }
        Ok(())
    }

    /// The sentence, and whether its text is what `# text` says.
    fn finish(mut self, place: Place) -> Result<(ConlluSentence, bool)> {
        let count = self.words.len();
        if let Some(token) = self.tokens.last().filter(|token| token.words.end > count) {
            let (form, last) = (quoted(&token.form), token.words.end);
            let message = format!("expected words up to {last} for the token {form}; the sentence ends after {count}");
            return Err(Error::data(message).at(place).hint("each word of a range has a line of its own"));
        }
        if count == 0 {
            let message = "expected the words of a sentence, found none";
            return Err(Error::data(message).at(place).hint("empty nodes such as 0.1 are no words"));
        }
        let said = self.text.take();
        let placed = said.as_deref().and_then(|text| place_tokens(text, &self.tokens));
        let as_said = said.is_none() || placed.is_some();
        let (text, ranges) = match (said, placed) {
            (Some(text), Some(ranges)) => (text, ranges),
            _ => write(&self.tokens),
        };
        let mut multiword = Vec::new();
        for (token, bytes) in self.tokens.into_iter().zip(ranges) {
            let words = self.words.get_mut(token.words.clone()).unwrap_or(&mut []);
            let whole: String = words.iter().map(|word| word.form.as_str()).collect();
            let mut start = bytes.start;
            for word in words {
                word.bytes = if whole == token.form { start..start + word.form.len() } else { bytes.clone() };
                start = word.bytes.end;
            }
            if token.is_range {
                multiword.push(MultiwordToken { form: token.form, words: token.words, bytes });
            }
        }
        Ok((ConlluSentence { place, id: self.id, text, words: self.words, multiword }, as_said))
    }
}

/// Where the tokens lie in a text that holds them and white space, and nothing else.
fn place_tokens(text: &str, tokens: &[Token]) -> Option<Vec<Range<usize>>> {
    let mut rest = text;
    let mut ranges = Vec::with_capacity(tokens.len());
    for token in tokens {
        let trimmed = rest.trim_start();
        let start = text.len() - trimmed.len();
        rest = trimmed.strip_prefix(token.form.as_str())?;
        ranges.push(start..start + token.form.len());
    }
    rest.trim().is_empty().then_some(ranges)
}

/// The tokens as a text.
fn write(tokens: &[Token]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut ranges = Vec::with_capacity(tokens.len());
    let mut space = false;
    for token in tokens {
        if space {
            text.push(' ');
        }
        ranges.push(text.len()..text.len() + token.form.len());
        text.push_str(&token.form);
        space = token.space_after;
    }
    (text, ranges)
}
