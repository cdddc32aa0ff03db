//! LoRA against PEFT (`fixtures/lora_parity.py`), and what must hold of a run with it: it begins with the encoder as it was,
//! trains its factors and the heads alone, resumes, is saved, loaded, trained further and merged.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod small;

use common::{CLIP, DECAY, RATE, SCHEDULE, TRAIN, Tensors, error, fixture, floats, gradients, largest, loss, targets};
use polyhead::batch::{Features, Padding};
use polyhead::encoders::{ENCODERS, EncoderKind};
use polyhead::export;
use polyhead::infer::Session;
use polyhead::io::sha256_file;
use polyhead::model::Model;
use polyhead::optim::Optimizer;
use polyhead::parameters::Owner;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer, prepare};
use polyhead_kernels::adamw::AdamW;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Of a tensor's largest element.
const TOLERANCE: f64 = 1e-4;

const LORA: &[&str] = &["encoder.lora.rank=4", "encoder.lora.alpha=8", "train.learning_rate=1e-2"];

fn recipe(folder: &Path, more: &[&str]) -> Recipe {
    small::recipe(folder, &[LORA, more].concat())
}

fn best(folder: &Path) -> PathBuf {
    folder.join("runs/tiny/best")
}

/// A model folder with LoRA that was trained to the end, and the data it was trained on.
fn trained(more: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    small::train(recipe(folder.path(), more));
    folder
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

/// A model folder of an encoder with the factors that PEFT had, before training.
fn peft(kind: &EncoderKind, folder: &Path) -> (Model, Tensors, Tensors) {
    let fixtures = fixture(kind.fixture);
    let [inputs, reference] =
        ["parity", "lora"].map(|name| common::read(&fixtures.join(name).with_extension("safetensors")));
    common::write_model(&fixtures, &inputs, folder);
    let mut tensors = common::read(&folder.join("model.safetensors"));
    let factors = reference.iter().filter(|(name, _)| name.starts_with("encoder."));
    tensors.extend(factors.map(|(name, tensor)| (name.clone(), tensor.clone())));
    common::write(&folder.join("model.safetensors"), &tensors);
    let mut config = config(folder);
    config["polyhead"]["lora"] =
        json!({ "rank": 3, "alpha": 5.0, "targets": ["query", "value", "intermediate.dense", "output.dense"] });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    (common::load(folder), inputs, reference)
}

fn logits(model: &Model, inputs: &Tensors, task: &str, like: &candle_core::Tensor) -> candle_core::Tensor {
    let values = common::logits(model, task, &common::windows(inputs)).concat();
    candle_core::Tensor::from_vec(values, like.dims(), like.device()).unwrap()
}

#[test]
fn logits_losses_gradients_training_and_merging_are_those_of_peft() {
    // Low-rank additions belong to linear layers, whatever network these are in.
    ENCODERS.iter().filter(|kind| ["tiny-bert", "tiny-roberta"].contains(&kind.fixture)).for_each(as_peft);
}

fn as_peft(kind: &EncoderKind) {
    let folder = tempfile::tempdir().unwrap();
    let (model, inputs, reference) = peft(kind, folder.path());
    // 5 targets in each layer, A and B.
    let factors = 5 * 2 * model.encoder.layers();
    let close = |name: &str, got: &candle_core::Tensor, want: &candle_core::Tensor| {
        let error = error(got, want);
        assert!(error <= TOLERANCE, "{}, {name}: error {error:e}", kind.fixture);
    };
    let mut compared = 0;
    for task in ["ner", "qa"] {
        let (name, windows) = (format!("{task}_logits"), targets(&inputs, task));
        close(&name, &logits(&model, &inputs, task, &reference[&name]), &reference[&name]);
        let loss = loss(&model, task, &windows, Padding::Packed, TRAIN());
        close("loss", &loss.detach().reshape(1).unwrap(), &reference[&format!("{task}_loss")]);
        let found = gradients(&model, task, &loss);
        let want: Vec<_> = reference.iter().filter(|(name, _)| name.starts_with(&format!("grad.{task}."))).collect();
        assert_eq!(found.len(), want.len(), "what PEFT trains has a gradient, and nothing else");
        let scale = want.iter().map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max);
        for (name, want) in want {
            let found = found.get(name).unwrap_or_else(|| panic!("{name} has no gradient"));
            compared += 1;
            // All tokens of a sequence share the biases of question answering: zero but for rounding.
            if largest(want) < 1e-6 * scale {
                assert!(largest(found) < 1e-6 * scale, "{name}");
            } else {
                close(name, found, want);
            }
        }
    }
    assert_eq!(compared, (factors + 2) + (factors + 4));
    let merged = model.parameters.merged(model.lora.as_ref()).unwrap();
    let mut compared = 0;
    for (name, tensor) in &merged {
        assert!(!name.contains("lora"), "{name}");
        if let Some(want) = reference.get(&format!("merged.{name}")) {
            assert!(error(tensor, want) <= 1e-6, "{name}");
            compared += 1;
        }
    }
    assert_eq!((compared, merged.len()), (5, model.parameters.iter().count() - factors));
    let plain = folder.path().join("merged");
    model.save_merged(&plain).unwrap();
    let plain = common::load(&plain);
    let want = &reference["merged_ner_logits"];
    assert!(error(&logits(&plain, &inputs, "ner", want), want) <= 1e-5);
    let mut optimizer = Optimizer::new(AdamW::default(), DECAY, CLIP);
    let [losses, norms] = ["losses", "grad_norms"].map(|name| floats(&reference[name]));
    for (step, (want, norm)) in losses.into_iter().zip(norms).enumerate() {
        let task = ["ner", "qa"][step % 2];
        let loss = loss(&model, task, &targets(&inputs, task), Padding::Packed, TRAIN());
        let gradients = model.parameters.gradients(&loss).unwrap();
        let found = optimizer.step(&model.parameters, &gradients, RATE * SCHEDULE.factor(step)).unwrap().norm();
        let loss = loss.to_scalar::<f32>().unwrap();
        assert!((loss - want).abs() <= 1e-4 * want, "step {step}: loss {loss} for {want}");
        assert!((found - f64::from(norm)).abs() <= 1e-4 * f64::from(norm), "step {step}: norm {found} for {norm}");
    }
    let want = &reference["trained_ner_logits"];
    close("trained_ner_logits", &logits(&model, &inputs, "ner", want), want);
    // The biases of question answering have gradients of rounding, which AdamW makes large: what all tokens share is left out.
    let want = &reference["trained_qa_logits"];
    let centred = |logits: &candle_core::Tensor| logits.broadcast_sub(&logits.mean_keepdim(0).unwrap()).unwrap();
    close("trained_qa_logits", &centred(&logits(&model, &inputs, "qa", want)), &centred(want));
}

