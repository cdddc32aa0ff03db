//! The backend that writes a graph: every operator becomes nodes of ONNX.
//!
//! ```text
//! input_ids, attention_mask, and token_type_ids where they are read   int64 [batch_size, sequence_length]
//! ranges, pairs   int64 [batch_size, .., 2], where a head reads them: TASK.ranges, TASK.pairs
//! values   [batch_size, sequence_length, columns], or [batch_size, columns] after a choice of one row a sequence,
//!          [batch_size, ranges, columns] of ranges
//! ```
//!
//! Sequences are padded here, where polyhead packs them: positions are counted along the mask, and no token attends to
//! padding. Weights keep their names; those of linear layers lie transposed, `[in, out]`, as `MatMul` wants them, low-rank
//! additions merged into them. In which numbers weights are written, `weights.rs` says.

use super::file::{Attribute, Initializer, Length, Numbers, Port, Type, node, node_of};
use super::protobuf::Message;
use super::{Format, Opset, PAIRS, RANGES, WeightType};
use candle_core::{Device, Result, Tensor};
use polyhead_kernels::activation;
use polyhead_kernels::layer_norm::Norm;
use polyhead_kernels::{
    Activation, Affine, Attention, Body, DropoutAt, GraphNode, Index, Linear, Ops, Part, Rows, Stitch, TaskBody, Value,
    Weight,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const BATCH: &str = "batch_size";
const SEQUENCE: &str = "sequence_length";
const IDS: &str = "input_ids";
pub(super) const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";

/// A graph that is being written.
#[derive(Default)]
pub(super) struct Graph {
    pub nodes: Vec<Message>,
    pub initializers: Vec<Initializer>,
    pub outputs: Vec<Port>,
    pub opset: Opset,
    /// What weights of the encoder are written in.
    pub weight_type: WeightType,
    /// Whether attention is one operator where there is one.
    pub fused_attention: bool,
    /// The set of such operators, once one is there.
    pub domain: Option<&'static str>,
    /// The task whose private parts of the encoder it has, if there are any in layers that are shared.
    pub task: Option<usize>,
    names: BTreeSet<String>,
    /// The head that is being written: what its inputs' names begin with.
    head: Option<String>,
    /// What is computed once for the whole graph.
    shared: BTreeMap<String, String>,
    /// The inputs that the graph reads of every token.
    inputs: BTreeSet<&'static str>,
    /// The ranges and pairs that heads read.
    items: Vec<Items>,
}

/// Ranges or pairs as an input: its name, and that of the axis that counts them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Items {
    pub input: String,
    axis: String,
}

impl Graph {
    pub(super) fn new(format: Format) -> Self {
        let Format { opset, weights: weight_type, fused_attention, .. } = format;
        Self { opset, weight_type, fused_attention, ..Self::default() }
    }

    /// A name that no other has.
    fn unique(&mut self, wanted: &str) -> String {
        let others = (2..).map(|number| format!("{wanted}_{number}"));
        let free = std::iter::once(wanted.to_owned()).chain(others).find(|name| !self.names.contains(name));
        let name = free.unwrap_or_default();
        self.names.insert(name.clone());
        name
    }

    /// Adds a node; returns its output's name.
    pub(super) fn emit(&mut self, op: &str, at: &str, inputs: &[&str], attributes: &[Attribute]) -> String {
        let name = self.unique(&if at.is_empty() { op.to_owned() } else { format!("{at}/{op}") });
        let output = format!("{name}_output");
        self.names.insert(output.clone());
        self.nodes.push(node(op, &name, inputs, &[&output], attributes));
        output
    }

    /// Adds a node of an operator of this set beside ONNX's own; returns its output's name.
    pub(super) fn emit_of(
        &mut self,
        domain: &'static str,
        op: &str,
        at: &str,
        inputs: &[&str],
        attributes: &[Attribute],
    ) -> String {
        let name = self.unique(&format!("{at}/{op}"));
        let output = self.unique(&format!("{name}_output"));
        self.domain = Some(domain);
        self.nodes.push(node_of(domain, op, &name, inputs, &output, attributes));
        output
    }

