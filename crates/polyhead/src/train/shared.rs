//! Tasks that train on the same windows: one encoder pass for all of them (`train.shared_pass`).
//!
//! ```text
//! windows of a task, by the place of their example in its file and their number there
//! tag      line 3, 0   line 9, 0   line 9, 1        items of the unit   (tag 0, parse 0)  (tag 1, parse -)  (tag 2, parse -)
//! parse    line 3, 0                                a batch takes items; each task has its windows of them
//! ```
//!
//! Windows of one place must be the same to the token; a task may lack some, and then has no loss there.

use super::TaskData;
use super::record::DataFile;
use crate::balance::Needs;
use crate::batch::Features;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use std::collections::BTreeMap;

/// Tasks whose batches are taken together, one or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The tasks, as indices, in order.
    pub tasks: Vec<usize>,
    /// Of each item the window of each task.
    pub items: Vec<Vec<Option<usize>>>,
}

/// A place in a file and the number of a window there.
type Spot = (String, usize);

impl Unit {
    /// A task by itself: every window is an item.
    fn alone(task: usize, data: &TaskData) -> Self {
        Self { tasks: vec![task], items: (0..data.windows.len()).map(|window| vec![Some(window)]).collect() }
    }

    /// The names of its tasks, for people: `tag and parse`.
    pub fn named(&self, task_data: &[TaskData]) -> String {
        let names: Vec<&str> = self.tasks.iter().filter_map(|&task| Some(task_data.get(task)?.name.as_str())).collect();
        match names.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            names => names.concat(),
        }
    }
}

/// The units of a recipe's tasks, in the order of their first tasks. `notify` hears which tasks share an encoder pass, or could.
///
/// # Errors
/// `train.shared_pass` is set and no two tasks have the same windows; the balancer needs one batch for all tasks and there are several.
pub(super) fn units(
    recipe: &Recipe,
    task_data: &[TaskData],
    files: &[DataFile],
    notify: &mut dyn FnMut(&str),
) -> Result<Vec<Unit>> {
    let alone: Vec<Unit> = task_data.iter().enumerate().map(|(task, data)| Unit::alone(task, data)).collect();
    let (mut units, mut reasons): (Vec<Unit>, Vec<String>) = (Vec::new(), Vec::new());
    for (task, data) in task_data.iter().enumerate() {
        let mut found = None;
        for (at, unit) in units.iter().enumerate() {
            let Some(other) = unit.tasks.first().and_then(|&first| task_data.get(first)) else { continue };
            if digests(files, &other.name) != digests(files, &data.name) {
                continue;
            }
            match joined(unit, task, task_data) {
                Ok(joined) => {
                    found = Some((at, joined));
                    break;
                }
                Err(why) => reasons.push(format!("{} and {}: {why}", other.name, data.name)),
            }
        }
        match found {
            Some((at, joined)) => units.iter_mut().skip(at).take(1).for_each(|unit| *unit = joined.clone()),
            None => units.extend(alone.get(task).cloned()),
        }
    }
    let shared: Vec<&Unit> = units.iter().filter(|unit| unit.tasks.len() > 1).collect();
    if !recipe.train.shared_pass {
        for unit in shared {
            let names = unit.named(task_data);
            notify(&format!("{names} have the same windows: train.shared_pass = true encodes them once"));
        }
        return Ok(alone);
    }
    if shared.is_empty() {
        let why = if reasons.is_empty() { "no two train on the same files".to_owned() } else { reasons.join("; ") };
        let message = format!("train.shared_pass: expected tasks with the same training windows, found none: {why}");
        return Err(Error::usage(message).at(recipe.place("train.shared_pass")).hint(
            "the same files, limit, batch_size and max_length, and no context or markers; or leave the key out",
        ));
    }
    for unit in shared {
        let both = unit.items.iter().filter(|windows| windows.iter().all(Option::is_some)).count();
        let all = unit.items.len();
        let some = if both == all { String::new() } else { format!(" ({both} of {all} have gold for each)") };
        notify(&format!("{} share their windows: one encoder pass for both{some}", unit.named(task_data)));
    }
    if let ([_, _, ..], Needs::HiddenGradients) = (units.as_slice(), recipe.balancer()?.needs()) {
        let (name, key) = (&recipe.train.balance.name, "train.balance");
        let named: Vec<String> = units.iter().map(|unit| unit.named(task_data)).collect();
        let message =
            format!("{key}: `{name}` expected one batch that feeds all tasks, found batches of {}", named.join("; "));
        return Err(Error::usage(message)
            .at(recipe.place(key))
            .hint("the same files, limit, batch_size and max_length for all; or another balancer"));
    }
    Ok(units)
}

/// The bytes that a task trains on, file by file.
fn digests<'a>(files: &'a [DataFile], task: &str) -> Vec<&'a str> {
    let of_task = files.iter().filter(|file| file.task == task && file.split == "train");
    of_task.map(|file| file.sha256.as_str()).collect()
}

/// A unit with one more task; or why it can't be.
fn joined(unit: &Unit, task: usize, task_data: &[TaskData]) -> std::result::Result<Unit, String> {
    let no = || "no such task".to_owned();
    let data = task_data.get(task).ok_or_else(no)?;
    let first = unit.tasks.first().and_then(|&first| task_data.get(first)).ok_or_else(no)?;
    if first.batch_size != data.batch_size {
        return Err(format!("batch_size is {} and {}", first.batch_size, data.batch_size));
    }
    if first.class_sampling.is_some() || data.class_sampling.is_some() {
        return Err("one draws by class (class_sampling)".to_owned());
    }
    let features = |windows: &[Option<usize>]| -> Option<&Features> {
        let of =
            |(&task, window): (&usize, &Option<usize>)| Some(&task_data.get(task)?.windows.get((*window)?)?.features);
        unit.tasks.iter().zip(windows).find_map(of)
    };
    let mut known: BTreeMap<Spot, usize> = BTreeMap::new();
    for (at, windows) in unit.items.iter().enumerate() {
        let spots = unit.tasks.iter().zip(windows);
        let spot = spots.filter_map(|(&task, window)| spot(task_data.get(task)?, (*window)?)).next();
        known.extend(spot.map(|spot| (spot, at)));
    }
    let mut joined = unit.clone();
    joined.tasks.push(task);
    joined.items.iter_mut().for_each(|windows| windows.push(None));
    let mut both = 0;
    for (window, of_task) in data.windows.iter().enumerate() {
        let spot = spot(data, window).ok_or_else(no)?;
        let Some(&at) = known.get(&spot) else {
            let lacking = vec![None; unit.tasks.len()];
            joined.items.push([lacking, vec![Some(window)]].concat());
            continue;
        };
        let same = unit
            .items
            .get(at)
            .and_then(|windows| features(windows))
            .is_some_and(|other| (&other.ids, &other.types) == (&of_task.features.ids, &of_task.features.types));
        if !same {
            return Err(format!("their windows of {} differ", spot.0));
        }
        if let Some(slot) = joined.items.get_mut(at).and_then(|windows| windows.last_mut()) {
            *slot = Some(window);
            both += 1;
        }
    }
    if both == 0 { Err("no example has gold for both".to_owned()) } else { Ok(joined) }
}

/// Where the example of a window stands, and which window of that place it is.
fn spot(data: &TaskData, window: usize) -> Option<Spot> {
    let of = |window: usize| data.place(data.windows.get(window)?.example);
    let place = of(window)?;
    // Those of one place stand together: examples are in the order of their file.
    let before = (0..window).rev().take_while(|&earlier| of(earlier) == Some(place)).count();
    Some((place.to_string(), before))
}
