//! `polyhead train --resume`: killed at any moment, at named points, by signals; two processes; a full disk.
//!
//! More kills than CI takes: `POLYHEAD_KILLS=500 cargo test --release -p polyhead-cli --test resume killed`.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;
use polyhead::Key;
use polyhead::io::sha256_file;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{CONLL, QUESTIONS, Ran, command, file, polyhead, text, tiny_bert};
use tempfile::TempDir;

/// A folder with a recipe of 12 epochs, each of 3 steps, that saves after every second step; runs are made in it.
fn recipe() -> (TempDir, String, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (ner, qa) = (file(&folder, "ner.conll", CONLL), file(&folder, "qa.jsonl", QUESTIONS));
    let recipe = format!(
        "name = 'trial'\noutput = {output:?}\nencoder.checkpoint = {encoder:?}\n\
         train = {{ epochs = 12, learning_rate = 1e-3, feature_cache = false, save_every = 2, keep_optimizer = true }}\n\
         tasks.ner = {{ batch_size = 2, max_length = 32, stride = 4 }}\n\
         tasks.qa = {{ batch_size = 2, max_length = 64, max_question_length = 16, stride = 8 }}\n\
         data.ner = {{ train = {ner:?}, validation = {ner:?} }}\n\
         data.qa = {{ train = {qa:?}, validation = {qa:?} }}\n",
        output = text(folder.path()),
        encoder = text(&tiny_bert()),
    );
    let path = file(&folder, "recipe.toml", &recipe);
    let run = folder.path().join("trial");
    (folder, path, run)
}

/// What must be the same however often a run was killed: weights, moments, and the metrics without what a clock says.
fn outcome(run: &Path) -> (Vec<String>, Vec<Value>) {
    let folder = run.parent().unwrap().display().to_string();
    let last = run.join("checkpoint-36");
    let files =
        [last.join("model.safetensors"), last.join("optimizer.safetensors"), run.join("best/model.safetensors")];
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap().replace(&folder, "FOLDER");
    let events = metrics.lines().map(|line| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        ["time", "seconds", "balance_seconds"].iter().for_each(|name| _ = event.as_object_mut().unwrap().remove(*name));
        event
    });
    (files.iter().map(|file| sha256_file(file).unwrap()).collect(), events.collect())
}

fn unbroken() -> (Vec<String>, Vec<Value>) {
    let (_folder, recipe, run) = recipe();
    polyhead(&["train", &recipe]).success();
    outcome(&run)
}

fn start(arguments: &[&str]) -> Child {
    command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Goes on with a run, whatever it has come to; begins it where there is none yet.
fn again(recipe: &str, run: &Path) -> Vec<String> {
    if run.join("recipe.toml").exists() {
        return vec!["train".into(), "--resume".into(), text(run).into()];
    }
    let _ = fs::remove_dir_all(run);
    vec!["train".into(), recipe.into()]
}

#[test]
fn a_run_that_is_killed_at_random_moments_ends_with_the_bits_of_one_that_was_not() {
    let whole = unbroken();
    let kills = std::env::var("POLYHEAD_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        let (_folder, recipe, run) = recipe();
        loop {
            round += 1;
            let arguments = again(&recipe, &run);
            let mut child = start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            let patience = Duration::from_millis(30 + Key::seed(7).bits(round) % 250);
            let began = Instant::now();
            while began.elapsed() < patience && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            let ended = child.try_wait().unwrap();
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            if let Some(status) = ended {
                assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            killed += 1;
        }
        assert_eq!(outcome(&run), whole, "after {killed} kills");
        let litter =
            fs::read_dir(&run).unwrap().flatten().find(|entry| entry.file_name().to_string_lossy().contains(".tmp-"));
        assert!(litter.is_none(), "{litter:?}");
    }
}

#[test]
fn a_process_that_dies_at_a_named_point_can_be_resumed() {
    let whole = unbroken();
    for point in ["folder:built", "folder:placed", "checkpoint:saved", "checkpoint:pruned"] {
        for count in [2, 3, 7] {
            let (_folder, recipe, run) = recipe();
            let died =
                command(&["train", &recipe]).env("POLYHEAD_FAULT", format!("crash:{point}:{count}")).output().unwrap();
            assert!(
                died.status.code().is_none(),
                "{point}:{count} was not passed: {}",
                String::from_utf8_lossy(&died.stderr)
            );
            let arguments = again(&recipe, &run);
            polyhead(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).success();
            assert_eq!(outcome(&run), whole, "{point}:{count}");
        }
    }
}

/// Sends a signal once the run has taken a step.
fn signalled(recipe: &str, run: &Path, signals: &[&str]) -> Ran {
    let child = start(&["train", recipe, "--set", "train.epochs=4000"]);
    let began = Instant::now();
    let steps = || fs::read_to_string(run.join("metrics.jsonl")).is_ok_and(|text| text.contains("\"step\""));
    while !steps() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    for signal in signals {
        let sent = std::process::Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }
    child.wait_with_output().unwrap().into()
}

#[test]
fn signals_finish_the_step_save_and_exit_as_shells_count_them() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (_folder, recipe, run) = recipe();
        let ran = signalled(&recipe, &run, &[signal]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains("saved in") && ran.stderr.contains("train --resume"), "{}", ran.stderr);
        let resumed = polyhead(&["train", "--resume", text(&run), "--set", "train.epochs=12"]);
        assert!(resumed.stderr.contains("resumed after step"), "{}", resumed.stderr);
        assert!(resumed.success().contains("best epoch"));
    }
}

/// Whether a process has a handler for SIGTERM (15); where the system does not tell, it is given time.
fn hears(process: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
        std::thread::sleep(Duration::from_secs(3));
        return true;
    };
    let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    caught.is_some_and(|mask| mask >> 14 & 1 == 1)
}

