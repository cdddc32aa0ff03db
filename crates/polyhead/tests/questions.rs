//! What question answering can be trained for: the threshold of "no answer" chosen on validation data as the official script of
//! SQuAD v2.0 chooses it, and the joint loss of start and end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use candle_core::{Device, Tensor};
use polyhead::batch::Features;
use polyhead::data::Layout;
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::tasks::{AnyTask, Examples, Logits, LogitsFn, Purpose, Score, TASKS};
use polyhead::text::Tokenizer;
use polyhead::train::{Event, Trainer};
use polyhead_kernels::Segments;
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn open(more: &Value) -> Box<dyn AnyTask> {
    let mut config = json!({ "max_length": 48, "stride": 8, "max_question_length": 8 });
    let all = config.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    (TASKS.iter().find(|kind| kind.kind == "qa").unwrap().open)(config).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&small::fixture("tiny-bert/tokenizer.json")).unwrap()
}

/// A SQuAD file of `(context, golds)`, each gold at its first place.
fn squad(questions: &[(String, Vec<String>)]) -> String {
    let paragraph = |(index, (context, golds)): (usize, &(String, Vec<String>))| {
        let answer = |gold: &String| json!({ "text": gold, "answer_start": context.find(gold.as_str()).unwrap() });
        let answers: Vec<Value> = golds.iter().map(answer).collect();
        let none = answers.is_empty();
        let asked =
            json!({ "id": index.to_string(), "question": "who left", "answers": answers, "is_impossible": none });
        json!({ "context": context, "qas": [asked] })
    };
    let paragraphs: Vec<Value> = questions.iter().enumerate().map(paragraph).collect();
    json!({ "version": "v2.0", "data": [{ "title": "made", "paragraphs": paragraphs }] }).to_string()
}

fn read(task: &dyn AnyTask, questions: &[(String, Vec<String>)]) -> Examples {
    let (_folder, path) = small::written("questions.json", squad(questions).as_bytes());
    task.read(&path, None, &Layout::default()).unwrap()
}

// The threshold

/// Logits of a question: its answer has 8, "no answer" so much more or less, and all else little.
fn pointing(window: &Features, question: &Value) -> Logits {
    let place = |at: usize| question["answer"][at].as_u64().unwrap() as usize;
    let text: Vec<usize> = (0..window.spans.len()).filter(|&row| window.spans[row].is_some()).collect();
    let mut rows = vec![-8.0; 2 * window.ids.len()];
    rows[2 * text[place(0)]] = 4.0;
    rows[2 * text[place(1)] + 1] = 4.0;
    rows[0] = 8.0 + question["no_answer_score"].as_f64().unwrap() as f32;
    rows[1] = 0.0;
    Logits::new(rows, 2)
}

fn scored(score: &Score, official: &Value) {
    for (own, name) in [("", ""), ("has_answer_", "HasAns_"), ("no_answer_", "NoAns_")] {
        for (measure, of) in [("exact_match", "exact"), ("f1", "f1")] {
            // Without any such question the script prints nothing, and we 0.
            let want = official[format!("{name}{of}")].as_f64().unwrap_or(0.0);
            let found = score.get(&format!("{own}{measure}")).unwrap();
            assert!((found - want).abs() < 1e-9, "{own}{measure}: {found}, official {want}");
        }
    }
}

