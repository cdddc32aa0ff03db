//! What a training run promises: its plan, that everything trained moves and nothing else does, that it stops before it
//! does harm, and that what it writes is whole.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cut;
mod small;

use polyhead::data::{Files, Layout};
use polyhead::infer::Session;
use polyhead::model::Model;
use polyhead::parameters::Parameters;
use polyhead::recipe::Recipe;
use polyhead::tasks::{TASKS, TaskKind};
use polyhead::train::{Evaluated, Event, Finished, Plan, Step, Trainer, WarningKind, prepare};
use polyhead::{Error, ErrorKind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A child process trains this recipe, and saves over this model.
const RECIPE: &str = "POLYHEAD_TEST_RECIPE";
const MODEL: &str = "POLYHEAD_TEST_MODEL";

/// The bits of every tensor, by name.
fn bits(parameters: &Parameters) -> BTreeMap<String, Vec<u32>> {
    let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bits = |tensor| values(tensor).into_iter().map(f32::to_bits).collect();
    parameters.iter().map(|parameter| (parameter.name.clone(), bits(parameter.weight.tensor().unwrap()))).collect()
}

fn steps(events: &[Event]) -> Vec<&Step> {
    events.iter().filter_map(|event| if let Event::Step(step) = event { Some(step) } else { None }).collect()
}

fn epochs(events: &[Event]) -> Vec<&Evaluated> {
    events.iter().filter_map(|event| if let Event::Evaluated(end) = event { Some(end) } else { None }).collect()
}

fn plan(events: &[Event]) -> &Plan {
    if let Some(Event::Planned(plan)) = events.first() { plan } else { panic!("the plan comes first") }
}

fn end(events: &[Event]) -> &Finished {
    if let Some(Event::Finished(end)) = events.last() { end } else { panic!("the end comes last") }
}

/// Runs to the failure that a run must have.
fn failure(trainer: &mut Trainer) -> Error {
    trainer.find_map(Result::err).expect("a run that fails")
}

/// Every file below a folder, with its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path))
        } else {
            drop(found.insert(path.clone(), std::fs::read(&path).unwrap()))
        }
    }
    found
}

#[test]
fn two_thousand_sentences_and_2054_windows_at_batch_16_are_125_and_129_batches_an_epoch_and_762_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let sentences = path("two-thousand.conll", "ada B-PER\nlondon B-LOC\n\n".repeat(2_000));
    // Contexts of 70 tokens, which make two windows, for 54 of the questions.
    let asked =
        |index: usize| ("a ".repeat(if index < 54 { 69 } else { 3 }) + "ada", "who ?".to_owned(), "ada".to_owned());
    let questions = path("two-thousand.json", small::squad(&(0..2_000).map(asked).collect::<Vec<_>>()));
    let (sentences, questions) = (format!("data.ner.train={sentences}"), format!("data.qa.train={questions}"));
    let batches = ["tasks.ner.batch_size=16", "tasks.qa.batch_size=16", "train.epochs=3"];
    let mut trainer = small::trainer(small::recipe(folder.path(), &[&batches[..], &[&sentences, &questions]].concat()));
    let events = vec![trainer.next().unwrap().unwrap()];
    let plan = plan(&events);
    let counts: Vec<_> = plan.tasks.iter().map(|task| (task.examples, task.windows, task.batches)).collect();
    assert_eq!(counts, [(2_000, 2_000, 125), (2_000, 2_054, 129)]);
    assert_eq!((plan.steps_per_epoch, plan.steps, plan.warmup_steps), (254, 762, 76));
}

