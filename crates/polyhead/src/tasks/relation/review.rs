//! What is not read of texts: those whose parts lie too far apart, and what stands far from both.

use super::{Asked, Encoded, Relation};
use crate::data::Skipped;
use crate::document::number;
use crate::error::Result;
use crate::tasks::{Review, found};
use crate::text::Tokenizer;
use rayon::prelude::*;
use serde_json::json;

pub(super) fn review(task: &Relation, examples: &[Asked], tokenizer: &Tokenizer) -> Result<Review> {
    let room = tokenizer.single().room(task.config.max_length, 0)?;
    let read = |example: &Asked| {
        let encoded = Encoded::of(&task.config, &example.relation, tokenizer)?;
        // How many tokens are left out, or why it can't be read.
        Ok(encoded.window(&task.config, room).map(|window| encoded.pieces.len() - window.len()))
    };
    let read: Vec<Result<_>> = examples.par_iter().map(read).collect();
    let mut review = Review::default();
    let (mut long, mut cut, mut first) = (0, 0, None);
    for (index, (Asked { relation, .. }, read)) in examples.iter().zip(read).enumerate() {
        match read? {
            Ok(0) => {}
            Ok(lost) => {
                (long, cut) = (long + 1, cut + lost);
                first.get_or_insert_with(|| relation.place.to_string());
            }
            Err(why) => {
                let (place, example) = (relation.place.clone(), found(Some(&json!(relation.marked()))));
                review.empty.push((index, Skipped { place, example, reason: why.to_string() }));
            }
        }
    }
    if let Some(first) = first {
        let (texts, most) = (number::counted(long, "text"), task.config.max_length);
        review.notes.push(format!(
            "{texts} of more than max_length = {most} tokens (the first: {first}): {} far from both parts are not read",
            number::counted(cut, "token")
        ));
    }
    Ok(review)
}