#[test]
fn the_threshold_that_validation_data_choose_is_that_of_the_official_script_and_so_are_the_scores_with_it() {
    let tokenizer = tokenizer();
    let cases = fs::read_to_string(small::fixture("squad_thresholds.jsonl")).unwrap();
    let mut left_empty = 0;
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let asked = case["questions"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let golds = |one: &Value| one["golds"].as_array().unwrap().iter().map(text).collect();
        let questions: Vec<_> = asked.iter().map(|one| (text(&one["context"]), golds(one))).collect();
        let ids = |context: &str| tokenizer.text(context).unwrap().iter().map(|piece| piece.id).collect::<Vec<u32>>();
        let by_context: HashMap<Vec<u32>, &Value> =
            asked.iter().zip(&questions).map(|(one, (context, _))| (ids(context), one)).collect();
        let logits = |windows: &[&Features]| {
            let of = |window: &&Features| {
                let text = window.ids.iter().zip(&window.spans).filter(|(_, span)| span.is_some());
                pointing(window, by_context[&text.map(|(id, _)| *id).collect::<Vec<u32>>()])
            };
            Ok(windows.iter().map(of).collect())
        };
        let runner = LogitsFn { tokenizer: &tokenizer, logits: &logits };
        for (threshold, measure) in [("validation", "best_f1"), ("validation_exact_match", "best_exact")] {
            let official = &case[measure];
            let task = open(&json!({ "no_answer": "allowed", "null_threshold": threshold }));
            let examples = read(&*task, &questions);
            let mut answers = Vec::new();
            let (score, choice) = task.tune(&examples, &runner, &mut |answer, _| answers.push(answer)).unwrap();
            let chosen = choice.unwrap().as_f64().unwrap();
            match official["thresh"].as_f64() {
                Some(thresh) => assert_eq!(chosen, thresh),
                None => left_empty += 1,
            }
            assert_eq!(score.get("null_threshold"), Some(chosen));
            scored(&score, &official["at"]);
            for (own, name) in [("best_exact_match", "best_exact"), ("best_f1", "best_f1")] {
                let want = case[name]["score"].as_f64().unwrap();
                assert!((score.get(own).unwrap() - want).abs() < 1e-9, "{own}: {score:?}, official {want}");
                let thresh = case[name]["thresh"].as_f64().unwrap_or(0.0);
                assert_eq!(score.get(&format!("{own}_threshold")), Some(thresh));
            }
            // Answers follow it, and a model that is opened with it says and scores the same.
            for (answer, one) in answers.iter().zip(asked) {
                assert_eq!(answer["answer"] == "", one["no_answer_score"].as_f64().unwrap() > chosen, "{answer}");
            }
            let config =
                json!({ "no_answer": "allowed", "null_threshold": threshold, "chosen_null_threshold": chosen });
            let mut again = Vec::new();
            let same = open(&config).evaluate(&examples, &runner, &mut |answer, _| again.push(answer)).unwrap();
            assert_eq!((same, again), (score, answers));
        }
        // By hand: nothing is chosen, and the scores are those with it.
        let task = open(&json!({ "no_answer": "allowed", "null_threshold": 0.5 }));
        let examples = read(&*task, &questions);
        let (score, choice) = task.tune(&examples, &runner, &mut |_, _| {}).unwrap();
        assert_eq!((choice, score.get("null_threshold")), (None, Some(0.5)));
        scored(&score, &case["at_half"]);
    }
    assert!(left_empty > 0, "a data set where no answer at all is best");
}

#[test]
fn what_is_no_threshold_is_refused() {
    let kind = TASKS.iter().find(|kind| kind.kind == "qa").unwrap();
    for (config, wanted) in [
        (json!({ "null_threshold": "best" }), "\"validation_exact_match\""),
        (json!({ "null_threshold": [1.0] }), "a number, \"validation\""),
        (json!({ "loss": "compound" }), "`independent` or `joint`"),
    ] {
        let error = (kind.open)(config.clone()).err().expect("refused").to_string();
        assert!(error.contains(wanted), "{config}: {error}");
    }
}

// Runs

const WORDS: [&str; 6] = ["london", "river", "book", "queen", "war", "north"];

/// Contexts in which somebody left, or nobody.
fn made(seed: u64, count: usize) -> Vec<(String, Vec<String>)> {
    let question = |index: usize| {
        let key = Key::seed(seed).with(index as u64);
        let word = |at: u64| WORDS[(key.bits(at) >> 8) as usize % WORDS.len()];
        let mut words: Vec<&str> = (0..4 + (index % 5) as u64).map(word).collect();
        if index.is_multiple_of(3) {
            return (words.join(" "), Vec::new());
        }
        let name = ["ada", "mary"][index % 2];
        words.insert(index % words.len(), name);
        (words.join(" "), vec![name.to_owned()])
    };
    (0..count).map(question).collect()
}

