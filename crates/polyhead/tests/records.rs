//! What a whole run leaves for other programs: made while it runs, and made again from its lines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::io::sha256_file;
use polyhead::tasks::TASKS;
use polyhead::train::record::{DataFile, Environment, TensorBoard, TrainerState, line};
use polyhead::train::{Plan, prepare};

#[test]
fn the_records_of_a_run_can_be_made_again_from_its_lines_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = small::recipe(folder.path(), &[]);
    let trainer = small::trainer(recipe.clone());
    let best = trainer.folder().join("best");
    let [live, again] = ["live", "again"].map(|name| folder.path().join(name));
    for folder in [&live, &again] {
        std::fs::create_dir(folder).unwrap();
    }
    let state = || TrainerState::new(&recipe, &best, &trainer.model().parameters).unwrap();
    let (mut state_live, mut state_again) = (state(), state());
    let mut board = TensorBoard::create(&live, 1e9).unwrap();
    let mut lines = Vec::new();
    for (at, event) in trainer.enumerate() {
        let (event, time) = (event.unwrap(), 1e9 + at as f64 / 3.0);
        board.record(&event, time).unwrap();
        state_live.record(&event, time).unwrap();
        state_live.write(&live).unwrap();
        lines.push(line(&event, time).unwrap().to_string());
    }
    board.flush().unwrap();
    let mut board_again = TensorBoard::create(&again, 1e9).unwrap();
    for line in &lines {
        let line = serde_json::from_str(line).unwrap();
        board_again.record_line(&line).unwrap();
        state_again.record_line(&line);
    }
    board_again.flush().unwrap();
    state_again.write(&again).unwrap();
    for name in ["trainer_state.json", board.path().file_name().unwrap().to_str().unwrap()] {
        let [live, again] = [&live, &again].map(|folder| std::fs::read(folder.join(name)).unwrap());
        assert!(live == again, "{name}");
    }
    // Twelve steps, two evaluations, the end.
    assert_eq!((state_live.log_history.len(), state_live.global_step, state_live.epoch), (15, 12, 2.0));
    assert!(state_live.total_flos > 0.0 && state_live.best_metric.is_some());
}

#[test]
fn the_environment_names_every_data_file_of_a_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = small::recipe(folder.path(), &["data.qa.limit=5"]);
    let prepared = prepare(&recipe, TASKS, &mut |_| {}).unwrap();
    let files: Vec<DataFile> = prepared.lanes.iter().flat_map(|lane| lane.files.clone()).collect();
    let plan = Plan::new(&recipe, &prepared.lanes);
    let environment = Environment::new(&recipe, &plan, prepared.model.about.source.as_ref(), &files).unwrap();
    let named: Vec<_> =
        environment.data.iter().map(|data| (data.task.as_str(), data.split.as_str(), data.examples)).collect();
    assert_eq!(named, [("ner", "train", 24), ("ner", "validation", 8), ("qa", "train", 5), ("qa", "validation", 8)]);
    for data in &environment.data {
        assert_eq!(data.sha256, sha256_file(&data.path).unwrap());
    }
    let source = environment.checkpoint.source.unwrap();
    assert!(source.files.iter().any(|file| file.name == "model.safetensors"), "{source:?}");
}
