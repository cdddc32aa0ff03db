//! How a model begins: with the encoder of a checkpoint, and with those of its heads that fit the tasks of a recipe.
//!
//! ```text
//! heads of the checkpoint            tasks of the recipe
//!     ner: O B-LOC I-LOC       ->    ner: O B-LOC I-LOC B-PER I-PER     three rows kept, two new
//!     qa                       ->    qa                                 kept as it is
//!     pos: NOUN VERB                                                    dropped, or kept untrained (`keep_heads`)
//!                                    topics: A B                        new
//! ```
//!
//! A head goes by its task's name, and a label by its own: where a label stands in the list means nothing.

use super::folder::{Polyhead, SavedTask, TokenizerFiles, read_config};
use super::{CaseEmbeddings, Model, NamedTask, Provenance, case_embeddings};
use crate::encoders::{EncoderKind, EncoderOverrides};
use crate::error::{Error, Place, Result};
use crate::events::{Begins, HeadStart, listed};
use crate::parameters::{HeadTensor, Heads, Lora, Weights};
use crate::sharing;
use crate::strategy::Strategy;
use crate::tasks::{AnyTask, SingleTaskFolder, TASKS, TaskKind};
use candle_core::Device;
use polyhead_kernels::rng::Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Which heads of the checkpoint stay in the model, though no task of the recipe trains them. In a recipe `true`, `false`
/// or a list of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum KeepHeads {
    /// None.
    #[default]
    None,
    /// All that the recipe has no task for.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or a list of names of heads")]
enum Written {
    Switch(bool),
    Names(Vec<String>),
}

impl From<Written> for KeepHeads {
    fn from(written: Written) -> Self {
        match written {
            Written::Switch(true) => Self::All,
            Written::Switch(false) => Self::None,
            Written::Names(names) => Self::Named(names),
        }
    }
}

impl From<KeepHeads> for Written {
    fn from(keep: KeepHeads) -> Self {
        match keep {
            KeepHeads::None => Self::Switch(false),
            KeepHeads::All => Self::Switch(true),
            KeepHeads::Named(names) => Self::Names(names),
        }
    }
}

/// What a model begins with, besides its checkpoint.
pub struct Start<'a> {
    /// What is known of the checkpoint.
    pub about: Provenance,
    /// The tasks to train.
    pub tasks: Vec<NamedTask>,
    /// What changes about the encoder.
    pub adjust: &'a EncoderOverrides,
    /// Initialises what is new.
    pub key: Key,
    /// The kinds of task that there are.
    pub kinds: &'a [TaskKind],
    /// How many of the encoder's last layers are left out.
    pub drop_layers: usize,
    /// Whether the encoder reads how words are written.
    pub case_embeddings: CaseEmbeddings,
    /// Which other heads stay.
    pub keep: &'a KeepHeads,
    /// The tasks that begin with a head of another name: from the head's to the task's.
    pub rename: &'a BTreeMap<String, String>,
}

/// What is left over when a model was built out of a checkpoint.
pub(super) struct Left {
    /// Tensors of heads that are not ours.
    pub aside: Vec<String>,
}

/// A head of a checkpoint.
struct StoredHead {
    name: String,
    /// The name that it had in the checkpoint, if it was given another.
    was: Option<String>,
    kind: String,
    /// Its task; or why it can't be used.
    task: Result<NamedTask>,
    origin: Origin,
}

/// What a checkpoint has besides its encoder.
#[derive(Default)]
struct Stored {
    heads: Vec<StoredHead>,
    lora: Option<Lora>,
    sharing: Option<Strategy>,
    about: Provenance,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Ours,
    /// A single-task model of transformers, whose head has no name.
    Transformers,
}

