//! Case embeddings: an encoder whose tokenizer lower-cases reads how words were written by way of its token types.
//!
//! ```text
//! token type embeddings  [2, hidden]  ->  [8, hidden]     row 2 c + t: type t in a word of the class c, see crate::text::case
//! config.json            type_vocab_size: 8, case_embeddings: true
//! ```
//!
//! The rows of every class begin as those of the checkpoint (zeros where it has none), so that the encoder begins as it was, and are
//! trained with the rest. What reads the files by other means than polyhead has to give these types itself. The idea is that of the casing
//! features of taggers before BERT (Collobert et al. 2011, <https://arxiv.org/abs/1103.0398>).

use crate::encoders::{EncoderKind, EncoderOverrides};
use crate::error::{Error, Result};
use crate::parameters::{Freeze, Weights};
use crate::sharing;
use crate::text::case::{CLASSES, TEXTS};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whether an encoder gets them when a run begins. In a recipe `true`, `false` or `"auto"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum CaseEmbeddings {
    /// No; one that has them keeps them.
    #[default]
    No,
    /// Yes, or it is an error.
    Yes,
    /// Where the tokenizer lower-cases, and the encoder can have them and trains them.
    Auto,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"auto\"")]
enum Written {
    Switch(bool),
    Word(Auto),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

impl From<Written> for CaseEmbeddings {
    fn from(written: Written) -> Self {
        match written {
            Written::Switch(true) => Self::Yes,
            Written::Switch(false) => Self::No,
            Written::Word(Auto::Auto) => Self::Auto,
        }
    }
}

impl From<CaseEmbeddings> for Written {
    fn from(case: CaseEmbeddings) -> Self {
        match case {
            CaseEmbeddings::Yes => Self::Switch(true),
            CaseEmbeddings::No => Self::Switch(false),
            CaseEmbeddings::Auto => Self::Word(Auto::Auto),
        }
    }
}

const FIELD: &str = "case_embeddings";
const TABLE: &str = "embeddings.token_type_embeddings.weight";

/// Whether the encoder of this `config.json` has them.
pub fn has(config: &Value) -> bool {
    config.get(FIELD).and_then(Value::as_bool).unwrap_or(false)
}

/// Adds them to the encoder of a checkpoint where they are wanted; `lower_cases` says whether its tokenizer does.
///
/// # Errors
/// They are asked for, and nothing would read them, or nothing would train them.
pub(super) fn add(
    kind: &EncoderKind,
    config: &mut Value,
    weights: &mut Weights,
    wanted: CaseEmbeddings,
    adjust: &EncoderOverrides,
    lower_cases: &dyn Fn(&Value) -> Result<bool>,
) -> Result<()> {
    if wanted == CaseEmbeddings::No || has(config) {
        return Ok(());
    }
    if let Some(why) = obstacle(kind, weights, adjust, &|| lower_cases(config))? {
        return match wanted {
            CaseEmbeddings::Yes => Err(Error::usage(format!("encoder.case_embeddings: {why}"))
                .hint("\"auto\" adds them where they help, and goes on without them elsewhere")),
            _ => Ok(()),
        };
    }
    let dims = |name: &str| weights.dims(name).map(<[usize]>::to_vec);
    let width = dims("embeddings.word_embeddings.weight").and_then(|dims| dims.get(1).copied()).unwrap_or(0);
    let of_texts = match weights.take(TABLE) {
        Some(table) => table,
        None => Tensor::zeros((TEXTS as usize, width), DType::F32, weights.device())?,
    };
    weights.put(TABLE, Tensor::cat(&vec![of_texts; CLASSES as usize], 0)?);
    if let Some(fields) = config.as_object_mut() {
        fields.insert("type_vocab_size".into(), json!(TEXTS * CLASSES));
        fields.insert(FIELD.into(), json!(true));
    }
    Ok(())
}

/// Why an encoder can't have them, or has no use for them.
fn obstacle(
    kind: &EncoderKind,
    weights: &Weights,
    adjust: &EncoderOverrides,
    lower_cases: &dyn Fn() -> Result<bool>,
) -> Result<Option<String>> {
    if !kind.case_embeddings {
        return Ok(Some(format!("encoders of the type `{}` have none", kind.name.model_type)));
    }
    let excludes = match () {
        () if adjust.lora.is_some() => Some("encoder.lora"),
        () if adjust.freeze != Freeze::Nothing => Some("encoder.freeze"),
        () if sharing::open(&adjust.sharing)?.freezes_encoder() => Some("sharing"),
        () => None,
    };
    if let Some(key) = excludes {
        return Ok(Some(format!("they begin without a difference and have to be trained, which {key} excludes")));
    }
    if let Some(found) = weights.dims(TABLE).and_then(|dims| dims.first()).filter(|rows| **rows != TEXTS as usize) {
        return Ok(Some(format!("expected an encoder with {TEXTS} token types, found {found}")));
    }
    Ok((!lower_cases()?).then(|| "the tokenizer keeps capital letters: the encoder reads them as they are".to_owned()))
}
