//! What is not read of questions: the tokens of a long one beyond the limit, and texts that the tokenizer deletes whole.

use super::{Qa, QaExample};
use crate::data::Skipped;
use crate::error::Result;
use crate::tasks::{Review, found};
use crate::text::Tokenizer;
use rayon::prelude::*;
use serde_json::json;

pub(super) fn review(examples: &[QaExample], limit: usize, tokenizer: &Tokenizer) -> Result<Review> {
    let tokens = |example: &QaExample| Ok(Qa::question(&example.question, tokenizer)?.len());
    let tokens: Vec<Result<usize>> = examples.par_iter().map(tokens).collect();
    let mut review = Review::default();
    let (mut long, mut cut, mut first) = (0, 0, None);
    for (index, (example, tokens)) in examples.iter().zip(tokens).enumerate() {
        let tokens = tokens?;
        if tokens == 0 {
            review.empty.push((
                index,
                Skipped {
                    place: example.place.clone(),
                    example: found(Some(&json!(example.question.escape_debug().to_string()))),
                    reason: "the tokenizer makes no token of its question".to_owned(),
                },
            ));
        }
        if tokens > limit {
            (long, cut) = (long + 1, cut + tokens - limit);
            first.get_or_insert_with(|| example.place.to_string());
        }
    }
    if let Some(first) = first {
        let questions = if long == 1 { "1 question has".to_owned() } else { format!("{long} questions have") };
        review.notes.push(format!(
            "{questions} more than max_question_length = {limit} tokens (the first: {first}): the {cut} tokens beyond it are \
             not read"
        ));
    }
    Ok(review)
}
