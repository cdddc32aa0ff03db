//! DistilBERT (Sanh et al., arXiv:1910.01108): half of BERT's layers, no token types, no pooler, names of its own. Attention has no dropout
//! behind it.

use super::post_norm::{self, Build, Dropouts, LayerNames};
use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes, Vocabulary};
use crate::parameters::{Ia3Layers, Naming};
use polyhead_kernels::Activation;

const BUILD: Build = Build {
    keys: &[
        ("dim", "hidden_size"),
        ("hidden_dim", "intermediate_size"),
        ("n_heads", "num_attention_heads"),
        ("n_layers", "num_hidden_layers"),
        ("activation", "hidden_act"),
        ("dropout", "hidden_dropout_prob"),
        ("attention_dropout", "attention_probs_dropout_prob"),
    ],
    layer: LayerNames {
        layers: "transformer.layer.",
        qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        intermediate: "ffn.lin1",
        output: "ffn.lin2",
        output_norm: "output_layer_norm",
    },
    dropouts: Dropouts { after_attention: false, after_output: true },
    pooler: None,
    ..post_norm::BERT
};

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "distilbert", class: "DistilBert" },
    about: "DistilBERT",
    other_names: &[],
    naming: Naming {
        prefix: "distilbert.",
        parts: &["embeddings.", "transformer."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["vocab_transform.", "vocab_layer_norm.", "vocab_projector."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::None,
    case_embeddings: true,
    vocabulary: Some(Vocabulary::WordPiece),
    lora_targets: &["q_lin", "v_lin"],
    ia3: Ia3Layers { outputs: &["k_lin", "v_lin"], inputs: &["ffn.lin2"] },
    sequence_head: Some(SequenceHead {
        dense: "pre_classifier",
        activation: Activation::Relu,
        output: "classifier",
        dropout: Some("seq_classif_dropout"),
    }),
    head_transform: None,
    fixture: "tiny-distilbert",
    open: |kind, path, config, adjust, weights| post_norm::open(&BUILD, kind, path, config, adjust, weights),
};