impl Model {
    /// A pretrained encoder with a head for each task: that of the checkpoint where it has one of this name and kind, else
    /// a new one. `key` initialises what is new.
    pub fn pretrained(
        folder: &Path,
        about: Provenance,
        tasks: Vec<NamedTask>,
        adjust: &EncoderOverrides,
        key: Key,
    ) -> Result<Self> {
        let (keep, rename) = (&KeepHeads::None, &BTreeMap::new());
        let case_embeddings = CaseEmbeddings::No;
        let start = Start { about, tasks, adjust, key, kinds: TASKS, drop_layers: 0, case_embeddings, keep, rename };
        Self::begin(folder, start, &mut |_| {})
    }

    /// The same, and `notify` hears what is kept, new and dropped of each head.
    ///
    /// # Errors
    /// The folder is damaged or of an unknown architecture; `keep` names a head that the checkpoint does not have, or that
    /// is one of the tasks; `rename` names a head that it does not have, or a task that is not there or of another kind.
    pub fn begin(folder: &Path, start: Start, notify: &mut dyn FnMut(&str)) -> Result<Self> {
        let Start {
            mut about,
            mut tasks,
            adjust,
            key,
            kinds,
            drop_layers: dropped,
            case_embeddings: wanted,
            keep,
            rename,
        } = start;
        let path = folder.join("config.json");
        let mut config = read_config(&path)?;
        let kind = EncoderKind::of(&path, &config)?;
        let mut weights = Weights::read(&folder.join("model.safetensors"), kind.naming, Heads::New(key), &Device::Cpu)?;
        let Stored { heads: mut stored, lora, sharing, about: of_stored } =
            stored(&path, &mut config, kinds, &mut weights)?;
        if let Some(sharing) = sharing.filter(|sharing| *sharing != sharing::hard()) {
            begin_sharing(&sharing, &adjust.sharing, dropped)?;
        }
        if let Some(lora) = lora {
            let own = adjust.lora.as_ref().map(|lora| lora.resolved(kind.lora_targets));
            begin_lora(&lora, own.as_ref(), &mut weights, notify)?;
        }
        if dropped > 0 {
            drop_layers(dropped, &mut config, &mut weights)?;
        }
        let lower_cases = |config: &Value| TokenizerFiles::read(folder, config)?.tokenizer(false)?.lower_cases();
        case_embeddings::add(kind, &mut config, &mut weights, wanted, adjust, &lower_cases)?;
        name_foreign_heads(&mut stored, &tasks, &mut weights);
        rename_heads(&mut stored, rename, &tasks, &mut weights)?;
        let mut starts = Vec::new();
        for NamedTask { name, task } in &tasks {
            let start = head_start(name, &**task, &stored, &tasks, &weights)?;
            if let (Begins::Kept | Begins::ByLabel, Some(head)) =
                (start.begins, stored.iter().find(|h| h.name == *name))
            {
                let labels = head.task.as_ref().map_or(&[][..], |stored| stored.task.labels());
                weights.match_head(name, labels, task.labels());
            }
            starts.push(start);
        }
        let checkpoint_has_heads = !stored.is_empty();
        stored.retain(|head| !tasks.iter().any(|task| head.name == task.name));
        let (kept, dropped) = keep_some(stored, keep, &tasks)?;
        about.kept_heads = kept.iter().map(|task| task.name.clone()).collect();
        for NamedTask { name, task } in &kept {
            weights.match_head(name, task.labels(), task.labels());
            if let Some(example) = of_stored.examples.get(name) {
                about.examples.insert(name.clone(), example.clone());
            }
        }
        tasks.extend(kept);
        let taken = starts.iter().filter(|start| matches!(start.begins, Begins::Kept | Begins::ByLabel));
        let taken: Vec<&str> = taken.map(|start| &start.head).chain(&about.kept_heads).map(String::as_str).collect();
        weights.keep_heads(&taken);
        let other = |head: &String, begins, why| HeadStart { head: head.clone(), begins, why, ..HeadStart::default() };
        starts.extend(about.kept_heads.iter().map(|name| other(name, Begins::Untrained, String::new())));
        starts.extend(dropped.iter().map(|(name, why)| other(name, Begins::Dropped, why.clone())));
        about.heads = if checkpoint_has_heads { starts } else { Vec::new() };
        // With the places that the model does not keep.
        about.heads.iter().for_each(|head| notify(&head.line()));
        let (model, left) = Self::assemble(folder, config, about, tasks, adjust, weights)?;
        if *keep == KeepHeads::All && model.about.kept_heads.is_empty() {
            notify("encoder.keep_heads: the checkpoint has no other head to keep");
        }
        if !left.aside.is_empty() {
            let parts = head_names(&left.aside);
            notify(&format!("left aside, as no part of the encoder: {} ({} tensors)", parts, left.aside.len()));
        }
        Ok(model)
    }

