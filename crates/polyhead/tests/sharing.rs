//! What must hold of every way of sharing the encoder (`polyhead::sharing`): a run begins with the encoder as it was, trains what it says, resumes to the
//! same bits, and is saved, loaded, exported and trained further.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod small;

use common::floats;
use polyhead::batch::Features;
use polyhead::encoders::ENCODERS;
use polyhead::export;
use polyhead::io::sha256_file;
use polyhead::model::Model;
use polyhead::parameters::Owner;
use polyhead::recipe::Recipe;
use polyhead::sharing::SHARINGS;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer, prepare};
use std::path::{Path, PathBuf};

/// Each mode with options that fit tiny-bert's three layers.
const MODES: &[&str] = &[
    "{ name = \"private_layers\", layers = 2 }",
    "{ name = \"cross_stitch\", layers = 2 }",
    "{ name = \"sluice\", layers = 2, subspaces = 4 }",
    "{ name = \"cross_attention\", layers = 2 }",
    "{ name = \"adapters\", form = \"houlsby\", reduction = 4 }",
    "{ name = \"adapters\", form = \"pfeiffer\", reduction = 4 }",
    "{ name = \"adapters\", form = \"parallel\" }",
    "{ name = \"lora\", rank = 4, alpha = 32, dropout = 0.1 }",
    "{ name = \"lora\", rslora = true }",
    "{ name = \"lora\", dora = true }",
    "{ name = \"ia3\" }",
    "{ name = \"bitfit\" }",
];

fn recipe(folder: &Path, mode: &str, more: &[&str]) -> Recipe {
    let sharing = format!("sharing={mode}");
    small::recipe(folder, &[&[sharing.as_str(), "train.learning_rate=1e-2"], more].concat())
}

fn best(folder: &Path) -> PathBuf {
    folder.join("runs/tiny/best")
}

fn trained(mode: &str, more: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    small::train(recipe(folder.path(), mode, more));
    folder
}

fn windows(data: &polyhead::train::TaskData) -> Vec<&Features> {
    data.windows.iter().map(|window| &window.features).collect()
}

fn logits(model: &Model, task: &str, windows: &[&Features]) -> Vec<f32> {
    let logits = model.logits(model.task(task).unwrap(), windows).unwrap();
    logits.iter().flat_map(|window| window.rows().flatten().copied().collect::<Vec<_>>()).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    let scale = b.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / scale
}

#[test]
fn every_mode_that_is_not_hard_is_tested() {
    let tested = |name: &&str| MODES.iter().any(|mode| mode.contains(&format!("\"{name}\"")));
    let names: Vec<&str> = SHARINGS.iter().map(|kind| kind.name).filter(|name| *name != "hard").collect();
    assert!(names.iter().all(tested), "{names:?}");
}

#[test]
fn training_begins_with_the_outputs_of_hard_sharing_in_every_encoder() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ENCODERS {
        let checkpoint = format!("encoder.checkpoint={}", small::fixture(kind.fixture).display());
        let begin = |recipe| prepare(&recipe, TASKS, &mut |_| {}).unwrap();
        // A mixture of equal numbers rounds otherwise than they do, and bf16 makes more of it.
        let precision = "train.precision=f32";
        let hard = begin(small::recipe(folder.path(), &[&checkpoint, precision]));
        for mode in MODES {
            let own = recipe(folder.path(), mode, &[&checkpoint, precision]);
            if mode.contains("bitfit") && kind.fixture == "tiny-modernbert" {
                let refused = prepare(&own, TASKS, &mut |_| {}).err().unwrap().to_string();
                assert!(refused.contains("expected an encoder with biases"), "{refused}");
                continue;
            }
            let own = begin(own);
            for data in &own.task_data {
                let windows = windows(data);
                let [own, hard] = [&own.model, &hard.model].map(|model| logits(model, &data.name, &windows));
                let apart = apart(&own, &hard);
                assert!(apart < 1e-5, "{}, {mode}, {}: {apart:e}", kind.fixture, data.name);
            }
        }
    }
}