/// Where each task has the additions that PEFT trained for all, it answers as PEFT does, alone, beside the other and merged; its gradients are PEFT's, and
/// none is of the other's additions.
#[test]
fn additions_of_each_task_are_those_of_peft() {
    for kind in ENCODERS.iter().filter(|kind| ["tiny-bert", "tiny-roberta"].contains(&kind.fixture)) {
        let folder = tempfile::tempdir().unwrap();
        let (_, inputs, reference) = peft(kind, folder.path());
        let mut tensors = common::read(&folder.path().join("model.safetensors"));
        let factors: Vec<String> = tensors.keys().filter(|name| name.contains(".lora_")).cloned().collect();
        for name in factors {
            let factor = tensors.remove(&name).unwrap();
            tensors.extend(["ner", "qa"].map(|task| (format!("private.{task}.{name}"), factor.clone())));
        }
        common::write(&folder.path().join("model.safetensors"), &tensors);
        let mut config = config(folder.path());
        config["polyhead"]["sharing"] = config["polyhead"]["lora"].take();
        config["polyhead"]["sharing"]["name"] = json!("lora");
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let model = common::load(folder.path());
        let windows = common::windows(&inputs);
        let both: Vec<(usize, &Features)> = windows.iter().flat_map(|one| [(0, one), (1, one)]).collect();
        let both = model.logits_together(&both).unwrap();
        for (number, task) in ["ner", "qa"].into_iter().enumerate() {
            let want = &reference[&format!("{task}_logits")];
            let close = |logits: &candle_core::Tensor| {
                let error = error(logits, want);
                assert!(error <= TOLERANCE, "{}, {task}: error {error:e}", kind.fixture);
            };
            close(&logits(&model, &inputs, task, want));
            let of_both =
                both.iter().skip(number).step_by(2).flat_map(|one| one.rows().flatten().copied().collect::<Vec<_>>());
            close(&candle_core::Tensor::from_vec(of_both.collect(), want.dims(), want.device()).unwrap());
            let single = folder.path().join(task);
            export::single_task(&model, model.task(task).unwrap(), &single).unwrap();
            close(&logits(&common::load(&single), &inputs, task, want));
            let loss = loss(&model, task, &targets(&inputs, task), Padding::Packed, TRAIN());
            let found = gradients(&model, task, &loss);
            let prefix = format!("private.{task}.");
            let of_factors = found.iter().filter_map(|(name, found)| Some((name.split_once(&prefix)?, found)));
            let mut compared = 0;
            for ((before, name), found) in of_factors {
                let want = &reference[&format!("{before}{name}")];
                assert!(error(found, want) <= TOLERANCE, "{}, {task}, {name}", kind.fixture);
                compared += 1;
            }
            assert_eq!(compared, 5 * 2 * model.encoder.layers());
            assert_eq!(found.keys().filter(|name| name.contains(".lora_")).count(), compared);
        }
    }
}

