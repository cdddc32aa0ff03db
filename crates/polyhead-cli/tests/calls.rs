//! The command line itself: help, exit codes, colour, and which stream holds what.
#![allow(clippy::unwrap_used)]

mod support;
use support::{command, file, model, path, polyhead};

#[test]
fn version_and_help_go_to_standard_output() {
    assert_eq!(polyhead(&["--version"]).success(), concat!("polyhead ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = polyhead(&["--help"]).success();
    for name in COMMANDS {
        assert!(help.contains(&format!("\n  {name} ")), "{help}");
        for call in [&["help", name][..], &[name, "--help"]] {
            let help = polyhead(call).success();
            assert!(help.contains("Example") && help.contains(&format!("polyhead {name}")), "{help}");
        }
    }
}

const COMMANDS: [&str; 24] = [
    "init",
    "merge",
    "average",
    "negate",
    "unload",
    "quantize",
    "push",
    "pull",
    "train",
    "tune",
    "select",
    "compare",
    "data",
    "report",
    "eval",
    "predict",
    "serve",
    "suite",
    "inspect",
    "encoders",
    "export",
    "import",
    "completions",
    "man",
];

#[test]
fn help_is_as_wide_as_the_terminal() {
    let calls = COMMANDS.map(|name| vec![name, "--help"]).into_iter().chain([vec!["--help"]]);
    for call in calls {
        for (columns, most) in [("60", 60), ("100", 100), ("300", 110)] {
            let output = command(&call).env("COLUMNS", columns).output().unwrap();
            let help = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{call:?}");
            for line in help.lines().filter(|line| line.chars().count() > most) {
                // A word that is longer than the rest of its line stays whole.
                let words = line.split_whitespace().count();
                assert!(words == 1 || line.starts_with("Usage:"), "{call:?} at {columns}: {line:?}");
            }
        }
        let wide = |columns: &str| command(&call).env("COLUMNS", columns).output().unwrap().stdout;
        assert_ne!(wide("60"), wide("100"), "{call:?}");
    }
}

#[test]
fn every_exit_code_is_documented() {
    use polyhead::ErrorKind::*;
    let help = polyhead(&["--help"]).success();
    for kind in [Usage, Data, MissingInput, Unavailable, Internal, CannotWrite] {
        assert!(help.contains(&format!("\n  {:>2}  ", kind.exit_code())), "{kind:?}: {help}");
    }
}

#[test]
fn a_wrong_call_is_exit_code_2_and_leaves_standard_output_empty() {
    for call in
        [&[][..], &["evaluate"], &["eval"], &["predict", "m", "--tsak", "ner"], &["inspect", "m", "--labels", "0"]]
    {
        let ran = polyhead(call);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{call:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn each_kind_of_failure_has_its_exit_code_and_says_error_and_hint() {
    let folder = model();
    let model = path(&folder);
    let bad = file(&folder, "bad.conll", "Ada B-PER\nlived\n");
    let unknown = file(&folder, "unknown.conll", "Ada B-ORG\n\n");
    let eval = |data: &str| polyhead(&["eval", &model, "--task", "ner", "--data", data]);
    let at = eval(&bad).failure(65);
    assert!(at.contains("bad.conll:2"), "{at}");
    assert!(eval(&unknown).failure(65).contains("hint: "));
    assert!(eval("nowhere.conll").failure(66).contains("nowhere.conll"));
    assert!(eval("hf://datasets/a/b/c.parquet").failure(69).contains("hint: "));
    let strange = file(&folder, "data.unknown", "Ada B-PER\n");
    assert!(eval(&strange).failure(2).contains("CoNLL"));
    assert!(eval("data.unknown").failure(66).contains("no such file"));
    polyhead(&["eval", &model, "--task", "pos", "--data", &bad]).failure(2);
    polyhead(&["eval", &model, "--data", &bad]).failure(2);
    polyhead(&["eval", "no/model/here", "--task", "ner", "--data", &bad]).failure(66);
    let good = file(&folder, "good.conll", support::CONLL);
    polyhead(&["eval", &model, "--task", "ner", "--data", &good, "--predictions", "no/folder/here/x"]).failure(73);
    let ran = eval(&bad);
    assert!(ran.stdout.is_empty(), "an error leaves no half of an answer: {}", ran.stdout);
}

#[test]
fn a_damaged_model_is_one_error_that_names_the_file() {
    let folder = model();
    let root = folder.path().join("model");
    let ask = || polyhead(&["predict", &path(&folder), "--task", "ner", "Ada"]);
    let weights = std::fs::read(root.join("model.safetensors")).unwrap();
    std::fs::write(root.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    assert!(ask().failure(65).contains("model.safetensors"));
    std::fs::write(root.join("model.safetensors"), &weights).unwrap();
    std::fs::write(root.join("config.json"), "{").unwrap();
    assert!(ask().failure(65).contains("config.json:1"));
    std::fs::remove_file(root.join("config.json")).unwrap();
    ask().failure(66);
}

#[test]
fn colour_is_for_terminals_or_on_demand() {
    let call = |arguments: &[&str]| polyhead(arguments).stderr;
    let escape = '\u{1b}';
    assert!(!call(&["inspect", "./nowhere"]).contains(escape));
    assert!(!call(&["--color", "never", "inspect", "./nowhere"]).contains(escape));
    assert!(call(&["--color", "always", "inspect", "./nowhere"]).contains(escape));
    assert!(call(&["inspect", "./nowhere", "--color=always"]).contains(escape));
    assert!(call(&["--color=always", "evaluate"]).contains(escape), "mistakes in the call too");
    let output = command(&["inspect", "./nowhere"]).env("NO_COLOR", "1").output().unwrap();
    assert!(!output.stderr.contains(&0x1b));
    let folder = model();
    assert!(polyhead(&["--color", "always", "inspect", &path(&folder)]).success().contains(escape));
}

#[test]
fn text_from_outside_does_not_steer_the_terminal() {
    let error = polyhead(&["inspect", "./no\u{1b}[2Jwhere"]).failure(66);
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_a_closed_standard_output_is_none() {
    use std::process::Stdio;
    let folder = model();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["inspect", &path(&folder)]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(73), "{}", String::from_utf8_lossy(&output.stderr));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["inspect", &path(&folder)]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