#[test]
fn a_task_moves_what_is_shared_and_what_is_its_own_and_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    for mode in MODES {
        let prepared = prepare(&recipe(folder.path(), mode, &[]), TASKS, &mut |_| {}).unwrap();
        let parameters = &prepared.model.parameters;
        let meets = ["cross_stitch", "sluice", "cross_attention"].iter().any(|name| mode.contains(name));
        for data in &prepared.task_data {
            let loss = common::loss(
                &prepared.model,
                &data.name,
                &windows(data).into_iter().cloned().collect::<Vec<_>>(),
                Default::default(),
                common::TRAIN(),
            );
            let gradients = parameters.gradients(&loss).unwrap();
            let (mut private, mut of_others) = (0, 0);
            for (parameter, gradient) in gradients.of(parameters) {
                let expected = match &parameter.owner {
                    Owner::Encoder => true,
                    // A text passes the layers of all tasks as far as they meet.
                    Owner::Private(task) if *task != data.name && meets => {
                        of_others += usize::from(gradient.is_some());
                        continue;
                    }
                    Owner::Private(task) | Owner::Head(task) => *task == data.name,
                };
                private += usize::from(expected && matches!(parameter.owner, Owner::Private(_)));
                assert_eq!(gradient.is_some(), expected, "{mode}, {}: {}", data.name, parameter.name);
            }
            assert!(private > 0 && (of_others > 0) == meets, "{mode}: {private} private, {of_others} of others");
        }
    }
}

#[test]
fn a_run_has_the_same_bits_at_any_number_of_threads_and_when_it_is_resumed() {
    for mode in MODES {
        let run = |threads: usize, stop: usize| {
            let folder = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut trainer = small::trainer(recipe(folder.path(), mode, &["train.save_every=1"]));
                if stop > 0 {
                    // Goes away without a word.
                    let steps = trainer.by_ref().filter(|event| matches!(event, Ok(Event::Step(_))));
                    assert_eq!(steps.take(stop).count(), stop);
                    drop(trainer);
                    let run = folder.path().join("runs/tiny");
                    trainer = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).unwrap();
                }
                trainer.by_ref().for_each(|event| drop(event.unwrap()));
            });
            sha256_file(best(folder.path()).join("model.safetensors")).unwrap()
        };
        let one = run(1, 0);
        for (threads, stop) in [(2, 0), (2, 7)] {
            assert_eq!(run(threads, stop), one, "{mode}, {threads} threads, stopped after {stop} steps");
        }
    }
}

#[test]
fn a_folder_says_its_mode_and_loads_to_the_same_answers_alone_and_in_one_batch() {
    for mode in MODES {
        let folder = trained(mode, &[]);
        let model = common::load(&best(folder.path()));
        let again = folder.path().join("again");
        model.save(&again).unwrap();
        let [first, second] =
            [best(folder.path()), again].map(|folder| sha256_file(folder.join("model.safetensors")).unwrap());
        assert_eq!(first, second);
        let prepared = prepare(&recipe(folder.path(), mode, &[]), TASKS, &mut |_| {}).unwrap();
        let mut together = Vec::new();
        let mut alone = Vec::new();
        for (task, data) in prepared.task_data.iter().enumerate() {
            let windows = windows(data);
            let own = logits(&model, &data.name, &windows);
            assert!(
                apart(&logits(&prepared.model, &data.name, &windows), &own) > 1e-2,
                "{mode}: training moved nothing"
            );
            let exported = folder.path().join(&data.name);
            if export::single_task(&model, model.task(&data.name).unwrap(), &exported).is_ok() {
                let exported = logits(&common::load(&exported), &data.name, &windows);
                assert!(apart(&exported, &own) < 1e-5, "{mode}, {}: exported", data.name);
            }
            together.extend(windows.iter().map(|window| (task, *window)));
            alone.extend(own);
        }
        let together = model.logits_together(&together).unwrap();
        let together: Vec<f32> =
            together.iter().flat_map(|window| window.rows().flatten().copied().collect::<Vec<_>>()).collect();
        assert!(apart(&together, &alone) < 1e-5, "{mode}: in one batch");
    }
}

