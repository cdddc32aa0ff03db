//! Models as starting points: which weights of a checkpoint a recipe's heads begin with, what is kept beside them, and what
//! is said of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use candle_core::{Device, Tensor};
use polyhead::ErrorKind;
use polyhead::encoders::ENCODERS;
use polyhead::infer::Session;
use polyhead::model::Model;
use polyhead::parameters::Parameters;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const LABELS: [&str; 5] = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"];

/// A trainer with what it said while it got ready.
fn begin(recipe: Recipe) -> (Trainer, String) {
    let mut notes = String::new();
    let trainer = Trainer::new(recipe, &mut |note| notes += &format!("{note}\n")).unwrap();
    (trainer, notes)
}

fn refused(recipe: Recipe) -> polyhead::Error {
    Trainer::new(recipe, &mut |_| {}).err().expect("a recipe that is refused")
}

/// Trains an NER and a QA task on tiny-bert; the folder of the run.
fn trained(folder: &Path) -> PathBuf {
    trained_for(folder, &["train.epochs=1"])
}

fn trained_for(folder: &Path, overrides: &[&str]) -> PathBuf {
    let events = small::train(small::recipe(folder, &[&["name=first"], overrides].concat()));
    let Some(Event::Finished(end)) = events.last() else { panic!("a run that ends") };
    end.folder.clone()
}

fn from(checkpoint: &Path) -> String {
    format!("encoder.checkpoint={}", checkpoint.display())
}

fn labels(labels: &[&str]) -> String {
    format!("tasks.ner.labels={labels:?}")
}

fn bits(parameters: &Parameters) -> BTreeMap<String, Vec<u32>> {
    let of = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits);
    parameters.iter().map(|one| (one.name.clone(), of(one.weight.tensor().unwrap()).collect())).collect()
}

/// The bits of the output of each label of a head: its row of the weights, and its bias.
fn rows(model: &Model, head: &str) -> BTreeMap<String, Vec<u32>> {
    let all = bits(&model.parameters);
    let (weight, bias) = (&all[&format!("heads.{head}.weight")], &all[&format!("heads.{head}.bias")]);
    let labels = model.task(head).unwrap().task.labels();
    let width = weight.len() / labels.len();
    let row = |at: usize| [&weight[at * width..(at + 1) * width], &bias[at..=at]].concat();
    labels.iter().enumerate().map(|(at, label)| (label.clone(), row(at))).collect()
}

/// What a model finds in the sentences of its validation data.
fn entities(model: Model, folder: &Path) -> Vec<Value> {
    let session = Session { model };
    let text = fs::read_to_string(folder.join("ner-validation.conll")).unwrap();
    let sentences = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let words =
        |block: &str| block.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect::<Vec<_>>();
    let ask = |block| session.ask("ner", &json!({ "words": words(block) })).unwrap()["entities"].clone();
    // Sums over labels in another order differ by rounding.
    let rounded = |mut found: Value| {
        for entity in found.as_array_mut().unwrap() {
            entity["score"] = json!((entity["score"].as_f64().unwrap() * 1e4).round());
        }
        found
    };
    sentences.map(ask).map(rounded).collect()
}

fn load(folder: &Path) -> Model {
    Model::load(folder, TASKS).unwrap()
}

#[test]
fn labels_in_another_order_take_their_rows_with_them_and_answer_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained_for(folder.path(), &["train.epochs=20", "train.learning_rate=5e-3"]);
    let old = load(&run);
    let permuted = ["I-PER", "B-LOC", "O", "B-PER", "I-LOC"];
    let (trainer, notes) = begin(small::recipe(folder.path(), &[&from(&run), &labels(&permuted)]));
    assert_eq!(trainer.model().task("ner").unwrap().task.labels(), permuted);
    assert_eq!(rows(trainer.model(), "ner"), rows(&old, "ner"));
    let expected = "tasks.ner: the head of the checkpoint, label by label: kept 5 (I-PER, B-LOC, O, B-PER, I-LOC); \
                    new none; dropped none\n";
    assert!(notes.contains(expected), "{notes}");
    assert!(notes.contains("tasks.qa: the head of the checkpoint is kept\n"), "{notes}");
    let saved = folder.path().join("permuted");
    trainer.model().save(&saved).unwrap();
    let found = entities(old, folder.path());
    assert!(found.iter().any(|found| !found.as_array().unwrap().is_empty()), "it learned nothing");
    assert_eq!(entities(load(&saved), folder.path()), found);
    // And it goes on from there.
    let events: Vec<Event> = trainer.map(Result::unwrap).collect();
    let Some(Event::Finished(end)) = events.last() else { panic!("a run that ends") };
    assert!(end.scores["ner"].headline_value() > 0.0);
}

