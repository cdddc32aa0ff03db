//! How many parameters a model has, whose they are and which of them are trained: `[(name, dims)] -> rows of a table`.
//!
//! Shapes follow from `config.json` and the tasks alone, so that a model can be counted before any weights are there.

use super::{Model, NamedTask, build, folder};
use crate::encoders::EncoderOverrides;
use crate::error::Result;
use crate::parameters::{Owner, Shape, Train, Weights};
use std::path::Path;

/// What one owner holds: numbers, not tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The encoder, or a task's head.
    pub owner: Owner,
    /// All its parameters.
    pub total: usize,
    /// Those that are trained. (The pooler of BERT is kept, but no task uses it.)
    pub trained: usize,
}

/// The shapes of a model with these tasks, from its `config.json` alone.
///
/// # Errors
/// The file can't be read, or is not the configuration of a known encoder, or a task does not fit the encoder.
pub fn shapes(config: &Path, mut tasks: Vec<NamedTask>) -> Result<Vec<Shape>> {
    let mut weights = Weights::shapes_only();
    build(config, &folder::read_config(config)?, &EncoderOverrides::default(), &mut tasks, &mut weights)?;
    Ok(weights.into_shapes())
}

/// What each owner holds, the encoder first and then the heads in order.
pub fn shares(shapes: &[Shape]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for shape in shapes {
        let trained = if shape.train == Train::Yes { shape.count() } else { 0 };
        match shares.iter_mut().find(|share| share.owner == shape.owner) {
            Some(share) => {
                share.total += shape.count();
                share.trained += trained;
            }
            None => shares.push(Share { owner: shape.owner.clone(), total: shape.count(), trained }),
        }
    }
    shares
}

impl Model {
    /// The shapes of all its parameters, in order.
    pub fn shapes(&self) -> Vec<Shape> {
        self.parameters.iter().map(Shape::from).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tasks::TASKS;
    use serde_json::json;

    fn tasks() -> Vec<NamedTask> {
        let labels: Vec<String> = (0..9).map(|label| format!("LABEL_{label}")).collect();
        let open = |kind: &crate::tasks::TaskKind| {
            let config = (kind.smallest)(&labels)?;
            Some(NamedTask { name: kind.kind.to_owned(), task: (kind.open)(config).unwrap() })
        };
        TASKS.iter().filter_map(open).collect()
    }

    #[test]
    fn bert_base_with_nine_labels_has_the_published_number_of_parameters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let config = json!({
            "model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
            "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512,
        });
        std::fs::write(&path, config.to_string()).unwrap();
        let shares = shares(&shapes(&path, tasks()).unwrap());
        let totals: Vec<usize> = shares.iter().map(|share| share.total).collect();
        assert_eq!(totals, [109_482_240, 6_921, 1_538]);
        assert_eq!(shares[0].total - shares[0].trained, 768 * 768 + 768, "the pooler is not trained");
        assert_eq!(shares[1].trained, 6_921);
    }

    #[test]
    fn shapes_without_weights_are_those_of_the_checkpoint() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert");
        let counted = shapes(&folder.join("config.json"), Vec::new()).unwrap();
        let mut weights = Weights::read(
            &folder.join("model.safetensors"),
            crate::encoders::bert::KIND.naming,
            crate::parameters::Heads::Stored,
            &candle_core::Device::Cpu,
        )
        .unwrap();
        let config = folder::read_config(&folder.join("config.json")).unwrap();
        build(&folder, &config, &EncoderOverrides::default(), &mut [], &mut weights).unwrap();
        let read: Vec<Shape> = weights.finish().unwrap().iter().map(Shape::from).collect();
        assert_eq!(counted, read);
    }
}
