//! Dependency trees: their files, their scores beside the official evaluation, and a parser that learns.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::batch::Features;
use polyhead::data::{Layout, ParsedSentence, Read, TREES};
use polyhead::infer::Session;
use polyhead::metrics::conll18::{Counts, Refusal, Sentence, Tally, Token, Word, evaluate};
use polyhead::model::{KeepHeads, Model};
use polyhead::recipe::Recipe;
use polyhead::tasks::{Logits, LogitsFn, TASKS};
use polyhead::text::Tokenizer;
use polyhead::train::{Event, prepare};
use polyhead_kernels::rng::Key;
use proptest::prelude::*;
use serde_json::{Value, json};
use small::written;
use std::path::Path;

fn read(name: &str, text: &str, limit: Option<usize>) -> Read<ParsedSentence> {
    let (_folder, path) = written(name, text.as_bytes());
    TREES.read(&path, limit, &Layout::default()).unwrap()
}

/// `word<-relation-head` of each word.
fn shown(read: &Read<ParsedSentence>) -> Vec<String> {
    let of = |sentence: &ParsedSentence| {
        let arcs = sentence.words.iter().zip(&sentence.heads).zip(&sentence.relations);
        arcs.map(|((word, head), relation)| format!("{word}<-{relation}-{head}")).collect::<Vec<_>>().join(" ")
    };
    read.examples.iter().map(of).collect()
}

// Files

const CONLLU: &str = "\
# newdoc
# sent_id = one
# text = They don't.
1\tThey\tthey\tPRON\tPRP\tCase=Nom\t2\tnsubj\t2:nsubj\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tdo\tdo\tVERB\tVBP\t_\t0\troot\t0:root\t_
2.1\tgo\tgo\tVERB\tVBP\t_\t_\t_\t2:conj\t_
3\tn't\tnot\tPART\tRB\t_\t2\tadvmod:neg\t_\t_
4\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\t_

1\tYes\t_\t_\t_\t_\t0\troot\t_\t_

1\tNobody\t_\tPRON\t_\t_\t_\t_\t_\t_
2\tparsed\t_\tVERB\t_\t_\t_\t_\t_\t_
";

#[test]
fn trees_are_read_from_every_format() {
    let want = ["They<-nsubj-2 do<-root-0 n't<-advmod:neg-2 .<-punct-2", "Yes<-root-0"];
    let found = read("a.conllu", CONLLU, None);
    assert_eq!(shown(&found), want, "neither a token of several words nor an empty node is a word");
    assert_eq!((found.examples[0].id.as_deref(), found.examples[1].id.as_deref()), (Some("one"), None));
    assert!(found.examples[0].place.to_string().ends_with("a.conllu:4"), "{}", found.examples[0].place);
    let skipped: Vec<_> = found.skipped.iter().map(|one| (one.place.to_string(), one.reason.as_str())).collect();
    assert!(skipped.len() == 1 && skipped[0].0.ends_with("a.conllu:13"), "{skipped:?}");
    assert_eq!(skipped[0].1, "none of its words has a head");
    assert_eq!(shown(&read("a.conllu", CONLLU, Some(1))), want[..1]);

    let lines = [
        r#"{"id": "one", "words": ["They", "do", "n't", "."], "heads": [2, 0, 2, 2], "deprels": ["nsubj", "root", "advmod:neg", "punct"], "upos": []}"#,
        r#"{"tokens": ["Yes"], "head": ["0"], "deprel": ["root"]}"#,
        r#"{"words": ["a"], "heads": null, "deprels": null}"#,
    ];
    let found = read("a.jsonl", &(lines.join("\n\n") + "\n"), None);
    assert_eq!(shown(&found), want);
    assert_eq!(found.notes, ["fields that are not used were ignored: `upos`"]);
    assert_eq!((found.skipped.len(), found.examples[0].id.as_deref()), (1, Some("one")));
}