#[test]
fn the_same_labels_are_kept_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let (trainer, notes) = begin(small::recipe(folder.path(), &[&from(&run)]));
    assert_eq!(bits(&trainer.model().parameters), bits(&load(&run).parameters));
    assert!(notes.contains("tasks.ner: the head of the checkpoint is kept with its 5 labels\n"), "{notes}");
}

/// Writes data with other names for the types.
fn renamed(folder: &Path, names: [(&str, &str); 2]) -> Vec<String> {
    let mut overrides = Vec::new();
    for split in ["train", "validation"] {
        let mut text = fs::read_to_string(folder.join(format!("ner-{split}.conll"))).unwrap();
        for (from, to) in names {
            text = text.replace(&format!("-{from}\n"), &format!("-{to}\n"));
        }
        let path = folder.join(format!("renamed-{split}.conll"));
        fs::write(&path, text).unwrap();
        overrides.push(format!("data.ner.{split}={}", path.display()));
    }
    overrides
}

#[test]
fn as_many_labels_with_other_names_begin_as_a_new_head_does_and_only_common_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let old = rows(&load(&run), "ner");
    for (names, kept) in
        [([("LOC", "AAA"), ("PER", "BBB")], vec!["O"]), ([("LOC", "ZOO"), ("PER", "PER")], vec!["B-PER", "I-PER", "O"])]
    {
        let data = renamed(folder.path(), names);
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        let recipe = |more: &[&str]| small::recipe(folder.path(), &[&data[..], more].concat());
        let (fine, notes) = begin(recipe(&[&from(&run)]));
        let (bare, silent) = begin(recipe(&[]));
        let (fine, bare) = (rows(fine.model(), "ner"), rows(bare.model(), "ner"));
        assert_eq!(fine.len(), LABELS.len());
        for (label, row) in &fine {
            let expected = if kept.contains(&label.as_str()) { &old[label] } else { &bare[label] };
            assert_eq!(row, expected, "{label}");
        }
        assert!(notes.contains(&format!("kept {} (", kept.len())), "{notes}");
        assert!(notes.contains("dropped ") && notes.contains("B-LOC, I-LOC"), "{notes}");
        assert!(!silent.contains("head"), "a bare encoder has no heads to speak of: {silent}");
    }
}

#[test]
fn more_labels_and_fewer_keep_what_they_have_in_common() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let old = rows(&load(&run), "ner");
    let more = ["O", "B-AAA", "I-AAA", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-ZZZ", "I-ZZZ"];
    let (trainer, notes) = begin(small::recipe(folder.path(), &[&from(&run), &labels(&more)]));
    let now = rows(trainer.model(), "ner");
    assert_eq!(now.len(), 9);
    assert!(LABELS.iter().all(|label| now[*label] == old[*label]));
    assert!(
        notes.contains("kept 5 (") && notes.contains("new 4 (B-AAA, I-AAA, B-ZZZ, I-ZZZ); dropped none"),
        "{notes}"
    );
    // Every row is trained.
    let before = now;
    let mut trainer = trainer;
    trainer.by_ref().for_each(|event| drop(event.unwrap()));
    assert!(rows(trainer.model(), "ner").iter().all(|(label, row)| before[label] != *row));

    let fewer = renamed(folder.path(), [("LOC", "PER"), ("PER", "PER")]);
    let (trainer, notes) = begin(small::recipe(folder.path(), &[&from(&run), &fewer[0], &fewer[1]]));
    let now = rows(trainer.model(), "ner");
    assert_eq!(now.keys().collect::<Vec<_>>(), ["B-PER", "I-PER", "O"]);
    assert!(now.iter().all(|(label, row)| old[label] == *row));
    assert!(notes.contains("dropped 2 (B-LOC, I-LOC)"), "{notes}");
}

