//! The windows of each encoder's tokenizer are those of transformers (`fixtures/tokenizer_windows.py`): ids, types, offsets and
//! words of texts, pairs of texts and lists of words, with ugly Unicode in all of them.
//!
//! Offsets differ in two ways, on purpose: no sub-word has white space at its ends, and marks that an uncased tokenizer drops
//! belong to the sub-word before them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::fixture;
use polyhead::text::offsets::{OffsetUnit, from_byte};
use polyhead::text::{Piece, Template, TokenSequence, Tokenizer};
use regex::Regex;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// One tokenizer of each kind. Those of the other small encoders are that of `tiny-bert`.
const TOKENIZERS: [&str; 7] = [
    "tiny-bert",
    "tiny-roberta",
    "tiny-xlm-roberta",
    "tiny-mpnet",
    "tiny-albert",
    "tiny-deberta-v2",
    "tiny-modernbert",
];

/// A tokenizer, and what transformers recorded with it.
fn each_tokenizer() -> impl Iterator<Item = (&'static str, Tokenizer, Value)> {
    TOKENIZERS.into_iter().map(|name| {
        let folder = fixture(name);
        let recorded = serde_json::from_slice(&std::fs::read(folder.join("windows.json")).unwrap()).unwrap();
        (name, Tokenizer::load(&folder.join("tokenizer.json")).unwrap(), recorded)
    })
}

static MARKS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{M}\u{200c}\u{200d}]*$").unwrap());

/// Whether a sub-word lies where transformers has it, but for white space at its ends and for marks behind it.
fn assert_place(piece: &Piece, text: &str, want: &Value, of: &str) {
    let chars: Vec<char> = text.chars().collect();
    let [start, end] = [0, 1].map(|side| want[side].as_u64().unwrap() as usize);
    let part: String = chars[start..end].iter().collect();
    let start = start + part.chars().count() - part.trim_start().chars().count();
    let end = start + part.trim().chars().count();
    let [from, to] = [piece.start, piece.end].map(|byte| from_byte(text, byte, OffsetUnit::Char));
    let marks: String = chars.get(end..to).unwrap_or_else(|| panic!("{of}: {want} is {from} to {to}")).iter().collect();
    assert!(from == start && MARKS.is_match(&marks), "{of}: {want} is {from} to {to}");
    // Where it ends and begins, characters do.
    assert!(text.is_char_boundary(piece.start) && text.is_char_boundary(piece.end), "{of}");
}

/// Compares a window over some texts; `text_of` is what the offsets of a sub-word count in.
fn assert_window<const TEXTS: usize>(
    template: &Template<TEXTS>,
    texts: [&[Piece]; TEXTS],
    text_of: impl Fn(usize, &Piece) -> String,
    want: &Value,
    of: &str,
) {
    let TokenSequence { ids, types, texts: places } = template.window(texts);
    assert_eq!((json!(ids), json!(types)), (want["ids"].clone(), want["types"].clone()), "{of}");
    assert_eq!(template.special_tokens(), ids.len() - texts.iter().map(|text| text.len()).sum::<usize>());
    let offsets = want["offsets"].as_array().unwrap();
    let mut special = vec![true; ids.len()];
    for (at, (pieces, place)) in texts.into_iter().zip(places).enumerate() {
        assert_eq!(pieces.len(), place.len());
        for (piece, token) in pieces.iter().zip(place) {
            assert_eq!(piece.id, ids[token]);
            assert_place(piece, &text_of(at, piece), &offsets[token], of);
            special[token] = false;
        }
    }
    let nulls: Vec<bool> = offsets.iter().map(Value::is_null).collect();
    assert_eq!(special, nulls, "{of}");
}

#[test]
fn a_text_and_a_pair_have_the_tokens_that_transformers_gives_them() {
    for (encoder, tokenizer, recorded) in each_tokenizer() {
        let texts = recorded["texts"].as_array().unwrap();
        for want in texts {
            let text = want["text"].as_str().unwrap();
            let pieces = tokenizer.text(text).unwrap();
            assert_window(tokenizer.single(), [&pieces], |_, _| text.to_owned(), want, &format!("{encoder}: {text:?}"));
        }
        let pairs = recorded["pairs"].as_array().unwrap();
        for want in pairs {
            let pair = ["first", "second"].map(|name| want[name].as_str().unwrap());
            let [first, second] = pair.map(|text| tokenizer.text(text).unwrap());
            let of = format!("{encoder}: {pair:?}");
            assert_window(tokenizer.pair().unwrap(), [&first, &second], |at, _| pair[at].to_owned(), want, &of);
        }
        assert!(texts.len() > 20 && pairs.len() > 3);
    }
}