#[test]
fn sentences_that_the_tokenizer_deletes_are_left_out_of_training_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let with = |text: &str| {
        let path = folder.path().join("deleted.conll");
        std::fs::write(&path, text).unwrap();
        small::recipe(folder.path(), &[&format!("data.ner.train={}", path.display())])
    };
    let mut told = Vec::new();
    let recipe = with("\u{e000} O\n\u{301} O\n\nada B-PER\n\u{f0b7} O\n\n\u{200b} B-PER\n\nparis B-LOC\n");
    let prepared = prepare(&recipe, TASKS, &mut |note| told.push(note.to_owned())).unwrap();
    let data = &prepared.task_data[0];
    assert_eq!((data.train.len, data.train.skipped.len(), data.windows.len()), (2, 2, 2));
    assert!(data.windows.iter().all(|window| window.features.targets.classes().iter().any(|&class| class >= 0)));
    assert_eq!(data.place(1).unwrap().to_string(), format!("{}:9", folder.path().join("deleted.conll").display()));
    let said = |what: &str| told.iter().any(|note| note.starts_with("data.ner.train: ") && note.contains(what));
    assert!(said("1 word has no token") && said("2 examples can't be used"), "{told:?}");
    let error =
        prepare(&with("\u{e000} B-PER\n\u{e000} B-LOC\n\n\u{301} O\n"), TASKS, &mut |_| {}).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("deleted.conll:4: data.ner.train: no usable example"), "{error}");
}

#[test]
fn every_trained_tensor_moves_and_the_pooler_keeps_its_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(small::recipe(folder.path(), &[]));
    let before = bits(&trainer.model().parameters);
    let events: Vec<Event> = trainer.by_ref().map(Result::unwrap).collect();
    let after = bits(&trainer.model().parameters);
    for parameter in trainer.model().parameters.iter() {
        let name = &parameter.name;
        assert_eq!(before[name] != after[name], parameter.is_trained(), "{name}");
        assert_eq!(!parameter.is_trained(), name.starts_with("pooler."), "{name}");
    }
    let saved = bits(&Model::load(&end(&events).model, TASKS).unwrap().parameters);
    let pooler: Vec<&String> = saved.keys().filter(|name| name.starts_with("pooler.")).collect();
    assert_eq!(pooler.len(), 2);
    assert!(pooler.iter().all(|name| saved[*name] == before[*name]));
}

#[test]
fn a_tensor_that_does_not_move_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(small::recipe(folder.path(), &["train.learning_rate=1e-30"]));
    let error = failure(&mut trainer);
    let tensor = "embeddings.word_embeddings.weight";
    assert_eq!(error.to_string(), format!("the tensor `{tensor}` received a gradient but did not move"));
    assert!(error.hint_text().unwrap().contains("learning_rate"));
    assert!(trainer.next().is_none(), "a failed run is over");
    assert!(!trainer.folder().join("best").exists());
}

/// A recipe with one task, `cut`, on this data.
fn cut_recipe(folder: &Path, data: &Path) -> Recipe {
    cut_recipe_with(folder, data, &[])
}

fn cut_recipe_with(folder: &Path, data: &Path, overrides: &[&str]) -> Recipe {
    let text = format!(
        "name = 'cut'\noutput = {folder:?}\nencoder.checkpoint = {:?}\n\
         tasks.cut = {{ max_length = 48, stride = 8 }}\ndata.cut.train = {data:?}\n",
        small::fixture("tiny-bert"),
    );
    let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
    Recipe::parse(&text, Path::new("cut.toml"), &overrides).unwrap()
}