    /// The model of a run's checkpoint, with the tasks of the run and nothing new.
    ///
    /// # Errors
    /// The checkpoint has other tasks, or the same with other labels.
    pub fn resumed(
        folder: &Path,
        about: Provenance,
        mut tasks: Vec<NamedTask>,
        adjust: &EncoderOverrides,
        kinds: &[TaskKind],
    ) -> Result<Self> {
        let path = folder.join("config.json");
        let mut config = read_config(&path)?;
        let kind = EncoderKind::of(&path, &config)?;
        let mut weights = Weights::read(&folder.join("model.safetensors"), kind.naming, Heads::Stored, &Device::Cpu)?;
        let Stored { heads: stored, lora, sharing, .. } = stored(&path, &mut config, kinds, &mut weights)?;
        check_sharing(&sharing.unwrap_or_else(sharing::hard), &adjust.sharing)?;
        check_lora(lora.as_ref(), adjust.lora.as_ref().map(|lora| lora.resolved(kind.lora_targets)).as_ref())?;
        let (kept, trained): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|head| about.kept_heads.contains(&head.name));
        let other = |message: String| {
            Error::usage(message).hint("a run with other tasks is a new run; its encoder.checkpoint can be this run")
        };
        if trained.len() != tasks.len() {
            let (had, has) = (trained.len(), tasks.len());
            return Err(other(format!("expected the {had} tasks of the run, found {has}")));
        }
        for StoredHead { name, task, .. } in trained {
            let then = task?.task;
            let Some(now) = tasks.iter().find(|now| now.name == name && now.task.kind() == then.kind()) else {
                let kind = then.kind();
                return Err(other(format!("expected the tasks of the run, found no `{name}` of the kind {kind}")));
            };
            if then.labels() != now.task.labels() {
                let (had, has) = (listed(then.labels()), listed(now.task.labels()));
                return Err(Error::data(format!(
                    "tasks.{name}: the run has the labels {had}; its data now have {has}"
                ))
                .hint("put the old data back, or train a new run with this one as its encoder.checkpoint"));
            }
        }
        for head in kept {
            tasks.push(head.task?);
        }
        Ok(Self::assemble(folder, config, about, tasks, adjust, weights)?.0)
    }
}

/// Additions of the checkpoint that the recipe has too are trained further; others are merged into the encoder.
fn begin_lora(stored: &Lora, own: Option<&Lora>, weights: &mut Weights, notify: &mut dyn FnMut(&str)) -> Result<()> {
    let described = stored.described();
    if own.is_some_and(|own| own.fits(stored)) {
        notify(&format!("encoder.lora: the additions of the checkpoint ({described}) are trained further"));
        return Ok(());
    }
    weights.merge_lora(stored)?;
    let then = match own {
        Some(_) => "new ones begin",
        None => "the recipe has no encoder.lora, and trains the whole",
    };
    notify(&format!("encoder.lora: the additions of the checkpoint ({described}) are merged into its encoder; {then}"));
    Ok(())
}