#[test]
fn words_have_the_tokens_that_transformers_gives_them_with_a_space_before_each() {
    for (encoder, tokenizer, recorded) in each_tokenizer() {
        let lists = recorded["words"].as_array().unwrap();
        for want in lists {
            let words: Vec<&str> =
                want["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            let pieces = tokenizer.words(&words).unwrap();
            let of = format!("{encoder}: {words:?}");
            let word = |_: usize, piece: &Piece| words[piece.word].to_owned();
            assert_window(tokenizer.single(), [&pieces], word, want, &of);
            let word_ids = want["word_ids"].as_array().unwrap().iter().filter_map(Value::as_u64);
            assert!(word_ids.eq(pieces.iter().map(|piece| piece.word as u64)), "{of}");
        }
        assert!(lists.len() > 10);
    }
}

/// A tokenizer of an encoder with a changed file.
fn changed(folder: &str, change: impl FnOnce(&mut Value)) -> polyhead::Result<Tokenizer> {
    let file = fixture(folder).join("tokenizer.json");
    let mut content: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    change(&mut content);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, content.to_string()).unwrap();
    Tokenizer::load(&path)
}

#[test]
fn words_are_the_same_whatever_the_file_says_of_the_space_before_a_text_which_decides_for_texts() {
    let plain = changed("tiny-roberta", |_| {}).unwrap();
    let spaced = changed("tiny-roberta", |file| {
        file["pre_tokenizer"]["add_prefix_space"] = json!(true);
        file["post_processor"]["add_prefix_space"] = json!(true);
    });
    // As part of a sequence, and with a post-processor that knows nothing of the space.
    let nested = changed("tiny-roberta", |file| {
        file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [file["pre_tokenizer"]] });
        file["post_processor"] = json!({ "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } } });
    });
    let (spaced, nested) = (spaced.unwrap(), nested.unwrap());
    let words = ["Mary's", "café", "東京", "a\u{a0}b", "in"];
    let want = plain.words(&words).unwrap();
    let places = |pieces: &[Piece]| pieces.iter().map(|piece| (piece.id, piece.word)).collect::<Vec<_>>();
    assert_eq!(places(&want), places(&spaced.words(&words).unwrap()));
    assert_eq!(places(&want), places(&nested.words(&words).unwrap()));
    let ids = |tokenizer: &Tokenizer, text: &str| -> Vec<u32> {
        tokenizer.text(text).unwrap().iter().map(|piece| piece.id).collect()
    };
    assert_eq!(ids(&spaced, "in it"), ids(&plain, " in it"));
    assert_ne!(ids(&plain, "in it"), ids(&plain, " in it"));
    assert_eq!(ids(&nested, "in it"), ids(&plain, "in it"));
}

#[test]
fn a_tokenizer_that_puts_no_special_tokens_around_texts_is_refused_unless_it_has_those_of_bert() {
    let refused = |folder: &str, change: fn(&mut Value)| changed(folder, change).err().unwrap();
    let without = |file: &mut Value| file["post_processor"] = Value::Null;
    let bert = changed("tiny-bert", without).unwrap();
    let whole = changed("tiny-bert", |_| {}).unwrap();
    assert_eq!(bert.single(), whole.single());
    assert_eq!(bert.pair().unwrap(), whole.pair().unwrap());

    let error = refused("tiny-roberta", without);
    assert!(
        error.to_string().contains("expected a `post_processor` that puts special tokens around a text"),
        "{error}"
    );
    assert!(error.to_string().contains("found none") && error.hint_text().is_some(), "{error}");
    let error = refused("tiny-roberta", |file| {
        file["post_processor"] = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
    });
    assert!(error.to_string().contains("found one that puts none before it"), "{error}");
    let error = refused("tiny-roberta", |file| file["post_processor"]["cls"] = json!(["<s>", 300]));
    assert!(error.to_string().contains("expected special tokens with ids up to 299, found 300"), "{error}");
    let error = refused("tiny-roberta", |file| {
        let tokens = file["added_tokens"].as_array_mut().unwrap();
        tokens.retain(|token| token["content"] != "<pad>");
        file["model"]["vocab"].as_object_mut().unwrap().remove("<pad>");
    });
    assert!(error.to_string().contains("expected a padding token, `[PAD]` or `<pad>`, found none"), "{error}");
}

#[test]
fn the_padding_token_is_that_of_the_file_and_a_tokenizer_for_single_texts_says_so_when_it_gets_a_pair() {
    assert_eq!(changed("tiny-roberta", |_| {}).unwrap().pad, 1);
    assert_eq!(changed("tiny-bert", |_| {}).unwrap().pad, 0);
    let padded = changed("tiny-roberta", |file| {
        file["padding"] = json!({ "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 4, "pad_type_id": 0, "pad_token": "<mask>" });
    });
    assert_eq!(padded.unwrap().pad, 4);
    let single = changed("tiny-roberta", |file| {
        file["post_processor"] = json!({ "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } } });
    });
    let single = single.unwrap();
    assert_eq!(single.single().special_tokens(), 1);
    let error = single.pair().err().unwrap();
    assert!(error.to_string().contains("expected a tokenizer for pairs of texts"), "{error}");
}
