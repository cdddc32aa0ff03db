//! A model without its weights: tokenizer and tasks. It makes windows of texts and answers of logits, where another program runs the
//! network in between.
//!
//! ```text
//! config.json, tokenizer.json -> Codec { tokenizer, tasks }
//! ```

use super::folder::Polyhead;
use super::{NamedTask, case_embeddings, check_names};
use crate::encoders::EncoderKind;
use crate::error::{Error, Place, Result};
use crate::tasks::TaskKind;
use crate::text::Tokenizer;
use serde_json::Value;
use std::path::Path;

/// What stands before and behind the network of a model.
pub struct Codec {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The tasks, in the order of the recipe. Their heads are not there.
    pub tasks: Vec<NamedTask>,
    /// The architecture of the encoder that is run elsewhere.
    pub encoder: &'static EncoderKind,
}

impl Codec {
    /// Of the bytes of a model folder's `config.json` and `tokenizer.json`; `kinds` are the known tasks.
    ///
    /// # Errors
    /// The first is not one that polyhead wrote, or the second no tokenizer.
    pub fn from_bytes(config: &[u8], tokenizer: &[u8], kinds: &[TaskKind]) -> Result<Self> {
        let path = Path::new("config.json");
        let mut config: Value = serde_json::from_slice(config).map_err(|cause| {
            Error::data(format!("not valid JSON: {cause}")).at(Place::column(path, cause.line(), cause.column()))
        })?;
        let encoder = EncoderKind::of(path, &config)?;
        let ours = Polyhead::take(&mut config, path)?.ok_or_else(|| {
            Error::data("expected the field `polyhead`, which says what the heads are, found none")
                .at(Place::file(path))
        })?;
        let tasks = ours.tasks.into_iter().map(|task| task.open(kinds, path)).collect::<Result<Vec<_>>>()?;
        check_names(&tasks).map_err(|error| error.at_least(Place::file(path)))?;
        let tokenizer = Tokenizer::from_bytes(tokenizer, Path::new("tokenizer.json"))?;
        Ok(Self { tokenizer: tokenizer.with_case(case_embeddings::has(&config)), tasks, encoder })
    }
}
