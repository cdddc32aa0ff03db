//! Weights that lie in several files: the index that says which tensor is in which.
//!
//! ```text
//! model.safetensors.index.json   {"metadata": {...}, "weight_map": {"encoder.layer.0 ...": "model-00001-of-00002.safetensors", ...}}
//! ```

use crate::error::{Error, Place, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The name of an index.
pub const SHARD_INDEX: &str = "model.safetensors.index.json";

/// The name of weights whose matrices are in bytes: another one, since transformers would take the bytes for the numbers.
pub const INT8_WEIGHTS: &str = "model_int8.safetensors";

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShardIndex {
    /// The file of each tensor.
    #[serde(rename = "weight_map")]
    pub files: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index. The files that it names must stand beside it.
    ///
    /// # Errors
    /// It is no such index, names no file, or one elsewhere.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
        let index: Self =
            serde_json::from_str(&text).map_err(|cause| {
                Error::data(format!("expected an index of safetensors files (`weight_map`): {cause}"))
                    .at(Place::column(path, cause.line().max(1), cause.column().max(1)))
            })?;
        let plain =
            |name: &str| name.ends_with(".safetensors") && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if let Some((tensor, file)) = index.files.iter().find(|(_, file)| !plain(file)) {
            return Err(Error::data(format!("expected the name of a safetensors file beside it, found {file:?}"))
                .at(Place::field(path, format!("weight_map.{tensor}"))));
        }
        if index.files.is_empty() {
            return Err(
                Error::data("expected tensors and their files, found none").at(Place::field(path, "weight_map"))
            );
        }
        Ok(index)
    }

    /// The files, each once, in order.
    pub fn names(&self) -> Vec<&str> {
        self.files.values().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
