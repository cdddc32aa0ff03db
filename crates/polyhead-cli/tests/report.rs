//! `polyhead report`, on runs of a tiny encoder: what it says, what it says is missing, and what it never holds.
#![allow(clippy::unwrap_used)]

mod support;
use std::path::{Path, PathBuf};
use support::{file, polyhead, text, tiny_bert};
use tempfile::TempDir;

const EVIL: &str = "<script>alert(1)</script>";

/// A folder with one run a seed, `seed1` and so on, trained on data that try to be more than text.
fn runs(seeds: &[u64]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let ner = file(
        &folder,
        "ner.conll",
        format!("Ada B-PER\nlived O\nin O\nLondon B-{EVIL}\n. O\n\n{EVIL} O\nleft O\n\nParis B-{EVIL}\n\n"),
    );
    let context = format!("Ada {EVIL} lived in London.");
    let question = |id: &str, answer: &str| {
        let start = context.find(answer).unwrap();
        format!(
            r#"{{"id":"{id}","question":"Who is {EVIL}?","context":"{context}","answers":[{{"text":"{answer}","answer_start":{start}}}]}}"#
        )
    };
    let qa = file(&folder, "qa.jsonl", format!("{}\n{}\n", question("q1", "Ada"), question("q2", "London")));
    let runs = seeds.iter().map(|seed| {
        let recipe = format!(
            r#"
name = "seed{seed}"
seed = {seed}
output = {output:?}
[encoder]
checkpoint = {encoder:?}
[train]
epochs = 2
learning_rate = 1e-3
feature_cache = false
[tasks.ner]
batch_size = 2
max_length = 32
stride = 4
[tasks.qa]
batch_size = 2
max_length = 64
max_question_length = 32
stride = 8
[data.ner]
train = {ner:?}
validation = {ner:?}
[data.qa]
train = {qa:?}
validation = {qa:?}
"#,
            output = text(folder.path()),
            encoder = text(&tiny_bert()),
        );
        let recipe = file(&folder, &format!("{seed}.toml"), recipe);
        polyhead(&["train", &recipe, "--quiet"]).success();
        folder.path().join(format!("seed{seed}"))
    });
    let runs = runs.collect();
    (folder, runs)
}

/// The report in a folder: HTML and Markdown.
fn written(folder: &Path) -> (String, String) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (html, markdown) = (read("report.html"), read("report.md"));
    for part in ["<script", "http://", "https://", " src=", "<link", "@import", "url("] {
        assert!(!html.contains(part), "{part}");
    }
    assert!(!markdown.contains("<script"), "{markdown}");
    (html, markdown)
}

#[test]
fn a_report_of_one_run_has_every_section_in_both_forms_and_shows_evil_text_as_text() {
    let (_folder, runs) = runs(&[1]);
    let run = &runs[0];
    let shown = polyhead(&["report", text(run)]).success();
    assert!(shown.contains("report.html") && shown.contains("report.md"), "{shown}");
    let (html, markdown) = written(run);
    for section in [
        "Summary",
        "Parameters",
        "Scores",
        "Losses",
        "Learning rate and gradients",
        "How the tasks were combined",
        "Data",
        "Predictions: ner",
        "Predictions: qa",
        "Demonstration suite",
        "Time",
        "How to reproduce it",
    ] {
        assert!(html.contains(&format!(">{section}</h2>")), "{section}");
        assert!(markdown.contains(&format!("\n## {section}\n")), "{section}");
    }
    for part in [
        "shared encoder",
        "head of ner",
        "models of one task each",
        "reduction, %",
        "tokens lost by truncation",
        "Lengths of windows",
        "boundary and type",
        "gold \\ predicted",
        "By question word",
        "By answer length",
        "Are probabilities what they say?",
        "Expected calibration error: ",
        // Its labels are not those of the suite, and it reads less of a question.
        "ner was not asked",
        "qa was not asked",
        "tokens a second",
        "polyhead train",
        "learning_rate = 0.001",
    ] {
        assert!(html.contains(part), "{part}");
        assert!(markdown.replace("\\\\", "\\").replace("\\_", "_").contains(part), "{part}");
    }
    assert!(html.contains("encoder tiny-bert · seed 1"), "the encoder has its name, not its place on this machine");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && markdown.contains("&lt;script&gt;"));
    assert!(!html.contains("is not the one that the run recorded"), "the kept model scores as it did");
    // Losses by step in total and for each task, by epoch; rate, norm; batches of each task; lengths of four splits; scores; throughput; reliability of both.
    assert_eq!(html.matches("<figure>").count(), 4 + 2 + 1 + 4 + 1 + 1 + 2, "{markdown}");
    let groups = ["embeddings", "layer.0", "layer.1", "layer.2", "heads.ner", "heads.qa"];
    let places = groups.map(|group| html.find(&format!(">{group}<")).unwrap_or_else(|| panic!("{group}")));
    assert!(places.is_sorted(), "in the order of the model: {places:?}");
    assert!(html.contains("What each task had in this run") && html.contains("rustc"), "{markdown}");
    polyhead(&["report", text(run), "--quiet"]).success();
    assert_eq!(written(run), (html, markdown), "the same run, the same report");
}