#[test]
fn what_is_private_stays_so_in_what_is_trained_from_it() {
    for mode in MODES {
        let folder = trained(mode, &["train.epochs=1", "train.keep_optimizer=true"]);
        let checkpoint = format!("encoder.checkpoint={}", folder.path().join("runs/tiny").display());
        let before = common::load(&best(folder.path()));
        let further = prepare(&recipe(folder.path(), mode, &[&checkpoint]), TASKS, &mut |_| {}).unwrap().model;
        for parameter in before.parameters.iter() {
            let [then, now] = [&before, &further]
                .map(|model| floats(model.parameters.get(&parameter.name).unwrap().weight.tensor().unwrap()));
            assert_eq!(then, now, "{mode}: {}", parameter.name);
        }
        let refused = prepare(&small::recipe(folder.path(), &[&checkpoint]), TASKS, &mut |_| {}).err().unwrap();
        assert!(refused.to_string().contains("sharing: the checkpoint has "), "{refused}");
        let run = folder.path().join("runs/tiny");
        let overrides = ["sharing=hard".to_owned(), "train.epochs=2".to_owned()];
        let refused = Trainer::resume(&run, None, &overrides, TASKS, &mut |_| {}).err().unwrap();
        assert!(refused.to_string().contains("sharing: the run has "), "{refused}");
    }
}

#[test]
fn a_task_that_is_added_to_a_frozen_encoder_leaves_the_answers_of_the_others_as_they_are() {
    for mode in MODES.iter().filter(|mode| ["adapters", "lora", "ia3", "bitfit"].iter().any(|name| mode.contains(name)))
    {
        let folder = trained(mode, &["train.epochs=1"]);
        let before = common::load(&best(folder.path()));
        let ner = small::kind("ner");
        let train = small::write_data(ner, "more", &[9; 16], folder.path());
        let text = format!(
            "name = 'more'\noutput = {:?}\nsharing = {mode}\nencoder = {{ checkpoint = {:?}, keep_heads = true }}\n\
             train = {{ epochs = 1, learning_rate = 1e-2, feature_cache = false }}\n\
             tasks.people = {{ kind = 'ner', max_length = 48, stride = 12, batch_size = 8 }}\n\
             data.people = {{ train = {train:?}, validation = {train:?} }}\n",
            folder.path().join("runs"),
            best(folder.path()),
        );
        small::train(Recipe::parse(&text, &folder.path().join("more.toml"), &[]).unwrap());
        let after = common::load(&folder.path().join("runs/more/best"));
        assert!(after.parameters.iter().any(|parameter| parameter.name.starts_with("private.people.")));
        for data in &prepare(&recipe(folder.path(), mode, &[]), TASKS, &mut |_| {}).unwrap().task_data {
            let windows = windows(data);
            let [then, now] = [&before, &after].map(|model| logits(model, &data.name, &windows));
            assert_eq!(then, now, "{mode}: {}", data.name);
        }
    }
}

#[test]
fn options_out_of_range_are_refused_with_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let refused =
        |mode: &str| prepare(&recipe(folder.path(), mode, &[]), TASKS, &mut |_| {}).err().unwrap().to_string();
    let said = refused("{ name = \"private_layers\", layers = 4 }");
    assert!(said.contains("sharing.layers: expected at most the 3 layers of the encoder, found 4"), "{said}");
    let parse = |sharing: &str| {
        let text = small::recipe_text(folder.path());
        let overrides = [format!("sharing={sharing}")];
        Recipe::parse(&text, Path::new("tiny.toml"), &overrides).err().unwrap().to_string()
    };
    let said = parse("{ name = \"private_layers\", layers = 0 }");
    assert!(said.contains("sharing.layers: expected at least 1, found 0"), "{said}");
    let said = parse("{ name = \"private_layers\", layer = 1 }");
    assert!(said.contains("unknown key `layer` in [sharing]; known: name, layers"), "{said}");
    let said = refused("{ name = \"adapters\", reduction = 10 }");
    let expected =
        "sharing.reduction: expected a number that makes 32, the width of hidden states, an even width, found 10";
    assert!(said.contains(expected), "{said}");
    let said = parse("{ name = \"adapters\", form = \"bottleneck\" }");
    assert!(said.contains("sharing.form") && said.contains("houlsby, pfeiffer, parallel"), "{said}");
    let said = parse("privat_layers");
    assert!(
        said.contains(
            "sharing: expected one of hard, private_layers, cross_stitch, sluice, cross_attention, adapters, lora"
        ),
        "{said}"
    );
}
