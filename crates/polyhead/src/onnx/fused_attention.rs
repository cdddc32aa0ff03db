//! Attention as one operator of ONNX Runtime, of its set `com.microsoft`.
//!
//! ```text
//! Attention            hidden states [batch_size, sequence_length, in], W [in, 3 hidden], b [3 hidden]   weights that are not in bytes
//! MultiHeadAttention   q, k, v [batch_size, sequence_length, hidden]                                     all others
//! both                 mask int32 [batch_size, sequence_length], and what is added to scores by distance
//! ```
//!
//! Where positions turn queries and keys or have vectors of their own, there is no such operator.

use super::WeightType;
use super::file::{Attribute, Numbers, Type};
use super::graph::{Graph, MASK};
use candle_core::{Result, Tensor};
use polyhead_kernels::{Attention, Part, Positions};

const DOMAIN: &str = "com.microsoft";

impl Graph {
    /// Self-attention with the linear layers of queries, keys and values; none where there is no such operator.
    pub(super) fn whole_attention(
        &mut self,
        at: &str,
        x: &str,
        parts: [&Part; 3],
        attention: Attention,
    ) -> Result<Option<String>> {
        let biases = parts.map(|part| part.bias.as_ref());
        let [Some(q), Some(k), Some(v)] = biases else { return Ok(None) };
        if !self.is_fused(attention) || matches!(self.weight_type, WeightType::Int8 | WeightType::Qdq) {
            return Ok(None);
        }
        let columns = parts.map(|part| self.merged(part)?.t());
        let columns = columns.into_iter().collect::<Result<Vec<_>>>()?;
        let weight = self.in_type(&format!("{at}.qkv.weight"), Tensor::cat(&columns, 1)?);
        let biases = [q, k, v].map(|bias| Ok(bias.tensor()?.detach()));
        let bias = Tensor::cat(&biases.into_iter().collect::<Result<Vec<_>>>()?, 0)?;
        let bias = self.initializer(&format!("{at}.qkv.bias"), Numbers::Tensor(bias));
        let (mask, added) = self.seen(attention)?;
        self.fused(at, "Attention", &[x, &weight, &bias, &mask, "", &added], attention).map(Some)
    }

    /// Attention of queries, keys and values; none where there is no such operator.
    pub(super) fn fused_heads(
        &mut self,
        at: &str,
        [q, k, v]: [&str; 3],
        attention: Attention,
    ) -> Result<Option<String>> {
        if !self.is_fused(attention) {
            return Ok(None);
        }
        let (mask, added) = self.seen(attention)?;
        self.fused(at, "MultiHeadAttention", &[q, k, v, "", &mask, &added], attention).map(Some)
    }

    fn is_fused(&self, Attention { positions, .. }: Attention) -> bool {
        self.fused_attention && matches!(positions, Positions::InHiddenStates | Positions::Bias(_))
    }

    fn fused(&mut self, at: &str, op: &str, inputs: &[&str], Attention { heads, .. }: Attention) -> Result<String> {
        // Inputs that are left out at the end are not named.
        let named = inputs.iter().rposition(|input| !input.is_empty()).map_or(0, |last| last + 1);
        let attributes = [Attribute::Int("num_heads", heads as i64), Attribute::Float("mask_filter_value", f32::MIN)];
        Ok(self.emit_of(DOMAIN, op, at, &inputs[..named], &attributes))
    }

    /// The mask of keys, and what is added to scores: empty where that is nothing.
    fn seen(&mut self, Attention { positions, window, .. }: Attention) -> Result<(String, String)> {
        let keys = self.once("mask of keys", |graph| {
            let mask = graph.input(MASK);
            graph.emit("Cast", "mask", &[mask], &[Attribute::Int("to", Type::Int32 as i64)])
        });
        let bias = match positions {
            Positions::Bias(table) => Some(self.bias_of_scores(table)?),
            _ => None,
        };
        let near = window.map(|_| self.mask_of_scores(window));
        let added = match (bias, near) {
            (Some(bias), Some(near)) => self.emit("Add", "attention", &[&bias, &near], &[]),
            (one, other) => one.or(other).unwrap_or_default(),
        };
        Ok((keys, added))
    }
}
