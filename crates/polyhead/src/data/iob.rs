//! Entity tags: which are legal, and how every file comes to IOB2.
//!
//! In IOB2 each entity opens with `B-`. In IOB1, the scheme of the original CoNLL-2003 distribution, an entity opens
//! with `I-`, and `B-` only parts it from a neighbour of the same type (Ramshaw and Marcus 1995; Tjong Kim Sang and
//! Veenstra 1999). Heads train on one scheme, and strict scoring knows only IOB2, so readers convert: an `I-x` that
//! does not continue an `x` opens an entity in either reading, and becomes `B-x`.

use std::path::Path;

use super::{Read, Sentence, Skipped, quoted, start_of};
use crate::error::{Error, Place, Result};

/// Refuses a tag that is not `O`, `B-type` or `I-type`.
pub(super) fn check_tag(tag: &str, place: impl FnOnce() -> Place) -> Result<()> {
    if tag == "O" || kind_of(tag).is_some() {
        return Ok(());
    }
    let prefix = tag.split('-').next().unwrap_or("");
    let hint = if matches!(prefix, "E" | "S" | "L" | "U" | "M") {
        "BIOES and BILOU tags are not read: convert them to IOB2"
    } else if tag.parse::<f64>().is_ok() {
        "tags are names, not class numbers"
    } else if matches!(tag, "B" | "I" | "B-" | "I-") {
        "an entity needs a type, as in `B-PER`"
    } else {
        "is the tag the last column, and does the line not hold a comment?"
    };
    Err(Error::data(format!("expected a tag `O`, `B-type` or `I-type`, found {}", quoted(tag))).at(place()).hint(hint))
}

/// The type of an entity tag; `None` for `O` and anything else.
fn kind_of(tag: &str) -> Option<&str> {
    tag.strip_prefix("B-").or_else(|| tag.strip_prefix("I-")).filter(|kind| !kind.is_empty())
}

/// Gives every entity its `B-`, and says what was done.
fn to_iob2(sentences: &mut [Sentence]) -> Option<String> {
    let (mut converted, mut first, mut opened_with_b) = (0_usize, None, 0_usize);
    for sentence in sentences {
        let mut previous: Option<String> = None;
        for tag in &mut sentence.tags {
            let kind = kind_of(tag).map(str::to_owned);
            if kind.is_some() && kind != previous {
                match tag.strip_prefix("I-") {
                    Some(kind) => {
                        *tag = format!("B-{kind}");
                        converted += 1;
                        first.get_or_insert_with(|| sentence.place.clone());
                    }
                    None => opened_with_b += 1,
                }
            }
            previous = kind;
        }
    }
    let first = first?;
    Some(if opened_with_b == 0 {
        format!(
            "the tags were converted from IOB1 to IOB2: {converted} entities that open with `I-` now open with `B-`"
        )
    } else {
        format!(
            "{converted} entities open with `I-` while {opened_with_b} open with `B-`; all were given a `B-` \
             (the first in the sentence at {first})"
        )
    })
}

/// Whether a tokenizer makes anything of a word: BERT's drops white space, control and format characters.
fn is_visible(word: &str) -> bool {
    let invisible = |c: char| {
        let format =
            matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}');
        format || c.is_whitespace() || c.is_control() || matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFFD}')
    };
    !word.chars().all(invisible)
}

/// What every reader of sentences does with those it read: tags to IOB2, unusable sentences out, the first `limit`.
///
/// The scheme is decided on the whole file, so that a limit does not change it. A sentence keeps an invisible word: it
/// gets no tokens, and a prediction for it is `O`. A sentence of nothing else is skipped.
pub(super) fn finish(
    file: &Path,
    mut sentences: Vec<Sentence>,
    mut notes: Vec<String>,
    limit: Option<usize>,
) -> Result<Read<Sentence>> {
    if sentences.is_empty() {
        return Err(Error::data("expected sentences, found none").at(Place::file(file)));
    }
    notes.extend(to_iob2(&mut sentences));
    let (mut examples, mut skipped, mut invisible) = (Vec::new(), Vec::new(), 0_usize);
    for sentence in sentences {
        if limit.is_some_and(|limit| examples.len() >= limit) {
            break;
        }
        let hidden = sentence.words.iter().filter(|word| !is_visible(word)).count();
        if hidden < sentence.words.len() {
            invisible += hidden;
            examples.push(sentence);
            continue;
        }
        let reason = match sentence.words.is_empty() {
            true => "it has no words",
            false => "all its words are empty or invisible (white space, control or format characters)",
        };
        let example = start_of(&sentence.words.join(" "));
        skipped.push(Skipped { place: sentence.place, example, reason: reason.to_owned() });
    }
    if let (true, Some(first)) = (examples.is_empty() && limit != Some(0), skipped.first()) {
        let message = format!("none of {} sentences can be used; the first: {}", skipped.len(), first.reason);
        return Err(Error::data(message).at(first.place.clone()));
    }
    if invisible > 0 {
        notes.push(format!("{invisible} words are empty or invisible: no token stands for them, so they count as `O`"));
    }
    Ok(Read { examples, skipped, notes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn converted(tags: &[&[&str]]) -> (Vec<Vec<String>>, Option<String>) {
        let sentence = |tags: &&[&str]| Sentence {
            place: Place::line("f", 1),
            words: tags.iter().map(|_| "w".to_owned()).collect(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        };
        let mut sentences: Vec<_> = tags.iter().map(sentence).collect();
        let note = to_iob2(&mut sentences);
        (sentences.into_iter().map(|sentence| sentence.tags).collect(), note)
    }

    #[test]
    fn iob1_becomes_iob2() {
        let (tags, note) = converted(&[&["I-A", "I-A", "B-A", "I-B", "O"], &["I-A", "O", "I-A"]]);
        assert_eq!(tags, [vec!["B-A", "I-A", "B-A", "B-B", "O"], vec!["B-A", "O", "B-A"]]);
        assert!(note.unwrap().contains("from IOB1 to IOB2: 4 entities"));
    }

    #[test]
    fn iob2_stays_as_it_is() {
        let (tags, note) = converted(&[&["B-A", "I-A", "B-A", "B-B", "O"], &["O", "O"]]);
        assert_eq!(tags, [vec!["B-A", "I-A", "B-A", "B-B", "O"], vec!["O", "O"]]);
        assert_eq!(note, None);
    }

    #[test]
    fn mixed_schemes_are_counted() {
        let (tags, note) = converted(&[&["B-A", "I-B", "O"], &["I-A", "I-A"]]);
        assert_eq!(tags, [vec!["B-A", "B-B", "O"], vec!["B-A", "I-A"]]);
        let note = note.unwrap();
        assert!(note.contains("2 entities open with `I-` while 1 open with `B-`") && note.contains("f:1"), "{note}");
    }

    #[test]
    fn a_word_of_zero_width_characters_is_invisible() {
        assert!(
            ["", " ", "\u{200B}", "\u{FEFF}\u{200D}", "\u{85}", "\u{A0}", "\u{FFFD}"].iter().all(|w| !is_visible(w))
        );
        assert!(["a", ".", "\u{200B}x", "\u{1F600}", "京"].iter().all(|w| is_visible(w)));
    }
}
