//! A loaded model. `Model` in `_model.py` is what people see.

use crate::attend::{Interrupted, Worker, attend};
use crate::error::exception;
use polyhead::data::{Columns, Encoding, Files, Layout};
use polyhead::hub::{self, HubOptions};
use polyhead::infer::{self, GoldData, Products};
use polyhead::tasks::TASKS;
use polyhead::{Error, Place, Result};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A loaded model.
#[pyclass(frozen, module = "polyhead._polyhead")]
pub struct Session {
    session: Arc<infer::Session>,
    pool: Option<Arc<ThreadPool>>,
}

/// The options of an evaluation, under the names that a recipe gives them.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    limit: Option<usize>,
    columns: Option<Columns>,
    encoding: Encoding,
    tag_names: Vec<String>,
    label_names: Vec<String>,
    label_separator: Option<String>,
    interval: bool,
}

/// Numbers of f32 in the machine's order of bytes, with rows and columns.
type Array<'py> = (Bound<'py, PyByteArray>, usize, usize);

#[pymethods]
impl Session {
    /// Loads a model folder, or the best model of a run folder.
    #[staticmethod]
    fn open(py: Python<'_>, folder: PathBuf, precision: &str, threads: Option<usize>) -> PyResult<Self> {
        let products: Products = precision.parse().map_err(|error| exception(py, &error))?;
        let pool = pool(threads).map_err(|error| exception(py, &error))?;
        let open = move |_: &Worker<Infallible>| infer::Session::open_in(folder, TASKS, products);
        let session = Arc::new(attend(py, pool.clone(), Interrupted::Leaves, open, never)?);
        Ok(Self { session, pool })
    }

    /// What its matrix products are computed in.
    #[getter]
    fn precision(&self) -> &'static str {
        self.session.products().name()
    }

    /// Its tasks, as JSON: a list in the order of the recipe.
    fn tasks(&self) -> String {
        let field = |field: &polyhead::tasks::Field| json!({ "name": field.name, "about": field.about });
        let about = |named: &polyhead::model::NamedTask| {
            let task = &named.task;
            json!({
                "name": named.name,
                "kind": task.kind(),
                "about": task.about(),
                "shape": task.shape().name(),
                "labels": task.labels(),
                "fields": task.fields().iter().map(field).collect::<Vec<_>>(),
                "max_length": task.max_length(),
            })
        };
        Value::from(self.session.model.tasks.iter().map(about).collect::<Vec<_>>()).to_string()
    }

    /// Answers requests, each a JSON object, with a JSON object each.
    fn predict(&self, py: Python<'_>, task: String, requests: Vec<String>) -> PyResult<Vec<String>> {
        self.attend(py, move |session, worker| {
            let mut answers = Vec::with_capacity(requests.len());
            let mut requests = requests.iter().enumerate().map(|(at, text)| Ok((read(at, text)?, place(at))));
            session.predict(&task, &mut requests, &mut |answer| {
                answers.push(answer.to_string());
                worker.check()
            })?;
            Ok(answers)
        })
    }

    /// The logits of each request.
    fn logits<'py>(&self, py: Python<'py>, task: String, requests: Vec<String>) -> PyResult<Vec<Array<'py>>> {
        let all = self.attend(py, move |session, worker| {
            let read = |(at, text): (usize, &String)| Ok((read(at, text)?, place(at)));
            let requests = requests.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
            session.logits(&task, &requests, &|| worker.check())
        })?;
        Ok(all.iter().map(|logits| array(py, logits.values(), logits.outputs())).collect())
    }

    /// A row for each text: the mean of its hidden states.
    fn embed<'py>(&self, py: Python<'py>, texts: Vec<String>, max_length: usize) -> PyResult<Array<'py>> {
        let hidden = self.session.model.encoder.hidden_size();
        let rows = self.attend(py, move |session, worker| session.embed(&texts, max_length, &|| worker.check()))?;
        Ok(array(py, &rows.concat(), hidden))
    }

    /// Scores a task on files with gold answers: JSON, as of `polyhead eval --json`. So are the options.
    fn evaluate(&self, py: Python<'_>, task: String, data: Vec<String>, options: String) -> PyResult<String> {
        self.attend(py, move |session, worker| {
            let options: Options =
                serde_json::from_str(&options).map_err(|cause| Error::usage(format!("options: {cause}")))?;
            let Options { limit, columns, encoding, tag_names, label_names, label_separator, interval } = options;
            let layout = Layout { columns, encoding, tag_names, label_names, label_separator, ..Layout::default() };
            let task = session.model.task(&task)?;
            let files = Files::new(data).ok_or_else(|| Error::usage("data: expected a file, found none"))?;
            let (here, options) = (|_: &str| Path::new(""), HubOptions::from_env());
            let found = hub::data_files(&files, task.task.formats(), &here, &options, &mut |_| ())?;
            let found: Vec<PathBuf> = found.into_iter().map(|named| named.file).collect();
            let go_on = || worker.check();
            let gold = GoldData { files: &found, limit, layout: &layout, intervals: interval };
            let evaluation = session.evaluate_while(&go_on, &task.name, gold, &mut |_, _| ())?;
            let precision = session.products().name();
            let of = json!({ "task": task.name, "kind": task.task.kind(), "data": files, "precision": precision });
            Ok(merged(of, json!(evaluation)).to_string())
        })
    }
}

impl Session {
    fn attend<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&infer::Session, &Worker<Infallible>) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let session = self.session.clone();
        attend(py, self.pool.clone(), Interrupted::Leaves, move |worker| work(&session, worker), never)
    }
}

/// Handles what is never told.
fn never(_: Python<'_>, message: Infallible) -> PyResult<()> {
    match message {}
}

/// Threads of one's own; without a number those of the process are shared: RAYON_NUM_THREADS, or one for each processor.
pub fn pool(threads: Option<usize>) -> Result<Option<Arc<ThreadPool>>> {
    let make = |threads: usize| {
        if threads == 0 {
            return Err(Error::usage("threads: expected at least 1, found 0"));
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(Arc::new(pool.map_err(|cause| Error::internal(format!("can't start {threads} threads: {cause}")))?))
    };
    threads.map(make).transpose()
}

/// What messages call an input.
fn place(at: usize) -> Place {
    Place::file(format!("inputs[{at}]"))
}

fn read(at: usize, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|cause| Error::data(format!("not valid JSON: {cause}")).at(place(at)))
}

fn array<'py>(py: Python<'py>, values: &[f32], columns: usize) -> Array<'py> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    (PyByteArray::new(py, &bytes), values.len() / columns.max(1), columns)
}

/// The fields of both objects.
fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut first, second) {
        fields.extend(more);
    }
    first
}
