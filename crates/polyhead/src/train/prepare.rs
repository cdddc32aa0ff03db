//! From a recipe to what training needs: the encoder with its heads, and every task's windows.

use super::facts::{self, Facts};
use super::feature_cache::{self, FeatureCache};
use super::origin::Origin;
use super::record::DataFile;
use super::shared::{self, Unit};
use super::splits::{DataSource, hold_back, hold_out};
use super::warnings::{self, TaskFacts};
use super::windows::{TrainingWindow, TrainingWindows};
use crate::batch::WindowedExample;
use crate::document::number::count;
use crate::error::{Error, Place, Result};
use crate::events::{Lost, Warning, listed};
use crate::hub::{self, HubEvent, HubOptions, NamedFile};
use crate::model::{Model, NamedTask, Provenance, Start};
use crate::order;
use crate::parameters::Parameters;
use crate::recipe::{Recipe, TaskRecipe};
use crate::tasks::{AnyTask, ClassSampling, Examples, Purpose, TaskKind};
use crate::text::Tokenizer;
use polyhead_kernels::rng::Key;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// What a recipe comes to before the first step.
pub struct Prepared {
    /// The pretrained encoder with heads: new ones, or those that its checkpoint had.
    pub model: Model,
    /// The data of each task, in the order of the model's tasks.
    pub task_data: Vec<TaskData>,
    /// Which tasks take their batches together: one by itself, or several that share an encoder pass.
    pub units: Vec<Unit>,
    /// Every file of data that was read: `data.ner.train` and its length and digest.
    pub data: Vec<DataFile>,
}

/// A task's data.
pub struct TaskData {
    /// The task's name.
    pub name: String,
    /// Windows of one step.
    pub batch_size: usize,
    /// What multiplies its loss.
    pub loss_weight: f64,
    /// How often the windows of each class come in a pass.
    pub class_sampling: Option<ClassSampling>,
    /// The training examples.
    pub train: Examples,
    /// Their windows, in order.
    pub windows: Vec<TrainingWindow>,
    /// What did not fit into the windows.
    pub lost: Lost,
    /// The validation examples.
    pub validation: Option<Examples>,
    /// The training examples that are held back for calibration.
    pub calibration: Option<Examples>,
    /// What in the data is probably a mistake.
    pub warnings: Vec<Warning>,
    places: Vec<Place>,
}

impl TaskData {
    /// Windows of one step, which takes `accumulate` batches.
    pub(super) fn step_windows(&self, accumulate: usize) -> usize {
        self.batch_size * accumulate
    }

    /// The class of each window, where passes draw by class.
    pub(super) fn classes(&self) -> Vec<Option<usize>> {
        let class = |window: &TrainingWindow| usize::try_from(*window.features.targets.classes().first()?).ok();
        self.windows.iter().map(class).collect()
    }

    /// What drawing by class does, for people: `tasks.topics.class_sampling = balanced: a pass of 24 windows has 12 of A (of 20), ...`.
    fn said_of_classes(&self, sampling: ClassSampling, labels: &[String]) -> String {
        let classes = self.classes();
        let sizes: Vec<usize> =
            (0..labels.len()).map(|label| classes.iter().filter(|class| **class == Some(label)).count()).collect();
        let often = order::expected(&sizes, |size| sampling.weight(size), classes.len());
        let of = |((label, size), often): ((&String, &usize), f64)| format!("{often:.1} of {label} (of {size})");
        let of_labels: Vec<String> = labels.iter().zip(&sizes).zip(often).map(of).collect();
        let (name, windows) = (sampling.name(), classes.len());
        format!("tasks.{}.class_sampling = {name}: a pass of {windows} windows has {}", self.name, listed(&of_labels))
    }

    /// Where a training example stands.
    pub fn place(&self, example: usize) -> Option<&Place> {
        self.places.get(example)
    }
}

