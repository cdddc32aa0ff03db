//! RoBERTa (Liu et al., arXiv:1907.11692) and its multilingual and French kin, XLM-RoBERTa and CamemBERT: layers as BERT's,
//! positions that begin behind the padding token's, and no token types.
//!
//! The table of token types is there and has one row, which every token takes. Of the rows for positions the first two stand
//! for padding: of 514 rows 512 are positions.
//!
//! A `<pad>` that is written in a text is a token like any other here. transformers counts no position for it.

use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes, Vocabulary, post_norm};
use crate::parameters::{Ia3Layers, Naming};
use polyhead_kernels::Activation;

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "roberta", class: "Roberta" },
    about: "RoBERTa, XLM-RoBERTa, CamemBERT",
    other_names: &[
        ModelName { model_type: "xlm-roberta", class: "XLMRoberta" },
        ModelName { model_type: "camembert", class: "Camembert" },
    ],
    naming: Naming {
        prefix: "roberta.",
        parts: &["embeddings.", "encoder.", "pooler."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["lm_head."],
    },
    first_position: FirstPosition::AfterPadding,
    token_types: TokenTypes::AlwaysFirst,
    case_embeddings: false,
    vocabulary: Some(Vocabulary::ByteLevelBpe),
    lora_targets: &["query", "value"],
    ia3: Ia3Layers { outputs: &["key", "value"], inputs: &["output.dense"] },
    sequence_head: Some(SequenceHead {
        dense: "classifier.dense",
        activation: Activation::Tanh,
        output: "classifier.out_proj",
        dropout: Some("classifier_dropout"),
    }),
    head_transform: None,
    fixture: "tiny-roberta",
    open: |kind, path, config, adjust, weights| post_norm::open(&post_norm::BERT, kind, path, config, adjust, weights),
};
