//! Calibration: a share of the training examples decides the temperature of each task's logits, which the model that is kept has in its
//! heads, and training does not notice.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::infer::Session;
use polyhead::model::Model;
use polyhead::recipe::Recipe;
use polyhead::tasks::{Calibration, LeastScore, Score, TASKS};
use polyhead::train::{Event, Trainer};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CALIBRATION: [&str; 4] =
    ["data.ner.calibration=0.4", "data.qa.calibration=0.4", "tasks.qa.length_penalty=0.25", "train.precision=f32"];

/// All events of a run, and where it lies.
fn run(folder: &Path, name: &str, more: &[&str]) -> (Vec<Event>, PathBuf) {
    let name = format!("name={name}");
    let events = small::train(small::recipe(folder, &[&CALIBRATION[..], more, &[&name]].concat()));
    let Some(Event::Finished(end)) = events.last() else { panic!("a run that ends") };
    let folder = end.folder.clone();
    (events, folder)
}

type Evaluation = (BTreeMap<String, Score>, BTreeMap<String, Calibration>);

fn last_evaluation(events: &[Event]) -> Evaluation {
    let evaluated = events.iter().rev().find_map(|event| match event {
        Event::Evaluated(evaluated) => Some((evaluated.scores.clone(), evaluated.calibration.clone())),
        _ => None,
    });
    evaluated.unwrap()
}

fn load(folder: &Path) -> Model {
    Model::load(folder, TASKS).unwrap()
}

/// The numbers of every tensor.
fn numbers(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let tensors = model.parameters.tensors().unwrap();
    tensors
        .into_iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.flatten_all().unwrap().to_vec1().unwrap()))
        .collect()
}

/// The newest checkpoint of a run, as a model.
fn trained(run: &Path) -> Model {
    let names = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let steps = names.filter_map(|name| name.strip_prefix("checkpoint-")?.parse::<usize>().ok());
    load(&run.join(format!("checkpoint-{}", steps.max().unwrap())))
}

#[test]
fn the_model_that_is_kept_has_the_temperature_in_its_heads_and_training_goes_on_without() {
    let folder = TempDir::new().unwrap();
    let (events, run) = run(folder.path(), "calibrated", &["train.epochs=1"]);
    let (scores, calibration) = last_evaluation(&events);
    let (best, last) = (load(&run.join("best")), trained(&run));
    assert_eq!(best.about.calibration, calibration);
    let (kept, of_training) = (numbers(&best), numbers(&last));
    for (task, layers) in [("ner", &["heads.ner"][..]), ("qa", &["heads.qa.start", "heads.qa.end"])] {
        let Calibration { temperature, answers, .. } = calibration[task];
        assert!(temperature != 1.0 && answers > 0, "{task}: {calibration:?}");
        for name in layers.iter().flat_map(|layer| ["weight", "bias"].map(|part| format!("{layer}.{part}"))) {
            for (kept, trained) in kept[&name].iter().zip(&of_training[&name]) {
                assert!(
                    (f64::from(*kept) * temperature - f64::from(*trained)).abs() <= 1e-6 * f64::from(trained.abs()),
                    "{name}"
                );
            }
        }
    }
    for (name, values) in kept.iter().filter(|(name, _)| !name.starts_with("heads.")) {
        assert_eq!(*values, of_training[name], "{name}");
    }
    // What is in the unit of logits follows.
    assert_eq!(best.task("qa").unwrap().task.config()["temperature"], json!(calibration["qa"].temperature));
    assert_eq!(last.task("qa").unwrap().task.config().get("temperature"), None);
    // The scores of the run are those of the model that it kept, and of what was trained: the order of answers is the same.
    let validation = |kind: &str| folder.path().join(format!("{kind}-validation.{}", small::kind(kind).extension));
    for model in [best, last] {
        let session = Session { model };
        for task in ["ner", "qa"] {
            let of_task = &session.model.task(task).unwrap().task;
            let examples = of_task.read(&validation(task), None, &Default::default()).unwrap();
            let named = session.model.task(task).unwrap();
            let found =
                session.model.run(named, |task, runner| task.evaluate(&examples, runner, &mut |_, _| {})).unwrap();
            assert_eq!(found.headline_value(), scores[task].headline_value(), "{task}");
        }
    }
}