/// Reads the data, gets the encoder, makes the windows. `notify` hears what is worth a line.
pub fn prepare(recipe: &Recipe, kinds: &[TaskKind], notify: &mut dyn FnMut(&str)) -> Result<Prepared> {
    prepare_from(recipe, kinds, &Origin::default(), None, notify)
}

/// The same for a run that was started there, with the model of a checkpoint, if there is one, and what is known of it.
pub(super) fn prepare_from(
    recipe: &Recipe,
    kinds: &[TaskKind],
    origin: &Origin,
    checkpoint: Option<(&Path, Provenance)>,
    notify: &mut dyn FnMut(&str),
) -> Result<Prepared> {
    let options = HubOptions::from_env();
    let mut tasks = Vec::new();
    let mut data = Vec::new();
    let mut files = Vec::new();
    // Data first: a mistake in it should not wait for a download.
    for described in recipe.tasks()? {
        let mut task = recipe.open_task(kinds, &described)?;
        let TaskRecipe { name, batch_size, loss_weight, .. } = described;
        let spec =
            recipe.data.get(&name).ok_or_else(|| Error::usage(format!("data.{name}: expected the task's data")))?;
        let mut source = DataSource { origin, options: &options, notify: &mut |event| hear(event, notify) };
        let read = source.read(&spec.train, spec.limit, &spec.layout(), &*task)?;
        let of_files = record(&name, "train", &read.files, &mut files)?;
        let train = read.examples;
        if train.len == 0 {
            return Err(
                Error::data(format!("data.{name}.train: no usable example")).at(Place::file(spec.train.to_string()))
            );
        }
        // A limit takes the first examples, but the labels are those of all files.
        let whole = match spec.limit {
            Some(limit) if train.len >= limit => Some(source.read(&spec.train, None, &spec.layout(), &*task)?.examples),
            _ => None,
        };
        let validation = match &spec.validation {
            Some(named) => Some(source.read(named, spec.validation_limit, &spec.layout(), &*task)?),
            None => None,
        };
        told(&format!("data.{name}.train"), &train, notify);
        task.prepare(whole.as_ref().unwrap_or(&train))?;
        task.check(&train)?;
        let all = train.len;
        let (train, held_out) = match spec.split {
            Some(share) => {
                let split = hold_out(&*task, train, share, recipe.seed);
                let (train, held_out) =
                    split.map_err(|error| error.at_least(recipe.place(&format!("data.{name}.split"))))?;
                let (out, percent) = (count(held_out.len), 100.0 * held_out.len as f64 / all as f64);
                let seed = recipe.seed;
                notify(&format!(
                    "data.{name}: {out} of {} examples ({percent:.1} %) are held out for validation (seed {seed})",
                    count(all)
                ));
                (train, Some(held_out))
            }
            None => (train, None),
        };
        let (train, calibration) = match spec.calibration {
            Some(share) => {
                let parts = hold_back(&*task, train, share, recipe.seed);
                let (train, back) =
                    parts.map_err(|error| error.at_least(recipe.place(&format!("data.{name}.calibration"))))?;
                notify(&format!("data.{name}: {} training examples are held back for calibration", count(back.len)));
                (train, Some(back))
            }
            None if task.wanted_precision().is_some() => {
                let key = format!("tasks.{name}.min_score");
                let message =
                    format!("{key}: a precision is measured on training examples that are held back, found none");
                return Err(Error::usage(message)
                    .at_least(recipe.place(&key))
                    .hint(format!("data.{name}.calibration = 0.1 holds a tenth of them back")));
            }
            None => (train, None),
        };
        task.learnable(&train).map_err(|error| match spec.limit.filter(|_| whole.is_some()) {
            Some(limit) => error.hint(format!("data.{name}.limit takes the first {limit} examples only: raise it")),
            None => error,
        })?;
        let of_train = Facts::of(&*task, &train, &of_files)?;
        let whole = whole.map(|whole| facts::labels(&*task, &whole)).transpose()?;
        let (validation, of_files) = match (validation, held_out) {
            (Some(read), _) => {
                let of_files = record(&name, "validation", &read.files, &mut files)?;
                told(&format!("data.{name}.validation"), &read.examples, notify);
                task.check(&read.examples)?;
                (Some(read.examples), of_files)
            }
            // Of the files of training, and yet not the same examples.
            (None, held_out) => (held_out, String::new()),
        };
        let of_validation = validation.as_ref().map(|examples| Facts::of(&*task, examples, &of_files)).transpose()?;
        tasks.push(NamedTask { name, task });
        data.push((batch_size, loss_weight, train, validation, calibration, (of_train, whole, of_validation)));
    }
    let mut examples = BTreeMap::new();
    for (NamedTask { name, task }, (_, _, train, validation, ..)) in tasks.iter().zip(&data) {
        if let Some(example) = task.example(validation.as_ref().unwrap_or(train))? {
            examples.insert(name.clone(), example);
        }
    }
    let text = recipe.to_toml()?;
    let about = |about: Provenance| Provenance { recipe: Some(text), examples, ..about };
    let adjust = recipe.adjust();
    // What an encoder refuses of the recipe begins with its key.
    let at_key = |error: Error| match error.to_string().split_once(": ") {
        Some((key, _)) if key.starts_with("encoder.") || key.starts_with("sharing") => {
            error.at_least(recipe.place(key))
        }
        _ => error,
    };
    let model = match checkpoint {
        Some((folder, known)) => Model::resumed(folder, about(known), tasks, &adjust, kinds).map_err(at_key)?,
        None => {
            let named = origin.path(&recipe.encoder.checkpoint);
            let found = hub::encoder(&named.to_string_lossy(), &options, &mut |event| hear(event, notify))?;
            notify(&found.source.said);
            let about = about(Provenance { source: Some(found.source), ..Provenance::default() });
            let key = Key::seed(recipe.seed).purpose("init");
            let (keep, rename) = (&recipe.encoder.keep_heads, &recipe.encoder.rename_heads);
            let (drop_layers, case_embeddings) = (recipe.encoder.drop_layers, recipe.encoder.case_embeddings);
            let start = Start { about, tasks, adjust: &adjust, key, kinds, drop_layers, case_embeddings, keep, rename };
            Model::begin(&found.folder, start, notify).map_err(at_key)?
        }
    };
    notify(&format!(
        "{} parameters, {} of them trained",
        Parameters::count(model.parameters.iter()),
        Parameters::count(model.parameters.trained())
    ));
    let mut cache = recipe.train.feature_cache.then(|| FeatureCache::new(options.own_cache.join("features")));
    let mut task_data = Vec::with_capacity(data.len());
    for (NamedTask { name, task }, (batch_size, loss_weight, mut train, mut validation, calibration, counted)) in
        model.tasks.iter().zip(data)
    {
        for (split, examples, purpose) in
            [("train", Some(&mut train), Purpose::Train), ("validation", validation.as_mut(), Purpose::Predict)]
        {
            let Some(examples) = examples else { continue };
            for note in task.review(examples, &model.tokenizer, purpose)? {
                notify(&format!("data.{name}.{split}: {note}"));
            }
        }
        if let (0, Some(first)) = (train.len, train.skipped.last()) {
            let message = format!("data.{name}.train: no usable example; the last: {}", first.reason);
            return Err(Error::data(message).at(first.place.clone()));
        }
        let TrainingWindows { windows, lost } = match &mut cache {
            Some(cache) => windows_by_cache(cache, name, &**task, &train, &model.tokenizer, notify)?,
            None => encode(&**task, &train, &model.tokenizer)?,
        };
        let unknown = facts::unknown(&**task, &train, &windows, &model.tokenizer)?;
        let (of_train, whole, of_validation) = &counted;
        let warnings = warnings::warnings(&TaskFacts {
            name,
            train: of_train,
            whole: whole.as_ref(),
            validation: of_validation.as_ref(),
            unknown: unknown.as_ref(),
        });
        let places = (0..train.len).map(|index| task.place(&train, index).cloned()).collect::<Result<_>>()?;
        let (name, class_sampling) = (name.clone(), task.class_sampling());
        let of_task = TaskData {
            name,
            batch_size,
            loss_weight,
            class_sampling,
            train,
            windows,
            lost,
            validation,
            calibration,
            warnings,
            places,
        };
        if let Some(sampling) = class_sampling {
            notify(&of_task.said_of_classes(sampling, task.labels()));
        }
        task_data.push(of_task);
    }
    let units = shared::units(recipe, &task_data, &files, notify)?;
    Ok(Prepared { model, task_data, units, data: files })
}