/// The recipe of [`small::recipe_text`] with some of its tasks, under other names or kinds; `config` goes to all.
fn with_tasks(folder: &Path, checkpoint: &Path, tasks: &[(&str, &str)], more: &str) -> Recipe {
    let mut text = format!(
        "name = 'second'\noutput = {:?}\nencoder.checkpoint = {checkpoint:?}\n{more}\n\
         train = {{ epochs = 1, learning_rate = 1e-3, feature_cache = false }}\n",
        folder.join("runs")
    );
    for (name, kind) in tasks {
        let of = small::kind(kind);
        let mut config = (of.config)();
        config["kind"] = json!(kind);
        config["batch_size"] = json!(8);
        config["max_length"] = json!(48); // the positions of the smaller encoder
        let (train, validation) = (
            folder.join(format!("{kind}-train.{}", of.extension)),
            folder.join(format!("{kind}-validation.{}", of.extension)),
        );
        text += &format!("tasks.{name} = {}\n", toml::Value::try_from(config).unwrap());
        text += &format!("data.{name} = {{ train = {train:?}, validation = {validation:?} }}\n");
    }
    Recipe::parse(&text, Path::new("second.toml"), &[]).unwrap()
}

#[test]
fn a_head_of_another_kind_under_the_same_name_is_new_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let (trainer, notes) = begin(with_tasks(folder.path(), &run, &[("ner", "qa"), ("extra", "ner")], ""));
    let (bare, _) =
        begin(with_tasks(folder.path(), &small::fixture("tiny-bert"), &[("ner", "qa"), ("extra", "ner")], ""));
    let (now, new) = (bits(&trainer.model().parameters), bits(&bare.model().parameters));
    for (name, bits) in now.iter().filter(|(name, _)| name.starts_with("heads.")) {
        assert_eq!(*bits, new[name], "{name}");
    }
    assert!(
        notes.contains("tasks.ner: the head is new: the checkpoint's is of the kind ner, and is dropped"),
        "{notes}"
    );
    assert!(
        notes.contains("tasks.extra: the head is new: the checkpoint has none of this name (it has ner, qa)"),
        "{notes}"
    );
    assert!(notes.contains("head `qa` of the checkpoint is dropped"), "{notes}");
}

#[test]
fn a_kept_head_has_the_same_bits_after_training_answers_and_is_not_trained() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let old = bits(&load(&run).parameters);
    let head = |bits: &BTreeMap<String, Vec<u32>>| {
        bits.iter()
            .filter(|(name, _)| name.starts_with("heads.qa."))
            .map(|(n, b)| (n.clone(), b.clone()))
            .collect::<Vec<_>>()
    };
    for keep in ["encoder.keep_heads = true", "encoder.keep_heads = ['qa']"] {
        let (trainer, notes) = begin(with_tasks(folder.path(), &run, &[("ner", "ner")], keep));
        assert!(notes.contains("head `qa` of the checkpoint is kept as it is, untrained"), "{notes}");
        let events: Vec<Event> = trainer.map(Result::unwrap).collect();
        let Some(Event::Finished(end)) = events.last() else { panic!("a run that ends") };
        assert_eq!(end.scores.keys().collect::<Vec<_>>(), ["ner"], "a head that is not trained is not scored");
        let model = load(&end.folder);
        let now = bits(&model.parameters);
        assert_eq!(head(&now), head(&old));
        assert_eq!(head(&now).len(), 4);
        assert!(now["embeddings.word_embeddings.weight"] != old["embeddings.word_embeddings.weight"]);
        assert_eq!(model.about.kept_heads, ["qa"]);
        for parameter in model.parameters.iter().filter(|one| one.name.starts_with("heads.")) {
            assert_eq!(!parameter.is_trained(), parameter.name.starts_with("heads.qa."), "{}", parameter.name);
        }
        // The optimiser never saw it.
        let moments =
            fs::read_dir(&end.folder).unwrap().map(|entry| entry.unwrap().path().join("optimizer.safetensors"));
        for moments in moments.filter(|path| path.is_file()) {
            let names: Vec<String> =
                candle_core::safetensors::load(moments, &Device::Cpu).unwrap().into_keys().collect();
            assert!(names.iter().any(|name| name.starts_with("heads.ner.")));
            assert!(!names.iter().any(|name| name.starts_with("heads.qa.")), "{names:?}");
        }
        let question = json!({ "question": "who was it ?", "context": "ada lovelace was in london" });
        let answer = Session { model }.ask("qa", &question).unwrap();
        assert!(answer["answer"].is_string(), "{answer}");
        assert!(end.folder.join("best/README.md").is_file());
        // It can be kept again, and trained again.
        let (again, _) = begin(with_tasks(folder.path(), &end.folder, &[("ner", "ner")], "encoder.keep_heads = true"));
        assert_eq!(head(&bits(&again.model().parameters)), head(&old));
        let (trained, notes) = begin(with_tasks(folder.path(), &end.folder, &[("qa", "qa"), ("ner", "ner")], ""));
        assert!(
            trained.model().about.kept_heads.is_empty()
                && notes.contains("tasks.qa: the head of the checkpoint is kept")
        );
        assert!(trained.model().parameters.trained().any(|one| one.name.starts_with("heads.qa.")));
    }
    let (dropped, notes) = begin(with_tasks(folder.path(), &run, &[("ner", "ner")], ""));
    assert_eq!(dropped.model().tasks.len(), 1);
    assert!(
        notes.contains("head `qa` of the checkpoint is dropped") && notes.contains("encoder.keep_heads"),
        "{notes}"
    );
}

