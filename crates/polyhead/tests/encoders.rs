//! Every encoder from a recipe to an answer: trained on NER, QA and pairs of texts, saved, loaded, asked, resumed; the same bits
//! with any number of threads. What its entry says of it is so.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::encoders::{ENCODERS, EncoderKind};
use polyhead::infer::Session;
use polyhead::io::sha256_file;
use polyhead::model::Model;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Dropout everywhere, so that the key of every mask counts, and a checkpoint of each second step.
fn overrides(kind: &EncoderKind, more: &[&str]) -> Vec<String> {
    let checkpoint = format!("encoder.checkpoint={}", small::fixture(kind.fixture).display());
    let fixed = ["tasks.ner.dropout=0.1", "tasks.qa.dropout=0.1", "train.save_every=2", "train.keep_optimizer=true"];
    [checkpoint].into_iter().chain(fixed.iter().chain(more).map(|pair| (*pair).to_owned())).collect()
}

/// Trains to the end, or goes away after so many steps. The losses of each task's steps.
fn train(trainer: Trainer, steps: usize) -> BTreeMap<String, Vec<f64>> {
    let mut losses: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for event in trainer {
        if let Event::Step(step) = event.unwrap() {
            let part = &step.tasks[0];
            losses.entry(part.task.clone()).or_default().push(part.loss.unwrap());
            if losses.values().map(Vec::len).sum::<usize>() == steps {
                break;
            }
        }
    }
    losses
}