#[test]
fn answers_of_the_parser_are_training_data() {
    let answer = json!({ "id": 7, "text": "Yes .", "words": [
        { "text": "Yes", "start": 0, "end": 3, "head": 0, "label": "root", "score": 0.5 },
        { "text": ".", "start": 4, "end": 5, "head": 1, "label": "punct", "score": 0.5 },
    ] });
    let found = read("a.jsonl", &answer.to_string(), None);
    assert_eq!(shown(&found), ["Yes<-root-0 .<-punct-1"]);
    assert_eq!((found.examples[0].id.as_deref(), found.notes.len()), (Some("7"), 0));
}

#[test]
fn a_file_that_holds_no_trees_is_refused_with_its_place_what_was_expected_and_a_way_out() {
    let word = |id: usize, head: &str, relation: &str| format!("{id}\tw{id}\t_\t_\t_\t_\t{head}\t{relation}\t_\t_\n");
    let tree = |arcs: &[(&str, &str)]| -> String {
        let lines = (1..).zip(arcs).map(|(id, (head, relation))| word(id, head, relation));
        format!("# sent_id = x\n{}\n", lines.collect::<String>())
    };
    let line = |heads: &str, relations: &str| {
        format!("{{\"words\": [\"a\", \"b\"], \"heads\": {heads}, \"deprels\": {relations}}}")
    };
    let fine = r#"["root", "obj"]"#;
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("a.conllu", tree(&[("0", "root"), ("0", "root")]), &["a.conllu:3: ", "expected one root, found a second"]),
        ("a.conllu", tree(&[("2", "x"), ("1", "x")]), &["a.conllu:2: ", "expected a root, found a sentence without"]),
        ("a.conllu", tree(&[("0", "root"), ("3", "x"), ("2", "x")]), &["a.conllu:3: ", "circle"]),
        ("a.conllu", tree(&[("0", "root"), ("2", "x")]), &["a.conllu:3: ", "found itself"]),
        ("a.conllu", tree(&[("0", "root"), ("3", "x")]), &["a.conllu:3: ", "expected a HEAD from 0 to 2", "found 3"]),
        ("a.conllu", tree(&[("0", "root"), ("_", "x")]), &["a.conllu:3: ", "expected a HEAD for word 2", "found `_`"]),
        ("a.conllu", tree(&[("0", "root"), ("1", "_")]), &["a.conllu:3: ", "expected a DEPREL for word 2"]),
        ("a.conllu", tree(&[("0", "root"), ("-1", "x")]), &["a.conllu:3: ", "HEAD", "found `-1`"]),
        ("a.conllu", "1\tw\t_\n\n".into(), &["a.conllu:1: ", "expected the ten columns of CoNLL-U, found 3"]),
        ("a.conllu", word(2, "0", "root"), &["a.conllu:1: ", "expected word 1, found the ID `2`"]),
        ("a.conllu", "# nothing\n\n".into(), &["a.conllu: ", "found none"]),
        ("a.conllu", tree(&[("_", "_")]), &["a.conllu:2: ", "none of its words has a head"]),
        ("a.jsonl", line("[0, 0]", fine), &["a.jsonl:1: ", "expected one root, found a second"]),
        ("a.jsonl", line("[2, 1]", fine), &["a.jsonl:1: ", "expected a root, found a sentence without"]),
        ("a.jsonl", line("[0, 9]", fine), &["a.jsonl:1: ", "expected a HEAD from 0 to 2", "found 9"]),
        ("a.jsonl", line("[0]", fine), &["a.jsonl:1: ", "for each of 2 words, found 1 heads and 2 relations"]),
        ("a.jsonl", line("[0, 1]", "[\"root\"]"), &["a.jsonl:1: ", "found 2 heads and 1 relations"]),
        ("a.jsonl", line("[0, null]", fine), &["a.jsonl:1: ", "expected a HEAD for word 2"]),
        ("a.jsonl", line("[0, -1]", fine), &["a.jsonl:1:", "heads: the number of a word, counted from 1, or 0"]),
        ("a.jsonl", line("[0, \"x\"]", fine), &["a.jsonl:1:", "expected the number of a word", "found `x`"]),
        ("a.jsonl", line("[0, 1]", "5"), &["a.jsonl:1:", "deprels: "]),
        ("a.jsonl", "{\"words\": [\"a\"], \"heads\": [0]}".into(), &["a.jsonl:1:", "missing field `deprels`"]),
        ("a.jsonl", "{\"words\": [\"a\"], \"deprels\": [\"x\"]}".into(), &["a.jsonl:1:", "missing field `heads`"]),
        ("a.jsonl", "{\"heads\": [0], \"deprels\": [\"x\"]}".into(), &["a.jsonl:1:", "missing field `words`"]),
        ("a.jsonl", "{\"words\": [], \"heads\": [], \"deprels\": []}".into(), &["a.jsonl:1: ", "expected words"]),
        ("a.jsonl", "{\"words\": [1]}".into(), &["a.jsonl:1:", "words: a word, or an object"]),
        (
            "a.jsonl",
            "{\"words\": [\"a\", {\"text\": \"b\", \"head\": 0, \"label\": \"x\"}]}".into(),
            &["objects that say both"],
        ),
        ("a.jsonl", "{\"words\": [\"a\"], \"words\": [\"a\"]}".into(), &["a.jsonl:1:", "duplicate field `words`"]),
        ("a.jsonl", "[1]".into(), &["a.jsonl:1:", "expected an object"]),
        ("a.jsonl", "\n".into(), &["a.jsonl: ", "expected sentences, found none"]),
        ("a.txt", "w O\n".into(), &["a.txt: expected dependency trees as CoNLL-U (.conllu), JSON Lines"]),
    ];
    for (name, text, expected) in cases {
        let (_folder, path) = written(name, text.as_bytes());
        let error = TREES.read(&path, None, &Layout::default()).unwrap_err().to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
    let (_folder, path) = written("a.conllu", tree(&[("0", "root"), ("0", "root")]).as_bytes());
    let hint = TREES.read(&path, None, &Layout::default()).unwrap_err();
    assert!(format!("{hint:?}").contains("one word of a sentence has HEAD 0"), "{hint:?}");
}