fn recipe(folder: &Path, name: &str, task: &str, train: &str) -> Recipe {
    let file = |name: &str, seed, count| {
        let path = folder.join(name);
        fs::write(&path, squad(&made(seed, count))).unwrap();
        path
    };
    let (training, validation) = (file("train.json", 1, 48), file("validation.json", 2, 30));
    let text = format!(
        "name = '{name}'\noutput = {:?}\nencoder.checkpoint = {:?}\n\
         train = {{ learning_rate = 3e-3, feature_cache = false, {train} }}\n\
         tasks.asked = {{ kind = 'qa', max_length = 32, stride = 8, max_question_length = 8, batch_size = 12, {task} }}\n\
         data.asked = {{ train = {training:?}, validation = {validation:?} }}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
    );
    Recipe::parse(&text, &folder.join("tiny.toml"), &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The end of a run: its model and the scores of the epoch that was kept.
fn trained(recipe: Recipe) -> (PathBuf, Score) {
    let Some(Event::Finished(end)) = small::train(recipe).pop() else { panic!("no end") };
    (end.model, end.scores["asked"].clone())
}

fn config(model: &Path) -> Value {
    let config: Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    config["polyhead"]["tasks"][0]["config"].clone()
}

#[test]
fn a_chosen_threshold_is_saved_with_the_model_and_one_set_by_hand_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
    let (model, score) = trained(recipe(folder.path(), "left-out", "dropout = 0.0", "epochs = 1"));
    let kept = config(&model);
    assert_eq!(kept["null_threshold"], "validation");
    let chosen = kept["chosen_null_threshold"].as_f64().unwrap();
    assert_eq!(score.get("null_threshold"), Some(chosen));
    let session = Session::open(&model).unwrap();
    let validation = [folder.path().join("validation.json")];
    let mut records = Vec::new();
    let again = session
        .evaluate("asked", &validation, None, &Layout::default(), &mut |record, _| records.push(record))
        .unwrap()
        .score;
    assert_eq!(again, score);
    for record in records {
        let beats = record["no_answer_score"].as_f64().unwrap() > chosen;
        assert_eq!(record["answer"] == "", beats, "{record}");
    }
    // The same training with a threshold of one's own: the same weights, and no better F1.
    let (by_hand, other) =
        trained(recipe(folder.path(), "by-hand", "dropout = 0.0, null_threshold = 0.25", "epochs = 1"));
    let kept = config(&by_hand);
    assert_eq!((&kept["null_threshold"], kept.get("chosen_null_threshold")), (&json!(0.25), None));
    assert_eq!(other.get("null_threshold"), Some(0.25));
    assert!(other.get("f1") <= score.get("best_f1"));
    assert!(weights(&model) == weights(&by_hand));
}

#[test]
fn the_joint_loss_learns_and_a_run_with_it_is_resumed_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let task = "loss = 'joint', max_answer_length = 4";
    let (_, score) = trained(recipe(folder.path(), "long", &format!("dropout = 0.0, {task}"), "epochs = 20"));
    assert!(score.get("f1").unwrap() > 90.0, "{score:?}");
    let train = "epochs = 2, save_every = 1, keep_checkpoints = 20, keep_optimizer = true";
    let (whole, want) = trained(recipe(folder.path(), "whole", task, train));
    for steps in [2, 4, 6] {
        let name = format!("cut-{steps}");
        let mut left = steps;
        for event in small::trainer(recipe(folder.path(), &name, task, train)) {
            left -= usize::from(matches!(event.unwrap(), Event::Step(_)));
            if left == 0 {
                break;
            }
        }
        let run = folder.path().join("runs").join(&name);
        let resumed = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).unwrap();
        let Some(Event::Finished(end)) = resumed.map(Result::unwrap).last() else { panic!("no end") };
        assert_eq!(end.scores["asked"], want);
        let weights = |model: &Path| fs::read(model.join("model.safetensors")).unwrap();
        assert!(weights(&end.model) == weights(&whole), "cut after {steps} steps");
        assert_eq!(config(&end.model), config(&whole));
    }
}

// The joint loss

#[test]
fn the_joint_loss_sums_over_the_pairs_that_decoding_may_choose_and_no_answer() {
    let tokenizer = tokenizer();
    let long = format!("{} ada left london {}", "river book ".repeat(16), "war north ".repeat(12));
    let questions = [
        ("ada left london".to_owned(), vec!["ada".to_owned()]),
        ("the river left london".to_owned(), vec![]),
        (long, vec!["ada left london".to_owned()]),
    ];
    for longest in [2, 30] {
        let task = open(&json!({ "loss": "joint", "max_answer_length": longest, "no_answer": "allowed" }));
        let examples = read(&*task, &questions);
        let mut windows = Vec::new();
        for index in 0..questions.len() {
            windows.extend(task.features(&examples, index, &tokenizer, Purpose::Train).unwrap().windows);
        }
        assert!(windows.len() >= 4, "a context of several windows");
        let key = Key::seed(7);
        let mut all = Vec::new();
        let (mut want, mut held) = (0.0, 0);
        for window in &windows {
            let rows = window.ids.len();
            let logits: Vec<f32> = (0..2 * rows).map(|at| 2.0 * key.normal((all.len() + at) as u64) as f32).collect();
            let sum = |start: usize, end: usize| f64::from(logits[2 * start]) + f64::from(logits[2 * end + 1]);
            let target = window.targets.positions();
            let (start, end) = (target[0] as usize, target[1] as usize);
            held += usize::from(start > 0);
            let is_pair = |start: usize, end: usize| {
                window.spans[start].is_some() && window.spans[end].is_some() && start <= end && end - start < longest
            };
            let mut total = sum(0, 0).exp();
            if start > 0 && !is_pair(start, end) {
                total += sum(start, end).exp();
            }
            for start in 0..rows {
                total += (start..rows).filter(|&end| is_pair(start, end)).map(|end| sum(start, end).exp()).sum::<f64>();
            }
            want += total.ln() - sum(start, end);
            all.extend(logits);
        }
        assert!(held >= 2 && held < windows.len(), "{held} of {} windows hold an answer", windows.len());
        let segments = Segments::packed(&windows.iter().map(|window| window.ids.len()).collect::<Vec<_>>());
        let targets: Vec<_> = windows.iter().map(|window| &window.targets).collect();
        let count: f64 = targets.iter().map(|targets| task.target_count(targets)).sum();
        assert_eq!(count, windows.len() as f64, "a window is one target");
        let logits = Tensor::from_vec(all.clone(), (segments.rows(), 2), &Device::Cpu).unwrap();
        let found = task.loss(&logits, &segments, &targets, count).unwrap().to_scalar::<f32>().unwrap();
        assert!((f64::from(found) - want / count).abs() < 1e-5, "{found} {}", want / count);
    }
}