/// A run goes on with the additions that it has.
fn check_lora(then: Option<&Lora>, now: Option<&Lora>) -> Result<()> {
    let same = match (then, now) {
        (Some(then), Some(now)) => now.fits(then),
        (then, now) => then.is_none() && now.is_none(),
    };
    if same {
        return Ok(());
    }
    let said = |lora: Option<&Lora>| lora.map_or_else(|| "none".to_owned(), Lora::described);
    let message = format!("encoder.lora: the run has {}; the recipe now has {}", said(then), said(now));
    Err(Error::usage(message)
        .hint("a run with other additions is a new run; its encoder.checkpoint can be this run's best model"))
}

/// What is private in the checkpoint stays private.
fn begin_sharing(stored: &Strategy, own: &Strategy, drop_layers: usize) -> Result<()> {
    if stored != own {
        let message = format!("sharing: the checkpoint has {stored}; the recipe has {own}");
        return Err(
            Error::usage(message).hint("what is private to the tasks of a model stays so: set sharing as it has it")
        );
    }
    if drop_layers > 0 {
        let message = format!("encoder.drop_layers: expected 0, as the checkpoint has {stored}, found {drop_layers}");
        return Err(Error::usage(message));
    }
    Ok(())
}

/// A run goes on with what it shares.
fn check_sharing(then: &Strategy, now: &Strategy) -> Result<()> {
    if then == now {
        return Ok(());
    }
    let message = format!("sharing: the run has {then}; the recipe now has {now}");
    Err(Error::usage(message).hint("a run that shares another part of its encoder is a new run"))
}

/// The heads of a checkpoint, and what else it says of itself.
fn stored(path: &Path, config: &mut Value, kinds: &[TaskKind], weights: &mut Weights) -> Result<Stored> {
    if let Some(Polyhead { tasks, lora, sharing, about, .. }) = Polyhead::take(config, path)? {
        let head = |saved: SavedTask| StoredHead {
            name: saved.name.clone(),
            was: None,
            kind: saved.kind.clone(),
            task: saved.open(kinds, path),
            origin: Origin::Ours,
        };
        return Ok(Stored { heads: tasks.into_iter().map(head).collect(), lora, sharing: Some(sharing), about });
    }
    let architecture = config.pointer("/architectures/0").and_then(Value::as_str).unwrap_or("none").to_owned();
    let single = SingleTaskFolder { architecture, config: config.clone() };
    for kind in kinds {
        if let Some(task) = (kind.import)(&single, weights) {
            let name = kind.kind.to_owned();
            let task =
                task.map(|task| NamedTask { name: name.clone(), task }).map_err(|e| e.at_least(Place::file(path)));
            let head = StoredHead { kind: name.clone(), name, was: None, task, origin: Origin::Transformers };
            return Ok(Stored { heads: vec![head], ..Stored::default() });
        }
    }
    Ok(Stored::default())
}

/// The head of a single-task model has no name: it is taken for the recipe's task of its kind, if that is clear.
fn name_foreign_heads(stored: &mut [StoredHead], tasks: &[NamedTask], weights: &mut Weights) {
    for head in stored.iter_mut().filter(|head| head.origin == Origin::Transformers) {
        let fitting: Vec<&NamedTask> = tasks.iter().filter(|task| task.task.kind() == head.kind).collect();
        let named = fitting.iter().find(|task| task.name == head.name);
        if let Some(task) = named.or(if let [_] = fitting.as_slice() { fitting.first() } else { None }) {
            weights.rename_head(&head.name, &task.name);
            head.name.clone_from(&task.name);
        }
    }
}