#[test]
fn a_run_with_a_kept_head_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let recipe = |name: &str| {
        let mut recipe = with_tasks(folder.path(), &run, &[("ner", "ner")], "encoder.keep_heads = true");
        recipe.train.epochs = 2;
        recipe.name = name.to_owned();
        recipe
    };
    let finish = |trainer: Trainer| -> PathBuf {
        let folder = trainer.folder().to_owned();
        trainer.for_each(|event| drop(event.unwrap()));
        folder
    };
    let whole = finish(begin(recipe("whole")).0);
    let mut cut = begin(recipe("cut")).0;
    while !matches!(cut.next().unwrap().unwrap(), Event::Saved(_)) {}
    let path = cut.folder().to_owned();
    drop(cut);
    let mut notes = String::new();
    let resumed = Trainer::resume(&path, None, &[], TASKS, &mut |note| notes += note).unwrap();
    assert!(!notes.contains("dropped"), "{notes}");
    assert_eq!(resumed.model().about.kept_heads, ["qa"]);
    finish(resumed);
    assert_eq!(bits(&load(&whole).parameters), bits(&load(&path).parameters));
}

#[test]
fn a_run_whose_data_have_other_labels_now_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut cut = begin(small::recipe(folder.path(), &[])).0;
    while !matches!(cut.next().unwrap().unwrap(), Event::Saved(_)) {}
    let run = cut.folder().to_owned();
    drop(cut);
    let data = renamed(folder.path(), [("LOC", "AAA"), ("PER", "BBB")]);
    let error = Trainer::resume(&run, None, &data, TASKS, &mut |_| {}).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("tasks.ner: the run has the labels O, B-LOC"), "{error}");
    assert!(error.hint_text().unwrap().contains("encoder.checkpoint"));
}

#[test]
fn names_of_heads_that_can_not_be_kept_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let tasks = [("ner", "ner")];
    let refusal = |keep: &str| {
        let error = refused(with_tasks(folder.path(), &run, &tasks, keep));
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().is_some());
        error.to_string()
    };
    let unknown = refusal("encoder.keep_heads = ['pos']");
    assert!(
        unknown.contains("encoder.keep_heads: expected names of other heads of the checkpoint (qa), found `pos`"),
        "{unknown}"
    );
    assert!(refusal("encoder.keep_heads = ['ner']").contains("`ner` is a task of the recipe"));
    let text = "name = 'x'\nencoder = { checkpoint = 'x', keep_heads = 'qa' }\ntasks.ner = {}\ndata.ner.train = 'x'";
    let error = Recipe::parse(text, Path::new("x.toml"), &[]).unwrap_err().to_string();
    assert!(error.contains("expected true, false or a list of names of heads"), "{error}");
    // What nobody sets is not written.
    assert!(!small::recipe(folder.path(), &[]).to_toml().unwrap().contains("keep_heads"));
}