#[test]
fn a_tensor_that_receives_no_gradient_is_named() {
    for (kind, tensor) in [
        (TaskKind::of::<cut::Unused>(), "heads.cut.unused"),
        (TaskKind::of::<cut::Detached>(), "embeddings.word_embeddings.weight"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let data = small::write_data(small::kind("ner"), "train", &[5; 8], folder.path());
        let recipe = cut_recipe(folder.path(), &data);
        let error = failure(&mut Trainer::with_tasks(recipe, &[kind], &mut |_| {}).unwrap());
        let expected = format!("the tensor `{tensor}` is to be trained but received no gradient");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_batch_with_nothing_to_score_is_no_fault_and_an_epoch_of_such_batches_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = small::write_data(small::kind("ner"), "train", &[5; 12], folder.path());
    let recipe = |name: &str| {
        let name = format!("name={name}");
        cut_recipe_with(folder.path(), &data, &[&name, "tasks.cut.batch_size=1", "train.epochs=2"])
    };
    let trainer = Trainer::with_tasks(recipe("silent"), &[TaskKind::of::<cut::Silent>()], &mut |_| {}).unwrap();
    let events: Vec<Event> = trainer.map(Result::unwrap).collect();
    let losses: Vec<f64> = steps(&events).iter().filter_map(|step| step.tasks[0].loss).collect();
    assert!(losses.contains(&0.0) && losses.iter().any(|&loss| loss > 0.0), "{losses:?}");
    let error = failure(&mut Trainer::with_tasks(recipe("mute"), &[TaskKind::of::<cut::Mute>()], &mut |_| {}).unwrap());
    assert_eq!(error.to_string(), "no batch of `cut` brought a gradient in a whole epoch");
    assert!(error.hint_text().is_some());
}

#[test]
fn a_sentence_of_one_word_trains() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("one.conll");
    std::fs::write(&data, "london B-LOC\n").unwrap();
    let mut recipe = small::recipe(folder.path(), &[&format!("data.ner.train={}", data.display())]);
    recipe.tasks.remove("qa");
    recipe.data.remove("qa");
    recipe.data.get_mut("ner").unwrap().validation = None;
    assert_eq!(end(&small::train(recipe)).steps, 2);
}

#[test]
fn training_data_that_teach_nothing_are_a_data_error_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let plain = file("plain.conll", "he O\nleft O\n\nshe O\n");
    let late = file("late.conll", "he O\nleft O\n\nshe O\n\nmary B-PER\nleft O\n");
    let unanswered = file("unanswered.jsonl", "{\"question\": \"who ?\", \"context\": \"ada\", \"answers\": []}\n");
    for (task, file, limit, found, hint) in [
        ("ner", &plain, None, "plain.conll:1: expected entities to train on, found none in 2 sentences", "last column"),
        ("ner", &late, Some("data.ner.limit=2"), "found none in 2 sentences", "data.ner.limit takes the first 2"),
        ("qa", &unanswered, None, "expected questions with an answer to train on, found none among 1", "answers"),
    ] {
        let data = format!("data.{task}.train={file}");
        let recipe =
            small::recipe(folder.path(), &[Some(data.as_str()), limit].into_iter().flatten().collect::<Vec<_>>());
        let error = Trainer::new(recipe, &mut |_| {}).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains(found), "{error}");
        assert!(error.hint_text().unwrap().contains(hint), "{error}: {:?}", error.hint_text());
    }
    assert!(!folder.path().join("runs").exists(), "nothing is made");
    let mut recipe = small::recipe(folder.path(), &[&format!("data.ner.train={late}")]);
    recipe.data.get_mut("ner").unwrap().validation = None;
    assert!(Trainer::new(recipe, &mut |_| {}).is_ok(), "without the limit there is an entity");
}

#[test]
fn the_labels_are_those_of_the_whole_training_file_whatever_part_a_limit_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let train = file("train.conll", "zoe B-PER\nleft O\n\noslo B-LOC\n\nacme B-ORG\n");
    let validation = file("validation.conll", "acme B-ORG\n");
    let asked = |answers: &str| format!("{{\"question\": \"who ?\", \"context\": \"ada\", \"answers\": {answers}}}\n");
    let answered = asked("[{\"text\": \"ada\", \"answer_start\": 0}]");
    let questions = file("questions.jsonl", &(answered.clone() + &asked("[]")));
    let limited = [
        format!("data.ner.train={train}"),
        format!("data.ner.validation={validation}"),
        format!("data.qa.train={questions}"),
        "data.ner.limit=1".into(),
        "data.qa.limit=1".into(),
    ];
    let prepared =
        prepare(&small::recipe(folder.path(), &limited.each_ref().map(String::as_str)), TASKS, &mut |_| {}).unwrap();
    assert_eq!(prepared.task_data.iter().map(|data| data.train.len).collect::<Vec<_>>(), [1, 1]);
    let [ner, qa] = &prepared.model.tasks[..] else { panic!() };
    assert_eq!(ner.task.labels(), ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]);
    assert_eq!(qa.task.config()["no_answer"], "allowed", "the second question, which the limit leaves out, has none");
    // A label that the recipe names and the limit leaves out refuses nothing.
    let named = "tasks.ner.labels=['O', 'B-PER', 'I-PER']".to_owned();
    let overrides: Vec<&str> =
        limited.iter().filter(|pair| !pair.contains("validation")).chain([&named]).map(String::as_str).collect();
    let mut recipe = small::recipe(folder.path(), &overrides);
    recipe.data.get_mut("ner").unwrap().validation = None;
    assert!(prepare(&recipe, TASKS, &mut |_| {}).is_ok());
}

