//! Entity tags: which are legal, and which scheme a file is in.
//!
//! In IOB2 each entity opens with `B-`. In IOB1, the scheme of the original CoNLL-2003 distribution, an entity opens
//! with `I-`, and `B-` only parts it from a neighbour of the same type (Ramshaw and Marcus 1995; Tjong Kim Sang and
//! Veenstra 1999). Heads train on one scheme, so a file that is wholly IOB1 is converted. Where a file of IOB2 has an
//! `I-x` that continues nothing, its tags stay: strict scoring reads them to the letter, as seqeval does, and only
//! training takes the word as the first of an entity ([`training_tag`]).

use std::borrow::Cow;
use std::path::Path;

use super::{Read, Sentence, Skipped, quoted, start_of};
use crate::error::{Error, Place, Result};

/// How a recipe says what class numbers mean.
pub(super) const NAME_THE_NUMBERS: &str =
    "class numbers need names, in their order: data.TASK.tag_names = [\"O\", \"B-PER\", \"I-PER\", ...]";

/// Whether it is `O`, `B-type` or `I-type`.
pub(super) fn is_tag(tag: &str) -> bool {
    tag == "O" || kind_of(tag).is_some()
}

/// Refuses a tag that is not `O`, `B-type` or `I-type`.
pub(super) fn check_tag(tag: &str, place: impl FnOnce() -> Place) -> Result<()> {
    if is_tag(tag) {
        return Ok(());
    }
    let message = format!("expected a tag `O`, `B-type` or `I-type`, found {}", quoted(tag));
    Err(Error::data(message).at(place()).hint(way_out(tag)))
}

/// What may have been meant by something that is no tag.
pub(super) fn way_out(tag: &str) -> String {
    let (prefix, rest) = tag.split_once(['-', '_', ':', '/']).unwrap_or((tag, ""));
    let upper = tag.to_uppercase();
    match tag {
        "0" => format!("a word outside of entities has the letter `O`, and this is a zero; {NAME_THE_NUMBERS}"),
        _ if tag.parse::<f64>().is_ok() => NAME_THE_NUMBERS.to_owned(),
        "B" | "I" | "B-" | "I-" => "an entity needs a type, as in `B-PER`".to_owned(),
        "" | "-" | "_" | "OUT" | "NONE" => "a word outside of entities has the tag `O`".to_owned(),
        _ if tag != upper && is_tag(&upper) => format!("in capital letters: `{}`", start_of(&upper)),
        _ if matches!(prefix, "E" | "S" | "L" | "U" | "M") && tag.contains('-') => {
            "BIOES and BILOU tags are not read: convert them to IOB2".to_owned()
        }
        _ if matches!(prefix, "B" | "I") && !rest.is_empty() => {
            format!("with a hyphen: `{prefix}-{}`", start_of(rest))
        }
        _ if tag.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) => {
            let kind = start_of(tag);
            format!(
                "if it is a type, the first word of an entity has `B-{kind}` and those after it `I-{kind}`; if it is \
                 none: is the tag the last column?"
            )
        }
        _ => "is the tag the last column, and does the line not hold a comment?".to_owned(),
    }
}

/// The type of an entity tag; `None` for `O` and anything else.
fn kind_of(tag: &str) -> Option<&str> {
    tag.strip_prefix("B-").or_else(|| tag.strip_prefix("I-")).filter(|kind| !kind.is_empty())
}

/// The tag that training takes for a word: that of the file, but `B-x` for an `I-x` that continues no `x`.
pub fn training_tag<S: AsRef<str>>(tags: &[S], word: usize) -> Option<Cow<'_, str>> {
    let tag = tags.get(word)?.as_ref();
    let before = word.checked_sub(1).and_then(|before| kind_of(tags.get(before)?.as_ref()));
    Some(match tag.strip_prefix("I-") {
        Some(kind) if !kind.is_empty() && before != Some(kind) => Cow::Owned(format!("B-{kind}")),
        _ => Cow::Borrowed(tag),
    })
}

