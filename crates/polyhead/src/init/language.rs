//! The languages of texts, and an encoder for them.

use super::LookedAt;
use serde::Serialize;
use std::collections::BTreeMap;

/// How much of the texts is in a language.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// Its English name.
    pub language: &'static str,
    /// From 0 to 1, of what could be told.
    pub share: f64,
}

/// Texts are brought together to pieces of so many bytes: a short one does not tell its language.
const PIECE: usize = 600;
/// So many pieces, from the beginning to the end of a file, are enough.
const PIECES: usize = 60;
/// Less than this share is a name or a quotation.
const LEAST: f64 = 0.05;

/// The languages of texts, the most frequent first.
pub(super) fn languages(texts: &[String]) -> Vec<Share> {
    let mut pieces: Vec<String> = vec![String::new()];
    for text in texts {
        if let Some(last) = pieces.last_mut() {
            last.push_str(text);
            last.push('\n');
            if last.len() >= PIECE {
                pieces.push(String::new());
            }
        }
    }
    let every = pieces.len().div_ceil(PIECES);
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut told = 0;
    for piece in pieces.iter().step_by(every.max(1)) {
        if let Some(found) = whatlang::detect(piece).filter(whatlang::Info::is_reliable) {
            *counts.entry(found.lang().eng_name()).or_default() += 1;
            told += 1;
        }
    }
    let mut shares: Vec<Share> = counts
        .into_iter()
        .map(|(language, count)| Share { language, share: count as f64 / f64::from(told.max(1)) })
        .filter(|share| share.share >= LEAST)
        .collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.language.cmp(b.language)));
    shares
}

/// For English, and where nothing tells: a small one that trains on a laptop.
pub(super) const OF_ENGLISH: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// For a hundred languages.
pub(super) const OF_ANY: &str = "FacebookAI/xlm-roberta-base";

/// An encoder for the languages of these files.
pub(super) fn encoder(files: &[LookedAt]) -> &'static str {
    let other = files.iter().flat_map(|file| &file.languages).any(|share| share.language != "English");
    if other { OF_ANY } else { OF_ENGLISH }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_languages_of_a_file_are_told_by_pieces_of_it() {
        let english =
            "The ferry to the island leaves every morning at nine, and the captain sells the tickets himself.";
        let german =
            "Die Fähre zur Insel fährt jeden Morgen um neun Uhr ab, und der Kapitän verkauft die Karten selbst.";
        let of = |english_texts: usize, german_texts: usize| {
            let texts = std::iter::repeat_n(english, english_texts).chain(std::iter::repeat_n(german, german_texts));
            languages(&texts.map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(of(60, 0), [Share { language: "English", share: 1.0 }]);
        let mixed = of(30, 90);
        assert_eq!((mixed.len(), mixed[0].language), (2, "German"), "{mixed:?}");
        assert!((0.6..0.9).contains(&mixed[0].share), "{mixed:?}");
        assert!(of(0, 0).is_empty());
    }
}