// Scores

/// A side of a recorded case.
fn side(side: &Value) -> Vec<Sentence<'_>> {
    let mut sentences = Vec::new();
    for tokens in side.as_array().unwrap() {
        let mut sentence = Sentence::default();
        for token in tokens.as_array().unwrap() {
            let form = token[0].as_str().unwrap();
            let start = sentence.words.len();
            let shared = token[1].as_array();
            let words: Vec<&Value> = shared.map_or_else(|| vec![token], |words| words.iter().collect());
            for word in &words {
                let (form, relation) = (word[0].as_str().unwrap(), word[2].as_str().unwrap());
                sentence.words.push(Word { form, head: word[1].as_u64().unwrap() as usize, relation });
            }
            if shared.is_some() {
                sentence.tokens.push(Token { form, words: start..sentence.words.len() });
            }
        }
        sentences.push(sentence);
    }
    sentences
}

/// Words with their arcs.
fn sentence((words, arcs): &(Vec<String>, Vec<(usize, String)>)) -> Sentence<'_> {
    let words = words.iter().zip(arcs).map(|(form, (head, relation))| Word { form, head: *head, relation });
    Sentence { words: words.collect(), tokens: Vec::new() }
}

#[test]
fn scores_are_those_of_the_official_evaluation() {
    let cases = std::fs::read_to_string(small::fixture("conll18_cases.jsonl")).unwrap();
    let cases: Vec<Value> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut partly, mut refused, mut shared) = (0, 0, 0);
    for case in &cases {
        let (gold, system) = (side(&case["gold"]), side(&case["system"]));
        shared += usize::from(gold.iter().chain(&system).any(|sentence| !sentence.tokens.is_empty()));
        let found = evaluate(&gold, &system);
        if let Some(reason) = case["refused"].as_str() {
            let name = match found.unwrap_err() {
                Refusal::Text(_) => "text",
                Refusal::EmptyWord(_) => "empty",
                Refusal::Head(_) => "head",
                Refusal::Cycle(_) => "cycle",
                Refusal::Roots(_) => "roots",
            };
            assert_eq!(name, reason, "{case}");
            refused += 1;
            continue;
        }
        let Counts { words, uas, las, clas } = found.unwrap_or_else(|refusal| panic!("{refusal}: {case}"));
        for (name, tally) in [("words", words), ("uas", uas), ("las", las), ("clas", clas)] {
            let want = case[name].as_array().unwrap().iter().map(|score| score.as_f64().unwrap());
            for (score, want) in [tally.precision(), tally.recall(), tally.f1()].into_iter().zip(want) {
                assert!((score - want).abs() <= 1e-12, "{name}: {score}, theirs {want}: {case}");
            }
        }
        partly += usize::from(words.f1() < 1.0 && las.f1() > 0.0);
    }
    assert!(cases.len() > 200 && partly > 50 && refused >= 12 && shared > 80, "{partly}, {refused}, {shared}");
}