#[test]
fn training_begins_with_the_outputs_of_the_plain_model_and_a_key_of_each_name() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |recipe| prepare(&recipe, TASKS, &mut |_| {}).unwrap();
    let (with, without) = (begin(recipe(folder.path(), &[])), begin(small::recipe(folder.path(), &[])));
    let more = begin(recipe(folder.path(), &["encoder.lora.targets=[\"output.dense\", \"query\"]"]));
    for data in &with.task_data {
        let windows: Vec<&Features> = data.windows.iter().map(|window| &window.features).collect();
        let logits = |model: &Model| -> Vec<Vec<f32>> {
            let logits = model.logits(model.task(&data.name).unwrap(), &windows).unwrap();
            logits.iter().map(|window| window.rows().flatten().copied().collect()).collect()
        };
        assert_eq!(logits(&with.model), logits(&without.model));
    }
    let name = "encoder.layer.1.attention.self.query.lora_A.weight";
    let values = |model: &Model, name: &str| floats(model.parameters.get(name).unwrap().weight.tensor().unwrap());
    let first = values(&with.model, name);
    assert_eq!(first, values(&more.model, name), "other targets change no other factor");
    assert_ne!(first, values(&with.model, &name.replace("query", "value")));
    let bound = 1.0 / 32_f32.sqrt();
    assert!(first.iter().all(|value| value.abs() <= bound) && first.iter().any(|value| value.abs() > 0.8 * bound));
    assert!(values(&with.model, &name.replace("lora_A", "lora_B")).iter().all(|&value| value == 0.0));
    let added = |model: &Model| model.parameters.iter().filter(|one| one.name.contains(".lora_")).count();
    assert_eq!((added(&with.model), added(&more.model), added(&without.model)), (3 * 2 * 2, 3 * 3 * 2, 0));
}

#[test]
fn the_factors_and_the_heads_move_and_nothing_else_and_only_they_have_moments() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(recipe(folder.path(), &["train.keep_optimizer=true", "encoder.lora.dropout=0.1"]));
    let values = |model: &Model| -> Vec<Vec<f32>> {
        model.parameters.tensors().unwrap().into_iter().map(|(_, tensor)| floats(tensor)).collect()
    };
    let before = values(trainer.model());
    trainer.by_ref().for_each(|event| drop(event.unwrap()));
    let mut trained = BTreeSet::new();
    for ((parameter, before), after) in trainer.model().parameters.iter().zip(before).zip(values(trainer.model())) {
        let trains = parameter.name.contains(".lora_") || parameter.owner != Owner::Encoder;
        assert_eq!(parameter.is_trained(), trains, "{}", parameter.name);
        assert_eq!(before != after, trains, "{}", parameter.name);
        if trains {
            trained.insert(parameter.name.clone());
        }
    }
    assert_eq!(trained.len(), 12 + 2 + 4);
    let moments = common::read(&folder.path().join("runs/tiny/checkpoint-12/optimizer.safetensors"));
    let of: BTreeSet<String> =
        moments.keys().map(|name| name.trim_end_matches(".first").trim_end_matches(".second").to_owned()).collect();
    assert_eq!(of, trained);
}

