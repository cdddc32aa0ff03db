//! The tokenizer of a model folder (`tokenizer.json`), bounded: its file's own truncation and padding are switched off,
//! offsets are bytes without surrounding white space, and a panic inside it is an error.

use crate::error::{Error, Place, Result};
use regex::Regex;
use sha2::{Digest, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::LazyLock;

/// No tokenizer in use is larger than a few tens of megabytes.
const LIMIT: u64 = 256 << 20;

/// One sub-word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its id in the vocabulary.
    pub id: u32,
    /// Where it starts in the text, in bytes; for pre-split words, in its word.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Which of the given words it belongs to; 0 for running text.
    pub word: usize,
}

/// A tokenizer with its special tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Starts every sequence: `[CLS]`.
    pub cls: u32,
    /// Ends every segment: `[SEP]`.
    pub sep: u32,
    /// Fills padded batches: `[PAD]`.
    pub pad: u32,
    /// The SHA-256 of the bytes that it was read from.
    pub sha256: [u8; 32],
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(|cause| Error::reading(path, cause))?.len();
        if size > LIMIT {
            return Err(Error::data(format!("expected at most {LIMIT} bytes, found {size}")).at(Place::file(path)));
        }
        let bytes = std::fs::read(path).map_err(|cause| Error::reading(path, cause))?;
        let fault = |message: String| {
            Error::data(format!("not a usable tokenizer: {message}"))
                .at(Place::file(path))
                .hint("expected the `tokenizer.json` of a fast Hugging Face tokenizer")
        };
        let mut inner =
            guarded(|| tokenizers::Tokenizer::from_bytes(&bytes).map_err(|cause| cause.to_string())).map_err(fault)?;
        // Files as published carry the settings of their last use (MiniLM: pad everything to 128).
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|cause| fault(cause.to_string()))?;
        let special = |token: &str| {
            inner
                .token_to_id(token)
                .ok_or_else(|| fault(format!("it has no special token `{token}`, which BERT needs")))
        };
        let (cls, sep, pad) = (special("[CLS]")?, special("[SEP]")?, special("[PAD]")?);
        Ok(Self { inner, cls, sep, pad, sha256: Sha256::digest(&bytes).into() })
    }

    /// The ids run from 0 to one less than this.
    pub fn vocabulary(&self) -> usize {
        let ids = self.inner.get_vocab(true);
        ids.values().max().map_or(0, |&id| id as usize + 1)
    }

    /// The name of the sub-word model: `WordPiece`, `BPE` ...
    pub fn model(&self) -> &'static str {
        match self.inner.get_model() {
            tokenizers::ModelWrapper::BPE(_) => "BPE",
            tokenizers::ModelWrapper::WordPiece(_) => "WordPiece",
            tokenizers::ModelWrapper::WordLevel(_) => "WordLevel",
            tokenizers::ModelWrapper::Unigram(_) => "Unigram",
        }
    }

    /// The sub-words of a running text, without special tokens.
    pub fn text(&self, text: &str) -> Result<Vec<Piece>> {
        self.encode(tokenizers::InputSequence::from(text), |_| text)
    }

    /// The sub-words of pre-split words, without special tokens, each with the index of its word.
    pub fn words(&self, words: &[&str]) -> Result<Vec<Piece>> {
        self.encode(tokenizers::InputSequence::from(words), |word| words.get(word).copied().unwrap_or(""))
    }

    fn encode<'a>(&self, input: tokenizers::InputSequence<'_>, of: impl Fn(usize) -> &'a str) -> Result<Vec<Piece>> {
        let pretokenized = matches!(input, tokenizers::InputSequence::PreTokenizedCow(_))
            || !matches!(input, tokenizers::InputSequence::Raw(_));
        let encoding = guarded(|| self.inner.encode(input, false).map_err(|cause| cause.to_string()))
            .map_err(|message| Error::internal(format!("the tokenizer failed: {message}")))?;
        let pieces = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
        let mut pieces: Vec<Piece> = pieces
            .map(|((&id, &(start, end)), word)| {
                let word = if pretokenized { word.map_or(0, |word| word as usize) } else { 0 };
                let (start, end) = trim(of(word), start, end);
                Piece { id, start, end, word }
            })
            .collect();
        let mut next: Option<Piece> = None;
        for piece in pieces.iter_mut().rev() {
            let text = of(piece.word);
            let limit = next.filter(|next| next.word == piece.word).map_or(text.len(), |next| next.start);
            piece.end += dropped(text.get(piece.end..limit).unwrap_or(""));
            next = Some(*piece);
        }
        Ok(pieces)
    }
}

/// Accents and other marks that combine with the character before them, and the joiners of emoji and of Indic scripts.
#[allow(clippy::expect_used)] // a pattern of ours that the tests run
static MARKS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{M}\u{200c}\u{200d}]+").expect("a valid pattern"));

/// The bytes of the marks that a text begins with. Uncased tokenizers drop them: without them a sub-word would end in
/// the middle of what a reader sees as one character, and the answer `café` would lose its accent.
fn dropped(rest: &str) -> usize {
    MARKS.find(rest).map_or(0, |marks| marks.len())
}

/// Offsets without the white space that BPE and SentencePiece tokenizers include.
fn trim(text: &str, start: usize, end: usize) -> (usize, usize) {
    let Some(part) = text.get(start..end) else { return (start, end) };
    let trimmed = part.trim_start();
    let start = start + part.len() - trimmed.len();
    (start, start + trimmed.trim_end().len())
}

/// Runs third-party parsing code, whose panics become errors.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("it panicked: {}", message.unwrap_or("no message")))
        }
    }
}