/// What a task counts, word by word, is what the whole evaluation counts of the same words.
#[test]
fn a_task_scores_its_trees_as_the_official_evaluation_does() {
    let entry = TASKS.iter().find(|entry| entry.kind == "parse").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = small::write_data(small::kind("parse"), "train", &[4, 9, 12, 7, 1], folder.path());
    let gold = TREES.read(&path, None, &Layout::default()).unwrap().examples;
    let mut task = (entry.open)((small::kind("parse").config)()).unwrap();
    let examples = task.read(&path, None, &Layout::default()).unwrap();
    task.prepare(&examples).unwrap();
    let tokenizer = Tokenizer::load(&small::fixture("tiny-bert").join("tokenizer.json")).unwrap();
    // Logits at random, a row for each pair.
    let logits = |windows: &[&Features]| {
        let of = |window: &&Features| {
            let (width, key) = (1 + task.labels().len(), Key::seed(window.ids.len() as u64));
            let values = (0..(window.pairs.len() * width) as u64).map(|at| key.normal(at) as f32);
            Logits::new(values.collect(), width)
        };
        Ok(windows.iter().map(of).collect())
    };
    let runner = LogitsFn { tokenizer: &tokenizer, logits: &logits };
    let mut records = Vec::new();
    let score = task.evaluate(&examples, &runner, &mut |record, _| records.push(record)).unwrap();
    let mut sums = Counts::default();
    for (gold, record) in gold.iter().zip(&records) {
        let found = record["words"].as_array().unwrap().iter();
        let found =
            found.map(|word| (word["head"].as_u64().unwrap() as usize, word["label"].as_str().unwrap().to_owned()));
        let found = (gold.words.clone(), found.collect());
        let arcs = gold.heads.iter().copied().zip(gold.relations.iter().cloned());
        let gold_tree = (gold.words.clone(), arcs.collect());
        sums += evaluate(&[sentence(&gold_tree)], &[sentence(&found)]).unwrap();
        assert_eq!(record["gold_heads"], json!(gold.heads));
        assert_eq!(record["gold_deprels"], json!(gold.relations));
    }
    let Counts { uas, las, clas, words } = sums;
    assert_eq!(words, Tally { gold: words.gold, predicted: words.gold, correct: words.gold });
    for (name, tally) in [("uas", uas), ("las", las), ("clas", clas)] {
        assert_eq!(score.get(name), Some(100.0 * tally.f1()), "{name}");
    }
    assert_eq!(score.headline, "las");
    let support: usize = score.types.iter().map(|kind| kind.support).sum();
    assert_eq!(support as u64, words.gold, "every word has a relation");
    assert!(score.types.iter().any(|kind| kind.name == "nmod"), "without its subtype");
}