#[test]
fn training_does_not_notice_calibration_and_goes_on_as_if_it_had_never_stopped() {
    let folder = TempDir::new().unwrap();
    let (events, once) = run(folder.path(), "once", &[]);
    let (_, often) = run(folder.path(), "often", &["train.evaluate_every=1"]);
    let bits = |run: &Path| numbers(&trained(run));
    assert_eq!(bits(&once), bits(&often));
    // The examples that are held back train nothing.
    let planned =
        events.iter().find_map(|event| if let Event::Planned(plan) = event { Some(plan.clone()) } else { None });
    for task in planned.unwrap().tasks {
        assert!((6..24).contains(&task.examples), "{}: {} of 24", task.name, task.examples);
    }
    let first = small::recipe(folder.path(), &[&CALIBRATION[..], &["name=stopped", "train.save_every=1"]].concat());
    let mut trainer = small::trainer(first);
    let place = trainer.folder().to_owned();
    trainer.by_ref().find(|event| matches!(event, Ok(Event::Saved(_)))).unwrap().unwrap();
    drop(trainer);
    let resumed = Trainer::resume(&place, None, &[], TASKS, &mut |_| {}).unwrap();
    let events: Vec<Event> = resumed.map(Result::unwrap).collect();
    assert_eq!(bits(&place), bits(&once));
    assert_eq!(last_evaluation(&events).1, last_evaluation(&run_events(&once)).1);
    assert_eq!(numbers(&load(&place.join("best"))), numbers(&load(&once.join("best"))));
}

/// The events that a run recorded.
fn run_events(run: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_share_out_of_its_range_is_refused() {
    let folder = TempDir::new().unwrap();
    let text = small::recipe_text(folder.path());
    for share in ["0.0", "1.0", "-0.5"] {
        let set = [format!("data.ner.calibration={share}")];
        let error = Recipe::parse(&text, &folder.path().join("x.toml"), &set).unwrap_err().to_string();
        assert!(error.contains("data.ner.calibration: expected a share above 0 and below 1"), "{error}");
    }
}

#[test]
fn a_precision_chooses_the_score_from_which_on_answers_are_given() {
    let folder = TempDir::new().unwrap();
    let once = "train.epochs=1";
    let wanted = [once, "tasks.ner.min_score={ precision = 0.9 }", "tasks.qa.min_score={ precision = 0.9 }"];
    let (events, of_precision) = run(folder.path(), "precision", &wanted);
    let (plain, of_all) = run(folder.path(), "all", &[once]);
    let ((scores, calibration), (scores_of_all, of_all_calibration)) =
        (last_evaluation(&events), last_evaluation(&plain));
    let best = load(&of_precision.join("best"));
    for task in ["ner", "qa"] {
        let config = best.task(task).unwrap().task.config();
        let LeastScore { score, answers, .. } = calibration[task].least_score.unwrap();
        assert_eq!(config["chosen_min_score"], json!(score), "{task}");
        assert_eq!(config["min_score"], json!({ "precision": 0.9 }), "{task}");
        // Temperatures are those without it, and so is training.
        assert_eq!(calibration[task].temperature, of_all_calibration[task].temperature, "{task}");
        assert!(answers <= calibration[task].answers && of_all_calibration[task].least_score.is_none(), "{task}");
    }
    assert_eq!(numbers(&trained(&of_precision)), numbers(&trained(&of_all)));
    let answered = scores["qa"].get("answered").unwrap();
    assert!((0.0..=100.0).contains(&answered) && scores_of_all["qa"].get("answered").is_none());
    // Fewer answers, and none of them is another.
    let recall = |scores: &BTreeMap<String, Score>| scores["ner"].get("micro_recall").unwrap();
    assert!(recall(&scores) <= recall(&scores_of_all));
    assert!(scores["qa"].get("exact_match") <= scores_of_all["qa"].get("exact_match"));
}

#[test]
fn a_score_of_ones_own_needs_no_held_back_examples_and_a_precision_does() {
    let folder = TempDir::new().unwrap();
    let fixed = small::recipe(folder.path(), &["tasks.qa.min_score=1", "tasks.ner.min_score=1", "train.epochs=1"]);
    let (scores, _) = last_evaluation(&small::train(fixed));
    assert_eq!((scores["qa"].get("answered"), scores["ner"].get("micro_recall")), (Some(0.0), Some(0.0)));
    let recipe = small::recipe(folder.path(), &["tasks.ner.min_score={ precision = 0.9 }"]);
    let error = polyhead::train::prepare(&recipe, TASKS, &mut |_| {}).err().unwrap().to_string();
    assert!(error.contains("tasks.ner.min_score: a precision is measured on training examples"), "{error}");
}