    /// What is computed once for the whole graph and was already.
    pub(super) fn known(&self, key: &str) -> Option<String> {
        self.shared.get(key).cloned()
    }

    /// What `make` adds, once for the whole graph.
    pub(super) fn once(&mut self, key: &str, make: impl FnOnce(&mut Self) -> String) -> String {
        if let Some(known) = self.shared.get(key) {
            return known.clone();
        }
        let made = make(self);
        self.shared.insert(key.to_owned(), made.clone());
        made
    }

    pub(super) fn constant(&mut self, name: &str, numbers: Numbers) -> String {
        self.once(&format!("constant {name}"), |graph| graph.initializer(name, numbers))
    }

    /// A new tensor of the file.
    pub(super) fn initializer(&mut self, name: &str, numbers: Numbers) -> String {
        let name = self.unique(name);
        self.initializers.push(Initializer { name: name.clone(), numbers });
        name
    }

    pub(super) fn float(&mut self, name: &str, value: f32) -> String {
        self.constant(name, Numbers::Float(value))
    }

    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.constant(name, Numbers::Ints(values.to_vec()))
    }

    pub(super) fn input(&mut self, name: &'static str) -> &'static str {
        self.names.insert(name.to_owned());
        self.inputs.insert(name);
        name
    }

    /// What follows is a head, whose ranges and pairs are inputs of its own with this before their names. Its weights are
    /// written in f32.
    pub(super) fn for_head(&mut self, prefix: String) {
        self.head = Some(prefix);
        self.weight_type = WeightType::F32;
    }

    /// The inputs as a file declares them: token ids and mask, token types where the graph reads them, then ranges and pairs.
    pub(super) fn declared_inputs(&self) -> Vec<Port> {
        let named = |name: &str| Length::Named(name.to_owned());
        let read = [IDS, MASK, TYPES].into_iter().filter(|name| *name != TYPES || self.inputs.contains(TYPES));
        let of_tokens = read.map(|name| Port::new(name, Type::Int64, vec![named(BATCH), named(SEQUENCE)]));
        let items = self.items.iter().map(|Items { input, axis }| {
            Port::new(input, Type::Int64, vec![named(BATCH), named(axis), Length::Known(2)])
        });
        of_tokens.chain(items).collect()
    }

    /// The ranges or pairs of the head.
    pub(super) fn items(&mut self, what: &str) -> Items {
        let name = format!("{}{what}", self.head.as_deref().unwrap_or_default());
        let items = Items { input: name.clone(), axis: name.replace('.', "_") };
        if !self.items.contains(&items) {
            self.names.insert(name);
            self.items.push(items.clone());
        }
        items
    }

    /// The rows of a value that one of the two numbers of each range or pair names.
    fn select_items(&mut self, x: &GraphNode, what: &str, which: i64, rows: Rows) -> Value {
        let items = self.items(what);
        let [start, end] = [which, which + 1].map(|at| self.ints(&format!("ints_{at}"), &[at]));
        let axis = self.ints("axis_last", &[-1]);
        let indices = self.once(&format!("{} {which}", items.input), |graph| {
            graph.emit("Slice", &items.input, &[&items.input, &start, &end, &axis], &[])
        });
        let name = self.emit("GatherND", &items.input, &[&x.name, &indices], &[Attribute::Int("batch_dims", 1)]);
        Value::Node(GraphNode { name, columns: x.columns, rows })
    }

    /// The numbers of an index, `[batch_size, sequence_length]`.
    pub(super) fn index(&mut self, index: Index) -> Result<String> {
        match index {
            Index::TokenIds => Ok(self.input(IDS).to_owned()),
            Index::TokenTypes => Ok(self.input(TYPES).to_owned()),
            Index::PositionsFrom(first) => Ok(self.positions(first)),
            Index::FirstRow => Ok(self.once("first row", |graph| {
                let ids = graph.input(IDS);
                graph.emit("Sub", "first_row", &[ids, ids], &[])
            })),
            Index::FirstTokens | Index::RangeStarts | Index::PairFirsts | Index::PairSeconds | Index::PairSequences => {
                candle_core::bail!("{index:?} chooses rows of a value, not of a table")
            }
        }
    }

    /// Positions along the mask: 0 for the first token, whatever padding stands before it.
    pub(super) fn positions(&mut self, first: u32) -> String {
        self.once(&format!("positions from {first}"), |graph| {
            let mask = graph.input(MASK);
            let one = graph.constant("int_1", Numbers::Int(1));
            let counted = graph.emit("CumSum", "positions", &[mask, &one], &[]);
            let from_zero = graph.emit("Sub", "positions", &[&counted, &one], &[]);
            let real = graph.emit("Mul", "positions", &[&from_zero, mask], &[]);
            match first {
                0 => real,
                first => {
                    let first = graph.constant(&format!("int_{first}"), Numbers::Int(first.into()));
                    graph.emit("Add", "positions", &[&real, &first], &[])
                }
            }
        })
    }

    /// A value of this graph.
    pub(super) fn node<'a>(&self, value: &'a Value) -> Result<&'a GraphNode> {
        match value {
            Value::Node(node) => Ok(node),
            Value::Fused(_) | Value::Tensor(..) => candle_core::bail!("a value of another backend"),
        }
    }

    /// A new value with the rows of another.
    fn like(&self, other: &GraphNode, name: String, columns: usize) -> Value {
        Value::Node(GraphNode { name, columns, rows: other.rows })
    }

    /// Makes a value of the present head an output of this name, or its columns outputs of these names.
    pub(super) fn outputs(&mut self, found: &Value, names: &[String]) -> Result<()> {
        let GraphNode { name: input, columns, rows } = self.node(found)?.clone();
        let items = match rows {
            Rows::Ranges => Some(self.items(RANGES)),
            Rows::Pairs => Some(self.items(PAIRS)),
            Rows::Tokens | Rows::Sequences | Rows::Table => None,
        };
        let between = match &items {
            Some(Items { axis, .. }) => Some(axis.as_str()),
            None => (rows == Rows::Tokens).then_some(SEQUENCE),
        };
        let named = [Some(BATCH), between].into_iter().flatten();
        let mut lengths: Vec<Length> = named.map(|name| Length::Named(name.to_owned())).collect();
        self.names.extend(names.iter().cloned());
        if let [name] = names {
            self.nodes.push(node("Identity", &format!("{name}/Identity"), &[&input], &[name], &[]));
            lengths.push(Length::Known(columns));
            self.outputs.push(Port::new(name, Type::Float, lengths));
            return Ok(());
        }
        if names.len() != columns {
            candle_core::bail!("{columns} columns for the outputs {names:?}");
        }
        for (column, name) in names.iter().enumerate() {
            let column = self.constant(&format!("int_{column}"), Numbers::Int(column as i64));
            let last = [Attribute::Int("axis", -1)];
            self.nodes.push(node("Gather", &format!("{name}/Gather"), &[&input, &column], &[name], &last));
            self.outputs.push(Port::new(name, Type::Float, lengths.clone()));
        }
        Ok(())
    }

    /// `x Wᵀ + b` of one part of a layer, with its addition.
    fn part(&mut self, x: &str, layer: &Linear, part: &Part) -> Result<String> {
        let y = self.product(x, part, layer.input_range())?;
        let Some(bias) = &part.bias else { return Ok(y) };
        let at = part.weight.name().trim_end_matches(".weight");
        let bias = self.weight(bias)?;
        Ok(self.emit("Add", at, &[&y, &bias], &[]))
    }
}