// A parser that learns

const NOUNS: &[&str] = &["river", "queen", "company", "book", "war"];
const NAMES: &[&str] = &["london", "paris", "mary", "ada"];

/// Sentences of a small grammar: `the queen of the north was in london .`, each with its tree.
fn grammar(count: usize, seed: u64) -> String {
    let mut file = String::new();
    for index in 0..count {
        let key = Key::seed(seed).with(index as u64);
        let pick = |at: u64, words: &[&'static str]| words[(key.bits(at) >> 8) as usize % words.len()];
        // (word, head, relation); heads count from 1.
        let mut words: Vec<(&str, usize, &str)> = Vec::new();
        let subject = match key.bits(0) >> 8 & 3 {
            0 => {
                words.push((pick(1, NAMES), 0, "nsubj"));
                1
            }
            1 => {
                words.extend([("the", 2, "det"), (pick(1, NOUNS), 0, "nsubj")]);
                2
            }
            _ => {
                let of = [("the", 2, "det"), (pick(1, NOUNS), 0, "nsubj"), ("of", 5, "case"), ("the", 5, "det")];
                words.extend(of);
                words.push((pick(2, NOUNS), 2, "nmod"));
                2
            }
        };
        words.push(("was", 0, "cop"));
        let cop = words.len();
        words.push(("in", 0, "case"));
        if key.bits(3) >> 8 & 1 == 0 {
            words.push(("the", 0, "det"));
            words.push((pick(4, NOUNS), 0, "root"));
        } else {
            words.push((pick(4, NAMES), 0, "root"));
        }
        let root = words.len();
        words[subject - 1].1 = root;
        words[cop - 1..root - 1].iter_mut().for_each(|word| word.1 = root);
        words.push((".", root, "punct"));
        for (at, (word, head, relation)) in (1..).zip(words) {
            file += &format!("{at}\t{word}\t_\t_\t_\t_\t{head}\t{relation}\t_\t_\n");
        }
        file.push('\n');
    }
    file
}

fn recipe(folder: &Path, more: &str) -> Recipe {
    for (name, count, seed) in [("train", 60, 1), ("validation", 24, 2)] {
        std::fs::write(folder.join(format!("{name}.conllu")), grammar(count, seed)).unwrap();
    }
    let text = format!(
        "name = 'trees'\noutput = {:?}\nencoder.checkpoint = {:?}\ntrain = {{ epochs = 30, learning_rate = 3e-3, feature_cache = false }}\n\
         [tasks.parse]\nmax_length = 48\ndropout = 0.1\narc_size = 48\nrelation_size = 32\nbatch_size = 8\n{more}\n\
         [data.parse]\ntrain = {:?}\nvalidation = {:?}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
        folder.join("train.conllu"),
        folder.join("validation.conllu"),
    );
    Recipe::parse(&text, &folder.join("trees.toml"), &[]).unwrap()
}

#[test]
fn a_parser_learns_a_grammar_and_answers_with_its_trees() {
    for vectors in ["first", "mean"] {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), &format!("word_vector = '{vectors}'"));
        let Some(Event::Finished(end)) = small::train(recipe).pop() else { panic!("no end") };
        let las = end.scores["parse"].get("las").unwrap();
        assert!(las >= 97.0, "{vectors}: {las}");
        let session = Session::open(&end.folder).unwrap();
        let answer = session.ask("parse", &json!({ "text": "the queen of the river was in paris." })).unwrap();
        let words = answer["words"].as_array().unwrap().iter();
        let found: Vec<_> = words
            .map(|word| {
                format!("{}<-{}-{}", word["text"].as_str().unwrap(), word["label"].as_str().unwrap(), word["head"])
            })
            .collect();
        let want = "the<-det-2 queen<-nsubj-8 of<-case-5 the<-det-5 river<-nmod-2 was<-cop-8 in<-case-8 paris<-root-0 .<-punct-8";
        assert_eq!(found.join(" "), want);
        let asked = |request: Value| session.ask("parse", &request).unwrap();
        let given = asked(json!({ "words": ["mary", "was", "in", "the", "war", "."] }));
        assert_eq!(given["words"][0]["head"], 5, "{given}");
        assert_eq!(asked(json!({ "text": "" }))["words"], json!([]));
        // Longer than a window: parts, and one root all the same.
        let long = asked(json!({ "text": "mary was in the war . ".repeat(20) }));
        let words = long["words"].as_array().unwrap();
        assert_eq!((words.len(), words.iter().filter(|word| word["head"] == 0).count()), (120, 1));
        assert!(words.iter().any(|word| word["label"] == "parataxis" && word["score"] == 0.0));
    }
}

