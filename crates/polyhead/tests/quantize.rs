//! Models in bytes: trained, quantised, loaded and asked; what is kept computes as before; what is malformed is told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::encoders::Precision;
use polyhead::error::Result;
use polyhead::infer::{Products, Session};
use polyhead::io::INT8_WEIGHTS;
use polyhead::quantize::{Quantized, Settings, quantize};
use polyhead::tasks::TASKS;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TEXT: &str = "ada lives in london and mary lives in paris";

/// A run, and a folder for what becomes of its model.
fn trained() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(small::recipe(folder.path(), &["train.epochs=6"]));
    let run = trainer.folder().to_owned();
    trainer.by_ref().for_each(|event| drop(event.unwrap()));
    (folder, run)
}

fn quantized(run: &Path, to: &Path, settings: Settings) -> Result<Quantized> {
    quantize(run, None, to, settings, &mut |_| ())
}

fn answers(session: &Session) -> [Value; 2] {
    ["ner", "qa"].map(|task| session.ask(task, &(small::kind(task).request)(TEXT)).unwrap())
}

/// The tensors of a file by name: type, shape and bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The tensors of a file, changed.
fn rewrite(file: &Path, change: impl Fn(&mut Tensors)) {
    let bytes = fs::read(file).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let plain =
        |(name, view): (String, TensorView)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    let mut tensors = read.tensors().into_iter().map(plain).collect();
    change(&mut tensors);
    let view = |(name, (dtype, shape, data)): (String, (Dtype, Vec<usize>, Vec<u8>))| (name, dtype, shape, data);
    let owned: Vec<_> = tensors.into_iter().map(view).collect();
    let views = owned
        .iter()
        .map(|(name, dtype, shape, data)| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn set_kept(folder: &Path, kept: &[&str]) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["polyhead"]["int8"] = json!({ "kept": kept });
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn a_model_in_bytes_answers_as_its_folder_says_and_its_scores_are_those_that_were_told() {
    let (folder, run) = trained();
    let to = folder.path().join("int8");
    let settings = Settings { max_loss: 100.0, ..Settings::default() };
    let done = quantized(&run, &to, settings).unwrap();
    assert!(done.kept.is_empty() && done.linear_layers == 18, "{done:?}");
    assert!(done.bytes[1] * 2 < done.bytes[0], "{:?}", done.bytes);
    assert!(!to.join("model.safetensors").exists(), "transformers must not take bytes for numbers");
    let session = Session::open(&to).unwrap();
    assert_eq!(session.products(), Products::Int8);
    for (changes, part) in [(&done.training, "train"), (&done.validation, "validation")] {
        for change in changes {
            let kind = small::kind(&change.task);
            let file = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name.contains(part) && name.ends_with(kind.extension)
            });
            let file = file.unwrap();
            let score = |session: &Session| {
                let found = session.evaluate(
                    &change.task,
                    std::slice::from_ref(&file),
                    None,
                    &Default::default(),
                    &mut |_, _| (),
                );
                found.unwrap().score
            };
            let (now, before) = (score(&session), score(&Session::open_in(&run, TASKS, Precision::auto()).unwrap()));
            assert_eq!((change.after, change.before), (now.headline_value(), before.headline_value()), "{change:?}");
            if part == "validation" {
                assert_eq!(
                    session.model.about.scores[&change.task], now.values,
                    "the folder has the scores of its model"
                );
            }
        }
    }
    assert_eq!([done.training.len(), done.validation.len()], [2, 2]);
    // Saved again it is a plain model of the numbers that the bytes stand for.
    let plain = folder.path().join("plain");
    session.model.save(&plain).unwrap();
    let [in_bytes, plain] =
        [&to, &plain].map(|folder| Session::open_in(folder, TASKS, Products::Of(Precision::F32)).unwrap());
    assert_eq!(answers(&in_bytes), answers(&plain));
    assert_eq!(plain.products().name(), "f32");
    // And another run begins with it.
    let checkpoint = format!("encoder.checkpoint={}", to.display());
    let again = small::recipe(folder.path(), &[&checkpoint, "name=again", "train.epochs=1"]);
    assert!(small::train(again).len() > 2);
}

