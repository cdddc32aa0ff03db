//! ELECTRA (Clark et al., arXiv:2003.10555): BERT's layers; embeddings may be narrower than hidden states. Discriminator and generator are
//! of one architecture. The discriminator is meant for fine-tuning.

use super::post_norm::{self, Build, Projection};
use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes, Vocabulary};
use crate::parameters::{Ia3Layers, Naming};
use polyhead_kernels::Activation;

const BUILD: Build = Build {
    defaults: r#"{ "embedding_size": 128 }"#,
    projection: Some(Projection { name: "embeddings_project", always: false }),
    pooler: None,
    ..post_norm::BERT
};

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "electra", class: "Electra" },
    about: "ELECTRA: discriminators and generators",
    other_names: &[],
    naming: Naming {
        prefix: "electra.",
        parts: &["embeddings.", "embeddings_project.", "encoder."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["discriminator_predictions.", "generator_predictions.", "generator_lm_head."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::OfTemplate,
    case_embeddings: true,
    vocabulary: Some(Vocabulary::WordPiece),
    lora_targets: &["query", "value"],
    ia3: Ia3Layers { outputs: &["key", "value"], inputs: &["output.dense"] },
    sequence_head: Some(SequenceHead {
        dense: "classifier.dense",
        activation: Activation::Gelu,
        output: "classifier.out_proj",
        dropout: Some("classifier_dropout"),
    }),
    head_transform: None,
    fixture: "tiny-electra",
    open: |kind, path, config, adjust, weights| post_norm::open(&BUILD, kind, path, config, adjust, weights),
};
