//! Completions and man pages, tried in the programs that read them.
#![allow(clippy::unwrap_used)]

mod support;
use std::process::{Command, Stdio};
use support::{file, polyhead, text};

/// What a program prints; none where it is not installed.
fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let mut call = Command::new(program);
    call.args(arguments).stdin(Stdio::null()).env("MANWIDTH", "90").env("TERM", "dumb");
    let output = match call.output() {
        Ok(output) => output,
        Err(_) => {
            eprintln!("not run: {program} is not installed");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

/// The completions of a line, whose last word is being typed.
fn bash(script: &str, words: &[&str]) -> Option<Vec<String>> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.last().unwrap(), words[words.len() - 2]);
    let program = format!(
        "source {script}; spec=$(complete -p polyhead); [[ $spec =~ -F\\ ([^ ]+) ]] || exit 3; \
         COMP_WORDS=({}); COMP_CWORD={}; COMP_LINE='{}'; COMP_POINT=${{#COMP_LINE}}; \
         ${{BASH_REMATCH[1]}} polyhead '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
        words.join(" "),
    );
    Some(says("bash", &["--norc", "-c", &program])?.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = file(&folder, "polyhead.bash", polyhead(&["completions", "bash"]).success());
    let Some(commands) = bash(&script, &["polyhead", ""]) else { return };
    for command in ["train", "predict", "completions", "man"] {
        assert!(commands.iter().any(|found| found == command), "{commands:?}");
    }
    for (words, found) in [
        (&["polyhead", "pre"][..], &["predict"][..]),
        (&["polyhead", "predict", "--form"], &["--format"]),
        (&["polyhead", "eval", "m", "--squad"], &["--squad-predictions"]),
        (&["polyhead", "predict", "m", "--format", ""], &["table", "json", "columns", "tsv"]),
        (&["polyhead", "serve", "m", "--precision", "b"], &["bf16"]),
        (&["polyhead", "completions", "z"], &["zsh"]),
    ] {
        assert_eq!(bash(&script, words).unwrap(), found, "{words:?}");
    }
}

#[test]
fn zsh_fish_and_powershell_read_their_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let zsh = file(&folder, "_polyhead", polyhead(&["completions", "zsh"]).success());
    let setup = format!(
        "fpath=({} $fpath); autoload -Uz compinit; compinit -u -d {}/dump",
        text(folder.path()),
        text(folder.path())
    );
    if let Some(found) = says("zsh", &["-f", "-c", &format!("{setup}; print $_comps[polyhead]; zsh -n {zsh}")]) {
        assert_eq!(found.trim(), "_polyhead");
    }
    let fish = file(&folder, "polyhead.fish", polyhead(&["completions", "fish"]).success());
    let complete = |line: &str| says("fish", &["--no-config", "-c", &format!("source {fish}; complete -C '{line}'")]);
    if let Some(found) = complete("polyhead pre") {
        assert!(found.starts_with("predict"), "{found}");
        let found = complete("polyhead predict m --format ").unwrap();
        assert!(found.contains("columns") && found.contains("tsv"), "{found}");
    }
    assert!(polyhead(&["completions", "powershell"]).success().contains("Register-ArgumentCompleter"));
    polyhead(&["completions", "tcsh"]).failure_of_call();
}

#[test]
fn every_command_has_a_man_page_that_renders() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    let written = polyhead(&["man", text(&pages)]).success();
    for name in ["", "-train", "-data", "-eval", "-predict", "-serve", "-inspect", "-completions", "-man"] {
        let page = pages.join(format!("polyhead{name}.1"));
        assert!(written.contains(text(&page)), "{written}");
        let source = std::fs::read_to_string(&page).unwrap();
        assert!(source.contains(".SH NAME") && source.contains(".SH SYNOPSIS"), "{source}");
        let Some(shown) = says("man", &["-l", text(&page)]) else { continue };
        assert!(shown.contains("SYNOPSIS"), "{shown}");
        let flag = match name {
            "-predict" => "--format",
            "-eval" => "--squad-predictions",
            _ => "--help",
        };
        assert!(shown.contains(flag), "{flag}: {shown}");
    }
    let shown = std::fs::read_to_string(pages.join("polyhead-predict.1")).unwrap();
    assert!(shown.contains("polyhead predict runs/quickstart"), "examples too: {shown}");
    polyhead(&["man", "/dev/null/x"]).failure(73);
}