#[test]
fn layers_that_are_kept_compute_as_before() {
    let (folder, run) = trained();
    let to = folder.path().join("int8");
    quantized(&run, &to, Settings { max_loss: 100.0, ..Settings::default() }).unwrap();
    let session = Session::open(&to).unwrap();
    let layers: Vec<&str> = session.model.linear_layers.iter().flatten().map(String::as_str).collect();
    let exact = answers(&Session::open_in(&to, TASKS, Precision::auto()).unwrap());
    assert_ne!(answers(&session), exact);
    set_kept(&to, &layers);
    assert_eq!(answers(&Session::open(&to).unwrap()), exact, "with all of them kept nothing multiplies bytes");
    set_kept(&to, &layers[1..]);
    assert_eq!(answers(&Session::open(&to).unwrap()), exact, "query, key and value are one product");
}

#[test]
fn what_loses_too_much_is_refused_and_nothing_is_left_behind() {
    let (folder, run) = trained();
    let to = folder.path().join("int8");
    let mut told = Vec::new();
    let settings = Settings { max_loss: -1000.0, examples: 5 };
    let error = quantize(&run, None, &to, settings, &mut |line| told.push(line.to_owned())).unwrap_err();
    assert!(error.to_string().contains("more than -1000 points"), "{error}");
    assert!(!to.exists());
    let measured = told.iter().filter(|line| line.starts_with("measuring linear layer")).count();
    assert_eq!(measured, 12, "query, key and value of each layer are one product each: {told:?}");
    assert!(told.iter().any(|line| line.starts_with("18 linear layers kept")), "{told:?}");
}

#[test]
fn a_model_without_a_run_needs_a_recipe() {
    let (folder, run) = trained();
    let (alone, to) = (folder.path().join("alone"), folder.path().join("int8"));
    fs::rename(run.join("best"), &alone).unwrap();
    let error = quantized(&alone, &to, Settings::default()).unwrap_err();
    assert!(error.to_string().contains("alone") && error.hint_text().unwrap().contains("--recipe"), "{error}");
    let recipe = folder.path().join("tiny.toml");
    fs::write(&recipe, small::recipe_text(folder.path())).unwrap();
    quantize(&alone, Some(&recipe), &to, Settings { max_loss: 100.0, ..Settings::default() }, &mut |_| ()).unwrap();
    Session::open(&to).unwrap();
}

#[test]
fn bytes_without_scales_or_with_others_are_told_by_name() {
    let (folder, run) = trained();
    let to = folder.path().join("int8");
    quantized(&run, &to, Settings { max_loss: 100.0, ..Settings::default() }).unwrap();
    let file = to.join(INT8_WEIGHTS);
    let good = fs::read(&file).unwrap();
    let name = "encoder.layer.1.output.dense.weight";
    let scale = format!("{name}_scale");
    let fault = |change: &dyn Fn(&mut Tensors)| {
        fs::write(&file, &good).unwrap();
        rewrite(&file, change);
        Session::open(&to).err().expect("a fault").to_string()
    };
    let error = fault(&|tensors| drop(tensors.remove(&scale)));
    assert!(error.contains(name) && error.contains("found none"), "{error}");
    let error = fault(&|tensors| {
        let scales = tensors.get_mut(&scale).unwrap();
        scales.1[0] -= 1;
        scales.2.truncate(4 * scales.1[0]);
    });
    assert!(error.contains(&scale) && error.contains("scales in F32"), "{error}");
    let error = fault(&|tensors| {
        let scales = tensors.get_mut(&scale).unwrap();
        scales.2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(error.contains(name) && error.contains("finite"), "{error}");
    let error = fault(&|tensors| tensors.get_mut(name).unwrap().1 = vec![tensors_len(&good, name)]);
    assert!(error.contains(&scale) && error.contains("matrix"), "{error}");
}

fn tensors_len(file: &[u8], name: &str) -> usize {
    SafeTensors::deserialize(file).unwrap().tensor(name).unwrap().data().len()
}
