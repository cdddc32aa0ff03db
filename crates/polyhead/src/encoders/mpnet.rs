//! MPNet (Song et al., arXiv:2004.09297): RoBERTa's positions, no token types, and a bias of every attention score that depends on how
//! far apart the two tokens are, one table for all layers.

use super::post_norm::{self, Build, LayerNames};
use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes};
use crate::parameters::{Ia3Layers, Naming};
use polyhead_kernels::Activation;

const BUILD: Build = Build {
    layer: LayerNames {
        layers: "encoder.layer.",
        qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    },
    relative_bias: Some("encoder.relative_attention_bias"),
    ..post_norm::BERT
};

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "mpnet", class: "MPNet" },
    about: "MPNet, and sentence encoders made of it",
    other_names: &[],
    naming: Naming {
        prefix: "mpnet.",
        parts: &["embeddings.", "encoder.", "pooler."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["lm_head."],
    },
    // Behind that of `<pad>`, which is 1 in every checkpoint: transformers does not read it.
    first_position: FirstPosition::Row(2),
    token_types: TokenTypes::None,
    case_embeddings: true,
    vocabulary: None,
    lora_targets: &["q", "v"],
    ia3: Ia3Layers { outputs: &["k", "v"], inputs: &["output.dense"] },
    sequence_head: Some(SequenceHead {
        dense: "classifier.dense",
        activation: Activation::Tanh,
        output: "classifier.out_proj",
        dropout: None,
    }),
    head_transform: None,
    fixture: "tiny-mpnet",
    open: |kind, path, config, adjust, weights| post_norm::open(&BUILD, kind, path, config, adjust, weights),
};
