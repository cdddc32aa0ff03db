//! The tokenizer of a model folder (`tokenizer.json`), bounded: its file's own truncation and padding are switched off,
//! offsets are bytes without surrounding white space, and a panic inside it is an error.
//!
//! Sub-words come without special tokens; a [`Template`] puts these around them.

use super::case;
use super::offsets::floor;
use super::template::Template;
use crate::error::{Error, Place, Result};
use regex::Regex;
use serde_json::Value;
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
    /// How its word is written, see [`super::case`]; 0 where the encoder does not read that.
    pub case: u32,
}

/// A tokenizer with its special tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// For pre-split words, where the file says that a first word has no space before it: each of them has one.
    spaced: Option<Box<tokenizers::Tokenizer>>,
    single: Template<1>,
    pair: Option<Template<2>>,
    /// Whether sub-words say how their words are written.
    reads_case: bool,
    /// Fills padded batches: `[PAD]`, `<pad>`.
    pub pad: u32,
    /// The SHA-256 of the bytes that it was read from.
    pub sha256: [u8; 32],
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// It is no file of the `tokenizers` library, has no padding token, or puts no special tokens around a text.
    pub fn load(path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(|cause| Error::reading(path, cause))?.len();
        if size > LIMIT {
            return Err(Error::data(format!("expected at most {LIMIT} bytes, found {size}")).at(Place::file(path)));
        }
        Self::from_bytes(&std::fs::read(path).map_err(|cause| Error::reading(path, cause))?, path)
    }

    /// The same of its bytes; errors name this place.
    ///
    /// # Errors
    /// As of [`Tokenizer::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let fault = |message: String| {
            Error::data(format!("not a usable tokenizer: {message}"))
                .at(Place::file(path))
                .hint("expected the `tokenizer.json` of a fast Hugging Face tokenizer")
        };
        let mut inner =
            guarded(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|cause| cause.to_string())).map_err(fault)?;
        let pad = padding(&inner)
            .ok_or_else(|| fault("expected a padding token, `[PAD]` or `<pad>`, found none".to_owned()))?;
        // Files as published carry the settings of their last use (MiniLM: pad everything to 128).
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|cause| fault(cause.to_string()))?;
        let single = template(&inner).ok_or_else(|| {
            let found = match inner.get_post_processor() {
                Some(_) => "one that puts none before it",
                None => "none",
            };
            fault(format!(
                "expected a `post_processor` that puts special tokens around a text, as in `[CLS] text [SEP]` or `<s> text \
                 </s>`, found {found}"
            ))
        })?;
        let pair = template(&inner);
        let spaced = spaced(&inner).map_err(|cause| fault(cause.to_string()))?.map(Box::new);
        let tokenizer =
            Self { inner, spaced, single, pair, reads_case: false, pad, sha256: Sha256::digest(bytes).into() };
        let largest =
            tokenizer.single.largest_id().max(tokenizer.pair.as_ref().map_or(0, Template::largest_id)).max(pad);
        if largest as usize >= tokenizer.vocabulary() {
            let last = tokenizer.vocabulary().saturating_sub(1);
            return Err(fault(format!("expected special tokens with ids up to {last}, found {largest}")));
        }
        Ok(tokenizer)
    }

    /// The same, for an encoder that reads how words are written; or for one that does not.
    #[must_use]
    pub fn with_case(self, reads_case: bool) -> Self {
        Self { reads_case, ..self }
    }

    /// Whether sub-words say how their words are written.
    pub fn reads_case(&self) -> bool {
        self.reads_case
    }

    /// Whether capital letters are lost.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn lower_cases(&self) -> Result<bool> {
        let ids = |text: &str| -> Result<Vec<u32>> { Ok(self.text(text)?.iter().map(|piece| piece.id).collect()) };
        Ok(ids("Ada Of THE")? == ids("ada of the")?)
    }

    /// The special tokens around one text.
    pub fn single(&self) -> &Template<1> {
        &self.single
    }

    /// The special tokens around two texts.
    ///
    /// # Errors
    /// The tokenizer is made for single texts.
    pub fn pair(&self) -> Result<&Template<2>> {
        self.pair.as_ref().ok_or_else(|| {
            Error::data("expected a tokenizer for pairs of texts, found one that puts no special token before a pair")
                .hint("the `post_processor` of tokenizer.json says what stands around a pair: `[CLS] A [SEP] B [SEP]`")
        })
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

    /// The id of a token by its spelling in the vocabulary.
    pub fn token(&self, spelling: &str) -> Option<u32> {
        self.inner.token_to_id(spelling)
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
        Ok(pieces(&encode(&self.inner, text.into())?, Source::Text(text), self.reads_case))
    }

    /// The sub-words of a running text, and which of them go on with the word of the one before, by the rule of
    /// transformers' token-classification pipeline.
    ///
    /// Where the model marks continuations (`##ing`), one is told by its length: with its mark it is longer than its
    /// slice of the text. That takes a whole word for a continuation, too, where the normaliser changed its length (a
    /// Hangul syllable taken apart). Other models have only the rule that a word begins after a space. An unknown
    /// sub-word begins a word.
    pub fn text_with_continuations(&self, text: &str) -> Result<(Vec<Piece>, Vec<bool>)> {
        let encoding = encode(&self.inner, text.into())?;
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
        let unknown = unknown.into_iter().chain(["[UNK]", "<unk>"]).find_map(|token| self.inner.token_to_id(token));
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
        Ok((pieces(&encoding, Source::Text(text), self.reads_case), continues))
    }

    /// The sub-words of pre-split words, without special tokens, each with the index of its word.
    ///
    /// A byte-level tokenizer has one sub-word for a word after a space and another for the same letters elsewhere. Each word is
    /// read as after a space, whatever its file says of the beginning of a text (as with `add_prefix_space=True` in
    /// transformers).
    pub fn words(&self, words: &[&str]) -> Result<Vec<Piece>> {
        let inner = self.spaced.as_deref().unwrap_or(&self.inner);
        Ok(pieces(&encode(inner, words.into())?, Source::Words(words), self.reads_case))
    }
}

