//! A model whose network another program runs: a request becomes runs of the network, and their logits the answer.
//!
//! ```text
//! {"text", "tasks", ...} -> ask -> [Run] -> (logits of each) -> answer -> {"results", "tokens"}
//!                                    ^--------------------------'  a second round, where a task relates parts that another found
//! ```
//!
//! All of it is the library's: what is asked of which task, windows, offsets and answers are those of `polyhead serve`.

use polyhead::ask::{Ask, PairsAsk};
use polyhead::batch::Features;
use polyhead::model::{Codec, NamedTask};
use polyhead::onnx::HeadNames;
use polyhead::tasks::{Logits, Query, TASKS};
use polyhead::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A model without its network.
pub struct Model {
    codec: Codec,
    /// What the network calls the inputs and outputs of each task.
    names: Vec<HeadNames>,
    /// The request that waits for logits.
    pending: Option<Pending>,
}

/// One window, to be run through the network alone: without a batch there is no padding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// `input_ids`, `[tokens]`.
    pub ids: Vec<u32>,
    /// `token_type_ids`, `[tokens]`, where the encoder has them.
    pub types: Vec<u32>,
    /// Ranges of tokens and pairs of ranges that heads read, by the names of their inputs: `[count, 2]`, one after the other.
    pub items: BTreeMap<String, Vec<(u32, u32)>>,
    /// The outputs that are wanted, in the order in which their logits come back.
    pub outputs: Vec<String>,
}

/// What is to be done next.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Step {
    /// These are to be run, and their logits given to [`Model::answer`].
    Run {
        /// One for each window; those that are equal to the token are one.
        runs: Vec<Run>,
    },
    /// The answer.
    Done {
        /// The answers of the tasks by their names.
        results: Map<String, Value>,
        /// Tokens that the answers are made of: those of each window of each task.
        tokens: usize,
    },
}

/// The logits of an output: `[1, rows, columns]`, `[1, columns]`, or of an output that is one column of several, `[1, rows]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Output {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Its numbers.
    #[serde(skip)]
    pub values: Vec<f32>,
}

/// A request under way.
struct Pending {
    ask: Ask,
    /// What is asked once these are answered.
    pairs: Option<PairsAsk>,
    queries: Vec<Asked>,
    /// How many outputs come back of each run.
    outputs: Vec<usize>,
    answers: BTreeMap<String, Value>,
    tokens: usize,
}

/// A query with the places of its logits.
struct Asked {
    name: String,
    query: Query,
    /// For each window: its run, and the place of its first output there, and how many there are.
    places: Vec<(usize, usize, usize)>,
}

impl Model {
    /// Of the bytes of a folder's `config.json` and `tokenizer.json`.
    ///
    /// # Errors
    /// As of [`Codec::from_bytes`].
    pub fn from_bytes(config: &[u8], tokenizer: &[u8]) -> Result<Self> {
        let codec = Codec::from_bytes(config, tokenizer, TASKS)?;
        let names = codec.tasks.iter().map(|task| HeadNames::of(task, codec.encoder)).collect();
        Ok(Self { codec, names, pending: None })
    }

    /// Its tasks.
    pub fn tasks(&self) -> &[NamedTask] {
        &self.codec.tasks
    }

    /// Begins to answer a request in the form of `POST /analyze`. One that was not answered to its end is dropped.
    ///
    /// # Errors
    /// The request is one that the server refuses.
    pub fn ask(&mut self, request: Value) -> Result<Step> {
        let (tasks, tokenizer) = (&self.codec.tasks, &self.codec.tokenizer);
        self.pending = None;
        let ask = Ask::read(request, tasks)?;
        let parts = ask.parts(tasks)?;
        let pairs = ask.pairs(&parts, tasks);
        let mut queries = Vec::with_capacity(parts.len());
        for part in parts {
            let named = tasks.get(part.task).ok_or_else(|| Error::internal("a task beyond the model's last"))?;
            queries.push((part.task, part.name, named.task.query(&part.request, tokenizer)?));
        }
        let pending =
            Pending { ask, pairs, queries: Vec::new(), outputs: Vec::new(), answers: BTreeMap::new(), tokens: 0 };
        self.run(pending, queries)
    }