#[test]
fn what_is_gone_is_said() {
    let (folder, runs) = runs(&[1]);
    let run = &runs[0];
    std::fs::remove_file(folder.path().join("qa.jsonl")).unwrap();
    std::fs::remove_file(run.join("environment.json")).unwrap();
    polyhead(&["report", text(run)]).success();
    let (html, markdown) = written(run);
    assert!(
        html.contains("The data of qa can&#39;t be read again") && html.contains("boundary and type"),
        "{markdown}"
    );
    assert!(html.contains("environment.json"), "an environment that was not recorded is said");
    polyhead(&["report", text(run), "--no-analysis", "--output", text(&folder.path().join("a/b"))]).success();
    let (html, _) = written(&folder.path().join("a/b"));
    assert!(html.contains("was not looked at, as asked for") && !html.contains("boundary and type"));
    std::fs::remove_dir_all(run.join("best")).unwrap();
    std::fs::remove_file(run.join("recipe.toml")).unwrap();
    polyhead(&["report", text(run)]).success();
    let (html, _) = written(run);
    assert!(html.contains("There is no kept model at") && html.contains("no recipe.toml"));
    assert!(html.contains("Losses by epoch"), "what was recorded is still there");
}

#[test]
fn several_runs_have_one_table_with_mean_and_spread_and_overlaid_curves() {
    let (folder, runs) = runs(&[1, 2, 3]);
    let all: Vec<&str> = runs.iter().map(|run| text(run)).collect();
    polyhead(&[&["report"], &all[..]].concat()).success();
    let (html, markdown) = written(folder.path());
    for part in ["3 runs of one recipe that differ in the seed alone", "mean ± spread", "seed1", "seed2", "seed3"] {
        assert!(html.contains(part) && markdown.contains(part), "{part}");
    }
    let total = html.split("<figcaption>Total loss by step").nth(1).unwrap().split("</figure>").next().unwrap();
    assert_eq!(total.matches("class=\"line").count(), 2 * 3, "three lines and three samples of them");
    polyhead(&["report", all[0], all[0]]).failure(2);
    let lonely = folder.path().join("elsewhere/other");
    std::fs::create_dir_all(&lonely).unwrap();
    std::fs::copy(runs[0].join("metrics.jsonl"), lonely.join("metrics.jsonl")).unwrap();
    let error = polyhead(&["report", all[0], text(&lonely)]).failure(2);
    assert!(error.contains("--output"), "{error}");
}

#[test]
fn gradients_that_were_compared_are_shown_and_malformed_metrics_are_named() {
    let (folder, runs) = runs(&[1]);
    let path = runs[0].join("metrics.jsonl");
    let recorded = std::fs::read_to_string(&path).unwrap();
    let (first, rest) = recorded.split_once('\n').unwrap();
    let diagnosed = |step: usize, cosine: f64| {
        format!(
            "{{\"event\":\"diagnosed\",\"time\":1.5,\"step\":{step},\"norms\":{{\"ner\":1.0,\"qa\":2.0}},\
             \"cosines\":[{{\"a\":\"ner\",\"b\":\"qa\",\"cosine\":{cosine}}}],\"seconds\":0.5}}\n"
        )
    };
    let rest = rest.replace("\"grad_norm\"", "\"group_norms\":{\"layer.0\":0.5},\"grad_norm\"");
    let text_with = format!("{first}\n{}{}{rest}", diagnosed(1, 0.25), diagnosed(2, -0.75));
    std::fs::write(&path, &text_with).unwrap();
    let output = folder.path().join("out");
    polyhead(&["report", text(&runs[0]), "--no-analysis", "-o", text(&output)]).success();
    let (html, markdown) = written(&output);
    for part in ["ner and qa", "-0.2500", "-0.7500", "50.00", "layer.0", "Cosine between"] {
        assert!(html.contains(part), "{part}: {markdown}");
    }
    std::fs::write(&path, format!("{first}\n{{\"event\":\"step\"}}\n{rest}")).unwrap();
    let error = polyhead(&["report", text(&runs[0])]).failure(65);
    assert!(error.contains("metrics.jsonl:2: expected an event `step`"), "{error}");
    polyhead(&["report", text(folder.path())]).failure(66);
}