impl Graph {
    fn activated(&mut self, x: &str, at: &str, activation: Activation) -> String {
        match activation {
            Activation::Tanh => self.emit("Tanh", at, &[x], &[]),
            Activation::Relu => self.emit("Relu", at, &[x], &[]),
            Activation::Silu => self.swish(x, x, at),
            Activation::QuickGelu => {
                let factor = self.float("quick", activation::QUICK);
                let scaled = self.emit("Mul", at, &[x, &factor], &[]);
                self.swish(x, &scaled, at)
            }
            Activation::GeluTanh => {
                // x σ(a (x + b x³)) = x σ(a x (1 + b x²))
                let (scale, cube) = activation::GELU_TANH;
                let [scale, cube, one] = [("gelu_tanh", scale), ("gelu_cube", cube), ("float_1", 1.0)]
                    .map(|(name, value)| self.float(name, value));
                let square = self.emit("Mul", at, &[x, x], &[]);
                let square = self.emit("Mul", at, &[&square, &cube], &[]);
                let sum = self.emit("Add", at, &[&square, &one], &[]);
                let product = self.emit("Mul", at, &[x, &sum], &[]);
                let scaled = self.emit("Mul", at, &[&product, &scale], &[]);
                self.swish(x, &scaled, at)
            }
            Activation::ClippedGelu => {
                let gelu = self.activated(x, at, Activation::Gelu);
                let (low, high) =
                    (self.float("clip_low", -activation::CLIP), self.float("clip_high", activation::CLIP));
                self.emit("Clip", at, &[&gelu, &low, &high], &[])
            }
            Activation::Gelu => {
                let root = self.float("root_2", std::f32::consts::SQRT_2);
                let (one, half) = (self.float("float_1", 1.0), self.float("half", 0.5));
                let scaled = self.emit("Div", at, &[x, &root], &[]);
                let erf = self.emit("Erf", at, &[&scaled], &[]);
                let sum = self.emit("Add", at, &[&erf, &one], &[]);
                let product = self.emit("Mul", at, &[x, &sum], &[]);
                self.emit("Mul", at, &[&product, &half], &[])
            }
        }
    }