/// The kinds of the warnings of a plan, with their task.
fn warned(plan: &Plan) -> Vec<(&str, WarningKind)> {
    plan.warnings.iter().map(|warning| (warning.task.as_str(), warning.kind)).collect()
}

#[test]
fn what_in_the_data_is_probably_a_mistake_stands_in_the_plan_the_metrics_and_the_notes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let unbroken = file("unbroken.conll", &"zoe B-PER\nwas O\nin O\nlondon B-LOC\n".repeat(300));
    let data = format!("data.ner.train={unbroken}");
    // The questions of training in another file, whose bytes differ.
    let train = std::fs::read_to_string(small::recipe(folder.path(), &[]).data["qa"].train.to_string()).unwrap();
    let copied = format!("data.qa.validation={}", file("copied.json", &(train + "\n")));
    let mut notes = Vec::new();
    let recipe = small::recipe(folder.path(), &[&data, &copied, "train.epochs=1"]);
    let mut trainer = Trainer::new(recipe, &mut |note| notes.push(note.to_owned())).unwrap();
    let Some(Ok(Event::Planned(plan))) = trainer.next() else { panic!("the plan comes first") };
    let mut expected = vec![("ner", WarningKind::FewExamples), ("ner", WarningKind::LongExamples)];
    expected.extend([("ner", WarningKind::FewExamples), ("qa", WarningKind::UnknownWords)]);
    let found = warned(&plan);
    for kind in &expected {
        assert!(found.contains(kind), "{kind:?}: {found:?}");
    }
    let same = plan.warnings.iter().find(|warning| warning.kind == WarningKind::ValidationIsTraining).unwrap();
    assert_eq!(
        (same.task.as_str(), same.figures["identical"].as_u64(), same.figures["examples"].as_u64()),
        ("qa", Some(24), Some(24))
    );
    for warning in &plan.warnings {
        assert!(notes.contains(&warning.to_string()), "{warning} is not among {notes:?}");
    }
    let metrics = std::fs::read_to_string(trainer.folder().join("metrics.jsonl")).unwrap();
    let planned: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert_eq!(planned["warnings"], serde_json::to_value(&plan.warnings).unwrap());
    assert_eq!(planned["warnings"][0]["kind"], "few_examples");
}

#[test]
fn the_sample_corpus_has_no_warning_but_for_a_vocabulary_of_a_few_words() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let path = |name: &str| Files::from(samples.join(name).to_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = small::recipe(folder.path(), &[]);
    for (task, extension) in [("ner", "conll"), ("qa", "json")] {
        let data = recipe.data.get_mut(task).unwrap();
        (data.train, data.validation) =
            (path(&format!("{task}/train.{extension}")), Some(path(&format!("{task}/validation.{extension}"))));
    }
    let prepared = prepare(&recipe, TASKS, &mut |_| {}).unwrap();
    let plan = Plan::new(&recipe, &prepared).unwrap();
    let found: Vec<_> = warned(&plan).into_iter().filter(|(_, kind)| *kind != WarningKind::UnknownWords).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn tasks_of_very_different_sizes_in_one_step_are_warned_of_and_in_turn_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    for (sample, expected) in [("joint", 1), ("round_robin", 0)] {
        let sample = format!("train.sample={sample}");
        let recipe = small::recipe(folder.path(), &[&sample, "data.qa.limit=4", "tasks.ner.batch_size=1"]);
        let prepared = prepare(&recipe, TASKS, &mut |_| {}).unwrap();
        let plan = Plan::new(&recipe, &prepared).unwrap();
        let found = warned(&plan).into_iter().filter(|found| *found == ("qa", WarningKind::UnevenTasks)).count();
        assert_eq!(found, expected, "{sample}");
    }
}

