//! Sentences with entities, written into a file and read again.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use super::written;
use polyhead::ErrorKind;
use polyhead::data::{Layout, Read, Sentence, read_sentences};

/// What a file of this name and text holds.
pub fn read_as(name: &str, text: &str, layout: &Layout) -> Read<Sentence> {
    let (_folder, path) = written(name, text.as_bytes());
    read_sentences(&path, None, layout).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Why it is refused, with the hint and without its folder.
pub fn refusal(name: &str, text: &str, layout: &Layout) -> String {
    let (folder, path) = written(name, text.as_bytes());
    let error = read_sentences(&path, None, layout).expect_err(text);
    assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Usage), "{error}");
    let said = format!("{error}\nhint: {}", error.hint_text().unwrap_or("none"));
    said.replace(&format!("{}/", folder.path().display()), "")
}

/// Its sentences as `word/tag word/tag`.
pub fn tagged(read: &Read<Sentence>) -> Vec<String> {
    let one = |sentence: &Sentence| {
        let pairs = sentence.words.iter().zip(&sentence.tags);
        pairs.map(|(word, tag)| format!("{word}/{tag}")).collect::<Vec<_>>().join(" ")
    };
    read.examples.iter().map(one).collect()
}
