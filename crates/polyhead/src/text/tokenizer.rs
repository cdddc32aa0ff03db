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
    /// Which word it belongs to: of the given ones, or of those that the tokenizer splits running text into.
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

    /// The id that stands for what is not in the vocabulary, if there is one.
    pub fn unknown(&self) -> Option<u32> {
        let token = match self.inner.get_model() {
            tokenizers::ModelWrapper::BPE(model) => model.unk_token.clone()?,
            tokenizers::ModelWrapper::WordPiece(model) => model.unk_token.clone(),
            tokenizers::ModelWrapper::WordLevel(model) => model.unk_token.clone(),
            tokenizers::ModelWrapper::Unigram(_) => "<unk>".to_owned(),
        };
        self.inner.token_to_id(&token)
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
        Ok(pieces(&self.encode(text.into())?, Source::Text(text)))
    }

    /// The sub-words of a running text, and which of them go on with the word of the one before, by the rule of
    /// transformers' token-classification pipeline.
    ///
    /// Where the model marks continuations (`##ing`), one is told by its length: with its mark it is longer than its
    /// slice of the text. That takes a whole word for a continuation, too, where the normaliser changed its length (a
    /// Hangul syllable taken apart). Other models have only the rule that a word begins after a space. An unknown
    /// sub-word begins a word.
    pub fn text_with_continuations(&self, text: &str) -> Result<(Vec<Piece>, Vec<bool>)> {
        let encoding = self.encode(text.into())?;
        let (marked, unknown) = match self.inner.get_model() {
            tokenizers::ModelWrapper::WordPiece(model) => {
                (!model.continuing_subword_prefix.is_empty(), Some(model.unk_token.as_str()))
            }
            tokenizers::ModelWrapper::BPE(model) => (
                model.continuing_subword_prefix.as_ref().is_some_and(|mark| !mark.is_empty()),
                model.unk_token.as_deref(),
            ),
            tokenizers::ModelWrapper::WordLevel(model) => (false, Some(model.unk_token.as_str())),
            tokenizers::ModelWrapper::Unigram(_) => (false, None),
        };
        let unknown = self.inner.token_to_id(unknown.unwrap_or("[UNK]"));
        let spellings = encoding.get_ids().iter().zip(encoding.get_tokens()).zip(encoding.get_offsets());
        let continues = spellings
            .map(|((&id, token), &(start, end))| {
                if Some(id) == unknown {
                    return false;
                }
                if marked {
                    return token.chars().count() != text.get(start..end).unwrap_or("").chars().count();
                }
                let before = text.get(..start).and_then(|before| before.chars().next_back());
                before.is_some_and(|before| before != ' ') && !text.get(start..).unwrap_or("").starts_with(' ')
            })
            .collect();
        Ok((pieces(&encoding, Source::Text(text)), continues))
    }

    /// The sub-words of pre-split words, without special tokens, each with the index of its word.
    pub fn words(&self, words: &[&str]) -> Result<Vec<Piece>> {
        Ok(pieces(&self.encode(words.into())?, Source::Words(words)))
    }

    fn encode(&self, input: tokenizers::InputSequence<'_>) -> Result<tokenizers::Encoding> {
        guarded(|| self.inner.encode(input, false).map_err(|cause| cause.to_string()))
            .map_err(|message| Error::internal(format!("the tokenizer failed: {message}")))
    }
}

/// What offsets point into.
#[derive(Clone, Copy)]
enum Source<'a> {
    Text(&'a str),
    /// Each word on its own.
    Words(&'a [&'a str]),
}

impl<'a> Source<'a> {
    fn of(self, word: usize) -> &'a str {
        match self {
            Source::Text(text) => text,
            Source::Words(words) => words.get(word).copied().unwrap_or(""),
        }
    }
}

/// The sub-words of an encoding, with the marks that the normaliser dropped after them.
fn pieces(encoding: &tokenizers::Encoding, source: Source) -> Vec<Piece> {
    let parts = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
    let mut pieces: Vec<Piece> = parts
        .map(|((&id, &(start, end)), word)| {
            let word = word.map_or(0, |word| word as usize);
            let (start, end) = trim(source.of(word), start, end);
            Piece { id, start, end, word }
        })
        .collect();
    let mut next: Option<Piece> = None;
    for piece in pieces.iter_mut().rev() {
        let text = source.of(piece.word);
        let follows = |next: &Piece| matches!(source, Source::Text(_)) || next.word == piece.word;
        let limit = next.filter(follows).map_or(text.len(), |next| next.start);
        piece.end += dropped(text.get(piece.end..limit).unwrap_or(""));
        next = Some(*piece);
    }
    pieces
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tiny() -> Tokenizer {
        Tokenizer::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json")).unwrap()
    }

    #[test]
    fn sub_words_know_their_words_and_whether_they_go_on_with_them() {
        let text = "London's cafe\u{301}, 東京 Mary";
        let (pieces, continues) = tiny().text_with_continuations(text).unwrap();
        assert_eq!(pieces, tiny().text(text).unwrap());
        let told: Vec<(&str, usize, bool)> = pieces
            .iter()
            .zip(&continues)
            .map(|(piece, &continues)| (&text[piece.start..piece.end], piece.word, continues))
            .collect();
        let want = [
            ("London", 0, false),
            ("'", 1, false),
            ("s", 2, false),
            ("c", 3, false),
            ("a", 3, true),
            ("f", 3, true),
            ("e\u{301}", 3, true),
            (",", 4, false),
            // Unknown: a word for itself.
            ("東", 5, false),
            ("京", 6, false),
            ("Mary", 7, false),
        ];
        assert_eq!(told, want);
    }
}