#[test]
fn of_several_examples_without_windows_the_first_in_order_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = small::write_data(small::kind("ner"), "train", &[5; 1000], folder.path());
    let recipe = cut_recipe(folder.path(), &data);
    let error = prepare(&recipe, &[TaskKind::of::<cut::Failing>()], &mut |_| {}).err().unwrap();
    assert_eq!(error.place(), Some(&cut::first_failing(&data).1));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_before_the_update_and_names_task_and_examples() {
    for rate in ["1e30", "1e38"] {
        let folder = tempfile::tempdir().unwrap();
        let rate = format!("train.learning_rate={rate}");
        let mut trainer = small::trainer(small::recipe(folder.path(), &[&rate, "train.warmup=0.0"]));
        let (mut before, mut taken) = (bits(&trainer.model().parameters), 0);
        let error = loop {
            match trainer.next().unwrap() {
                Ok(event) => taken += usize::from(matches!(event, Event::Step(_))),
                Err(error) => break error,
            }
            before = bits(&trainer.model().parameters);
        };
        let message = error.to_string();
        assert!(message.contains("not finite"), "{message}");
        assert!(message.contains("`qa`") || message.contains("`ner`"), "{message}");
        assert!(message.contains(&format!("at step {}", taken + 1)), "{message}");
        let places = message.matches("qa-train.json").count() + message.matches("ner-train.conll:").count();
        assert_eq!(places, 8, "{message}");
        assert!(error.hint_text().unwrap().contains("the model was not updated"));
        assert!(bits(&trainer.model().parameters) == before, "the model was updated");
        assert!(trainer.next().is_none());
        assert!(!trainer.folder().join("best").exists());
    }
}

#[test]
fn a_model_that_is_not_finite_is_never_saved() {
    // The last update overflows, and no further loss could show it.
    let folder = tempfile::tempdir().unwrap();
    let overrides = ["train.learning_rate=1e39", "train.warmup=0.0", "train.max_steps=1"];
    let mut trainer = small::trainer(small::recipe(folder.path(), &overrides));
    let error = failure(&mut trainer);
    assert!(error.to_string().contains("not finite"), "{error}");
    assert!(!trainer.folder().join("best").exists());
}

#[test]
fn run_folders_never_overwrite_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = small::recipe(folder.path(), &["train.epochs=1", "train.max_steps=2"]);
    let mut kept = BTreeMap::new();
    for expected in ["tiny", "tiny-2", "tiny-3"] {
        let events = small::train(recipe.clone());
        assert_eq!(end(&events).folder.file_name().unwrap(), expected);
        assert_eq!(end(&events).model, end(&events).folder.join("best"));
        let now = tree(&recipe.output);
        assert!(kept.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "an older run was changed");
        kept = now;
    }
    // Several at once, too.
    let folders: Vec<PathBuf> = std::thread::scope(|scope| {
        let start = || small::trainer(recipe.clone()).folder().to_owned();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(folders.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn metrics_jsonl_holds_every_event_once_and_the_recipe_beside_it_runs_again_to_the_same_losses() {
    let folder = tempfile::tempdir().unwrap();
    let events = small::train(small::recipe(folder.path(), &[]));
    let run = &end(&events).folder;
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Each line says when it was besides.
    for line in &mut lines {
        assert!(line.as_object_mut().unwrap().remove("time").unwrap().as_f64().unwrap() > 1e9);
    }
    // When a checkpoint was saved belongs to this process, not to the run.
    let told = events.iter().filter(|event| !matches!(event, Event::Saved(_)));
    let told: Vec<Value> = told.map(|event| serde_json::to_value(event).unwrap()).collect();
    assert_eq!(lines, told);
    let numbers: Vec<u64> =
        lines.iter().filter(|line| line["event"] == "step").map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=plan(&events).steps as u64).collect::<Vec<_>>());
    let again = small::train(Recipe::read(&run.join("recipe.toml"), &[]).unwrap());
    let losses = |events: &[Event]| steps(events).iter().filter_map(|step| step.tasks[0].loss).collect::<Vec<_>>();
    assert_eq!(losses(&events), losses(&again));
}

#[test]
fn the_learning_rate_follows_the_schedule_and_tasks_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let events = small::train(small::recipe(folder.path(), &["train.warmup=0.5"]));
    let rates: Vec<f64> = steps(&events).iter().map(|step| step.lr).collect();
    assert_eq!((plan(&events).steps, plan(&events).warmup_steps), (12, 6));
    let expected = |step: usize| 1e-3 * if step < 6 { (step + 1) as f64 / 6.0 } else { (12 - step) as f64 / 6.0 };
    for (step, rate) in rates.iter().enumerate() {
        assert!((rate - expected(step)).abs() < 1e-12, "step {}: {rate}", step + 1);
    }
    let turns: Vec<&str> = steps(&events).iter().map(|step| step.tasks[0].task.as_str()).collect();
    assert_eq!(turns, ["ner", "qa"].repeat(6));
}

