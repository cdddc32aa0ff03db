//! `--threads`: so many threads compute, whatever the command, and results are bit-identical.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use std::path::Path;
use support::{CONLL, QUESTIONS, command, file, model, path, polyhead, text, tiny_bert};

/// The weights that a short run writes, and the threads that it says computed.
fn train(folder: &tempfile::TempDir, name: &str, threads: &str) -> (Vec<u8>, Value) {
    let (ner, qa) = (file(folder, "ner.conll", CONLL), file(folder, "qa.jsonl", QUESTIONS));
    let recipe = format!(
        "name = {name:?}\noutput = {:?}\n[encoder]\ncheckpoint = {:?}\n[train]\nepochs = 2\nfeature_cache = false\n\
         [tasks.ner]\nbatch_size = 2\nmax_length = 32\nstride = 4\n\
         [tasks.qa]\nbatch_size = 2\nmax_length = 64\nmax_question_length = 16\nstride = 8\n\
         [data.ner]\ntrain = {ner:?}\nvalidation = {ner:?}\n[data.qa]\ntrain = {qa:?}\nvalidation = {qa:?}\n",
        text(folder.path()),
        text(&tiny_bert()),
    );
    let recipe = file(folder, &format!("{name}.toml"), recipe);
    polyhead(&["--threads", threads, "train", &recipe, "--quiet"]).success();
    let run = folder.path().join(name);
    let environment = std::fs::read_to_string(run.join("environment.json")).unwrap();
    let environment: Value = serde_json::from_str(&environment).unwrap();
    (std::fs::read(run.join("best/model.safetensors")).unwrap(), environment["threads"].clone())
}

#[test]
fn training_with_any_number_of_threads_writes_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (one, threads) = train(&folder, "one", "1");
    assert_eq!(threads, 1, "the option goes before RAYON_NUM_THREADS, which the tests set to 2");
    let (three, threads) = train(&folder, "three", "3");
    assert_eq!(threads, 3);
    assert!(one == three, "the weights differ");
}

#[test]
fn answers_are_the_same_with_any_number_of_threads_and_every_command_takes_the_option() {
    let folder = model();
    let model = path(&folder);
    let data = file(&folder, "data.conll", CONLL);
    let of = |arguments: &[&str], threads: &str| polyhead(&[arguments, &["--threads", threads]].concat()).success();
    let predict = ["predict", model.as_str(), "--task", "ner", "--json", "Ada lived in London, and Zoë in Paris."];
    assert_eq!(of(&predict, "1"), of(&predict, "3"));
    let eval = ["eval", model.as_str(), "--task", "ner", "--data", data.as_str(), "--json"];
    assert_eq!(of(&eval, "1"), of(&eval, "4"));
    for name in ["train", "serve", "predict", "eval", "compare"] {
        assert!(polyhead(&[name, "--help"]).success().contains("--threads <COUNT>"), "{name}");
    }
}

/// Threads of a process whose names begin so.
#[cfg(target_os = "linux")]
fn threads_of(process: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task")).unwrap().count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_computes_with_as_many_threads_as_it_is_given() {
    use std::io::{BufRead, BufReader};
    let folder = model();
    let count = |threads: &str| {
        let mut child = command(&["serve", &path(&folder), "--port", "0", "--quiet", "--threads", threads])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let count = threads_of(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        count
    };
    assert_eq!(count("5") - count("1"), 4);
}

#[test]
fn nonsense_is_refused_wherever_it_stands() {
    for value in ["0", "two", "-1"] {
        let ran = polyhead(&["inspect", "nowhere", &format!("--threads={value}")]);
        assert_eq!(ran.code, 2, "{value}: {}", ran.stderr);
    }
    let ran = command(&["inspect", "nowhere"]).env("RAYON_NUM_THREADS", "two").output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("RAYON_NUM_THREADS: expected a number of threads, found `two`") && said.contains("hint: "));
}