/// A folder of `fixtures/tiny-bert/single-task`, as transformers wrote it, with a tokenizer beside it.
fn single_task(task: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(small::fixture("tiny-bert/single-task").join(task).join(name), folder.path().join(name)).unwrap();
    }
    fs::copy(small::fixture("tiny-bert/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    folder
}

#[test]
fn the_head_of_a_single_task_model_of_transformers_is_taken_by_kind_and_label() {
    let folder = tempfile::tempdir().unwrap();
    small::recipe(folder.path(), &[]);
    for (kind, name) in [("ner", "ner"), ("ner", "entities"), ("qa", "reading")] {
        let checkpoint = single_task(kind);
        let old = load(checkpoint.path());
        let (trainer, notes) = begin(with_tasks(folder.path(), checkpoint.path(), &[(name, kind)], ""));
        let (old, new) = (bits(&old.parameters), bits(&trainer.model().parameters));
        let heads: Vec<_> = old.keys().filter(|name| name.starts_with("heads.")).collect();
        assert!(!heads.is_empty());
        for tensor in heads {
            assert_eq!(
                old[tensor],
                new[&tensor.replace(&format!("heads.{kind}."), &format!("heads.{name}."))],
                "{tensor}"
            );
        }
        assert!(notes.contains(&format!("tasks.{name}: the head of the checkpoint is kept")), "{notes}");
        trainer.for_each(|event| drop(event.unwrap()));
    }
    // Of two tasks of its kind, neither of which has its name, none is meant.
    let checkpoint = single_task("ner");
    let (trainer, notes) = begin(with_tasks(folder.path(), checkpoint.path(), &[("a", "ner"), ("b", "ner")], ""));
    assert!(rows(trainer.model(), "a") != rows(&load(checkpoint.path()), "ner"));
    assert!(notes.contains("head `ner` of the checkpoint is dropped"), "{notes}");
    // It can be kept beside a task of another kind.
    let (trainer, _) =
        begin(with_tasks(folder.path(), checkpoint.path(), &[("qa", "qa")], "encoder.keep_heads = ['ner']"));
    assert_eq!(rows(trainer.model(), "ner"), rows(&load(checkpoint.path()), "ner"));
}

fn rewrite(folder: &Path, change: impl Fn(String, Tensor) -> (String, Tensor), more: &[(&str, Tensor)]) {
    let path = folder.join("model.safetensors");
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let mut tensors: std::collections::HashMap<String, Tensor> =
        tensors.into_iter().map(|(name, tensor)| change(name, tensor)).collect();
    tensors.extend(more.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())));
    candle_core::safetensors::save(&tensors, &path).unwrap();
}