#[test]
fn a_run_has_the_same_bits_at_any_number_of_threads_and_when_it_is_resumed() {
    for precision in ["f32", "bf16"] {
        let run = |threads: usize, stop: usize| {
            let folder = tempfile::tempdir().unwrap();
            let precision = format!("train.precision={precision}");
            let overrides = ["train.save_every=1", "encoder.lora.dropout=0.2", precision.as_str()];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut trainer = small::trainer(recipe(folder.path(), &overrides));
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
        for (threads, stop) in [(2, 0), (3, 0), (1, 5), (2, 7)] {
            assert_eq!(run(threads, stop), one, "{precision}, {threads} threads, stopped after {stop} steps");
        }
    }
}

#[test]
fn a_run_is_not_resumed_with_other_additions() {
    let folder = trained(&["train.epochs=1", "train.keep_optimizer=true"]);
    for (change, said) in [
        ("encoder.lora.rank=2", "the run has rank 4, alpha 8, on query, value; the recipe now has rank 2"),
        ("encoder.lora.targets=[\"key\"]", "the recipe now has rank 4, alpha 8, on key"),
    ] {
        let overrides = [change.to_owned(), "train.epochs=2".to_owned()];
        let run = folder.path().join("runs/tiny");
        let refused = Trainer::resume(&run, None, &overrides, TASKS, &mut |_| {}).err().unwrap();
        assert!(refused.to_string().contains(said), "{refused}");
        assert!(refused.hint_text().unwrap().contains("a new run"));
    }
}

#[test]
fn a_folder_says_its_additions_and_loads_to_the_same_answers_merged_and_not() {
    let folder = trained(&[]);
    let best = best(folder.path());
    let wanted = json!({ "rank": 4, "alpha": 8.0, "rslora": false, "dora": false, "dropout": 0.0, "targets": ["query", "value"] });
    assert_eq!(config(&best)["polyhead"]["lora"], wanted);
    let tensors = common::read(&best.join("model.safetensors"));
    assert_eq!(tensors["encoder.layer.2.attention.self.value.lora_A.weight"].dims(), [4, 32]);
    assert_eq!(tensors["encoder.layer.2.attention.self.value.lora_B.weight"].dims(), [32, 4]);
    let card = std::fs::read_to_string(best.join("README.md")).unwrap();
    assert!(card.contains("LoRA, rank 4, alpha 8, on query, value") && card.contains("polyhead merge"), "{card}");

    let model = common::load(&best);
    let (merged, again) = (folder.path().join("merged"), folder.path().join("again"));
    model.save(&again).unwrap();
    assert_eq!(
        std::fs::read(again.join("model.safetensors")).unwrap(),
        std::fs::read(best.join("model.safetensors")).unwrap()
    );
    model.save_merged(&merged).unwrap();
    assert!(config(&merged)["polyhead"].get("lora").is_none());
    let names = |folder: &Path| common::read(&folder.join("model.safetensors")).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&merged), names(&best).into_iter().filter(|name| !name.contains("lora")).collect::<Vec<_>>());
    assert!(!std::fs::read_to_string(merged.join("README.md")).unwrap().contains("polyhead merge"));
    let plain = common::load(&merged);
    assert!(plain.lora.is_none() && plain.parameters.iter().any(|one| one.owner == Owner::Encoder && one.is_trained()));

    let prepared = prepare(&recipe(folder.path(), &[]), TASKS, &mut |_| {}).unwrap();
    for data in &prepared.task_data {
        let windows: Vec<&Features> = data.windows.iter().map(|window| &window.features).collect();
        let logits = |model: &Model| -> Vec<f32> {
            let logits = model.logits(model.task(&data.name).unwrap(), &windows).unwrap();
            logits.iter().flat_map(|window| window.rows().flatten().copied().collect::<Vec<_>>()).collect()
        };
        let apart = |a: &[f32], b: &[f32]| {
            let scale = b.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / scale
        };
        let with = logits(&model);
        assert!(apart(&logits(&plain), &with) < 1e-5, "{}: merged", data.name);
        assert!(apart(&logits(&prepared.model), &with) > 1e-2, "{}: training moved it", data.name);
        // transformers knows nothing of LoRA: an exported task is merged.
        let exported = folder.path().join(&data.name);
        if export::single_task(&model, model.task(&data.name).unwrap(), &exported).is_ok() {
            assert!(apart(&logits(&common::load(&exported)), &with) < 1e-5, "{}: exported", data.name);
        }
    }
}

