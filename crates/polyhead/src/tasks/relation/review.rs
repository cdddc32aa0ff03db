//! What is not read of texts: those whose parts lie too far apart, and what stands far from both.

use super::{Asked, Encoded, Relation};
use crate::data::Skipped;
use crate::error::Result;
use crate::tasks::{Cut, Review, found};
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
    let mut cut = Cut::default();
    for (index, (Asked { relation, .. }, read)) in examples.iter().zip(read).enumerate() {
        match read? {
            Ok(0) => {}
            Ok(lost) => cut.add(lost, &relation.place),
            Err(why) => {
                let (place, example) = (relation.place.clone(), found(Some(&json!(relation.marked()))));
                review.empty.push((index, Skipped { place, example, reason: why.to_string() }));
            }
        }
    }
    review.notes.extend(cut.note("text", task.config.max_length, "far from both parts"));
    Ok(review)
}