fn copy_of(fixture: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(small::fixture(fixture).join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn heads_of_other_tasks_are_left_aside_and_said_and_what_looks_like_the_encoders_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    small::recipe(folder.path(), &[]);
    let plain = begin(with_tasks(folder.path(), &small::fixture("tiny-bert"), &[("ner", "ner")], "")).0;
    let counter = Tensor::from_vec(vec![3_i64], 1, &Device::Cpu).unwrap();
    for prefix in ["bert.", "", "module.bert.", "_orig_mod.module.bert."] {
        let checkpoint = copy_of("tiny-bert");
        let foreign = [
            ("classifier.weight", zeros(&[3, 32])),
            ("classifier.bias", zeros(&[3])),
            ("pre_classifier.weight", zeros(&[32, 32])),
            ("cls.predictions.bias", zeros(&[211])),
            ("norm.num_batches_tracked", counter.clone()),
        ];
        rewrite(checkpoint.path(), |name, tensor| (format!("{prefix}{name}"), tensor), &foreign);
        let (trainer, notes) = begin(with_tasks(folder.path(), checkpoint.path(), &[("ner", "ner")], ""));
        assert!(bits(&trainer.model().parameters) == bits(&plain.model().parameters), "{prefix}");
        let expected = "left aside, as no part of the encoder: classifier, cls, norm, pre_classifier (5 tensors)";
        assert!(notes.contains(expected), "{notes}");
        for unknown in ["encoder.layer.3.output.dense.bias", "embeddings.extra.weight", "pooler.other.bias"] {
            let unknown = format!("{prefix}{unknown}");
            rewrite(checkpoint.path(), |name, tensor| (name, tensor), &[(&unknown, zeros(&[32]))]);
            let error = refused(with_tasks(folder.path(), checkpoint.path(), &[("ner", "ner")], "")).to_string();
            assert!(error.contains("unknown to this model"), "{prefix}: {error}");
        }
    }
    // A prefix makes any name the encoder's.
    let checkpoint = copy_of("tiny-bert");
    rewrite(
        checkpoint.path(),
        |name, tensor| (format!("bert.{name}"), tensor),
        &[("bert.adapter.weight", zeros(&[1]))],
    );
    let error = refused(with_tasks(folder.path(), checkpoint.path(), &[("ner", "ner")], "")).to_string();
    assert!(error.contains("`adapter.weight`: unknown to this model"), "{error}");
}

#[test]
fn checkpoints_of_every_age_and_precision_come_to_the_same_encoder() {
    use candle_core::DType;
    let folder = tempfile::tempdir().unwrap();
    small::recipe(folder.path(), &[]);
    let started = |checkpoint: &Path| begin(with_tasks(folder.path(), checkpoint, &[("ner", "ner")], "")).0;
    let plain = bits(&started(&small::fixture("tiny-bert")).model().parameters);
    // Early names, and position ids of whole numbers.
    let early = copy_of("tiny-bert");
    let positions = Tensor::arange(0_i64, 64, &Device::Cpu).unwrap();
    let renamed = |name: String, tensor| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        (format!("bert.{name}"), tensor)
    };
    rewrite(early.path(), renamed, &[("bert.embeddings.position_ids", positions)]);
    assert!(bits(&started(early.path()).model().parameters) == plain);
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let half = copy_of("tiny-bert");
        let round = |tensor: Tensor| tensor.to_dtype(dtype).unwrap();
        rewrite(half.path(), |name, tensor| (name, round(tensor)), &[]);
        let found = started(half.path());
        for parameter in found.model().parameters.iter().filter(|one| !one.name.starts_with("heads.")) {
            let expected =
                candle_core::safetensors::load(small::fixture("tiny-bert/model.safetensors"), &Device::Cpu).unwrap();
            let expected = round(expected[&parameter.name].clone()).to_dtype(DType::F32).unwrap();
            let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let found = parameter.weight.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(found, expected, "{dtype:?}: {}", parameter.name);
        }
    }
}

fn change_config(folder: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(config.as_object_mut().unwrap());
    fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn a_checkpoint_without_model_type_is_told_by_its_architecture_and_saved_with_it() {
    let folder = tempfile::tempdir().unwrap();
    small::recipe(folder.path(), &[]);
    let without = |fixture: &str, class: Value| {
        let checkpoint = copy_of(fixture);
        change_config(checkpoint.path(), |config| {
            config.shift_remove("model_type");
            config["architectures"] = class;
        });
        checkpoint
    };
    for kind in ENCODERS {
        for name in std::iter::once(&kind.name).chain(kind.other_names) {
            let model = format!("{}Model", name.class);
            for class in [model.clone(), format!("{}ForSequenceClassification", name.class)] {
                let checkpoint = without(kind.fixture, json!([class]));
                let (trainer, _) = begin(with_tasks(folder.path(), checkpoint.path(), &[("ner", "ner")], ""));
                let saved = checkpoint.path().join("saved");
                trainer.model().save(&saved).unwrap();
                let config: Value = serde_json::from_slice(&fs::read(saved.join("config.json")).unwrap()).unwrap();
                let found = (&config["model_type"], &config["architectures"]);
                assert_eq!(found, (&json!(name.model_type), &json!([model])));
                load(&saved);
            }
        }
    }
    for (class, part) in [
        (json!(["RobertaPreLayerNormModel"]), "`architectures` is `RobertaPreLayerNormModel`"),
        (json!(["BertGenerationEncoder"]), "`architectures` is `BertGenerationEncoder`"),
        (json!([]), "neither `model_type` nor `architectures`"),
        (Value::Null, "neither `model_type` nor `architectures`"),
    ] {
        let error = refused(with_tasks(folder.path(), without("tiny-bert", class).path(), &[("ner", "ner")], ""));
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.hint_text().unwrap().contains("\"model_type\": \"bert\""));
    }
}

#[test]
fn a_run_folder_is_taken_for_its_best_model_and_a_run_without_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let (by_run, notes) = begin(small::recipe(folder.path(), &[&from(&run)]));
    let (by_best, _) = begin(small::recipe(folder.path(), &[&from(&run.join("best"))]));
    assert!(bits(&by_run.model().parameters) == bits(&by_best.model().parameters));
    assert!(notes.contains("local folder first (the best model of this run)"), "{notes}");
    fs::remove_dir_all(run.join("best")).unwrap();
    let error = refused(small::recipe(folder.path(), &[&from(&run)]));
    assert_eq!(error.to_string(), format!("{}: the model of this run was removed", run.display()));
    assert!(error.hint_text().unwrap().contains("train its recipe.toml again"));
}