/// The windows that an earlier run kept, or new ones, which are kept for the next.
fn windows_by_cache(
    cache: &mut FeatureCache,
    name: &str,
    task: &dyn AnyTask,
    train: &Examples,
    tokenizer: &Tokenizer,
    notify: &mut dyn FnMut(&str),
) -> Result<TrainingWindows> {
    let Some(key) = feature_cache::key(task, train, tokenizer)? else { return encode(task, train, tokenizer) };
    if let Some(found) = cache.get(&key, train.len, notify) {
        notify(&format!("tasks.{name}: tokenised by an earlier run (see train.feature_cache)"));
        return Ok(found);
    }
    let made = encode(task, train, tokenizer)?;
    cache.put(&key, &made, notify);
    Ok(made)
}

/// Makes the windows of all examples, in order.
fn encode(task: &dyn AnyTask, train: &Examples, tokenizer: &Tokenizer) -> Result<TrainingWindows> {
    let features = |index| task.features(train, index, tokenizer, Purpose::Train);
    let all: Vec<Result<WindowedExample>> = (0..train.len).into_par_iter().map(features).collect();
    // Of several failures the first in order is reported, not the first in time.
    let all: Vec<WindowedExample> = all.into_iter().collect::<Result<_>>()?;
    let lost = Lost {
        tokens: all.iter().map(|encoded| encoded.lost_tokens).sum(),
        golds: all.iter().map(|encoded| encoded.truncated_answers).sum(),
    };
    let windows = all.into_iter().enumerate().flat_map(|(example, encoded)| {
        encoded.windows.into_iter().map(move |features| TrainingWindow { example, features })
    });
    Ok(TrainingWindows { windows: windows.collect(), lost })
}