/// Gives heads of the checkpoint the names of the tasks that are to begin with them.
fn rename_heads(
    stored: &mut [StoredHead],
    rename: &BTreeMap<String, String>,
    tasks: &[NamedTask],
    weights: &mut Weights,
) -> Result<()> {
    let fault = |message: String| Error::usage(format!("encoder.rename_heads: {message}"));
    let known: Vec<String> = stored.iter().map(|head| head.name.clone()).collect();
    let named: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    for (at, (from, to)) in rename.iter().enumerate() {
        let Some(head) = stored.iter().find(|head| head.name == *from) else {
            let known = if known.is_empty() { "none".to_owned() } else { listed(&known) };
            return Err(fault(format!("expected names of heads of the checkpoint ({known}), found `{from}`"))
                .hint("`polyhead inspect CHECKPOINT` shows its heads; it is { head = \"task\" }"));
        };
        let Some(task) = tasks.iter().find(|task| task.name == *to) else {
            return Err(fault(format!("{from}: expected a task of the recipe ({}), found `{to}`", listed(&named)))
                .hint("it is { head = \"task\" }, from the name in the checkpoint to the name in the recipe"));
        };
        if task.task.kind() != head.kind {
            let (had, has) = (&head.kind, task.task.kind());
            return Err(fault(format!("{from}: the head is of the kind {had}, the task `{to}` of the kind {has}"))
                .hint("a head serves a task of its own kind; leave it out, and the task's head is new"));
        }
        if rename.values().take(at).any(|other| other == to) {
            return Err(fault(format!("{from}: another head is called `{to}` already")).hint("name each task once"));
        }
        if known.contains(to) && !rename.contains_key(to) {
            return Err(fault(format!("{from}: the checkpoint has a head `{to}` of its own"))
                .hint(format!("leave `{from}` out, or give `{to}` another name too")));
        }
    }
    // First away from all names, so that two heads can change theirs.
    let aside = |name: &str| format!("{name}?");
    rename.keys().for_each(|from| weights.rename_head(from, &aside(from)));
    for head in stored {
        if let Some(to) = rename.get(&head.name) {
            weights.rename_head(&aside(&head.name), to);
            head.was = Some(std::mem::replace(&mut head.name, to.clone()));
        }
    }
    Ok(())
}

/// What becomes of the head of a task of the recipe.
fn head_start(
    name: &str,
    task: &dyn AnyTask,
    stored: &[StoredHead],
    tasks: &[NamedTask],
    weights: &Weights,
) -> Result<HeadStart> {
    let new = |why: String| Ok(HeadStart { head: name.to_owned(), begins: Begins::New, why, ..HeadStart::default() });
    let kind = task.kind();
    let Some(head) = stored.iter().find(|head| head.name == name) else {
        let was = |head: &StoredHead| head.was.as_ref().unwrap_or(&head.name).clone();
        let names: Vec<String> = stored.iter().map(was).collect();
        let free = |head: &&StoredHead| head.kind == kind && !tasks.iter().any(|task| task.name == head.name);
        let hint = stored.iter().find(free).map_or_else(String::new, |head| {
            format!("; encoder.rename_heads = {{ {} = \"{name}\" }} begins with that head", head.name)
        });
        return new(format!("the checkpoint has none of this name (it has {}{hint})", listed(&names)));
    };
    let before = match &head.task {
        _ if head.kind != kind => return new(format!("the checkpoint's is of the kind {}, and is dropped", head.kind)),
        Err(error) => return new(format!("the checkpoint's can't be used: {error}")),
        Ok(_) if !weights.has_head(name) => {
            return new("the checkpoint names one but holds no tensor of it".to_owned());
        }
        Ok(before) => &before.task,
    };
    let (had, has) = (before.tensors(name)?, task.tensors(name)?);
    let of = |these: &[HeadTensor], those: &[HeadTensor]| -> Vec<String> {
        let there = |one: &HeadTensor| those.iter().any(|other| other.name == one.name);
        these.iter().filter(|one| !there(one)).map(|one| one.name.clone()).collect()
    };
    match (of(&had, &has).as_slice(), of(&has, &had).as_slice()) {
        ([], []) => {}
        ([], more) => return new(format!("the checkpoint's has no {}, and is dropped", listed(more))),
        (less, _) => return new(format!("the checkpoint's has {} besides, and is dropped", listed(less))),
    }
    let other: Vec<String> = has.iter().filter(|one| !had.contains(one)).map(|one| one.name.clone()).collect();
    if !other.is_empty() {
        return new(format!("the checkpoint's has another shape ({}), and is dropped", listed(&other)));
    }
    let (stored, labels) = (before.labels(), task.labels());
    let (kept, fresh): (Vec<String>, Vec<String>) = labels.iter().cloned().partition(|label| stored.contains(label));
    let dropped = stored.iter().filter(|label| !labels.contains(label)).cloned().collect();
    let begins = match (stored == labels, has.iter().any(|tensor| tensor.by_label)) {
        (true, _) => Begins::Kept,
        (false, true) => Begins::ByLabel,
        (false, false) => {
            return new("the checkpoint's has other labels, and this kind keeps none by label".to_owned());
        }
    };
    Ok(HeadStart { head: name.to_owned(), begins, of: head.was.clone(), kept, new: fresh, dropped, why: String::new() })
}

