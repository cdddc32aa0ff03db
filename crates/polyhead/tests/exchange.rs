//! Exchange with transformers: single-task folders that it saved load here and answer alike, and what is exported is
//! what it would have saved. `checks/transformers_roundtrip.py` proves the other direction with transformers itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use candle_core::Tensor;
use common::{error, fixture, floats, load, logits, read, windows};
use polyhead::Key;
use polyhead::batch::{Features, Padding};
use polyhead::encoders::{ENCODERS, EncoderKind, EncoderOverrides, Pass};
use polyhead::export;
use polyhead::model::{CaseEmbeddings, KeepHeads, Model, NamedTask, Provenance, Start};
use polyhead::tasks::{Purpose, TASKS};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A single-task folder of an encoder's fixture with a tokenizer beside it.
fn imported_of(kind: &EncoderKind, task: &str) -> (TempDir, Model) {
    let (folder, source) = (tempfile::tempdir().unwrap(), fixture(kind.fixture));
    for name in ["config.json", "model.safetensors"] {
        fs::copy(source.join("single-task").join(task).join(name), folder.path().join(name)).unwrap();
    }
    fs::copy(source.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let model = load(folder.path());
    (folder, model)
}

/// That of the first encoder, BERT: for what has nothing to do with encoders.
fn imported(task: &str) -> (TempDir, Model) {
    imported_of(&ENCODERS[0], task)
}

/// All encoders: the classes for one task have heads as ours.
fn each_exchanged() -> impl Iterator<Item = &'static EncoderKind> {
    ENCODERS.iter()
}