    /// `x σ(gate)`.
    fn swish(&mut self, x: &str, gate: &str, at: &str) -> String {
        let share = self.emit("Sigmoid", at, &[gate], &[]);
        self.emit("Mul", at, &[x, &share], &[])
    }
}

impl Ops for Graph {
    fn parameter(&mut self, weight: &Weight) -> Result<Value> {
        let (columns, name) = (weight.dims().last().copied().unwrap_or(0), self.weight(weight)?);
        Ok(Value::Node(GraphNode { name, columns, rows: Rows::Tokens }))
    }

    fn table(&mut self, weight: &Weight) -> Result<Value> {
        let (columns, name) = (weight.dims().last().copied().unwrap_or(0), self.weight(weight)?);
        Ok(Value::Node(GraphNode { name, columns, rows: Rows::Table }))
    }

    fn embedding(&mut self, table: &Weight, index: Index) -> Result<Value> {
        let columns = table.dims().last().copied().unwrap_or(0);
        let rows = self.index(index)?;
        let name = self.rows_of(table, &rows)?;
        Ok(Value::Node(GraphNode { name, columns, rows: Rows::Tokens }))
    }

    fn product(&mut self, x: &Value, layer: &Arc<Linear>) -> Result<Value> {
        let x = self.node(x)?;
        let parts = layer.parts().iter().map(|part| self.part(&x.name, layer, part)).collect::<Result<Vec<_>>>()?;
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let name = match names.as_slice() {
            [only] => (*only).to_owned(),
            several => self.emit("Concat", "", several, &[Attribute::Int("axis", -1)]),
        };
        Ok(self.like(x, name, layer.outputs()))
    }

    fn activation(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        let x = self.node(x)?;
        let at = x.name.split_once('/').map_or("", |(at, _)| at).to_owned();
        let name = self.activated(&x.name, &at, activation);
        Ok(self.like(x, name, x.columns))
    }

    fn weighted_sum(&mut self, values: &[(&Value, f32)]) -> Result<Value> {
        let mut sum: Option<GraphNode> = None;
        for (value, factor) in values {
            let mut node = self.node(value)?.clone();
            if *factor != 1.0 {
                let times = self.float(&format!("factor {factor}"), *factor);
                node.name = self.emit("Mul", "", &[&node.name, &times], &[]);
            }
            if let Some(sum) = sum {
                node.name = self.emit("Add", "", &[&sum.name, &node.name], &[]);
            }
            sum = Some(node);
        }
        let Some(sum) = sum else { candle_core::bail!("a sum of nothing") };
        Ok(Value::Node(sum))
    }

