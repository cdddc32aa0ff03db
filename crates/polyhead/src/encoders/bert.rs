//! BERT (Devlin et al., arXiv:1810.04805): learned positions from 0, and two token types that say which text a token is of.

use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes, post_norm};
use crate::parameters::Naming;

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "bert", class: "Bert" },
    other_names: &[],
    naming: Naming {
        prefix: "bert.",
        parts: &["embeddings.", "encoder.", "pooler."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["cls."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::OfTemplate,
    lora_targets: &["query", "value"],
    sequence_head: Some(SequenceHead { dense: "bert.pooler.dense", output: "classifier" }),
    fixture: "tiny-bert",
    open: post_norm::open,
};
