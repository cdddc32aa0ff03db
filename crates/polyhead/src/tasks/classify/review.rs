//! What is checked of texts before training: labels that teach nothing, texts that the tokenizer deletes whole, the ends of long pairs.

use super::{Classify, Labelled, Problem, kept, tokens};
use crate::data::Skipped;
use crate::document::number;
use crate::error::{Error, Result};
use crate::tasks::{Cut, Review, found, too_few};
use crate::text::Tokenizer;
use rayon::prelude::*;
use serde_json::json;

/// Refuses training data whose labels teach nothing.
pub(super) fn learnable(problem: Problem, train: &[Labelled]) -> Result<()> {
    let Some(first) = train.first() else { return Ok(()) };
    let mut labels = train.iter().flat_map(Labelled::labels).map(String::as_str);
    let texts = number::counted(train.len(), "text");
    let message = match problem {
        Problem::SingleLabel => match too_few(labels, &texts) {
            Some(message) => message,
            None => return Ok(()),
        },
        Problem::MultiLabel if labels.next().is_none() => {
            format!("expected texts with labels to train on, found none in {texts}")
        }
        Problem::Regression if train.iter().all(|example| example.number() == first.number()) => {
            let found = first.number().unwrap_or_default();
            format!("expected different numbers to train on, found {found} alone in {texts}")
        }
        _ => return Ok(()),
    };
    Err(Error::data(message).at(first.place.clone()).hint("is the label read from the right column?"))
}

pub(super) fn review(task: &Classify, examples: &[Labelled], tokenizer: &Tokenizer) -> Result<Review> {
    let counts = |example: &Labelled| {
        let (text, pair) = tokens(example, tokenizer)?;
        Ok((text.len(), pair.map(|pair| pair.len())))
    };
    let counted: Vec<Result<(usize, Option<usize>)>> = examples.par_iter().map(counts).collect();
    let mut review = Review::default();
    let mut cut = Cut::default();
    for (index, (example, tokens)) in examples.iter().zip(counted).enumerate() {
        let (text, pair) = tokens?;
        if text == 0 || pair == Some(0) {
            let which = if text == 0 { "its text" } else { "its second text" };
            review.empty.push((
                index,
                Skipped {
                    place: example.place.clone(),
                    example: found(Some(&json!(example.text.escape_debug().to_string()))),
                    reason: format!("the tokenizer makes no token of {which}"),
                },
            ));
        }
        let Some(pair) = pair else { continue };
        let room = tokenizer.pair()?.room(task.config.max_length, 0)?;
        let (kept_text, kept_pair) = kept(room, text, pair);
        let lost = text - kept_text + pair - kept_pair;
        if lost > 0 {
            cut.add(lost, &example.place);
        }
    }
    review.notes.extend(cut.note("pair", task.config.max_length, "at the ends of their texts"));
    Ok(review)
}
