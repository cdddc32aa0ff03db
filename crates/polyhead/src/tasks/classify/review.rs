//! What is not read of texts: those that the tokenizer deletes whole, and the ends of long pairs.

use super::{Classify, Labelled};
use crate::data::Skipped;
use crate::document::number;
use crate::error::Result;
use crate::tasks::{Review, found};
use crate::text::Tokenizer;
use rayon::prelude::*;
use serde_json::json;

pub(super) fn review(task: &Classify, examples: &[Labelled], tokenizer: &Tokenizer) -> Result<Review> {
    let tokens = |example: &Labelled| {
        let (text, pair) = Classify::tokens(example, tokenizer)?;
        Ok((text.len(), pair.map(|pair| pair.len())))
    };
    let tokens: Vec<Result<(usize, Option<usize>)>> = examples.par_iter().map(tokens).collect();
    let mut review = Review::default();
    let (mut long, mut cut, mut first) = (0, 0, None);
    for (index, (example, tokens)) in examples.iter().zip(tokens).enumerate() {
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
        let (kept_text, kept_pair) = Classify::kept(room, text, pair);
        let lost = text - kept_text + pair - kept_pair;
        if lost > 0 {
            (long, cut) = (long + 1, cut + lost);
            first.get_or_insert_with(|| example.place.to_string());
        }
    }
    if let Some(first) = first {
        let (pairs, most) = (number::counted(long, "pair"), task.config.max_length);
        review.notes.push(format!(
            "{pairs} of more than max_length = {most} tokens (the first: {first}): {} at the ends of their texts are not read",
            number::counted(cut, "token")
        ));
    }
    Ok(review)
}