#[test]
fn the_best_epoch_is_that_of_the_declared_rule_and_its_model_scores_the_same_when_loaded() {
    for rule in ["mean", "worst", "ner", "qa"] {
        let folder = tempfile::tempdir().unwrap();
        let overrides = [&format!("train.best={rule}"), "train.epochs=5", "train.learning_rate=5e-3"];
        let events = small::train(small::recipe(folder.path(), &overrides));
        let value = |epoch: &&Evaluated| {
            let of = |task: &str| epoch.scores[task].headline_value();
            match rule {
                "mean" => (of("ner") + of("qa")) / 2.0,
                "worst" => of("ner").min(of("qa")),
                task => of(task),
            }
        };
        let values: Vec<f64> = epochs(&events).iter().map(value).collect();
        let highest = values.iter().copied().fold(f64::MIN, f64::max);
        // Of equal ones the first.
        let best = values.iter().position(|&value| value == highest).unwrap();
        let told: Vec<f64> = epochs(&events).iter().map(|epoch| epoch.value.unwrap()).collect();
        assert_eq!(told, values, "{rule}");
        let end = end(&events);
        assert_eq!((end.best_epoch, end.best_value), (best + 1, highest), "{rule}: {values:?}");
        assert_eq!(end.scores, epochs(&events)[best].scores);
        let words = match rule {
            "mean" => "highest mean of ner micro_f1 and qa f1",
            "worst" => "highest worst of ner micro_f1 and qa f1",
            "ner" => "highest ner micro_f1",
            _ => "highest qa f1",
        };
        assert_eq!(end.rule, words);
        let session = Session::open(&end.folder).unwrap();
        for kind in ["ner", "qa"].map(small::kind) {
            let data = folder.path().join(format!("{}-validation.{}", kind.kind, kind.extension));
            let again = session.evaluate(kind.kind, &[data], None, &Layout::default(), &mut |_, _| {}).unwrap();
            assert_eq!(again.score, end.scores[kind.kind], "{rule}: {}", kind.kind);
        }
    }
}

#[test]
fn without_validation_data_the_last_epoch_is_kept_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = small::recipe(folder.path(), &[]);
    recipe.data.values_mut().for_each(|data| data.validation = None);
    let mut trainer = small::trainer(recipe);
    let events: Vec<Event> = trainer.by_ref().map(Result::unwrap).collect();
    assert_eq!(
        (end(&events).best_epoch, end(&events).rule.as_str()),
        (2, "the last epoch: there is no validation data")
    );
    let saved = Model::load(&end(&events).model, TASKS).unwrap();
    assert!(bits(&saved.parameters) == bits(&trainer.model().parameters));
}

#[test]
fn limits_take_the_first_so_many_and_max_steps_stops_with_a_scored_model() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = ["data.ner.limit=17", "data.qa.limit=3", "data.ner.validation_limit=5", "train.max_steps=5"];
    let events = small::train(small::recipe(folder.path(), &overrides));
    let counts: Vec<_> =
        plan(&events).tasks.iter().map(|task| (task.examples, task.batches, task.validation)).collect();
    assert_eq!(counts, [(17, 3, 5), (3, 1, 8)]);
    // Four steps an epoch: the fifth is the first of the second epoch, and the schedule ends with it.
    assert_eq!((plan(&events).steps_per_epoch, plan(&events).steps), (4, 5));
    assert_eq!(steps(&events).len(), 5);
    assert!(steps(&events)[4].lr > 0.0 && steps(&events)[4].lr < 0.5e-3);
    assert_eq!(epochs(&events).len(), 2);
    assert_eq!((end(&events).steps, end(&events).scores.len()), (5, 2));
    assert!(Model::load(&end(&events).model, TASKS).is_ok());
}

