//! The ranges that the inputs of linear layers have on training examples: what files with static quantisation are made with.

use super::data::Data;
use crate::encoders::{EncoderOverrides, Precision};
use crate::error::Result;
use crate::hub::model_folder;
use crate::infer::Session;
use crate::model::Model;
use crate::parameters::Int8;
use crate::tasks::TASKS;
use std::path::Path;

/// The model of a folder (a run folder: its best), whose linear layers know the range of their inputs on about so many training
/// examples of each task. The data are those of this recipe; of that of the run, if none is given. `notify` hears of progress.
///
/// # Errors
/// There is no such model, recipe or data.
pub fn with_input_ranges(
    folder: &Path,
    recipe: Option<&Path>,
    examples: usize,
    notify: &mut dyn FnMut(&str),
) -> Result<Session> {
    let folder = model_folder(folder);
    let adjust = EncoderOverrides { precision: Precision::F32, int8: Int8::Watched, ..EncoderOverrides::default() };
    let session = Session { model: Model::load_adjusted(&folder, TASKS, &adjust)? };
    for sample in Data::of(&folder, recipe)?.samples(&session.model, examples, notify)? {
        let windows = sample.windows(&session.model, usize::MAX)?;
        sample.logits(&session.model, &windows)?;
    }
    Ok(session)
}