/// Leaves so many of the last layers of an encoder out.
///
/// # Errors
/// None would be left.
fn drop_layers(dropped: usize, config: &mut Value, weights: &mut Weights) -> Result<()> {
    // As most architectures call it, and DistilBERT.
    let field = ["num_hidden_layers", "n_layers"].into_iter().find(|field| config.get(*field).is_some());
    let field = field.unwrap_or("num_hidden_layers");
    let found = config.get(field).and_then(Value::as_u64).unwrap_or(0) as usize;
    let Some(left) = found.checked_sub(dropped).filter(|left| *left > 0) else {
        return Err(Error::usage(format!(
            "encoder.drop_layers: expected fewer than the {found} layers of the encoder, found {dropped}"
        )));
    };
    if let Some(fields) = config.as_object_mut() {
        fields.insert(field.to_owned(), left.into());
        if let Some(Value::Array(each)) = fields.get_mut("layer_types") {
            each.truncate(left);
        }
    }
    weights.drop_layers(left);
    Ok(())
}

/// Heads that stay, and the others by name, each with the reason.
type Others = (Vec<NamedTask>, Vec<(String, String)>);

/// Of the heads that no task of the recipe has, those that stay.
fn keep_some(stored: Vec<StoredHead>, keep: &KeepHeads, tasks: &[NamedTask]) -> Result<Others> {
    let fault = |message: String| Error::usage(format!("encoder.keep_heads: {message}"));
    if let KeepHeads::Named(names) = keep {
        for name in names {
            if tasks.iter().any(|task| task.name == *name) {
                return Err(fault(format!("`{name}` is a task of the recipe, and is trained"))
                    .hint("name heads that the recipe has no task for"));
            }
            if !stored.iter().any(|head| head.name == *name) {
                let known: Vec<String> = stored.iter().map(|head| head.name.clone()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { listed(&known) };
                return Err(fault(format!(
                    "expected names of other heads of the checkpoint ({known}), found `{name}`"
                ))
                .hint("`polyhead inspect CHECKPOINT` shows its heads"));
            }
        }
    }
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for StoredHead { name, task, .. } in stored {
        let wanted = match keep {
            KeepHeads::None => false,
            KeepHeads::All => true,
            KeepHeads::Named(names) => names.contains(&name),
        };
        match task {
            Ok(task) if wanted => kept.push(NamedTask { name, ..task }),
            Err(error) if matches!(keep, KeepHeads::Named(_)) && wanted => {
                return Err(fault(format!("the head `{name}` can't be kept: {error}")));
            }
            Err(error) => dropped.push((name, format!("it can't be used: {error}"))),
            Ok(_) => {
                let hint = format!("the recipe has no such task (encoder.keep_heads = [\"{name}\"] keeps it)");
                dropped.push((name, hint));
            }
        }
    }
    Ok((kept, dropped))
}

/// The first words of tensor names: `classifier`, `cls`.
fn head_names(tensors: &[String]) -> String {
    let mut names: Vec<String> = tensors.iter().filter_map(|name| Some(name.split('.').next()?.to_owned())).collect();
    names.dedup();
    listed(&names)
}