#[test]
fn a_checkpoint_with_additions_is_trained_further_or_merged() {
    let folder = trained(&["train.epochs=1"]);
    let checkpoint = format!("encoder.checkpoint={}", folder.path().join("runs/tiny").display());
    let before = common::load(&best(folder.path()));
    let prepared = |recipe: Recipe| {
        let mut notes = Vec::new();
        let prepared = prepare(&recipe, TASKS, &mut |note| notes.push(note.to_owned())).unwrap();
        (prepared, notes.join("\n"))
    };
    let factor = "encoder.layer.0.attention.self.query.lora_B.weight";
    let value = |model: &Model| floats(model.parameters.get(factor).unwrap().weight.tensor().unwrap());
    let (further, said) = prepared(recipe(folder.path(), &[&checkpoint, "encoder.lora.dropout=0.3"]));
    assert!(said.contains("(rank 4, alpha 8, on query, value) are trained further"), "{said}");
    assert_eq!(value(&further.model), value(&before));
    let (anew, said) = prepared(recipe(folder.path(), &[&checkpoint, "encoder.lora.alpha=4"]));
    assert!(said.contains("are merged into its encoder; new ones begin"), "{said}");
    assert!(value(&anew.model).iter().all(|&value| value == 0.0));
    let (whole, said) = prepared(small::recipe(folder.path(), &[&checkpoint]));
    assert!(said.contains("are merged into its encoder; the recipe has no encoder.lora"), "{said}");
    assert!(whole.model.lora.is_none());
    for data in &whole.task_data {
        let windows: Vec<&Features> = data.windows.iter().map(|window| &window.features).collect();
        let logits = |model: &Model| -> Vec<f32> {
            let logits = model.logits(model.task(&data.name).unwrap(), &windows).unwrap();
            logits.iter().flat_map(|window| window.rows().flatten().copied().collect::<Vec<_>>()).collect()
        };
        let want = logits(&before);
        let scale = want.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for model in [&further.model, &anew.model, &whole.model] {
            for (got, want) in logits(model).iter().zip(&want) {
                // In bf16, where the processor has it.
                assert!((got - want).abs() < 3e-2 * scale, "{}: {got} for {want}", data.name);
            }
        }
    }
}

