//! Times a model on windows of token ids: `bench/compare.py` and `bench/scaling.py` drive it.
//!
//! ```text
//! cargo run --release --example bench_inference -- MODEL_FOLDER WORKLOADS.json auto|f32|int8
//! ```
//!
//! The file holds a list of workloads, each `{"name", "task", "warmup", "rounds", "batches"}`; a batch is a list of
//! windows, each `{"ids", "types"}`. Every workload is run `warmup` times (at least once), then timed `rounds` times.
//! Packing, encoder and head are timed; reading and tokenizing are not. Prints one JSON object: for each workload the
//! seconds of every batch, round by round, and the logits, window by window, for whoever times to compare.

use polyhead::batch::Features;
use polyhead::encoders::Precision;
use polyhead::infer::{Products, Session};
use polyhead::tasks::{Logits, TASKS};
use polyhead::{Error, Place, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

// That of the binary, whose speed this stands for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
struct Workload {
    name: String,
    task: String,
    warmup: usize,
    rounds: usize,
    batches: Vec<Vec<Window>>,
}

#[derive(Deserialize)]
struct Window {
    ids: Vec<u32>,
    types: Vec<u32>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, workloads, precision] = &arguments[..] else {
        return Err(Error::usage("usage: bench_inference MODEL_FOLDER WORKLOADS.json auto|f32|int8"));
    };
    let precision = match precision.as_str() {
        "f32" => Products::Of(Precision::F32),
        "auto" => Products::Of(Precision::auto()),
        "int8" => Products::Int8,
        other => return Err(Error::usage(format!("precision: expected auto, f32 or int8, found `{other}`"))),
    };
    let session = Session::open_in(model, TASKS, precision)?;
    let measured = read(workloads.as_ref())?.into_iter().map(|workload| measure(&session, workload));
    let measured = measured.collect::<Result<Vec<Value>>>()?;
    println!("{}", json!({ "precision": precision.name(), "workloads": measured }));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Workload>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
    serde_json::from_str(&text).map_err(|cause| {
        Error::data(format!("not a list of workloads: {cause}")).at(Place::column(path, cause.line(), cause.column()))
    })
}

fn measure(session: &Session, workload: Workload) -> Result<Value> {
    let Workload { name, task, warmup, rounds, batches } = workload;
    let task = session.model.task(&task)?;
    let window = |Window { ids, types }| Features { ids, types, ..Features::default() };
    let batches: Vec<Vec<Features>> =
        batches.into_iter().map(|batch| batch.into_iter().map(window).collect()).collect();
    let batches: Vec<Vec<&Features>> = batches.iter().map(|batch| batch.iter().collect()).collect();

    let pass = || batches.iter().map(|batch| session.model.logits(task, batch)).collect::<Result<Vec<_>>>();
    let logits: Vec<f32> = pass()?.iter().flatten().flat_map(Logits::rows).flatten().copied().collect();
    for _ in 1..warmup {
        pass()?;
    }
    let mut seconds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut round = Vec::with_capacity(batches.len());
        for batch in &batches {
            let began = Instant::now();
            session.model.logits(task, batch)?;
            round.push(began.elapsed().as_secs_f64());
        }
        seconds.push(round);
    }
    Ok(json!({ "name": name, "seconds": seconds, "logits": logits }))
}