fn encode(inner: &tokenizers::Tokenizer, input: tokenizers::InputSequence<'_>) -> Result<tokenizers::Encoding> {
    guarded(|| inner.encode(input, false).map_err(|cause| cause.to_string()))
        .map_err(|message| Error::internal(format!("the tokenizer failed: {message}")))
}

/// The padding token: of the file's section on padding, else by its name.
fn padding(inner: &tokenizers::Tokenizer) -> Option<u32> {
    let stored = inner.get_padding().map(|padding| padding.pad_id);
    stored.or_else(|| ["[PAD]", "<pad>"].into_iter().find_map(|token| inner.token_to_id(token)))
}

/// The special tokens around texts: those of the post-processor. Without one, or with one that has none, those of BERT, if
/// there are such tokens.
fn template<const TEXTS: usize>(inner: &tokenizers::Tokenizer) -> Option<Template<TEXTS>> {
    let of_processor = Template::read(|texts| {
        let mut texts = texts.into_iter();
        let (first, second) = (texts.next()?, texts.next());
        guarded(|| inner.post_process(first, second, true).map_err(|cause| cause.to_string())).ok()
    });
    let of_bert = || Some(Template::of_bert(inner.token_to_id("[CLS]")?, inner.token_to_id("[SEP]")?));
    of_processor.or_else(of_bert)
}

/// The same tokenizer with a space before every word, if it is a byte-level one whose file says otherwise.
fn spaced(inner: &tokenizers::Tokenizer) -> serde_json::Result<Option<tokenizers::Tokenizer>> {
    let Some(splitter) = inner.get_pre_tokenizer() else { return Ok(None) };
    let mut setting = serde_json::to_value(splitter)?;
    if !put_spaces(&mut setting) {
        return Ok(None);
    }
    let mut spaced = inner.clone();
    spaced.with_pre_tokenizer(Some(serde_json::from_value::<tokenizers::PreTokenizerWrapper>(setting)?));
    // It trims offsets, and must know of the space.
    if let Some(processor) = inner.get_post_processor() {
        let mut setting = serde_json::to_value(processor)?;
        put_spaces(&mut setting);
        spaced.with_post_processor(Some(serde_json::from_value::<tokenizers::PostProcessorWrapper>(setting)?));
    }
    Ok(Some(spaced))
}

/// Sets `add_prefix_space` of all byte-level parts of a setting; says whether that changed any.
fn put_spaces(setting: &mut Value) -> bool {
    match setting {
        Value::Array(parts) => parts.iter_mut().fold(false, |changed, part| put_spaces(part) | changed),
        Value::Object(fields) => {
            let byte_level = fields.get("type").is_some_and(|kind| kind == "ByteLevel" || kind == "RobertaProcessing");
            match fields.get_mut("add_prefix_space") {
                Some(space) if byte_level => std::mem::replace(space, Value::Bool(true)) != Value::Bool(true),
                _ => fields.values_mut().fold(false, |changed, part| put_spaces(part) | changed),
            }
        }
        _ => false,
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
fn pieces(encoding: &tokenizers::Encoding, source: Source, reads_case: bool) -> Vec<Piece> {
    let parts = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
    let mut pieces: Vec<Piece> = parts
        .map(|((&id, &(start, end)), word)| {
            let word = word.map_or(0, |word| word as usize);
            let (start, end) = trim(source.of(word), start, end);
            let case = if reads_case && start < end { case::class(source.of(word), start) } else { 0 };
            Piece { id, start, end, word, case }
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

/// Offsets without the white space that BPE and SentencePiece tokenizers include, and between characters: where a byte-level
/// tokenizer makes the space before a word a sub-word of its own, it may end inside of the word's first character.
fn trim(text: &str, start: usize, end: usize) -> (usize, usize) {
    let (start, end) = (floor(text, start), floor(text, end));
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