#[test]
fn wrong_settings_are_refused_with_their_place_and_the_layers_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let text = small::recipe_text(folder.path());
    let refused = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        let recipe = Recipe::parse(&text, &folder.path().join("tiny.toml"), &overrides);
        let error = recipe.and_then(|recipe| Trainer::new(recipe, &mut |_| {})).err().unwrap();
        format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
    };
    for (pair, said) in [
        ("rank=0", "encoder.lora.rank: expected at least 1, found 0"),
        (
            "rank=33",
            "expected at most 32, the smaller side of `encoder.layer.0.attention.self.query` [32, 32], found 33",
        ),
        ("rank=many", "encoder.lora.rank: expected a whole number of at least 0, found \"many\""),
        ("alpha=0", "encoder.lora.alpha: expected a number above 0, found 0"),
        ("dropout=1", "encoder.lora.dropout: expected a rate from 0 up to 1, found 1"),
        ("targets=[]", "encoder.lora.targets: expected at least one name of a linear layer, found none"),
        ("targets=['query', 'query']", "encoder.lora.targets: expected each name once, found `query` twice"),
        (
            "targets=['query', 'q_proj']",
            "expected names of linear layers of this encoder (attention.self.query, attention.self.key, \
             attention.self.value, attention.output.dense, intermediate.dense, output.dense), or the last parts of \
             them, found `q_proj`",
        ),
        ("targets=['query_layer']", "found `query_layer` hint: did you mean `attention.self.query`?"),
        (
            "r=8",
            "unknown key `r` in [encoder.lora]; known: rank, alpha, rslora, dora, dropout, targets hint: it is called `encoder.lora.rank` here",
        ),
        ("lora_alpha=8", "it is called `encoder.lora.alpha` here"),
        ("target_modules=['query']", "it is called `encoder.lora.targets` here"),
        ("modules_to_save=['classifier']", "heads are always trained and saved"),
    ] {
        let pair = format!("encoder.lora.{pair}");
        let error = refused(&[&pair]);
        assert!(error.contains(said), "{pair}: {error}");
        assert!(error.starts_with(&format!("--set {pair}: ")), "{pair}: {error}");
    }
    let error = refused(&["encoder.freeze=1", "encoder.lora.rank=2"]);
    assert!(error.contains("encoder.freeze: expected nothing beside [encoder.lora]"), "{error}");
    assert!(!folder.path().join("runs").exists(), "nothing was begun");
}

#[test]
fn a_damaged_folder_is_refused_with_what_is_wrong() {
    let refused = |change: &dyn Fn(&mut Value, &mut Tensors)| {
        let folder = tempfile::tempdir().unwrap();
        peft(&ENCODERS[0], folder.path());
        let (mut config, path) = (config(folder.path()), folder.path().join("model.safetensors"));
        let mut tensors = common::read(&path);
        change(&mut config, &mut tensors);
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        common::write(&path, &tensors);
        let error = Model::load(folder.path(), TASKS).err().unwrap();
        let begun = prepare(
            &small::recipe(folder.path(), &[&format!("encoder.checkpoint={}", folder.path().display())]),
            TASKS,
            &mut |_| {},
        );
        (error.to_string(), begun.err().map(|error| error.to_string()).unwrap_or_default())
    };
    let (error, begun) =
        refused(&|_, tensors| _ = tensors.remove("encoder.layer.1.attention.self.query.lora_B.weight"));
    assert!(error.contains("expected a tensor [32, 3], found none of this name"), "{error}");
    assert!(begun.contains("`encoder.layer.1.attention.self.query.lora_B.weight`: expected a matrix"), "{begun}");
    let (error, begun) = refused(&|config, _| config["polyhead"]["lora"]["rank"] = json!(4));
    assert!(error.contains("expected the shape [4, 32], found [3, 32]"), "{error}");
    assert!(begun.contains("expected an addition of rank 4"), "{begun}");
    let (error, begun) = refused(&|config, _| _ = config["polyhead"].as_object_mut().unwrap().remove("lora"));
    for error in [error, begun] {
        assert!(error.contains("lora_A.weight`: unknown to this model"), "{error}");
    }
    let (error, begun) = refused(&|config, _| config["polyhead"]["lora"]["targets"] = json!(["nothing"]));
    assert!(error.contains("config.json") && error.contains("found `nothing`"), "{error}");
    assert!(begun.contains("...nothing.lora_A.weight"), "{begun}");
    let (error, _) = refused(&|config, _| config["polyhead"]["lora"]["use_dora"] = json!(true));
    assert!(error.contains("config.json") && error.contains("unknown field `use_dora`"), "{error}");
}

#[test]
fn a_session_answers_with_the_additions() {
    let folder = trained(&["train.epochs=1"]);
    let session = Session::open(best(folder.path())).unwrap();
    assert_eq!(session.model.lora.as_ref().unwrap().described(), "rank 4, alpha 8, on query, value");
}