    /// Goes on with the logits of the runs: of each its outputs, in order.
    ///
    /// # Errors
    /// Nothing was asked, or the logits are not those of the runs.
    pub fn answer(&mut self, outputs: Vec<Vec<Output>>) -> Result<Step> {
        let mut pending = self.pending.take().ok_or_else(|| Error::usage("expected a request before its logits"))?;
        let found: Vec<usize> = outputs.iter().map(Vec::len).collect();
        if found != pending.outputs {
            let message = format!("expected the outputs {:?} of each run, found {found:?}", pending.outputs);
            return Err(Error::usage(message));
        }
        for Asked { name, query, places } in std::mem::take(&mut pending.queries) {
            let of = |&(run, first, count): &(usize, usize, usize)| {
                logits(outputs.get(run).and_then(|outputs| outputs.get(first..first + count)).unwrap_or_default())
            };
            let logits = places.iter().map(of).collect::<Result<Vec<Logits>>>()?;
            pending.answers.insert(name, query.answer(logits));
        }
        let Some(pairs) = pending.pairs.take() else { return Ok(self.done(pending)) };
        let mut queries = Vec::new();
        for pairs in pairs.between(&pending.answers)? {
            let query = pairs.query(&self.codec.tasks, &self.codec.tokenizer)?;
            queries.push((pairs.task, pairs.name, query));
        }
        self.run(pending, queries)
    }

    /// The runs of these queries; equal windows of several tasks are one run.
    fn run(&mut self, mut pending: Pending, queries: Vec<(usize, String, Query)>) -> Result<Step> {
        let mut runs: Vec<Run> = Vec::new();
        for (task, name, query) in queries {
            let names = self.names.get(task).ok_or_else(|| Error::internal("a task beyond the model's last"))?;
            let place = |window: &Features| place(&mut runs, window, names);
            let places = query.windows.iter().map(place).collect();
            pending.tokens += query.tokens();
            pending.queries.push(Asked { name, query, places });
        }
        pending.outputs = runs.iter().map(|run| run.outputs.len()).collect();
        self.pending = Some(pending);
        // Where there is no window (no pair of parts, say), nothing is to be waited for.
        if runs.is_empty() { self.answer(Vec::new()) } else { Ok(Step::Run { runs }) }
    }

    fn done(&self, pending: Pending) -> Step {
        Step::Done { results: pending.ask.results(&self.codec.tasks, pending.answers), tokens: pending.tokens }
    }
}

/// The run of a window, and where the logits of its head come back.
fn place(runs: &mut Vec<Run>, window: &Features, names: &HeadNames) -> (usize, usize, usize) {
    let items = [(&names.ranges, &window.ranges), (&names.pairs, &window.pairs)];
    let items: BTreeMap<&String, &Vec<(u32, u32)>> = items.into_iter().filter(|(_, items)| !items.is_empty()).collect();
    // A head may read one window at different ranges: then these are different runs.
    let fits = |run: &Run| {
        (&run.ids, &run.types) == (&window.ids, &window.types)
            && (!run.outputs.contains(&names.outputs[0])
                || [&names.ranges, &names.pairs].iter().all(|name| run.items.get(*name) == items.get(name).copied()))
    };
    let index = runs.iter().position(fits).unwrap_or_else(|| {
        let (ids, types) = (window.ids.clone(), window.types.clone());
        runs.push(Run { ids, types, items: BTreeMap::new(), outputs: Vec::new() });
        runs.len() - 1
    });
    let run = &mut runs[index];
    run.items.extend(items.into_iter().map(|(name, items)| (name.clone(), items.clone())));
    let first = run.outputs.iter().position(|output| *output == names.outputs[0]).unwrap_or_else(|| {
        run.outputs.extend(names.outputs.iter().cloned());
        run.outputs.len() - names.outputs.len()
    });
    (index, first, names.outputs.len())
}

/// The logits of a window, row by row, from the outputs of its head.
fn logits(outputs: &[Output]) -> Result<Logits> {
    let wrong = |output: &Output| {
        Error::usage(format!(
            "expected the logits of one window, found {} numbers of {:?}",
            output.values.len(),
            output.dims
        ))
    };
    for output in outputs {
        let count: usize = output.dims.iter().product();
        if output.dims.first() != Some(&1) || output.dims.len() < 2 || count != output.values.len() {
            return Err(wrong(output));
        }
    }
    match outputs {
        [one] => Ok(Logits::new(one.values.clone(), one.dims.last().copied().unwrap_or(1))),
        columns => {
            let rows = columns.first().map_or(0, |column| column.values.len());
            if let Some(other) = columns.iter().find(|column| column.values.len() != rows) {
                return Err(wrong(other));
            }
            let row = |row: usize| columns.iter().filter_map(move |column| column.values.get(row).copied());
            Ok(Logits::new((0..rows).flat_map(row).collect(), columns.len()))
        }
    }
}