#[test]
fn a_second_signal_ends_at_once_and_says_what_is_left() {
    // Data that never come: a pipe that nobody writes to.
    let (folder, recipe, _) = recipe();
    let pipe = folder.path().join("pipe.conll");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (second, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut child = start(&["train", &recipe, "--set", &format!("data.ner.train={}", text(&pipe))]);
        while !hears(child.id()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        for signal in ["-INT", second] {
            assert!(child.try_wait().unwrap().is_none(), "it waits for its data after {signal}");
            let sent = std::process::Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
            assert!(sent.success());
            std::thread::sleep(Duration::from_millis(500));
        }
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let (first, last) =
            (ran.stderr.find("a second signal ends at once"), ran.stderr.find("ended at once: only the steps"));
        assert!(first.is_some() && last > first, "{}", ran.stderr);
    }
}

#[test]
fn a_run_with_relative_paths_is_resumed_and_reported_from_any_folder() {
    let (folder, recipe, run) = recipe();
    let here = folder.path();
    // The same recipe with paths of its folder.
    let relative = fs::read_to_string(&recipe).unwrap().replace(&format!("{}/", text(here)), "");
    let relative = relative.replace(&format!("{:?}", text(here)), "\".\"");
    assert!(!relative.contains(text(here)), "{relative}");
    fs::write(&recipe, &relative).unwrap();
    let from =
        |folder: &Path, arguments: &[&str]| -> Ran { command(arguments).current_dir(folder).output().unwrap().into() };
    from(here, &["train", "recipe.toml", "--set", "train.epochs=1"]).success();
    let elsewhere = tempfile::tempdir().unwrap();
    let (run, more) = (text(&run), ["--set", "train.epochs=2"]);
    from(elsewhere.path(), &[&["train", "--resume", run][..], &more].concat()).success();
    from(elsewhere.path(), &["report", run]).success();
    let report = fs::read_to_string(Path::new(run).join("report.md")).unwrap();
    assert!(
        report.contains("answered its 3 validation examples again") && !report.contains("can't be read"),
        "{report}"
    );
    // What a call from elsewhere names is of there.
    fs::write(elsewhere.path().join("other.conll"), format!("{CONLL}Ada B-PER\n\n")).unwrap();
    let changed = ["--set", "train.epochs=3", "--set", "data.ner.train=other.conll"];
    from(elsewhere.path(), &[&["train", "--resume", run][..], &changed].concat()).success();
    from(here, &["train", "--resume", run]).success();
    // What is published names nothing of this machine that the recipe does not.
    let fresh = tempfile::tempdir().unwrap();
    for name in ["ner.conll", "qa.jsonl", "recipe.toml"] {
        fs::copy(here.join(name), fresh.path().join(name)).unwrap();
    }
    from(fresh.path(), &["train", "recipe.toml", "--set", "train.epochs=1"]).success();
    let run = fresh.path().join("trial");
    for name in ["recipe.toml", "environment.json", "best/config.json", "best/README.md"] {
        let text = fs::read_to_string(run.join(name)).unwrap();
        assert!(!text.contains(fresh.path().to_str().unwrap()), "{name}: {text}");
    }
    assert!(fs::read_to_string(run.join("origin.json")).unwrap().contains(fresh.path().to_str().unwrap()));
}

#[test]
fn a_run_without_a_model_says_so_to_all_who_ask_for_one() {
    let (_folder, recipe, run) = recipe();
    let died = command(&["train", &recipe]).env("POLYHEAD_FAULT", "crash:folder:built:1").output().unwrap();
    assert!(died.status.code().is_none() && !run.join("best").exists());
    let run_text = text(&run);
    for arguments in [
        &["predict", run_text, "--task", "ner", "Ada"][..],
        &["eval", run_text, "--task", "ner", "--data", "none.conll"],
        &["serve", run_text, "--port", "0"],
    ] {
        let told = polyhead(arguments).failure(66);
        assert!(told.contains("this run has no model yet") && told.contains("train --resume"), "{arguments:?}: {told}");
    }
    polyhead(&["report", run_text]).success();
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("The run has no model yet"), "{report}");
    let ran = polyhead(&["train", "--resume", run_text]);
    assert!(ran.stderr.contains("it begins again in its folder"), "{}", ran.stderr);
    ran.success();
    assert_eq!(outcome(&run), unbroken());
}

#[test]
fn a_full_disk_is_told_with_the_place_and_the_run_can_go_on() {
    let whole = unbroken();
    let (_folder, recipe, run) = recipe();
    let ran: Ran = command(&["train", &recipe]).env("POLYHEAD_FAULT", "fail:120").output().unwrap().into();
    let told = ran.failure(73);
    assert!(told.contains("no space left") && told.contains(text(&run)), "{told}");
    polyhead(&["train", "--resume", text(&run)]).success();
    assert_eq!(outcome(&run), whole);
}

#[test]
fn what_can_not_be_resumed_says_why() {
    let (folder, recipe, run) = recipe();
    let absent = folder.path().join("absent");
    assert!(polyhead(&["train", "--resume", text(&absent)]).failure(66).contains("run folder"));
    assert!(polyhead(&["train"]).code == 2);
    let mut first = start(&["train", &recipe, "--set", "train.epochs=4000"]);
    let began = Instant::now();
    while !run.join("checkpoint-2").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let told = polyhead(&["train", "--resume", text(&run)]).failure(73);
    assert!(told.contains("another process works"), "{told}");
    first.kill().unwrap();
    first.wait().unwrap();
    let told = polyhead(&["train", &recipe, "--resume", text(&run)]).failure(2);
    assert!(told.contains("train.epochs: the run has 4000, the recipe 12"), "{told}");
}
