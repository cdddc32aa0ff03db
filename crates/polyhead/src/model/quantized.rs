//! Model folders whose encoder is in bytes: a quarter of the size, and its linear layers multiply them.
//!
//! ```text
//! model_int8.safetensors         linear layers and tables of embeddings in bytes, with a scale for each row (`parameters/int8.rs`)
//! config.json, field `polyhead`  "int8": {"kept": ["encoder.layer.0.output.dense"]}   linear layers that are as they were
//! ```
//!
//! LayerNorm, biases and heads are as they were, and low-rank additions are merged. Embeddings are read back into f32: nothing
//! multiplies them.

use super::{Model, card};
use crate::error::Result;
use crate::io::INT8_WEIGHTS;
use crate::parameters::{Group, Owner, Parameter, Role, write_tensors_in_bytes};
use std::collections::BTreeSet;
use std::path::Path;

impl Model {
    /// Writes the files of such a folder; `kept` names linear layers of the encoder that stay as they are, without `.weight`.
    ///
    /// # Errors
    /// A file can't be written.
    pub(crate) fn save_in_bytes(&self, folder: &Path, kept: &BTreeSet<String>) -> Result<()> {
        self.parameters.check_finite()?;
        let layers = self.linear_layers.iter().flatten().filter(|name| !kept.contains(*name));
        let layers: BTreeSet<String> = layers.map(|name| format!("{name}.weight")).collect();
        let kept_weights: BTreeSet<String> = kept.iter().map(|name| format!("{name}.weight")).collect();
        let is_table = |parameter: &Parameter| is_table(parameter) && !kept_weights.contains(&parameter.name);
        let in_bytes = self.parameters.iter().filter(|one| layers.contains(&one.name) || is_table(one));
        let in_bytes: BTreeSet<&str> = in_bytes.map(|parameter| parameter.name.as_str()).collect();
        self.describe_in_bytes(folder, kept)?;
        let tensors = self.parameters.merged(self.lora.as_ref())?;
        write_tensors_in_bytes(&folder.join(INT8_WEIGHTS), &tensors, &|name| in_bytes.contains(name))
    }

    /// Writes what stands beside these weights.
    pub(crate) fn describe_in_bytes(&self, folder: &Path, kept: &BTreeSet<String>) -> Result<()> {
        let config = self.config_with_tasks(None, Some(kept));
        self.write_beside(folder, config, card::card_in_bytes(self, kept))
    }
}

/// Whether it is a table of embeddings: a row for each token, position or type.
fn is_table(parameter: &Parameter) -> bool {
    let matrix = parameter.weight.dims().len() == 2 && parameter.role == Role::Weight;
    matrix && parameter.owner == Owner::Encoder && parameter.group == Group::Embeddings
}