fn trainer(kind: &EncoderKind, folder: &Path, more: &[&str]) -> Trainer {
    let overrides = overrides(kind, more);
    small::trainer(small::recipe(folder, &overrides.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The digests of the best model, and of weights and moments at the end.
fn digests(run: &Path) -> Vec<String> {
    let mut checkpoints: Vec<(usize, PathBuf)> = fs::read_dir(run)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            Some((path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()?, path))
        })
        .collect();
    checkpoints.sort();
    let last = checkpoints.pop().unwrap().1;
    let files =
        [run.join("best/model.safetensors"), last.join("model.safetensors"), last.join("optimizer.safetensors")];
    files.iter().map(|path| sha256_file(path).unwrap()).collect()
}

const TEXTS: [&str; 4] = ["mary was in london", "the  queen of 東京\u{a0}was Zoë 👩\u{200d}🚀", "cafe\u{301}!", "x"];

/// What a model answers to both tasks.
fn answers(session: &Session) -> Vec<Value> {
    let ask = |task: &str, request: Value| session.ask(task, &request).unwrap();
    let both = |text: &&str| {
        [ask("ner", json!({ "text": text })), ask("qa", json!({ "question": "who was it ?", "context": text }))]
    };
    TEXTS.iter().flat_map(both).collect()
}

#[test]
fn an_encoder_is_trained_saved_loaded_asked_and_resumed_to_the_same_bits() {
    for kind in ENCODERS {
        let of = kind.name.model_type;
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs/tiny");
        let losses = train(trainer(kind, folder.path(), &["train.epochs=9", "train.learning_rate=4e-3"]), usize::MAX);
        for (task, losses) in &losses {
            let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
            let (first, last) = (mean(&losses[..3]), mean(&losses[losses.len() - 3..]));
            assert!(losses.len() > 10 && last < 0.9 * first, "{of}: {task} goes from {first} to {last}");
        }
        assert_eq!(losses.len(), 2, "{of}");
        let whole = digests(&run);

        let session = Session::open(&run).unwrap();
        let want = answers(&session);
        // The offsets of an answer are those of its text.
        for (text, answers) in TEXTS.iter().zip(want.chunks(2)) {
            let chars: Vec<char> = text.chars().collect();
            let spans = answers[0]["entities"].as_array().unwrap().iter().map(|entity| (entity, "text"));
            for (span, name) in spans.chain([(&answers[1], "answer")]) {
                let [start, end] = ["start", "end"].map(|side| span[side].as_u64().unwrap() as usize);
                assert_eq!(span[name], json!(chars[start..end].iter().collect::<String>()), "{of}: {text:?}");
            }
        }
        let saved = folder.path().join("saved");
        session.model.save(&saved).unwrap();
        assert_eq!(answers(&Session::open(&saved).unwrap()), want, "{of}");

        let broken = tempfile::tempdir().unwrap();
        let left = broken.path().join("runs/tiny");
        train(trainer(kind, broken.path(), &["train.epochs=9", "train.learning_rate=4e-3"]), 9);
        train(Trainer::resume(&left, None, &[], TASKS, &mut |_| {}).unwrap(), usize::MAX);
        assert_eq!(digests(&left), whole, "{of}: resumed");
    }
}

#[test]
fn any_number_of_threads_and_both_precisions_train_an_encoder_to_the_same_bits_each() {
    for kind in ENCODERS {
        let mut found = Vec::new();
        for precision in ["f32", "bf16"] {
            let run = |threads: usize| {
                let folder = tempfile::tempdir().unwrap();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let precision = format!("train.precision={precision}");
                pool.install(|| train(trainer(kind, folder.path(), &[&precision]), usize::MAX));
                digests(&folder.path().join("runs/tiny"))
            };
            let one = run(1);
            assert_eq!(run(3), one, "{}, {precision}", kind.name.model_type);
            found.push(one);
        }
        assert_ne!(found[0], found[1], "{}: precisions differ", kind.name.model_type);
    }
}

#[test]
fn what_an_entry_says_is_true_of_its_checkpoint() {
    for kind in ENCODERS {
        let folder = small::fixture(kind.fixture);
        let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        assert_eq!(kind.name_in(&config), kind.name);
        let (_folder, model) = model(kind);
        // Without a table of positions a sequence may be longer than `config.json` says.
        assert!(kind.max_tokens(&config).is_some_and(|most| most <= model.encoder.max_tokens()));
        // Each target of LoRA is a linear layer of every layer that has weights of its own.
        let different = if config["num_hidden_groups"].is_u64() { 1 } else { model.encoder.layers() };
        for target in kind.lora_targets {
            let ending = format!(".{target}.weight");
            let layers = model
                .parameters
                .iter()
                .filter(|parameter| parameter.name.ends_with(&ending) && parameter.weight.dims().len() == 2);
            assert_eq!(layers.count(), different, "{}: {target}", kind.name.model_type);
        }
    }
}

/// A model of an encoder with a new head.
fn model(kind: &EncoderKind) -> (tempfile::TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    trainer(kind, folder.path(), &[]).model().save(&folder.path().join("saved")).unwrap();
    let model = Model::load(&folder.path().join("saved"), TASKS).unwrap();
    (folder, model)
}

#[test]
fn token_types_of_a_template_count_where_an_encoder_has_them_and_nowhere_else() {
    use polyhead::batch::Features;
    use polyhead::encoders::TokenTypes;
    for kind in ENCODERS {
        let (_folder, model) = model(kind);
        let task = model.task("ner").unwrap();
        let logits = |types: [u32; 4]| {
            let window = Features { ids: vec![2, 9, 8, 7], types: types.to_vec(), ..Features::default() };
            model.logits(task, &[&window]).unwrap()[0].rows().flatten().copied().collect::<Vec<f32>>()
        };
        let same = logits([0; 4]) == logits([0, 0, 1, 1]);
        let has_types = model.parameters.iter().any(|parameter| parameter.name.contains("token_type_embeddings"));
        let told_apart = has_types && kind.token_types == TokenTypes::OfTemplate;
        assert_eq!(same, !told_apart, "{}", kind.name.model_type);
    }
}

#[test]
fn a_padding_token_that_leaves_no_position_is_refused() {
    let kind = ENCODERS.iter().find(|kind| kind.name.model_type == "roberta").unwrap();
    for (padding, allowed) in
        [(json!(1), true), (Value::Null, true), (json!(65), false), (json!(-1), false), (json!("1"), false)]
    {
        let (folder, _) = model(kind);
        let path = folder.path().join("saved/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["pad_token_id"] = padding.clone();
        fs::write(&path, config.to_string()).unwrap();
        let loaded = Model::load(&folder.path().join("saved"), TASKS);
        match loaded {
            Ok(_) => assert!(allowed, "{padding}"),
            Err(error) => {
                assert!(!allowed && error.to_string().contains("`pad_token_id`: expected a number below"), "{error}");
                assert!(error.hint_text().is_some());
            }
        }
    }
}
