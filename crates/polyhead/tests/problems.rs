//! What a classifier can be asked: one label, several, a number. Each from a recipe to an answer, with class weights and with
//! thresholds chosen on validation data; resumed to the same bits; and what does not go together is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::batch::{Features, Padding, Targets};
use polyhead::data::Layout;
use polyhead::encoders::{Offset, Pass};
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::tasks::answer::{Labels, Number};
use polyhead::tasks::{Answer, AnyTask, Logits, LogitsFn, Purpose, Score, Shape, TASKS};
use polyhead::train::{Event, Prepared, Trainer, prepare};
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const WORDS: [&str; 9] = ["ada", "mary", "london", "river", "book", "queen", "war", "north", "paris"];

fn words(seed: u64, index: usize) -> Vec<&'static str> {
    let key = Key::seed(seed).with(index as u64);
    let word = |at: u64| WORDS[(key.bits(at) >> 8) as usize % WORDS.len()];
    (0..3 + (index % 4) as u64).map(word).collect()
}

/// Texts whose labels are names that stand in them: any number of them.
fn several(seed: u64, count: usize) -> String {
    let line = |index: usize| {
        let words = words(seed, index);
        let held: Vec<&str> = ["ada", "london", "mary"].into_iter().filter(|name| words.contains(name)).collect();
        json!({ "text": words.join(" "), "labels": held }).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

/// Texts whose number is how many of their words are `ada`, in fives.
fn numbers(seed: u64, count: usize) -> String {
    let line = |index: usize| {
        let words = words(seed, index);
        let share =
            words.iter().filter(|word| ["ada", "mary", "queen"].contains(word)).count() as f64 / words.len() as f64;
        json!({ "text": words.join(" "), "label": 5.0 * share }).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

/// Texts with a label of two, one of them rare.
fn rare(seed: u64, count: usize) -> String {
    let line = |index: usize| {
        let label = if index.is_multiple_of(8) { "rare" } else { "usual" };
        json!({ "text": words(seed, index).join(" "), "label": label }).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

type Made = fn(u64, usize) -> String;

fn recipe(folder: &Path, made: Made, task: &str, train: &str) -> Recipe {
    let file = |name: &str, seed, count| {
        let path = folder.join(name);
        fs::write(&path, made(seed, count)).unwrap();
        path
    };
    let (training, validation) = (file("train.jsonl", 1, 48), file("validation.jsonl", 2, 24));
    let text = format!(
        "name = 'tiny'\noutput = {:?}\nencoder.checkpoint = {:?}\n\
         train = {{ learning_rate = 3e-3, feature_cache = false, {train} }}\n\
         tasks.topic = {{ kind = 'classify', max_length = 32, stride = 8, batch_size = 12, {task} }}\n\
         data.topic = {{ train = {training:?}, validation = {validation:?} }}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
    );
    Recipe::parse(&text, &folder.join("tiny.toml"), &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The end of a run: its model and the scores of the epoch that was kept.
fn trained(recipe: Recipe) -> (PathBuf, Score) {
    let Some(Event::Finished(end)) = small::train(recipe).pop() else { panic!("no end") };
    (end.model, end.scores["topic"].clone())
}

fn open(config: Value) -> Box<dyn AnyTask> {
    (TASKS.iter().find(|kind| kind.kind == "classify").unwrap().open)(config).unwrap()
}

fn config(model: &Path) -> Value {
    let config: Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    config["polyhead"]["tasks"][0]["config"].clone()
}

/// The score of a model on the validation data that a recipe named.
fn scored(model: &Path, folder: &Path) -> Score {
    let session = Session::open(model).unwrap();
    session
        .evaluate("topic", &[folder.join("validation.jsonl")], None, &Layout::default(), &mut |_, _| {})
        .unwrap()
        .score
}

#[test]
fn several_labels_are_learnt_and_answered_with_those_that_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (model, score) =
        trained(recipe(folder.path(), several, "problem = 'multi_label', dropout = 0.0", "epochs = 30"));
    assert_eq!(score.headline, "micro_f1");
    assert!(score.headline_value() > 90.0, "{score:?}");
    assert_eq!(score.types.iter().map(|kind| kind.name.as_str()).collect::<Vec<_>>(), ["ada", "london", "mary"]);
    assert_eq!(score.get("threshold"), Some(0.5));
    let session = Session::open(&model).unwrap();
    let task = &session.model.tasks[0].task;
    assert_eq!(task.shape(), Shape::Labels);
    let ask = |text: &str| task.shape().read(&session.ask("topic", &json!({ "text": text })).unwrap()).unwrap();
    let chosen = |answer: &Answer| match answer {
        Answer::Labels(labels) => {
            let mut all: Vec<String> = labels.chosen().into_iter().map(|(label, _)| label.to_owned()).collect();
            all.sort();
            all
        }
        other => panic!("{other:?}"),
    };
    let mut right = 0;
    for line in several(1, 48).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let answer = ask(line["text"].as_str().unwrap());
        right += usize::from(json!(chosen(&answer)) == line["labels"]);
    }
    assert!(right >= 45, "{right} of 48");
    assert_eq!(ask("war north book").line(), "no label");
    let Answer::Labels(Labels { labels, .. }) = ask("mary queen") else { unreachable!() };
    assert!(labels.len() == 3 && labels.iter().all(|one| one.chosen == Some(one.score >= 0.5)), "{labels:?}");
    // What was evaluated in training is what is evaluated now.
    assert_eq!(scored(&model, folder.path()), score);
}

#[test]
fn numbers_are_learnt_and_answered_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (model, score) =
        trained(recipe(folder.path(), numbers, "problem = 'regression', dropout = 0.0", "epochs = 40"));
    assert_eq!(score.headline, "pearson");
    assert!(score.headline_value() > 80.0 && score.get("spearman").unwrap() > 70.0, "{score:?}");
    assert!(
        score.get("mse").unwrap() < 1.5 && score.get("mae").unwrap() < 1.2 && score.get("loss").is_none(),
        "{score:?}"
    );
    let session = Session::open(&model).unwrap();
    assert_eq!(session.model.tasks[0].task.shape(), Shape::Number);
    let ask = |text: &str| session.ask("topic", &json!({ "text": text })).unwrap()["value"].as_f64().unwrap();
    assert!(ask("ada mary queen ada") > ask("war north book london") + 1.0);
    assert_eq!(scored(&model, folder.path()), score);
}

/// The counts of the training data, in the weights and in the loss.
#[test]
fn class_weights_are_those_of_scikit_learn_and_divide_the_loss_as_pytorch_does_also_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let balanced = recipe(folder.path(), rare, "class_weights = 'balanced', dropout = 0.0", "epochs = 1");
    let Prepared { model, task_data, .. } = prepare(&balanced, TASKS, &mut |_| {}).unwrap();
    let weights = &model.tasks[0].task.config()["class_weights"];
    // n / (k n_c): 6 of 48 are rare.
    assert_eq!(weights, &json!({ "rare": 48.0 / (2.0 * 6.0), "usual": 48.0 / (2.0 * 42.0) }));
    let task = &model.tasks[0];
    let windows: Vec<&Features> = task_data[0].windows.iter().take(9).map(|window| &window.features).collect();
    let classes: Vec<i64> = windows.iter().flat_map(|window| window.targets.classes()).copied().collect();
    let count: f64 = windows.iter().map(|window| task.task.target_count(&window.targets)).sum();
    let of_rare = classes.iter().filter(|class| **class == 0).count() as f64;
    assert!((count - (of_rare * 4.0 + (9.0 - of_rare) * 48.0 / 84.0)).abs() < 1e-12, "{count}");
    let loss = |windows: &[&Features], pass| model.loss_of_part(task, windows, Padding::Packed, pass, count).unwrap();
    let (key, value) = (Key::seed(3), |loss: &polyhead::model::Loss| f64::from(loss.value.to_scalar::<f32>().unwrap()));
    let whole = value(&loss(&windows, Pass::train(key)));
    let logits = model.logits(task, &windows).unwrap();
    let each = logits.iter().zip(&classes).map(|(logits, class)| {
        let weight = if *class == 0 { 4.0 } else { 48.0 / 84.0 };
        weight * polyhead::tasks::cross_entropy(logits.row(0).iter().copied(), *class).unwrap()
    });
    let want = each.sum::<f64>() / count;
    // tiny-bert has dropout of its own: without it the losses are equal.
    let plain = value(&loss(&windows, Pass::Evaluate));
    assert!((plain - want).abs() < 1e-5 * want, "{plain} for {want}");
    let (mut begins, mut sum) = (Offset::default(), 0.0);
    for part in windows.chunks(2) {
        let part = loss(part, Pass::Train { key, begins });
        sum += value(&part);
        begins = begins.after(&part.inputs);
    }
    assert!((sum - whole).abs() < 1e-5 * whole, "{sum} for {whole}");
    // Of several labels: how many texts are without it for one with it.
    let many = recipe(folder.path(), several, "problem = 'multi_label', class_weights = 'balanced'", "epochs = 1");
    let Prepared { model, task_data, .. } = prepare(&many, TASKS, &mut |_| {}).unwrap();
    let sets = |window: &Features| window.targets.sets().to_vec();
    let with = task_data[0].windows.iter().filter(|window| sets(&window.features)[0].contains(&0)).count() as f64;
    let task = &model.tasks[0].task;
    assert_eq!(task.config()["class_weights"]["ada"], json!((48.0 - with) / with));
    assert_eq!(task.target_count(&Targets::Sets(vec![vec![], vec![1]])), 6.0, "each label of each text is a target");
}

/// Validation data decide, and everything that answers later takes what they decided.
#[test]
fn thresholds_are_chosen_on_validation_data_and_kept_with_the_model() {
    for (thresholds, equal) in [("validation", false), ("validation_shared", true)] {
        let folder = tempfile::tempdir().unwrap();
        let task = format!("problem = 'multi_label', dropout = 0.0, thresholds = '{thresholds}'");
        let mut recipe = recipe(folder.path(), several, &task, "epochs = 4");
        let (model, score) = trained(recipe.clone());
        let kept = config(&model);
        assert_eq!(kept["thresholds"], json!(thresholds));
        let chosen: Vec<f64> =
            kept["chosen_thresholds"].as_object().unwrap().values().map(|one| one.as_f64().unwrap()).collect();
        assert_eq!(chosen.len(), 3);
        assert_eq!(chosen.iter().all(|one| *one == chosen[0]), equal, "{chosen:?}");
        let named = if equal { "threshold" } else { "ada_threshold" };
        assert_eq!(score.get(named), Some(chosen[0]), "the scores say which thresholds");
        assert_eq!(scored(&model, folder.path()), score);
        // The same training with a fixed threshold: the same weights, and on these data no better score.
        recipe.tasks["topic"].as_table_mut().unwrap().insert("thresholds".into(), toml::Value::Float(0.5));
        recipe.name = "fixed".into();
        let (fixed, half) = trained(recipe);
        let tensors = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
        let best = if equal {
            score.get("micro_f1") >= half.get("micro_f1")
        } else {
            score.get("macro_f1") >= half.get("macro_f1")
        };
        assert!(best, "{score:?} {half:?}");
        assert_eq!(tensors(&model).len(), tensors(&fixed).len());
        // Answers say what reaches them.
        let session = Session::open(&model).unwrap();
        let answer = session.ask("topic", &json!({ "text": "ada in london" })).unwrap();
        for one in answer["labels"].as_array().unwrap() {
            let threshold = kept["chosen_thresholds"][one["label"].as_str().unwrap()].as_f64().unwrap();
            assert_eq!(one["chosen"], json!(one["score"].as_f64().unwrap() >= threshold), "{one}");
        }
    }
}

/// Everything that a run wrote of its models, without what says where it lies.
fn written(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.into_iter().filter(|folder| folder.join("model.safetensors").is_file()) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        all.push((format!("{name}/weights"), fs::read(folder.join("model.safetensors")).unwrap()));
        all.push((format!("{name}/config"), config(&folder).to_string().into_bytes()));
    }
    all
}

#[test]
fn a_run_with_chosen_thresholds_and_weights_is_resumed_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let task = "problem = 'multi_label', thresholds = 'validation', class_weights = 'balanced'";
    let train = "epochs = 3, save_every = 1, evaluate_every = 3, keep_checkpoints = 20, keep_optimizer = true";
    let of = |name: &str| {
        let mut recipe = recipe(folder.path(), several, task, train);
        recipe.name = name.into();
        recipe
    };
    small::train(of("whole"));
    let whole = folder.path().join("runs/whole");
    // The checkpoint after step 6 or 9 is that of an evaluation, and the next comes without one: it has the thresholds of before.
    for steps in [2, 6, 9] {
        let name = format!("cut-{steps}");
        let mut left = steps;
        for event in small::trainer(of(&name)) {
            left -= usize::from(matches!(event.unwrap(), Event::Step(_)));
            if left == 0 {
                break;
            }
        }
        let run = folder.path().join("runs").join(&name);
        let resumed = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).unwrap();
        resumed.for_each(|event| _ = event.unwrap());
        let (found, want) = (written(&run), written(&whole));
        assert_eq!((found.len(), want.len()), (2 * 13, 2 * 13), "twelve checkpoints and the best model");
        for ((name, found), (expected, want)) in found.iter().zip(&want) {
            assert_eq!(name, expected);
            assert!(found == want, "cut after {steps} steps: {name} differs");
        }
    }
}

/// Logits of the test's own.
fn evaluated(
    task: &dyn AnyTask,
    name: &str,
    text: &str,
    logits: &dyn Fn(&Features) -> Vec<f32>,
) -> (Score, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let tokenizer = polyhead::text::Tokenizer::load(&small::fixture("tiny-bert/tokenizer.json")).unwrap();
    let examples = task.read(&path, None, &Layout::default()).unwrap();
    let all = |windows: &[&Features]| {
        Ok(windows.iter().map(|window| logits(window)).map(|row| Logits::new(row.clone(), row.len())).collect())
    };
    let runner = LogitsFn { tokenizer: &tokenizer, logits: &all };
    let mut records = Vec::new();
    let score = task.evaluate(&examples, &runner, &mut |record, _| records.push(record)).unwrap();
    let analysis = task.analyse(&examples, &|| Err("none".into()), &runner).unwrap();
    assert_eq!(analysis.score, score);
    assert!(!analysis.blocks.is_empty());
    (score, records)
}

#[test]
fn what_is_not_annotated_is_not_counted_and_an_empty_list_is() {
    let task = open(json!({ "problem": "multi_label", "labels": ["a", "b"], "max_length": 16, "stride": 4 }));
    let text = "{\"text\": \"ada\", \"labels\": [\"a\"]}\n{\"text\": \"mary\", \"labels\": []}\n{\"text\": \"queen\"}\n\
                {\"text\": \"war\", \"labels\": null}\n{\"text\": \"book\", \"labels\": \"b\"}\n";
    let (score, records) = evaluated(&*task, "some.jsonl", text, &|_| vec![1.0, -1.0]);
    assert_eq!(records.len(), 3);
    let golds: Vec<&Value> = records.iter().map(|record| &record["gold_labels"]).collect();
    assert_eq!(golds, [&json!(["a"]), &json!([]), &json!(["b"])]);
    // Three times `a` is predicted, and holds once; `b` never is, and holds once.
    let near = |name: &str, want: f64| assert!((score.get(name).unwrap() - want).abs() < 1e-9, "{name}: {score:?}");
    near("micro_precision", 100.0 / 3.0);
    near("micro_recall", 50.0);
    near("exact_match", 100.0 / 3.0);
    let want = (3.0 * (1.0_f64 + (-1.0_f64).exp()).ln() + 3.0 * (1.0_f64 + (-1.0_f64).exp()).ln() + 1.0 * 3.0) / 6.0;
    let found = score.get("loss").unwrap();
    assert!((found - want).abs() < 1e-6, "{found} for {want}");
}

#[test]
fn thresholds_by_label_and_shared_ones_decide_what_is_predicted() {
    let config = |thresholds: Value| json!({ "problem": "multi_label", "labels": ["a", "b"], "max_length": 16, "stride": 4, "thresholds": thresholds });
    let text = "{\"text\": \"ada\", \"labels\": [\"a\", \"b\"]}\n";
    // Scores of 0.73 and 0.27.
    for (thresholds, right) in [
        (json!(0.5), 1.0),
        (json!(0.2), 2.0),
        (json!(0.9), 0.0),
        (json!({ "b": 0.25 }), 2.0),
        (json!({ "a": 0.8 }), 0.0),
    ] {
        let (score, _) = evaluated(&*open(config(thresholds.clone())), "one.jsonl", text, &|_| vec![1.0, -1.0]);
        assert_eq!(score.get("micro_recall"), Some(50.0 * right), "{thresholds}");
    }
}

#[test]
fn an_undefined_correlation_is_zero_and_errors_are_in_the_units_of_the_numbers() {
    let task = open(json!({ "problem": "regression", "max_length": 16, "stride": 4 }));
    let text = "{\"text\": \"ada\", \"label\": 1}\n{\"text\": \"mary\", \"label\": 4.0}\n{\"text\": \"queen\", \"label\": \"2.5\"}\n";
    let (score, records) = evaluated(&*task, "some.jsonl", text, &|_| vec![2.5]);
    assert_eq!((score.get("pearson"), score.get("spearman")), (Some(0.0), Some(0.0)));
    assert_eq!((score.get("mse"), score.get("mae")), (Some(1.5), Some(1.0)));
    assert_eq!((&records[1]["value"], &records[1]["gold_value"]), (&json!(2.5), &json!(4.0)));
    let answer = Answer::Number(Number { value: 2.5 });
    assert_eq!((answer.line().as_str(), answer.rows()), ("2.50", vec![vec![json!(2.5)]]));
    let one = evaluated(&*task, "one.jsonl", "{\"text\": \"ada\", \"label\": 1}\n", &|_| vec![1.0]).0;
    assert_eq!((one.get("pearson"), one.get("mse")), (Some(0.0), Some(0.0)));
}

#[test]
fn a_long_text_has_the_mean_of_its_windows_whatever_is_predicted() {
    let tokenizer = polyhead::text::Tokenizer::load(&small::fixture("tiny-bert/tokenizer.json")).unwrap();
    let long = json!({ "text": "ada ".repeat(40) });
    for (config, want) in [
        (json!({ "problem": "regression" }), json!({ "value": 2.0 })),
        (json!({ "problem": "multi_label", "labels": ["a"] }), Value::Null),
    ] {
        let mut config = config;
        config["max_length"] = json!(12);
        config["stride"] = json!(2);
        let query = open(config).query(&long, &tokenizer).unwrap();
        let windows = query.windows.len();
        assert!(windows > 3);
        // The outputs of the windows are 0, 1, 2 ...: their mean is a half of the last.
        let logits = (0..windows).map(|at| Logits::new(vec![4.0 * at as f32 / (windows - 1) as f32], 1)).collect();
        let answer = query.answer(logits);
        if want.is_null() {
            let mean: f64 = (0..windows).map(|at| 1.0 / (1.0 + (-4.0 * at as f64 / (windows - 1) as f64).exp())).sum();
            assert!((answer["labels"][0]["score"].as_f64().unwrap() - mean / windows as f64).abs() < 1e-6, "{answer}");
        } else {
            assert!((answer["value"].as_f64().unwrap() - 2.0).abs() < 1e-6, "{answer}");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_its_key() {
    let classify = TASKS.iter().find(|kind| kind.kind == "classify").unwrap();
    for (config, expected) in [
        (json!({ "problem": "ranking" }), "unknown variant `ranking`"),
        (json!({ "thresholds": 0.3 }), "thresholds: expected none where"),
        (json!({ "problem": "regression", "thresholds": "validation" }), "thresholds: expected none where"),
        (json!({ "problem": "regression", "class_weights": "balanced" }), "class_weights: expected none for numbers"),
        (json!({ "problem": "regression", "label_until": ":" }), "label_until: expected none for numbers"),
        (json!({ "problem": "regression", "labels": ["a", "b"] }), "labels: expected one name of the number at most"),
        (json!({ "problem": "multi_label", "thresholds": 1.5 }), "thresholds: expected numbers from 0 to 1, found 1.5"),
        (json!({ "problem": "multi_label", "thresholds": { "a": -1 } }), "thresholds: expected numbers from 0 to 1"),
        (json!({ "problem": "multi_label", "thresholds": "test" }), "expected a number, a table of labels with theirs"),
        (json!({ "problem": "multi_label", "thresholds": true }), "expected a number, a table of labels with theirs"),
        (json!({ "class_weights": "equal" }), "expected \"balanced\" or a table of labels"),
        (json!({ "class_weights": 2 }), "expected \"balanced\" or a table of labels"),
        (json!({ "class_weights": { "a": 0 } }), "class_weights: expected positive numbers, found 0 for `a`"),
        (json!({ "class_weights": { "a": "x" } }), "expected f64"),
        (
            json!({ "labels": ["a", "b"], "class_weights": { "c": 2 } }),
            "class_weights: expected labels of the task (a, b), found `c`",
        ),
        (
            json!({ "problem": "multi_label", "labels": ["a", "b"], "thresholds": { "c": 0.2 } }),
            "thresholds: expected labels of the task (a, b), found `c`",
        ),
    ] {
        let error = (classify.open)(config.clone()).err().unwrap_or_else(|| panic!("{config}")).to_string();
        assert!(error.contains(expected), "{config}: {error}");
    }
    // The names of transformers are read, too; what is kept opens again.
    for (said, kept) in [("multi_label_classification", "multi_label"), ("single_label_classification", "single_label")]
    {
        let task = open(json!({ "problem": said }));
        assert_eq!(task.config()["problem"], kept);
        open(task.config());
    }
    // A recipe names the key and its line.
    let text = "name = 'x'\nencoder.checkpoint = 'y'\n[tasks.topic]\nkind = 'classify'\nclass_weights = 'equal'\n[data.topic]\ntrain = 'z'\n";
    let recipe = Recipe::parse(text, Path::new("x.toml"), &[]);
    let error = recipe.and_then(|recipe| prepare(&recipe, TASKS, &mut |_| {}).map(|_| ())).unwrap_err().to_string();
    assert!(
        error.contains("x.toml:5") && error.contains("tasks.topic.class_weights: expected \"balanced\""),
        "{error}"
    );
}

#[test]
fn data_that_teach_nothing_are_refused_and_others_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let read = |task: &dyn AnyTask, text: &str| {
        let path = folder.path().join("data.jsonl");
        fs::write(&path, text).unwrap();
        task.read(&path, None, &Layout::default()).unwrap()
    };
    let mut task = open(json!({ "problem": "multi_label" }));
    let none = read(&*task, "{\"text\": \"a\", \"labels\": []}\n{\"text\": \"b\", \"labels\": []}\n");
    let error = task.learnable(&none).unwrap_err().to_string();
    assert!(error.contains("data.jsonl:1: expected texts with labels to train on, found none in 2 texts"), "{error}");
    let some = read(
        &*task,
        "{\"text\": \"a\", \"labels\": [\"x\", \"y\", \"x\"]}\n{\"text\": \"b\", \"labels\": []}\n{\"text\": \"c\", \"labels\": [\"x\"]}\n",
    );
    task.prepare(&some).unwrap();
    assert_eq!(task.labels(), ["x", "y"]);
    let counted = |name: &str, count| (name.to_owned(), count);
    let want = [("texts", 3), ("without a label", 1), ("with one", 1), ("with several", 1), ("  x", 2), ("  y", 1)];
    assert_eq!(task.distribution(&some).unwrap(), want.map(|(name, count)| counted(name, count)));
    let error = task.check(&read(&*task, "{\"text\": \"a\", \"labels\": [\"x\", \"z\"]}\n")).unwrap_err().to_string();
    assert!(error.contains("data.jsonl:1: expected one of the labels x, y, found `z`"), "{error}");
    let task = open(json!({ "problem": "regression" }));
    let error = task
        .learnable(&read(&*task, "{\"text\": \"a\", \"label\": 3}\n{\"text\": \"b\", \"label\": 3.0}\n"))
        .unwrap_err();
    assert!(
        error.to_string().contains("data.jsonl:1: expected different numbers to train on, found 3 alone in 2"),
        "{error}"
    );
    let few = read(
        &*task,
        "{\"text\": \"a\", \"label\": 3}\n{\"text\": \"b\", \"label\": -1.5}\n{\"text\": \"c\", \"label\": 3}\n",
    );
    assert_eq!(task.distribution(&few).unwrap(), [counted("texts", 3), counted("  -1.5", 1), counted("  3", 2)]);
    let many: String =
        (0..=100).map(|at| format!("{{\"text\": \"a\", \"label\": {}}}\n", f64::from(at) / 20.0)).collect();
    let many = task.distribution(&read(&*task, &many)).unwrap();
    assert_eq!((many.len(), &many[1]), (11, &counted("  0.00 to 0.50", 10)), "{many:?}");
    assert_eq!(many.iter().skip(1).map(|(_, count)| count).sum::<usize>(), 101);
    // Windows have the labels as targets.
    let tokenizer = polyhead::text::Tokenizer::load(&small::fixture("tiny-bert/tokenizer.json")).unwrap();
    let task = open(json!({ "problem": "multi_label", "labels": ["x", "y", "z"], "max_length": 16, "stride": 4 }));
    let examples = read(&*task, "{\"text\": \"ada\", \"labels\": [\"z\", \"x\"]}\n");
    let windows = task.features(&examples, 0, &tokenizer, Purpose::Train).unwrap().windows;
    assert_eq!(windows[0].targets, Targets::Sets(vec![vec![0, 2]]));
}