    fn stitched(&mut self, values: &[&Value], stitch: &Stitch) -> Result<Value> {
        let nodes = values.iter().map(|value| self.node(value).cloned()).collect::<Result<Vec<_>>>()?;
        let Some(first) = nodes.first() else { candle_core::bail!("a mixture of nothing") };
        stitch.check(nodes.len(), first.columns)?;
        let (alpha, blocks) = (stitch.values()?, stitch.blocks());
        let width = first.columns / blocks;
        let mut parts = Vec::with_capacity(nodes.len() * blocks);
        for node in &nodes {
            for block in 0..blocks {
                parts.push(match blocks {
                    1 => node.name.clone(),
                    _ => self.columns(&node.name, "mixture", block * width..(block + 1) * width),
                });
            }
        }
        let mut mixed = Vec::with_capacity(blocks);
        for alpha in alpha.chunks_exact(parts.len()) {
            let mut sum: Option<String> = None;
            for (part, alpha) in parts.iter().zip(alpha) {
                let times = self.float(&format!("factor {alpha}"), *alpha);
                let scaled = self.emit("Mul", "mixture", &[part, &times], &[]);
                sum = Some(match sum {
                    Some(sum) => self.emit("Add", "mixture", &[&sum, &scaled], &[]),
                    None => scaled,
                });
            }
            mixed.extend(sum);
        }
        let names: Vec<&str> = mixed.iter().map(String::as_str).collect();
        let name = match names.as_slice() {
            [only] => (*only).to_owned(),
            several => self.emit("Concat", "mixture", several, &[Attribute::Int("axis", -1)]),
        };
        Ok(self.like(first, name, first.columns))
    }

    fn affine(&mut self, x: &Value, affine: &Affine) -> Result<Value> {
        let x = self.node(x)?.clone();
        let at = x.name.split_once('/').map_or("vectors", |(at, _)| at).to_owned();
        let (times, plus) = affine.values()?;
        let mut name = x.name.clone();
        for (operator, what, values, nothing) in [("Mul", "times", times, 1.0), ("Add", "plus", plus, 0.0)] {
            if values.iter().any(|value| *value != nothing) {
                let vector = Tensor::from_vec(values, x.columns, &Device::Cpu)?;
                let vector = self.initializer(&format!("{at}.{what}"), Numbers::Tensor(vector));
                name = self.emit(operator, &at, &[&name, &vector], &[]);
            }
        }
        Ok(self.like(&x, name, x.columns))
    }