#[test]
fn sentences_longer_than_a_window_are_counted_left_out_of_training_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "");
    let long = grammar(12, 5).split("\n\n").next().unwrap().to_owned();
    // One root of many words.
    let words: String = (2..=60).map(|at| format!("{at}\triver\t_\t_\t_\t_\t1\tdep:x\t_\t_\n")).collect();
    let sentence = format!("1\tmary\t_\t_\t_\t_\t0\troot\t_\t_\n{words}\n");
    for name in ["train", "validation"] {
        let path = folder.path().join(format!("{name}.conllu"));
        std::fs::write(&path, format!("{long}\n\n{sentence}")).unwrap();
    }
    let mut notes = Vec::new();
    let prepared = prepare(&recipe, TASKS, &mut |note| notes.push(note.to_owned())).unwrap();
    let data = &prepared.task_data[0];
    assert_eq!((data.train.len, data.windows.len(), data.lost.golds), (2, 1, 1));
    assert_eq!(data.lost.tokens, 60);
    for split in ["train", "validation"] {
        let said = format!("data.parse.{split}: 1 sentence of more than max_length = 48 tokens");
        assert!(notes.iter().any(|note| note.starts_with(&said) && note.contains("parsed in parts")), "{notes:?}");
    }
    let score = prepared
        .model
        .run(&prepared.model.tasks[0], |task, runner| {
            task.evaluate(data.validation.as_ref().unwrap(), runner, &mut |_, _| ())
        })
        .unwrap();
    let support: usize = score.types.iter().map(|kind| kind.support).sum();
    assert!(support > 60, "the words of the long sentence count: {support}");
}

#[test]
fn a_relation_that_training_data_lack_is_said_and_counts_by_what_stands_before_its_colon() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), "");
    let validation = folder.path().join("validation.conllu");
    std::fs::write(&validation, grammar(3, 2).replace("\tdet\t", "\tdet:def\t")).unwrap();
    let mut notes = Vec::new();
    let prepared = prepare(&recipe, TASKS, &mut |note| notes.push(note.to_owned())).unwrap();
    assert_eq!(prepared.model.tasks[0].task.labels(), ["case", "cop", "det", "nmod", "nsubj", "punct", "root"]);
    let said = notes.iter().find(|note| note.contains("a relation that is none of the model's")).unwrap();
    assert!(said.starts_with("data.parse.validation: ") && said.contains("`det:def`"), "{said}");
}