#[test]
fn values_that_leave_nothing_to_train_or_to_compare_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = small::recipe_text(folder.path());
    let refused = |text: &str, pair: &str| {
        let error = Recipe::parse(text, Path::new("tiny.toml"), &[pair.to_owned()]).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    };
    for pair in ["train.max_steps=0", "data.ner.limit=0", "data.qa.validation_limit=0"] {
        let key = pair.trim_end_matches("=0");
        assert_eq!(refused(&text, pair), format!("--set {pair}: {key}: expected at least 1, found 0"));
    }
    let unscored: String = text
        .lines()
        .map(|line| {
            line.split(", validation").next().unwrap().to_owned()
                + if line.contains(", validation") { " }\n" } else { "\n" }
        })
        .collect();
    let message = refused(&unscored, "train.best=qa");
    assert!(message.contains("data.qa.validation"), "{message}");
}

#[test]
fn a_run_folder_that_cannot_be_made_is_an_error_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    for output in [file.clone(), file.join("below")] {
        let mut recipe = small::recipe(folder.path(), &[]);
        recipe.output = output.clone();
        let error = Trainer::new(recipe, &mut |_| {}).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CannotWrite, "{error}");
        assert!(error.to_string().contains(&output.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn a_model_folder_that_cannot_be_written_is_an_error_and_what_stands_there_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(small::recipe(folder.path(), &[]));
    std::fs::write(trainer.folder().join("best"), "in the way").unwrap();
    let error = failure(&mut trainer);
    assert_eq!(error.kind(), ErrorKind::CannotWrite, "{error}");
    assert_eq!(std::fs::read_to_string(trainer.folder().join("best")).unwrap(), "in the way");
    assert!(trainer.next().is_none());
    let names: BTreeSet<_> = std::fs::read_dir(trainer.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = without_event_file(names);
    assert_eq!(
        names,
        [".lock", "best", "environment.json", "metrics.jsonl", "origin.json", "recipe.toml"].map(String::from).into()
    );
}

/// TensorBoard's has the time and the process in its name.
fn without_event_file(mut names: BTreeSet<String>) -> BTreeSet<String> {
    let all = names.len();
    names.retain(|name| !name.starts_with("events.out.tfevents."));
    assert_eq!(names.len(), all - 1);
    names
}

#[test]
#[ignore = "no test: what the child process of the next one runs"]
fn child() {
    let (Some(recipe), Some(model)) = (std::env::var_os(RECIPE), std::env::var_os(MODEL)) else { return };
    let mut trainer = small::trainer(Recipe::read(Path::new(&recipe), &[]).unwrap());
    assert_eq!(failure(&mut trainer).kind(), ErrorKind::CannotWrite);
    let model = Path::new(&model);
    let error = Model::load(model, TASKS).unwrap().save(model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CannotWrite);
    println!("refused: {error}");
}

/// A limit on the size of files stands for a full disk: both make `write` fail in the middle of a file.
#[cfg(unix)]
#[test]
fn a_write_that_fails_in_the_middle_leaves_no_half_written_model_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let old = end(&small::train(small::recipe(folder.path(), &[]))).model.clone();
    let output = folder.path().join("full");
    let mut recipe = small::recipe(folder.path(), &[]);
    recipe.output = output.clone();
    let path = folder.path().join("full.toml");
    std::fs::write(&path, recipe.to_toml().unwrap()).unwrap();
    let before = tree(&old);
    // 64 blocks are 32 or 64 kB, and the tensors have 148. Without the trap the signal would end the process.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact child --ignored --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .envs([(RECIPE, &path), (MODEL, &old)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("refused: ") && said.contains("model.safetensors"), "{said}");
    assert!(tree(&old) == before, "the old model was changed");
    let names: BTreeSet<String> = tree(&output)
        .keys()
        .map(|path| path.strip_prefix(output.join("tiny")).unwrap().display().to_string())
        .collect();
    let names = without_event_file(names);
    assert_eq!(
        names,
        [".lock", "environment.json", "metrics.jsonl", "origin.json", "recipe.toml"].map(String::from).into()
    );
    let beside = std::fs::read_dir(old.parent().unwrap()).unwrap().count();
    let files = ".lock, environment.json, metrics.jsonl, origin.json, recipe.toml, trainer_state.json, TensorBoard's";
    assert_eq!(beside, 9, "{files}, best, the last checkpoint");
}