    fn layer_norm(&mut self, x: &Value, norm: &Norm) -> Result<Value> {
        let x = self.node(x)?;
        let at = norm.weights().next().map_or("", Weight::name).trim_end_matches(".weight").to_owned();
        let weights = norm.weights().map(|weight| self.weight(weight)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&str> = std::iter::once(&x.name).chain(&weights).map(String::as_str).collect();
        let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", norm.epsilon() as f32)];
        let name = self.emit("LayerNormalization", &at, &inputs, &attributes);
        Ok(self.like(x, name, x.columns))
    }

    fn dropout(&mut self, x: &Value, _: DropoutAt) -> Result<Value> {
        Ok(x.clone())
    }

    fn attention(&mut self, qkv: &Value, attention: Attention) -> Result<Value> {
        let qkv = self.node(qkv)?;
        let hidden = qkv.columns / 3;
        let parts = [0, 1, 2].map(|which| self.columns(&qkv.name, "attention", which * hidden..(which + 1) * hidden));
        let name = self.attend("attention", parts.each_ref().map(String::as_str), attention, hidden)?;
        Ok(self.like(qkv, name, hidden))
    }

    fn gated(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        let x = self.node(x)?;
        let columns = x.columns / 2;
        let [input, gate] = self.halves(&x.name, columns, "gate");
        let input = self.activated(&input, "gate", activation);
        let name = self.emit("Mul", "gate", &[&input, &gate], &[]);
        Ok(self.like(x, name, columns))
    }

    fn neighbours(&mut self, x: &Value, size: usize) -> Result<Value> {
        let x = self.node(x)?;
        let name = self.around(x, size);
        Ok(self.like(x, name, x.columns * size))
    }

    /// Queries, keys and values need not be joined to be taken apart again.
    fn self_attention(&mut self, x: &Value, qkv: &Arc<Linear>, attention: Attention) -> Result<Value> {
        let ([query, key, value], None) = (qkv.parts(), qkv.vectors()) else {
            let projected = self.linear(x, qkv)?;
            return self.attention(&projected, attention);
        };
        let x = self.node(x)?;
        let hidden = qkv.outputs() / 3;
        let at = query.weight.name().trim_end_matches(".weight");
        let at = at.rsplit_once('.').map_or("attention", |(at, _)| at).to_owned();
        if let Some(name) = self.whole_attention(&at, &x.name, [query, key, value], attention)? {
            return Ok(self.like(x, name, hidden));
        }
        let [q, k, v] = [query, key, value].map(|part| self.part(&x.name, qkv, part));
        let (q, k, v) = (q?, k?, v?);
        let name = self.attend(&at, [&q, &k, &v], attention, hidden)?;
        Ok(self.like(x, name, hidden))
    }

    fn select_rows(&mut self, x: &Value, index: Index) -> Result<Value> {
        index.check_rows_of(x)?;
        let x = self.node(x)?;
        match index {
            Index::RangeStarts => return Ok(self.select_items(x, RANGES, 0, Rows::Ranges)),
            Index::PairFirsts => return Ok(self.select_items(x, PAIRS, 0, Rows::Pairs)),
            Index::PairSeconds => return Ok(self.select_items(x, PAIRS, 1, Rows::Pairs)),
            Index::PairSequences => return Ok(self.sequences_of_pairs(x)),
            Index::FirstTokens | Index::TokenIds | Index::PositionsFrom(_) | Index::TokenTypes | Index::FirstRow => {}
        }
        // [batch_size, 1] -> [batch_size, 1, columns] -> [batch_size, columns]: the first token, whatever stands before it.
        let mask = self.input(MASK);
        let first = self.once("first tokens", |graph| {
            let keep = [Attribute::Int("axis", 1), Attribute::Int("keepdims", 1)];
            graph.emit("ArgMax", "first_tokens", &[mask], &keep)
        });
        let batch = Attribute::Int("batch_dims", 1);
        let picked = self.emit("GatherND", "first_tokens", &[&x.name, &first], &[batch]);
        Ok(Value::Node(GraphNode { name: picked, columns: x.columns, rows: Rows::Sequences }))
    }

    fn pair_dots(&mut self, x: &Value, y: &Value) -> Result<Value> {
        let (x, y) = (self.node(x)?, self.node(y)?);
        self.dots_of_pairs(x, y)
    }

    fn mean_ranges(&mut self, x: &Value) -> Result<Value> {
        x.check_tokens()?;
        let x = self.node(x)?;
        self.mean_of_ranges(x)
    }

    fn recomputed(&mut self, x: &Value, beside: &[Value], body: Body) -> Result<Value> {
        body(self, x, beside)
    }

    fn of_each_task(&mut self, values: &[&Value], body: &TaskBody) -> Result<Value> {
        let Some(task) = self.task else {
            candle_core::bail!("a part of the network that is private to a task, in a graph that is of none")
        };
        body(self, task, &values.iter().map(|&value| value.clone()).collect::<Vec<_>>())
    }

    fn concat(&mut self, values: &[&Value]) -> Result<Value> {
        let nodes = values.iter().map(|value| self.node(value)).collect::<Result<Vec<_>>>()?;
        let Some((first, rest)) = nodes.split_first() else { candle_core::bail!("nothing to put side by side") };
        if let Some(other) = rest.iter().find(|node| node.rows != first.rows) {
            candle_core::bail!("rows that are {:?} beside {:?}", other.rows, first.rows);
        }
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let name = self.emit("Concat", "", &names, &[Attribute::Int("axis", -1)]);
        Ok(self.like(first, name, nodes.iter().map(|node| node.columns).sum()))
    }
}
