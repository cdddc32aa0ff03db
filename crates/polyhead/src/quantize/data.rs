//! Examples that a model in bytes is measured with: those of the recipe of its run, or of another.

use crate::batch::Features;
use crate::error::{Error, Place, Result};
use crate::hub::HubOptions;
use crate::infer::Session;
use crate::metrics::bootstrap;
use crate::model::{Model, NamedTask};
use crate::recipe::{DataRecipe, Recipe};
use crate::tasks::{Examples, Logits, Purpose, Score};
use crate::train::{DataSource, Origin};
use polyhead_kernels::rng::Key;
use std::path::{Path, PathBuf};

/// So many windows at a time.
const TOGETHER: usize = 16;

/// The data of a recipe.
pub(super) struct Data {
    recipe: Recipe,
    origin: Origin,
    path: PathBuf,
    options: HubOptions,
}

impl Data {
    /// Of this recipe; else of the run that a model folder is of.
    pub(super) fn of(folder: &Path, recipe: Option<&Path>) -> Result<Self> {
        let options = HubOptions::from_env();
        if let Some(path) = recipe {
            let recipe = Recipe::read(path, &[])?;
            return Ok(Self { recipe, origin: Origin::default(), path: path.to_owned(), options });
        }
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let run = whole.parent().filter(|run| run.join("recipe.toml").is_file());
        let run = run.ok_or_else(|| {
            Error::missing("expected the model of a run, whose recipe.toml names its data, found none")
                .at(Place::file(folder))
                .hint("--recipe FILE names data for its tasks")
        })?;
        let path = run.join("recipe.toml");
        Ok(Self { recipe: Recipe::read(&path, &[])?, origin: Origin::of(run), path, options })
    }

    /// The data of each task of the model that the recipe has some for.
    fn tasks<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = (&'a NamedTask, &'a DataRecipe)> {
        model.tasks.iter().filter_map(|named| Some((named, self.recipe.data.get(&named.name)?)))
    }

    /// About so many training examples of each task, drawn from all.
    pub(super) fn samples(&self, model: &Model, count: usize, notify: &mut dyn FnMut(&str)) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for (NamedTask { name, task }, data) in self.tasks(model) {
            let mut source = DataSource { origin: &self.origin, options: &self.options, notify: &mut |_| () };
            let all = source.training(&self.recipe, data, &**task)?;
            let (len, share) = (all.len, count as f64 / all.len.max(1) as f64);
            let key = Key::seed(self.recipe.seed).purpose("quantize");
            let mut examples = match share < 1.0 {
                false => all,
                true => match task.hold_out(all, share, key) {
                    Ok((_, examples)) => examples,
                    // Too few different texts to draw from.
                    Err(_) => {
                        source.training(&self.recipe, &DataRecipe { limit: Some(count), ..data.clone() }, &**task)?
                    }
                },
            };
            task.review(&mut examples, &model.tokenizer, Purpose::Predict)?;
            notify(&format!("{name}: {} of {len} training examples", examples.len));
            if examples.len > 0 {
                samples.push(Sample { task: name.clone(), examples });
            }
        }
        if samples.is_empty() {
            let tasks: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
            let message = format!("expected data for one of the model's tasks ({}), found none", tasks.join(", "));
            return Err(Error::data(message).at(Place::file(&self.path)));
        }
        Ok(samples)
    }

    /// The validation examples of each task that has some.
    pub(super) fn validation(&self, model: &Model) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for (NamedTask { name, task }, data) in self.tasks(model) {
            let mut source = DataSource { origin: &self.origin, options: &self.options, notify: &mut |_| () };
            if let Some(mut examples) = source.validation(&self.recipe, data, &**task)? {
                task.review(&mut examples, &model.tokenizer, Purpose::Predict)?;
                samples.push(Sample { task: name.clone(), examples });
            }
        }
        Ok(samples)
    }
}

/// How often a score is taken of other samples of its examples.
const SAMPLES: usize = 300;

/// What a model scores on the examples of a task.
pub(super) struct Measured {
    pub score: Score,
    /// What decides of it, on each sample of the examples: the same samples for every model.
    pub on_samples: Vec<f64>,
}

/// Examples of a task with gold answers.
pub(super) struct Sample {
    pub task: String,
    pub examples: Examples,
}

impl Sample {
    pub(super) fn score(&self, session: &Session) -> Result<Measured> {
        let named = session.model.task(&self.task)?;
        session.model.run(named, |task, runner| {
            let samples = bootstrap::samples(&task.groups(&self.examples)?, SAMPLES);
            let (score, scores) = task.evaluate_samples(&self.examples, runner, &samples, &mut |_, _| ())?;
            Ok(Measured { score, on_samples: scores.iter().map(Score::headline_value).collect() })
        })
    }

    /// The windows of the first of them, so many at most.
    pub(super) fn windows(&self, model: &Model, most: usize) -> Result<Vec<Features>> {
        let task = &model.task(&self.task)?.task;
        let mut windows = Vec::new();
        for index in 0..self.examples.len {
            if windows.len() >= most {
                break;
            }
            windows.extend(task.features(&self.examples, index, &model.tokenizer, Purpose::Predict)?.windows);
        }
        windows.truncate(most);
        Ok(windows)
    }

    pub(super) fn logits(&self, model: &Model, windows: &[Features]) -> Result<Vec<Logits>> {
        let task = model.task(&self.task)?;
        let batches = windows.chunks(TOGETHER).map(|batch| model.logits(task, &batch.iter().collect::<Vec<_>>()));
        Ok(batches.collect::<Result<Vec<_>>>()?.concat())
    }
}
