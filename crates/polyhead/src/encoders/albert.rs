//! ALBERT (Lan et al., arXiv:1909.11942): all layers of a group share their weights, and embeddings are narrower than hidden states. The
//! feed-forward part has no dropout behind it, and GELU is the form with tanh where nothing else is said.

use super::post_norm::{self, Build, Dropouts, LayerNames, Projection};
use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes};
use crate::parameters::{Ia3Layers, Naming};
use polyhead_kernels::Activation;

const BUILD: Build = Build {
    defaults: r#"{
        "embedding_size": 128, "num_hidden_groups": 1, "inner_group_num": 1, "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0
    }"#,
    projection: Some(Projection { name: "encoder.embedding_hidden_mapping_in", always: true }),
    layer: LayerNames {
        layers: "encoder.albert_layer_groups.",
        qkv: ["attention.query", "attention.key", "attention.value"],
        attention_output: "attention.dense",
        attention_norm: "attention.LayerNorm",
        intermediate: "ffn",
        output: "ffn_output",
        output_norm: "full_layer_layer_norm",
    },
    dropouts: Dropouts { after_attention: true, after_output: false },
    pooler: Some("pooler"),
    ..post_norm::BERT
};

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "albert", class: "Albert" },
    about: "ALBERT: layers that share their weights",
    other_names: &[],
    naming: Naming {
        prefix: "albert.",
        parts: &["embeddings.", "encoder.", "pooler."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["predictions.", "sop_classifier."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::OfTemplate,
    case_embeddings: true,
    vocabulary: None,
    lora_targets: &["query", "value"],
    ia3: Ia3Layers { outputs: &["key", "value"], inputs: &["ffn_output"] },
    sequence_head: Some(SequenceHead {
        dense: "albert.pooler",
        activation: Activation::Tanh,
        output: "classifier",
        dropout: Some("classifier_dropout_prob"),
    }),
    head_transform: None,
    fixture: "tiny-albert",
    open: |kind, path, config, adjust, weights| post_norm::open(&BUILD, kind, path, config, adjust, weights),
};
