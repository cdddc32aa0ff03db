//! BERT (Devlin et al., arXiv:1810.04805): learned positions from 0, and two token types that say which text a token is of.

use super::{EncoderKind, FirstPosition, ModelName, SequenceHead, TokenTypes, Vocabulary, post_norm};
use crate::parameters::{Ia3Layers, Naming};
use polyhead_kernels::Activation;

/// Its entry in [`super::ENCODERS`].
pub const KIND: EncoderKind = EncoderKind {
    name: ModelName { model_type: "bert", class: "Bert" },
    about: "BERT, and what shares its layers: MiniLM, BioBERT, SciBERT, FinBERT ...",
    other_names: &[],
    naming: Naming {
        prefix: "bert.",
        parts: &["embeddings.", "encoder.", "pooler."],
        ignored: &["embeddings.position_ids"],
        pretraining: &["cls."],
    },
    first_position: FirstPosition::First,
    token_types: TokenTypes::OfTemplate,
    case_embeddings: true,
    vocabulary: Some(Vocabulary::WordPiece),
    lora_targets: &["query", "value"],
    ia3: Ia3Layers { outputs: &["key", "value"], inputs: &["output.dense"] },
    sequence_head: Some(SequenceHead {
        dense: "bert.pooler.dense",
        activation: Activation::Tanh,
        output: "classifier",
        dropout: Some("classifier_dropout"),
    }),
    head_transform: None,
    fixture: "tiny-bert",
    open: |kind, path, config, adjust, weights| post_norm::open(&post_norm::BERT, kind, path, config, adjust, weights),
};