/// Keeps what is known of the files of a split; returns their digests.
fn record(task: &str, split: &str, read: &[(NamedFile, usize)], files: &mut Vec<DataFile>) -> Result<String> {
    let mut digests = Vec::with_capacity(read.len());
    for (NamedFile { name, file }, examples) in read {
        let file = DataFile::read(task, split, name, file, *examples)?;
        digests.push(file.sha256.clone());
        files.push(file);
    }
    Ok(digests.join(" "))
}

fn hear(event: HubEvent, notify: &mut dyn FnMut(&str)) {
    match event {
        HubEvent::Note(note) => notify(&note),
        HubEvent::Started { file, bytes, .. } => match bytes {
            Some(bytes) => notify(&format!("downloading {file} ({:.1} MB)", bytes as f64 / 1e6)),
            None => notify(&format!("downloading {file}")),
        },
        HubEvent::Progress { .. } | HubEvent::Finished { .. } => {}
    }
}

fn told(what: &str, examples: &Examples, notify: &mut dyn FnMut(&str)) {
    for note in &examples.notes {
        notify(&format!("{what}: {note}"));
    }
    if !examples.skipped.is_empty() {
        let first = &examples.skipped[0];
        notify(&format!(
            "{what}: {} examples can't be used (`polyhead data` lists them); the first: {}: {}",
            examples.skipped.len(),
            first.place,
            first.reason
        ));
    }
}
