//! What must hold of a recipe beyond the types of its values: names, ranges, and that its parts name each other.

use super::{LearningRate, Recipe, TrainRecipe, words};
use crate::data::SENTENCES;
use crate::error::{Error, Result};
use crate::parameters::Freeze;
use crate::sharing;
use crate::tasks::TASKS;

/// A value that is out of its range.
struct Fault {
    key: String,
    expected: String,
    found: String,
    hint: Option<String>,
}

fn fault(key: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Fault {
    Fault { key: key.into(), expected: expected.into(), found: found.into(), hint: None }
}

impl Fault {
    fn meant(mut self, near: Option<&str>) -> Self {
        self.hint = near.map(|near| format!("did you mean `{near}`?"));
        self
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

/// Refuses the first value that is out of its range, where it stands.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    let all = [names, tasks_and_data, encoder, numbers, counts, splits, choices];
    if let Err(Fault { key, expected, found, hint }) = all.iter().try_for_each(|part| part(recipe)) {
        let error = Error::usage(format!("{key}: expected {expected}, found {found}")).at(recipe.place(&key));
        return Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    recipe.check_strategies()?;
    for (name, data) in &recipe.data {
        let (layout, kind) = (data.layout(), recipe.kind_of(name));
        let of_entities =
            TASKS.iter().any(|known| known.kind == kind && known.formats.examples() == SENTENCES.examples);
        let checked = layout.check().and_then(|()| if of_entities { layout.check_entity_tags() } else { Ok(()) });
        checked.map_err(|error| {
            let message = format!("data.{name}.{error}");
            let place = recipe.place(message.split(": ").next().unwrap_or_default());
            Error::usage(message).at(place)
        })?;
    }
    recipe.tasks().map(|_| ())
}

fn name_is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

fn names(recipe: &Recipe) -> Result<(), Fault> {
    if !name_is_plain(&recipe.name) {
        let expected = "lower-case letters, digits, `-` and `_`, at most 64";
        return Err(fault("name", expected, format!("`{}`", recipe.name)));
    }
    let strange = recipe.tasks.keys().find(|name| !name_is_plain(name));
    strange.map_or(Ok(()), |name| {
        let expected = "a name of lower-case letters, digits, `-` and `_`, at most 64";
        Err(fault(format!("tasks.{name}"), expected, format!("`{name}`")))
    })
}

fn tasks_and_data(recipe: &Recipe) -> Result<(), Fault> {
    if recipe.tasks.is_empty() {
        return Err(fault("tasks", "at least one task", "none").hint("as in [tasks.ner]"));
    }
    let without = |name: &&String| !recipe.data.contains_key(*name);
    let orphan = |name: &&String| !recipe.tasks.contains_key(*name);
    let (task, data) = (recipe.tasks.keys().find(without), recipe.data.keys().find(orphan));
    match (task, data) {
        (None, None) => Ok(()),
        // A slip in one of the two names, where there is data of no task.
        (_, Some(name)) => {
            let near = words::nearest(name, recipe.tasks.keys().map(String::as_str));
            Err(fault(format!("data.{name}"), "the data of a task", format!("no task `{name}`")).meant(near))
        }
        (Some(name), None) => {
            let others = recipe.tasks.keys().filter(|other| *other != name);
            let near = words::nearest(name, others.map(String::as_str));
            let missing = fault(format!("tasks.{name}"), format!("its data, as [data.{name}]"), "nothing");
            Err(missing.meant(near))
        }
    }
}

fn encoder(recipe: &Recipe) -> Result<(), Fault> {
    if sharing::open(&recipe.sharing).is_ok_and(|sharing| sharing.freezes_encoder()) {
        let frozen = format!("nothing beside sharing = `{}`, which freezes the whole encoder", recipe.sharing.name);
        if recipe.encoder.lora.is_some() {
            return Err(fault("encoder.lora", frozen, "additions that all tasks share")
                .hint("leave one of the two out; with sharing = \"lora\" each task has its own"));
        }
        if recipe.encoder.freeze != Freeze::Nothing {
            return Err(fault("encoder.freeze", frozen, "layers to freeze").hint("leave one of the two out"));
        }
    }
    let Some(lora) = &recipe.encoder.lora else { return Ok(()) };
    if let Some((key, expected, found)) = lora.out_of_range() {
        return Err(fault(format!("encoder.lora.{key}"), expected, found));
    }
    if recipe.encoder.freeze != Freeze::Nothing {
        let frozen = "nothing beside [encoder.lora], which freezes the whole encoder";
        return Err(fault("encoder.freeze", frozen, "layers to freeze").hint("leave one of the two out"));
    }
    Ok(())
}

fn numbers(recipe: &Recipe) -> Result<(), Fault> {
    let TrainRecipe { epochs, learning_rate, weight_decay, warmup, max_grad_norm, .. } = recipe.train;
    if epochs == 0 {
        return Err(fault("train.epochs", "at least 1", "0"));
    }
    for (key, value) in [
        // One that is to be found is in its range.
        ("train.learning_rate", learning_rate.fixed().unwrap_or(1.0)),
        ("train.weight_decay", weight_decay),
        ("train.max_grad_norm", max_grad_norm),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(fault(key, "a number of at least 0", value.to_string()));
        }
    }
    if learning_rate == LearningRate::Fixed(0.0) {
        return Err(fault("train.learning_rate", "a number above 0", "0"));
    }
    let TrainRecipe { head_rate, layer_decay, .. } = recipe.train;
    if !(head_rate > 0.0 && head_rate.is_finite()) {
        return Err(fault("train.head_rate", "a factor above 0", head_rate.to_string()));
    }
    if !(layer_decay > 0.0 && layer_decay <= 1.0) {
        return Err(fault("train.layer_decay", "a factor above 0, up to 1", layer_decay.to_string()));
    }
    if !(0.0..=1.0).contains(&warmup) {
        let steps = "`train.warmup` is a share of the steps, not their number";
        let fault = fault("train.warmup", "a share from 0 to 1", warmup.to_string());
        return Err(if warmup > 1.0 { fault.hint(steps) } else { fault });
    }
    Ok(())
}

fn counts(recipe: &Recipe) -> Result<(), Fault> {
    let TrainRecipe { accumulate, max_steps, patience, evaluate_every, save_every, keep_checkpoints, .. } =
        recipe.train;
    let of_data = recipe.data.iter().flat_map(|(name, data)| {
        [("limit", data.limit), ("validation_limit", data.validation_limit)]
            .map(|(key, value)| (format!("data.{name}.{key}"), value))
    });
    let zero = [
        ("train.accumulate", Some(accumulate)),
        ("train.max_steps", max_steps),
        ("train.patience", patience),
        ("train.evaluate_every", evaluate_every),
        ("train.save_every", save_every),
        ("train.keep_checkpoints", Some(keep_checkpoints)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .chain(of_data)
    .find(|(_, value)| *value == Some(0));
    zero.map_or(Ok(()), |(key, _)| Err(fault(key, "at least 1", "0")))
}

fn splits(recipe: &Recipe) -> Result<(), Fault> {
    for (name, data) in &recipe.data {
        let held = [
            (data.split, "split", "held out for validation"),
            (data.calibration, "calibration", "held back for calibration"),
        ];
        for (share, key, purpose) in held {
            if let Some(share) = share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
                let hint = format!("the share of the training examples that are {purpose}, as in 0.1");
                return Err(
                    fault(format!("data.{name}.{key}"), "a share above 0 and below 1", share.to_string()).hint(&hint)
                );
            }
        }
        let Some(share) = data.split else { continue };
        let key = format!("data.{name}.split");
        if data.validation.is_some() {
            let hint =
                "`split` holds a share of `train` out where there is no file for validation: leave one of the two out";
            return Err(fault(key, format!("none beside data.{name}.validation"), share.to_string()).hint(hint));
        }
        if let Some(limit) = data.validation_limit {
            let key = format!("data.{name}.validation_limit");
            let expected = format!("none beside data.{name}.split");
            return Err(fault(key, expected, limit.to_string()).hint("a smaller share holds fewer out"));
        }
    }
    Ok(())
}

fn choices(recipe: &Recipe) -> Result<(), Fault> {
    let one_of = |key: &str, found: &str, known: &[&str]| {
        let near = words::nearest(found, known.iter().copied());
        Err(fault(key, format!("one of {}", known.join(", ")), format!("`{found}`")).meant(near))
    };
    let TrainRecipe { best, patience, .. } = &recipe.train;
    let rules: Vec<&str> = ["mean", "worst"].into_iter().chain(recipe.tasks.keys().map(String::as_str)).collect();
    if !rules.contains(&best.as_str()) {
        return one_of("train.best", best, &rules);
    }
    if recipe.data.get(best).is_some_and(|data| !data.has_validation()) {
        let found = format!("`{best}`, and there is neither data.{best}.validation nor data.{best}.split");
        return Err(fault("train.best", "a task with validation data", found));
    }
    if patience.is_some() && !recipe.data.values().any(|data| data.has_validation()) {
        let validated = fault("train.patience", "validation data, whose scores decide", "none of any task");
        return Err(validated.hint("add data.NAME.validation or data.NAME.split, or leave train.patience out"));
    }
    Ok(())
}