#[test]
fn a_model_says_nothing_of_where_its_makers_files_lay() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = copy_of("tiny-bert");
    let secret = checkpoint.path().display().to_string();
    change_config(checkpoint.path(), |config| _ = config.insert("_name_or_path".into(), json!(secret)));
    let notes = json!({ "name_or_path": secret, "do_lower_case": true, "unk_token": "[UNK]" });
    fs::write(checkpoint.path().join("tokenizer_config.json"), notes.to_string()).unwrap();
    let (trainer, _) = begin(small::recipe(folder.path(), &[&from(checkpoint.path()), "train.epochs=1"]));
    let run = trainer.folder().to_owned();
    trainer.for_each(|event| drop(event.unwrap()));
    let best = run.join("best");
    let name = checkpoint.path().file_name().unwrap().to_str().unwrap().to_owned();
    let outside = [folder.path().display().to_string(), secret.clone()];
    for entry in fs::read_dir(&best).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(!outside.iter().any(|outside| text.contains(outside)), "{}: {text}", path.display());
    }
    let model = load(&best);
    assert_eq!(model.about.source.as_ref().unwrap().said, format!("local folder {name}"));
    let recipe = model.about.recipe.as_deref().unwrap();
    assert!(recipe.contains(&format!("checkpoint = \"{name}\"")) && recipe.contains("\"ner-train.conll\""), "{recipe}");
    // The run folder is the user's own, and stays runnable.
    assert!(fs::read_to_string(run.join("recipe.toml")).unwrap().contains(&secret));

    // A folder of an earlier version, which had the paths, shows none either, and none is in what is made of it.
    change_config(&best, |config| {
        let said = format!("local folder {secret}");
        config["polyhead"]["source"]["said"] = json!(said);
        config["polyhead"]["recipe"] = json!(format!("name = 'x'\nencoder.checkpoint = '{secret}'\n"));
    });
    let old = load(&best);
    let again = folder.path().join("again");
    old.save(&again).unwrap();
    for file in ["config.json", "README.md"] {
        assert!(!fs::read_to_string(again.join(file)).unwrap().contains(&secret), "{file}");
    }
    assert!(!serde_json::to_string(&old.about).unwrap().contains(&secret));
}

#[test]
fn a_model_keeps_a_short_request_of_its_own_validation_data_for_each_task() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let model = load(&run);
    let validation = fs::read_to_string(folder.path().join("ner-validation.conll")).unwrap();
    let sentences: Vec<String> = validation
        .split("\n\n")
        .map(|block| block.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" "))
        .collect();
    let text = model.about.examples["ner"]["text"].as_str().unwrap();
    assert!(sentences.iter().any(|sentence| sentence == text), "{text}");
    let card = fs::read_to_string(run.join("best/README.md")).unwrap();
    assert!(card.contains(&format!("polyhead predict THIS_FOLDER --task ner '{text}'")), "{card}");
    let question = &model.about.examples["qa"];
    assert!(question["question"].is_string() && question["context"].is_string());
    assert!(card.contains("--task qa --question '") && card.contains("--context '"), "{card}");
    let session = Session { model };
    for task in ["ner", "qa"] {
        let example = session.model.about.examples[task].clone();
        session.ask(task, &example).unwrap();
    }
}

#[test]
fn fine_tuning_to_a_task_without_labels_leaves_no_labels_of_before_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let (trainer, _) = begin(with_tasks(folder.path(), &run, &[("qa", "qa")], ""));
    let saved = folder.path().join("saved");
    trainer.model().save(&saved).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(saved.join("config.json")).unwrap()).unwrap();
    assert!(config.get("id2label").is_none() && config.get("label2id").is_none(), "{config}");
    assert_eq!(config["polyhead"]["tasks"].as_array().unwrap().len(), 1);
}