/// Every encoder with every task that is exchanged.
fn each() -> impl Iterator<Item = (&'static EncoderKind, &'static str)> {
    each_exchanged().flat_map(|kind| ["ner", "qa"].map(|task| (kind, task)))
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn a_single_task_folder_of_transformers_answers_as_it_does_there() {
    for (kind, task) in each() {
        let reference = read(&fixture(kind.fixture).join("single-task/logits.safetensors"));
        let (folder, model) = imported_of(kind, task);
        let want = &reference[&format!("{task}_logits")];
        let found = |model: &Model| {
            Tensor::from_vec(logits(model, task, &windows(&reference)).concat(), want.shape(), want.device()).unwrap()
        };
        assert!(error(&found(&model), want) < 1e-5, "{task}: {:e}", error(&found(&model), want));
        // It is a model like any other: saved in our own form, it is the same one.
        let saved = folder.path().join("saved");
        model.save(&saved).unwrap();
        assert_eq!(floats(&found(&load(&saved))), floats(&found(&model)), "{task}");
    }
    assert_eq!(imported("ner").1.tasks[0].task.labels(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
}

#[test]
fn an_exported_task_is_the_folder_that_transformers_saved() {
    for (kind, task) in each() {
        let (folder, model) = imported_of(kind, task);
        let exported = folder.path().join("exported");
        export::single_task(&model, model.task(task).unwrap(), &exported).unwrap();
        let (ours, theirs) = (exported.join("model.safetensors"), folder.path().join("model.safetensors"));
        let (ours, theirs) = (read(&ours), read(&theirs));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{task}");
        for (name, tensor) in &theirs {
            assert_eq!(ours[name].dims(), tensor.dims(), "{name}");
            assert_eq!(floats(&ours[name]), floats(tensor), "{name}");
        }
        let (ours, theirs) = (config(&exported), config(folder.path()));
        for (field, value) in theirs.as_object().unwrap().iter().filter(|(name, _)| *name != "classifier_dropout") {
            assert_eq!(ours.get(field), Some(value), "{task}: {field}");
        }
        assert!(ours.get("polyhead").is_none());
    }
}

#[test]
fn a_classifier_of_transformers_answers_as_it_does_there_and_goes_back_as_it_came() {
    for kind in each_exchanged() {
        let source = fixture(kind.fixture).join("single-task");
        let inputs = read(&source.join("logits.safetensors"));
        let want = &read(&source.join("classify_logits.safetensors"))["logits"];
        let (folder, model) = imported_of(kind, "classify");
        let found = |model: &Model| {
            let logits = logits(model, "classify", &windows(&inputs)).concat();
            Tensor::from_vec(logits, want.shape(), want.device()).unwrap()
        };
        let class = kind.name.class;
        assert!(error(&found(&model), want) < 1e-5, "{class}: {:e}", error(&found(&model), want));
        assert_eq!(model.tasks[0].task.labels(), ["negative", "neutral", "positive"]);
        let saved = folder.path().join("saved");
        model.save(&saved).unwrap();
        let again = load(&saved);
        assert_eq!(floats(&found(&again)), floats(&found(&model)), "{class}");
        let exported = folder.path().join("exported");
        export::single_task(&again, again.task("classify").unwrap(), &exported).unwrap();
        let tensors = |folder: &Path| read(&folder.join("model.safetensors"));
        let (ours, theirs) = (tensors(&exported), tensors(folder.path()));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{class}");
        theirs.iter().for_each(|(name, tensor)| assert_eq!(floats(&ours[name]), floats(tensor), "{name}"));
        let config = config(&exported);
        assert_eq!(config["architectures"], serde_json::json!([format!("{class}ForSequenceClassification")]));
        assert_eq!((&config["id2label"]["2"], &config["label2id"]["neutral"]), (&"positive".into(), &1.into()));
        assert_eq!(floats(&found(&load(&exported))), floats(&found(&model)), "{class}");
    }
}

#[test]
fn classifiers_that_read_the_mean_of_the_tokens_answer_as_in_transformers_and_other_classes_do_not_mind() {
    for kind in ENCODERS.iter().filter(|kind| kind.head_transform.is_some()) {
        for task in ["ner", "qa", "classify"] {
            let (folder, _) = imported_of(kind, task);
            let with = |pooling: &str| {
                let mut config = config(folder.path());
                config["classifier_pooling"] = pooling.into();
                fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            };
            with("mean");
            let model = load(folder.path());
            let exported = folder.path().join("exported");
            export::single_task(&model, model.task(task).unwrap(), &exported).unwrap();
            if task != "classify" {
                continue;
            }
            assert_eq!(config(&exported)["classifier_pooling"], "mean");
            let source = fixture(kind.fixture).join("single-task");
            let want = &read(&source.join("classify_logits.safetensors"))["mean_logits"];
            let whole = |window: Features| Features { ranges: vec![(0, window.ids.len() as u32)], ..window };
            let windows: Vec<Features> =
                windows(&read(&source.join("logits.safetensors"))).into_iter().map(whole).collect();
            for model in [model, load(&exported)] {
                let logits = logits(&model, "classify", &windows).concat();
                let found = Tensor::from_vec(logits, want.shape(), want.device()).unwrap();
                assert!(error(&found, want) < 1e-5, "{:e}", error(&found, want));
            }
            with("max");
            let refused = Model::load(folder.path(), TASKS).err().expect("pooling that is unknown");
            assert!(refused.to_string().contains("expected `cls` or `mean`, found \"max\""), "{refused}");
        }
        // What an encoder says of others' heads does not bind a classifier of ours.
        let (folder, model) = imported_of(kind, "classify");
        let saved = folder.path().join("saved");
        model.save(&saved).unwrap();
        let mut of_saved = config(&saved);
        of_saved["classifier_pooling"] = "mean".into();
        fs::write(saved.join("config.json"), of_saved.to_string()).unwrap();
        let model = load(&saved);
        let exported = folder.path().join("exported");
        export::single_task(&model, model.task("classify").unwrap(), &exported).unwrap();
        assert_eq!(config(&exported)["classifier_pooling"], "cls");
    }
}

#[test]
fn a_head_that_reads_the_mean_has_no_form_where_transformers_reads_the_first_token() {
    let (folder, model) = imported("classify");
    let saved = folder.path().join("saved");
    model.save(&saved).unwrap();
    let mut of_saved = config(&saved);
    of_saved["polyhead"]["tasks"][0]["config"]["pooling"] = "mean".into();
    fs::write(saved.join("config.json"), of_saved.to_string()).unwrap();
    let model = load(&saved);
    let exported = folder.path().join("exported");
    let error = export::single_task(&model, model.task("classify").unwrap(), &exported).unwrap_err();
    assert!(error.to_string().contains("reads the first token, this head the mean"), "{error}");
}

/// A classifier's folder with another `problem_type`; for a number with the first of its outputs alone.
fn with_problem(kind: &EncoderKind, problem: &Value) -> TempDir {
    let (folder, _) = imported_of(kind, "classify");
    let mut config = config(folder.path());
    config["problem_type"] = problem.clone();
    if *problem == "regression" {
        config["id2label"] = serde_json::json!({ "0": "LABEL_0" });
        config["label2id"] = serde_json::json!({ "LABEL_0": 0 });
        let path = folder.path().join("model.safetensors");
        let mut tensors = read(&path);
        let output = kind.sequence_head.map_or("classifier", |head| head.output);
        for part in ["weight", "bias"] {
            let tensor = tensors.get_mut(&format!("{output}.{part}")).unwrap();
            *tensor = tensor.narrow(0, 0, 1).unwrap().contiguous().unwrap();
        }
        common::write(&path, &tensors);
    }
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// `problem_type` goes in and out, and the logits stay what transformers computes.
#[test]
fn a_model_of_several_labels_or_of_a_number_goes_both_ways_with_equal_logits() {
    for (kind, problem) in
        each_exchanged().flat_map(|kind| ["multi_label_classification", "regression"].map(|one| (kind, one)))
    {
        let source = fixture(kind.fixture).join("single-task");
        let inputs = read(&source.join("logits.safetensors"));
        let want = &read(&source.join("classify_logits.safetensors"))["logits"];
        let outputs = if problem == "regression" { 1 } else { 3 };
        let want = want.narrow(1, 0, outputs).unwrap().contiguous().unwrap();
        let folder = with_problem(kind, &problem.into());
        let model = load(folder.path());
        let found = |model: &Model| {
            let logits = logits(model, "classify", &windows(&inputs)).concat();
            Tensor::from_vec(logits, want.shape(), want.device()).unwrap()
        };
        let class = kind.name.class;
        assert!(error(&found(&model), &want) < 1e-5, "{class}: {:e}", error(&found(&model), &want));
        let exported = folder.path().join("exported");
        export::single_task(&model, model.task("classify").unwrap(), &exported).unwrap();
        let (ours, theirs) = (config(&exported), config(folder.path()));
        for field in ["problem_type", "id2label", "label2id", "architectures"] {
            assert_eq!(ours[field], theirs[field], "{class} {problem}: {field}");
        }
        assert_eq!(floats(&found(&load(&exported))), floats(&found(&model)), "{class} {problem}");
        let again = folder.path().join("again");
        model.save(&again).unwrap();
        assert_eq!(load(&again).tasks[0].task.config(), model.tasks[0].task.config());
    }
}

#[test]
fn what_a_classifier_predicts_is_said_by_its_folder_or_follows_from_its_outputs() {
    let problem = |folder: &TempDir| load(folder.path()).tasks[0].task.config()["problem"].clone();
    assert_eq!(problem(&with_problem(&ENCODERS[0], &Value::Null)), "single_label");
    let number = with_problem(&ENCODERS[0], &"regression".into());
    let mut unsaid = config(number.path());
    unsaid.as_object_mut().unwrap().remove("problem_type");
    fs::write(number.path().join("config.json"), unsaid.to_string()).unwrap();
    assert_eq!(problem(&number), "regression");
}

#[test]
fn a_classifier_of_another_problem_or_without_a_pooler_is_refused_with_the_way_out() {
    let refusal = |field: &str, value: Value| {
        let (folder, _) = imported("classify");
        let mut config = config(folder.path());
        config[field] = value;
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Model::load(folder.path(), TASKS).err().unwrap().to_string()
    };
    let error = refusal("problem_type", "ranking".into());
    let expected =
        "expected one of `single_label_classification`, `multi_label_classification`, `regression`, found \"ranking\"";
    assert!(error.contains(expected), "{error}");
    let error = refusal("problem_type", "regression".into());
    assert!(error.contains("`num_labels`: expected 1, as the model predicts a number, found 3"), "{error}");
    assert!(refusal("id2label", serde_json::json!({ "0": "only" })).contains("`id2label`: expected 3 labels"));
    // A head of ours as it is by default.
    let (folder, model) = imported("classify");
    let saved = folder.path().join("saved");
    model.save(&saved).unwrap();
    let mut own = config(&saved);
    own["polyhead"]["tasks"][0]["config"].as_object_mut().unwrap().remove("pooler");
    fs::write(saved.join("config.json"), own.to_string()).unwrap();
    let mut tensors = read(&saved.join("model.safetensors"));
    tensors.retain(|name, _| !name.starts_with("heads.classify.pooler."));
    common::write(&saved.join("model.safetensors"), &tensors);
    let plain = load(&saved);
    let error = export::single_task(&plain, plain.task("classify").unwrap(), &folder.path().join("no")).unwrap_err();
    assert!(error.to_string().contains("a layer between encoder and labels (the pooler)"), "{error}");
    assert!(error.hint_text().unwrap().contains("pooler = true"), "{error:?}");
}

/// The logits do not ask what labels are called: with names that are not of entities a folder is that of another kind of task, and
/// answers and goes back as it came.
#[test]
fn token_classification_with_labels_of_words_is_labelled_words_and_goes_back_as_it_came() {
    let labels = ["ADP", "NOUN", "PROPN", "PUNCT", "VERB"];
    for kind in each_exchanged() {
        let reference = read(&fixture(kind.fixture).join("single-task/logits.safetensors"));
        let want = &reference["ner_logits"];
        let (folder, _) = imported_of(kind, "ner");
        let mut renamed = config(folder.path());
        let names = |at: fn(usize, &str) -> (String, Value)| -> Value {
            labels.iter().enumerate().map(|(id, label)| at(id, label)).collect::<serde_json::Map<_, _>>().into()
        };
        renamed["id2label"] = names(|id, label| (id.to_string(), label.into()));
        renamed["label2id"] = names(|id, label| (label.to_owned(), id.into()));
        fs::write(folder.path().join("config.json"), renamed.to_string()).unwrap();
        let model = load(folder.path());
        assert_eq!((model.tasks[0].name.as_str(), model.tasks[0].task.kind()), ("tag", "tag"));
        assert_eq!(model.tasks[0].task.labels(), labels);
        let found = |model: &Model| {
            let logits = logits(model, "tag", &windows(&reference)).concat();
            Tensor::from_vec(logits, want.shape(), want.device()).unwrap()
        };
        assert!(error(&found(&model), want) < 1e-5, "{}: {:e}", kind.name.class, error(&found(&model), want));
        let exported = folder.path().join("exported");
        export::single_task(&model, model.task("tag").unwrap(), &exported).unwrap();
        let tensors = |folder: &Path| read(&folder.join("model.safetensors"));
        let (ours, theirs) = (tensors(&exported), tensors(folder.path()));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        theirs.iter().for_each(|(name, tensor)| assert_eq!(floats(&ours[name]), floats(tensor), "{name}"));
        let config = config(&exported);
        assert_eq!(config["architectures"], serde_json::json!([format!("{}ForTokenClassification", kind.name.class)]));
        assert_eq!((&config["id2label"], &config["label2id"]), (&renamed["id2label"], &renamed["label2id"]));
        assert_eq!(floats(&found(&load(&exported))), floats(&found(&model)));
    }
}

/// A model that begins with a checkpoint and has one classifier, and what was said of it.
fn begun(folder: &Path, pooler: bool) -> (Model, Vec<String>) {
    let labels = ["negative", "neutral", "positive"];
    let config = serde_json::json!({ "labels": labels, "pooler": pooler, "max_length": 32, "stride": 8 });
    let kind = TASKS.iter().find(|kind| kind.kind == "classify").unwrap();
    let tasks = vec![NamedTask { name: "mood".into(), task: (kind.open)(config).unwrap() }];
    let (adjust, keep, key) = (EncoderOverrides::default(), KeepHeads::None, Key::seed(1));
    let start = Start {
        about: Provenance::default(),
        tasks,
        adjust: &adjust,
        key,
        kinds: TASKS,
        drop_layers: 0,
        case_embeddings: CaseEmbeddings::No,
        keep: &keep,
        rename: &Default::default(),
    };
    let mut notes = Vec::new();
    let model = Model::begin(folder, start, &mut |note| notes.push(note.to_owned())).unwrap();
    (model, notes)
}

#[test]
fn a_classifier_begins_with_that_of_transformers_where_both_have_the_same_layers() {
    let (folder, model) = imported("classify");
    let inputs = windows(&read(&fixture("tiny-bert/single-task/logits.safetensors")));
    let (same, notes) = begun(folder.path(), true);
    assert_eq!(notes, ["tasks.mood: the head of the checkpoint is kept with its 3 labels"]);
    assert_eq!(logits(&same, "mood", &inputs), logits(&model, "classify", &inputs));
    let (_, notes) = begun(folder.path(), false);
    let dropped = "the checkpoint's has heads.mood.pooler.weight, heads.mood.pooler.bias besides, and is dropped";
    assert_eq!(notes, [format!("tasks.mood: the head is new: {dropped}")]);
    // A new pooler begins as the encoder's, which stays what it was.
    let reference = read(&fixture("tiny-bert/model.safetensors"));
    let (new, _) = begun(&fixture("tiny-bert"), true);
    let named = |name: &str| {
        let parameter = new.parameters.iter().find(|parameter| parameter.name == name).unwrap();
        floats(parameter.weight.tensor().unwrap())
    };
    for part in ["weight", "bias"] {
        assert_eq!(named(&format!("heads.mood.pooler.{part}")), floats(&reference[&format!("pooler.dense.{part}")]));
    }
    assert_eq!(named("pooler.dense.weight"), floats(&reference["pooler.dense.weight"]));
}

#[test]
fn a_task_of_a_multi_task_model_is_exported_alone_and_answers_as_before() {
    for (kind, task) in each() {
        let (model, reference) = common::tiny_of(kind);
        let folder = tempfile::tempdir().unwrap();
        let exported = folder.path().join("exported");
        if kind.head_transform.is_some() {
            // Its classes have a layer that this head has not.
            let error = export::single_task(&model, model.task(task).unwrap(), &exported).unwrap_err();
            assert!(error.hint_text().unwrap().contains("`transform = true`"), "{error}");
            continue;
        }
        export::single_task(&model, model.task(task).unwrap(), &exported).unwrap();
        let single = load(&exported);
        assert_eq!(single.tasks.len(), 1);
        assert_eq!(single.tasks[0].task.labels(), model.task(task).unwrap().task.labels());
        let windows = windows(&reference);
        assert_eq!(logits(&single, task, &windows), logits(&model, task, &windows), "{task}");
    }
}

#[test]
fn a_single_task_folder_without_its_head_or_labels_is_refused_by_name() {
    let refusal = |task: &str, change: &dyn Fn(&Path)| {
        let (folder, _) = imported(task);
        change(folder.path());
        Model::load(folder.path(), TASKS).err().unwrap().to_string()
    };
    let without = |folder: &Path, name: &str| {
        let path = folder.join("model.safetensors");
        let mut tensors = read(&path);
        tensors.remove(name).unwrap();
        common::write(&path, &tensors);
    };
    let error = refusal("ner", &|folder| without(folder, "classifier.bias"));
    assert!(error.contains("`heads.ner.bias`: expected a tensor [5]"), "{error}");
    let error = refusal("qa", &|folder| without(folder, "qa_outputs.weight"));
    assert!(error.contains("`heads.qa.start.weight`: expected a tensor [1, 16]"), "{error}");
    let error = refusal("ner", &|folder| {
        let mut config = config(folder);
        config["id2label"] = serde_json::json!({ "zero": "O" });
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    });
    assert!(error.contains("config.json: `id2label`: expected"), "{error}");
}

/// The loss of an evaluation is that of training, without dropout, over all examples at once.
#[test]
fn the_loss_on_validation_data_is_that_of_training_without_dropout() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("ner", "data.conll", "Mary B-PER\nlives O\nin O\nLondon B-LOC\n\nJohn B-PER\nSmith I-PER\nleft O\n".to_owned()),
        ("qa", "data.jsonl", ["Mary", "London"].map(|answer| {
            let context = "Mary lives in London";
            let start = context.find(answer).unwrap();
            serde_json::json!({ "question": "Who or where?", "context": context, "answers": [{ "text": answer, "answer_start": start }] }).to_string() + "\n"
        }).concat()),
    ];
    for (name, file, text) in files {
        let path = folder.path().join(file);
        fs::write(&path, text).unwrap();
        let (_folder, model) = imported(name);
        let task = model.task(name).unwrap();
        let examples = task.task.read(&path, None, &Default::default()).unwrap();
        let windows: Vec<Features> = (0..examples.len)
            .flat_map(|at| task.task.features(&examples, at, &model.tokenizer, Purpose::Train).unwrap().windows)
            .collect();
        let want = model.loss(task, &windows.iter().collect::<Vec<_>>(), Padding::Packed, Pass::Evaluate).unwrap();
        let want = f64::from(want.value.to_scalar::<f32>().unwrap());
        let score = model.run(task, |task, runner| task.evaluate(&examples, runner, &mut |_, _| {})).unwrap();
        let found = score.get("loss").unwrap();
        assert!((found - want).abs() < 1e-5 * want && want > 0.1, "{name}: expected {want}, found {found}");
    }
}

/// The labels of a token-classification folder whose configuration was changed, or why it is refused.
fn labels_of(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Result<Vec<String>, String> {
    let (folder, _) = imported("ner");
    let mut config = config(folder.path());
    change(config.as_object_mut().unwrap());
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    match Model::load(folder.path(), polyhead::tasks::TASKS) {
        Ok(model) => Ok(model.tasks[0].task.labels().to_vec()),
        Err(error) => Err(format!("{error}; hint: {}", error.hint_text().unwrap_or("none"))),
    }
}

#[test]
fn labels_without_names_are_called_as_transformers_calls_them() {
    let numbered: Vec<String> = (0..5).map(|id| format!("LABEL_{id}")).collect();
    for num_labels in [Value::Null, serde_json::json!(5)] {
        let found = labels_of(|config| {
            config.shift_remove("id2label");
            config.shift_remove("label2id");
            config.insert("num_labels".into(), num_labels);
        });
        assert_eq!(found.unwrap(), numbered);
    }
    let few = labels_of(|config| {
        config.shift_remove("id2label");
        config.insert("num_labels".into(), serde_json::json!(2));
    });
    // Labels that say nothing of entities are those of words.
    assert!(few.unwrap_err().contains("`heads.tag.weight`: expected the shape [2, 16], found [5, 16]"));
}

#[test]
fn names_of_labels_count_in_the_order_of_their_numbers_and_none_may_be_missing() {
    let named = |pairs: Value| labels_of(|config| _ = config.insert("id2label".into(), pairs));
    let unordered = serde_json::json!({ "3": "d", "1": "b", "4": "e", "0": "a", "2": 7 });
    assert_eq!(named(unordered).unwrap(), ["a", "b", "7", "d", "e"]);
    for (pairs, part) in [
        (
            serde_json::json!({ "0": "O", "1": "B-X", "2": "I-X", "3": "B-Y", "5": "I-Y" }),
            "expected the ids 0 to 4, found none for 4: it has 0, 1, 2, 3, 5",
        ),
        (serde_json::json!({ "1": "O", "2": "B-X", "3": "I-X", "4": "B-Y", "5": "I-Y" }), "found none for 0"),
        (serde_json::json!({ "0": "O", "1": "B-X" }), "expected 5 labels, one for each output of the head, found 2"),
        (serde_json::json!({}), "expected 5 labels"),
        (serde_json::json!(["O", "B-X"]), "expected an object of numbers and label names"),
        (serde_json::json!({ "0": null }), "expected the name of label 0, found null"),
    ] {
        let refused = named(pairs).unwrap_err();
        assert!(refused.contains(part) && refused.contains("config.json: `id2label`"), "{refused}");
        assert!(!refused.ends_with("none"), "{refused}");
    }
}