/// A treebank with other relations: what knows no relation goes on, and so do the rows of relations that both have.
#[test]
fn a_parser_that_begins_with_one_of_other_relations_keeps_its_arcs() {
    let folder = tempfile::tempdir().unwrap();
    let first = recipe(folder.path(), "labels = ['root', 'det', 'nsubj', 'case', 'cop', 'nmod', 'punct']");
    let Some(Event::Finished(end)) = small::train(first).pop() else { panic!("no end") };
    let weights = |model: &Model, name: &str| -> Vec<f32> {
        let parameter =
            model.parameters.iter().find(|parameter| parameter.name == format!("heads.parse.{name}")).unwrap();
        parameter.weight.tensor().unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let before = Model::load(&end.model, TASKS).unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut second = recipe(other.path(), "labels = ['det', 'obj', 'root', 'nsubj', 'case', 'cop', 'nmod', 'punct']");
    second.encoder.checkpoint = end.model.to_string_lossy().into_owned();
    second.encoder.keep_heads = KeepHeads::All;
    let after = prepare(&second, TASKS, &mut |_| {}).unwrap().model;
    for name in ["arc.weight", "arc_head.weight", "relation_dependent.bias"] {
        assert_eq!(weights(&before, name), weights(&after, name), "{name}");
    }
    let (block, of) =
        (32 * 32, |weights: &[f32], label: usize| weights[label * 32 * 32..(label + 1) * 32 * 32].to_vec());
    let (old, new) = (weights(&before, "relation.weight"), weights(&after, "relation.weight"));
    assert_eq!((old.len(), new.len()), (7 * block, 8 * block));
    for (label, (then, now)) in [("root", (0, 2)), ("det", (1, 0)), ("nsubj", (2, 3)), ("punct", (6, 7))] {
        assert_eq!(of(&old, then), of(&new, now), "{label}");
    }
    assert!((0..7).all(|then| of(&old, then) != of(&new, 1)), "obj is new");
}

#[test]
fn a_report_says_where_trees_go_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepare(&recipe(folder.path(), ""), TASKS, &mut |_| {}).unwrap();
    let examples = prepared.task_data[0].validation.as_ref().unwrap();
    let none = || Err("not asked for".to_owned());
    let task = &prepared.model.tasks[0];
    let analysis = prepared.model.run(task, |task, runner| task.analyse(examples, &none, runner)).unwrap();
    let said = format!("{:?}", analysis.blocks);
    for part in [
        "Punctuation counts; relations are compared without their subtypes.",
        "How well each relation is parsed",
        "nsubj",
        "3 to 5",
        "Relations whose heads are wrong most often",
        "another head of ",
        "Sentences with most errors",
        "validation.conllu:",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Columns and objects in disorder: an answer or an error, and no panic; what is read is a tree.
    #[test]
    fn no_file_is_read_as_something_else_than_trees(
        cells in prop::collection::vec("([0-3]|1-2|2-3|2.1|_|root|w|#|\\t|\\t|\\t|\\n|\\n\\n|\u{e9})", 0..120),
        heads in prop::collection::vec(0..4_usize, 3),
    ) {
        let lines: String = (1..).zip(&heads).map(|(id, head)| format!("{id}\tw\t_\t_\t_\t_\t{head}\tx\t_\t_\n")).collect();
        for (name, text) in [
            ("a.conllu", cells.concat()),
            ("a.conllu", format!("{lines}\n{}", cells.concat())),
            ("a.jsonl", format!("{{\"words\": [\"a\", \"b\", \"c\"], \"heads\": {heads:?}, \"deprels\": [\"x\", \"y\", \"z\"]}}")),
            ("a.jsonl", cells.concat()),
        ] {
            let (_folder, path) = written(name, text.as_bytes());
            let Ok(read) = TREES.read(&path, None, &Layout::default()) else { continue };
            for sentence in read.examples {
                prop_assert_eq!(sentence.heads.iter().filter(|head| **head == 0).count(), 1);
                for start in 1..=sentence.heads.len() {
                    let mut at = start;
                    let steps = (0..=sentence.heads.len()).take_while(|_| {
                        at = sentence.heads[at - 1];
                        at != 0
                    });
                    prop_assert!(steps.count() < sentence.heads.len(), "{:?}", sentence.heads);
                }
            }
        }
    }
}