/// A checkpoint of which only the vocabulary is left of its tokenizer.
fn without_tokenizer(fixture: &str, folder: &Path) -> PathBuf {
    let (from, to) = (small::fixture(fixture), folder.join(fixture));
    fs::create_dir(&to).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer_config.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let tokenizer: Value = serde_json::from_slice(&fs::read(from.join("tokenizer.json")).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    if tokenizer["model"]["type"] == "WordPiece" {
        let mut pieces: Vec<(&String, u64)> =
            vocabulary.iter().map(|(piece, id)| (piece, id.as_u64().unwrap())).collect();
        pieces.sort_by_key(|(_, id)| *id);
        let lines: String = pieces.iter().map(|(piece, _)| format!("{piece}\n")).collect();
        fs::write(to.join("vocab.txt"), lines).unwrap();
    } else {
        fs::write(to.join("vocab.json"), json!(vocabulary).to_string()).unwrap();
        let merges = tokenizer["model"]["merges"].as_array().unwrap().iter();
        let pair = |pair: &Value| format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        fs::write(to.join("merges.txt"), format!("#version: 0.2\n{}", merges.map(pair).collect::<String>())).unwrap();
    }
    to
}

#[test]
fn a_checkpoint_with_a_vocabulary_alone_trains_as_with_its_tokenizer_and_its_models_have_one() {
    for fixture in ["tiny-bert", "tiny-roberta"] {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str, checkpoint: &Path| {
            let events = small::train(small::recipe(
                folder.path(),
                &[&format!("name={name}"), &from(checkpoint), "train.epochs=1", "train.precision=f32"],
            ));
            let losses: Vec<f64> = events
                .iter()
                .filter_map(|event| match event {
                    Event::Step(step) => Some(step.tasks.iter().filter_map(|task| task.loss).sum()),
                    _ => None,
                })
                .collect();
            let Some(Event::Finished(end)) = events.last() else { panic!("a run that ends") };
            (losses, end.folder.clone())
        };
        let (with, _) = run("with", &small::fixture(fixture));
        let (without, trained) = run("without", &without_tokenizer(fixture, folder.path()));
        assert!(!with.is_empty() && with == without, "{fixture}: {with:?}, {without:?}");
        assert!(trained.join("best/tokenizer.json").is_file());
        Model::load(&trained, TASKS).unwrap();
    }
    // A family whose tokenizer no vocabulary makes.
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = without_tokenizer("tiny-bert", folder.path());
    let config = fs::read_to_string(small::fixture("tiny-mpnet").join("config.json")).unwrap();
    fs::write(checkpoint.join("config.json"), config).unwrap();
    fs::copy(small::fixture("tiny-mpnet").join("model.safetensors"), checkpoint.join("model.safetensors")).unwrap();
    let error = refused(small::recipe(folder.path(), &[&from(&checkpoint)]));
    assert!(error.hint_text().unwrap().contains("save_pretrained"), "{error}");
}

#[test]
fn without_its_last_layers_an_encoder_is_as_it_was() {
    for kind in ENCODERS {
        let folder = TempDir::new().unwrap();
        let checkpoint = format!("encoder.checkpoint={}", small::fixture(kind.fixture).display());
        let begun = |more: &[&str], name: &str| {
            let name = format!("name={name}");
            begin(small::recipe(folder.path(), &[&[checkpoint.as_str(), &name], more].concat())).0
        };
        let (whole, first) = (begun(&[], "whole"), begun(&["encoder.drop_layers=1"], "first"));
        let (whole, first) = (whole.model(), first.model());
        assert_eq!(first.encoder.layers(), whole.encoder.layers() - 1, "{}", kind.fixture);
        let (all, kept) = (bits(&whole.parameters), bits(&first.parameters));
        assert!(kept.iter().all(|(name, values)| all[name] == *values), "{}", kind.fixture);
        // An ALBERT has one layer many times.
        assert!(kept.len() < all.len() || kind.name.model_type == "albert", "{}", kind.fixture);
        // What is saved has no more of them.
        let saved = folder.path().join("saved");
        first.save(&saved).unwrap();
        assert_eq!(bits(&Model::load(&saved, TASKS).unwrap().parameters), kept, "{}", kind.fixture);
        let recipe = small::recipe(folder.path(), &[checkpoint.as_str(), "name=more", "encoder.drop_layers=99"]);
        let message = refused(recipe).to_string();
        assert!(message.contains("encoder.drop_layers: expected fewer than the "), "{message}");
    }
}
