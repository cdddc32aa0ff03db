//! What a run will do, known before it begins: batches, steps, warm-up; and the rule for the best epoch.

use super::warnings::uneven;
use super::{Prepared, Unit};
use crate::error::Result;
use crate::events::{FORMAT, ParameterCounts, Plan, TaskPlan};
use crate::optim::Schedule;
use crate::parameters::Parameters;
use crate::recipe::Recipe;
use crate::sample::StepOf;
use crate::tasks::Score;
use std::collections::BTreeMap;

impl Plan {
    /// The plan of a recipe, its model and its data.
    pub fn new(recipe: &Recipe, Prepared { model, task_data, units, .. }: &Prepared) -> Result<Self> {
        let counts = super::batches::counts(recipe, units, task_data);
        let batches_of = |task: usize| {
            let unit = units.iter().position(|unit| unit.tasks.contains(&task));
            unit.and_then(|unit| counts.get(unit)).copied().unwrap_or(0)
        };
        let tasks: Vec<TaskPlan> = task_data
            .iter()
            .enumerate()
            .map(|(task, data)| TaskPlan {
                name: data.name.clone(),
                examples: data.train.len,
                windows: data.windows.len(),
                batches: batches_of(task),
                tokens: data.windows.iter().map(|window| window.features.ids.len()).sum(),
                validation: data.validation.as_ref().map_or(0, |examples| examples.len),
                lost: data.lost,
            })
            .collect();
        let steps_per_epoch = recipe.sampler()?.steps(&counts);
        let names =
            |unit: &Unit| unit.tasks.iter().filter_map(|&task| Some(task_data.get(task)?.name.clone())).collect();
        let shared = units.iter().filter(|unit| unit.tasks.len() > 1).map(names).collect();
        let epochs = recipe.train.epochs;
        let steps = (steps_per_epoch * epochs).min(recipe.train.max_steps.unwrap_or(usize::MAX));
        let warmup_steps = Schedule::new(steps, recipe.train.warmup).warmup;
        let precision = recipe.train.precision.resolve().name().to_owned();
        let mut warnings: Vec<_> = task_data.iter().flat_map(|data| data.warnings.iter().cloned()).collect();
        if recipe.sampler()?.step_of() == StepOf::SeveralTasks {
            warnings.extend(uneven(&tasks));
        }
        let parameters = Some(ParameterCounts {
            all: Parameters::count(model.parameters.iter()),
            trained: Parameters::count(model.parameters.trained()),
        });
        Ok(Self {
            format: FORMAT,
            tasks,
            epochs,
            steps_per_epoch,
            steps,
            warmup_steps,
            patience: recipe.train.patience,
            precision,
            parameters,
            shared,
            heads: model.about.heads.clone(),
            warnings,
        })
    }
}

/// The value by which epochs are compared.
pub(super) fn best_value(rule: &str, scores: &BTreeMap<String, Score>) -> Option<f64> {
    let values = || scores.values().map(Score::headline_value);
    if scores.is_empty() {
        return None;
    }
    Some(match rule {
        "mean" => values().sum::<f64>() / scores.len() as f64,
        "worst" => values().fold(f64::INFINITY, f64::min),
        task => scores.get(task)?.headline_value(),
    })
}

/// The rule in words.
pub(super) fn best_rule(rule: &str, scores: &BTreeMap<String, Score>) -> String {
    let named = |(task, score): (&String, &Score)| format!("{task} {}", score.headline);
    let all: Vec<String> = scores.iter().map(named).collect();
    match rule {
        _ if all.is_empty() => "the last epoch: there is no validation data".to_owned(),
        "mean" => format!("highest mean of {}", all.join(" and ")),
        "worst" => format!("highest worst of {}", all.join(" and ")),
        task => format!("highest {}", scores.get_key_value(task).map_or_else(|| task.to_owned(), named)),
    }
}