/// Brings a file that is wholly IOB1 to IOB2. Says what was done, and what stands in a file that mixes both.
fn to_iob2(sentences: &mut [Sentence]) -> Option<String> {
    let (mut orphans, mut first, mut opened_with_b) = (0_usize, None, 0_usize);
    for sentence in sentences.iter() {
        let mut previous = None;
        for tag in &sentence.tags {
            let kind = kind_of(tag);
            if kind.is_some() && kind != previous {
                match tag.starts_with("I-") {
                    true => {
                        orphans += 1;
                        first.get_or_insert_with(|| sentence.place.clone());
                    }
                    false => opened_with_b += 1,
                }
            }
            previous = kind;
        }
    }
    let first = first?;
    if opened_with_b > 0 {
        return Some(format!(
            "{orphans} entities open with `I-` while {opened_with_b} open with `B-` (the first in the sentence at \
             {first}): training opens them with `B-`; scores take the tags as they stand, so that the strict ones do \
             not count them"
        ));
    }
    for sentence in sentences {
        let tags = (0..sentence.tags.len()).filter_map(|word| training_tag(&sentence.tags, word).map(Cow::into_owned));
        sentence.tags = tags.collect();
    }
    Some(format!(
        "the tags were converted from IOB1 to IOB2: {orphans} entities that open with `I-` now open with `B-`"
    ))
}

/// What every reader of sentences does with those it read: tags to IOB2, unusable sentences out, the first `limit`.
///
/// The scheme is decided on the whole file, so that a limit does not change it. What a tokenizer makes nothing of, a reader
/// does not know: a sentence without words is skipped here, any other is the task's to judge.
pub(super) fn finish(file: &Path, found: Read<Sentence>, limit: Option<usize>) -> Result<Read<Sentence>> {
    let Read { examples: mut sentences, mut skipped, mut notes } = found;
    if sentences.is_empty() && skipped.is_empty() {
        return Err(Error::data("expected sentences, found none").at(Place::file(file)));
    }
    notes.extend(to_iob2(&mut sentences));
    let mut examples = Vec::new();
    for sentence in sentences {
        if limit.is_some_and(|limit| examples.len() >= limit) {
            break;
        }
        if sentence.words.is_empty() {
            let (example, reason) = (String::new(), "it has no words".to_owned());
            skipped.push(Skipped { place: sentence.place, example, reason });
        } else {
            examples.push(sentence);
        }
    }
    if let (true, Some(first)) = (examples.is_empty() && limit != Some(0), skipped.first()) {
        let message = format!("none of {} sentences can be used; the first: {}", skipped.len(), first.reason);
        return Err(Error::data(message).at(first.place.clone()));
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
    fn a_file_that_mixes_both_schemes_keeps_its_tags_and_says_how_many_are_orphans() {
        let (tags, note) = converted(&[&["B-A", "I-B", "O"], &["I-A", "I-A"]]);
        assert_eq!(tags, [vec!["B-A", "I-B", "O"], vec!["I-A", "I-A"]]);
        let note = note.unwrap();
        assert!(note.contains("2 entities open with `I-` while 1 open with `B-`") && note.contains("f:1"), "{note}");
        assert!(note.contains("scores take the tags as they stand"), "{note}");
    }

    #[test]
    fn training_opens_with_b_what_continues_nothing() {
        let tags = ["I-A", "I-A", "B-A", "I-B", "O", "I-B", "I-B-C"];
        let trained: Vec<_> = (0..tags.len()).filter_map(|word| training_tag(&tags, word)).collect();
        assert_eq!(trained, ["B-A", "I-A", "B-A", "B-B", "O", "B-B", "B-B-C"]);
        assert_eq!(training_tag(&tags, tags.len()), None);
    }

    #[test]
    fn a_wrong_tag_has_the_hint_that_fits_it() {
        for (tag, hint) in [
            ("0", "this is a zero"),
            ("7", "data.TASK.tag_names"),
            ("o", "in capital letters: `O`"),
            ("b-per", "in capital letters: `B-PER`"),
            ("S-ORG", "BIOES"),
            ("B_ORG", "with a hyphen: `B-ORG`"),
            ("I", "needs a type"),
            ("_", "has the tag `O`"),
            ("PER", "`B-PER` and those after it `I-PER`"),
            ("(x", "is the tag the last column"),
        ] {
            assert!(way_out(tag).contains(hint), "{tag}: {}", way_out(tag));
        }
    }
}
