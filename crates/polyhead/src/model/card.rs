//! Model cards: the `README.md` of a model folder, with the front matter that the Hub reads.

use super::{Model, NamedTask, arguments, case_embeddings};
use crate::encoders::EncoderKind;
use crate::parameters::Lora;
use crate::sharing;
use crate::tasks::SingleTask;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// The card of a whole model: what it does, its scores, how it was made and how it is used; of one whose folder has LoRA, or not.
pub fn model_card(model: &Model, lora: Option<&Lora>) -> String {
    let mut card = front_matter(model, None);
    let tasks: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    let _ = write!(
        card,
        "# One encoder, {} heads: {}\n\nTrained with polyhead {}: one shared Transformer encoder with a head for each task.\n\n",
        tasks.len(),
        tasks.join(", "),
        env!("CARGO_PKG_VERSION"),
    );
    if !model.about.kept_heads.is_empty() {
        let kept = model.about.kept_heads.join(", ");
        let _ = write!(
            card,
            "The training of this model left some heads as they came with its encoder: {kept}. The encoder has changed since, and \
             they were not scored again.\n\n"
        );
    }
    if let Some(lora) = lora {
        let _ = write!(
            card,
            "The encoder has low-rank additions (LoRA, {}) that transformers leaves aside: `polyhead merge THIS_FOLDER TO` \
             writes the same model without them.\n\n",
            lora.described()
        );
    }
    if model.sharing != sharing::hard() {
        let _ = write!(
            card,
            "Each task has parts of the encoder for itself: sharing = {}. transformers loads what all of them share.\n\n",
            model.sharing
        );
    }
    scores(model, &mut card);
    usage(model, &mut card);
    let _ = write!(card, "`transformers.AutoModel.from_pretrained(THIS_FOLDER)` loads the encoder");
    card += match case_embeddings::has(model.config()) {
        true => ".\n\n",
        false => "; `polyhead export` writes a task as a single-task model of transformers.\n\n",
    };
    case_note(model, &mut card);
    origin(model, &mut card);
    card
}

/// The card of a whole model whose encoder is in bytes, but for the linear layers that are kept.
pub fn card_in_bytes(model: &Model, kept: &BTreeSet<String>) -> String {
    let mut card = front_matter(model, None);
    let tasks: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    let but = match kept.len() {
        0 => String::new(),
        _ => format!(", but for {}", kept.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    };
    let _ = write!(
        card,
        "# One encoder in bytes, {} heads: {}\n\nTrained with polyhead {} and quantised: the linear layers of the encoder multiply bytes{but}, \
         each output with a scale of its own, each token with another. Scores are those of the quantised model.\n\n",
        tasks.len(),
        tasks.join(", "),
        env!("CARGO_PKG_VERSION"),
    );
    scores(model, &mut card);
    usage(model, &mut card);
    let _ = write!(
        card,
        "Other programs don't read these weights; `polyhead export` writes them in f32, and as ONNX in bytes.\n\n"
    );
    origin(model, &mut card);
    card
}

/// The card of one exported task.
pub fn single_task_card(model: &Model, task: &NamedTask, single: &SingleTask) -> String {
    let mut card = front_matter(model, Some(single.pipeline));
    title(&mut card, task, single);
    scores(model, &mut card);
    origin(model, &mut card);
    card
}

/// The card of the low-rank additions of a task, for PEFT: they belong to the encoder of this name.
pub fn peft_card(model: &Model, task: &NamedTask, single: &SingleTask, base: &str) -> String {
    let mut card =
        front_matter(model, Some(single.pipeline)).replacen("library_name: transformers", "library_name: peft", 1);
    title(&mut card, task, single);
    let (class, labels) = (single.architecture, task.task.labels().len());
    let labels = if labels > 0 { format!(", num_labels={labels}") } else { String::new() };
    let _ = write!(
        card,
        "Low-rank additions (LoRA) to the encoder `{base}`, and the head:\n\n```python\nfrom peft import PeftModel\nfrom transformers import \
         AutoModel{class}\n\nbase = AutoModel{class}.from_pretrained({}{labels})\nmodel = PeftModel.from_pretrained(base, \
         \"THIS_FOLDER\")\n```\n\n",
        json!(base),
    );
    scores(model, &mut card);
    origin(model, &mut card);
    card
}

/// The card of an encoder that the additions of tasks belong to.
pub fn base_card(model: &Model) -> String {
    let mut card = front_matter(model, None);
    let tasks: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    let _ = write!(
        card,
        "# An encoder\n\nWhat low-rank additions for {} belong to. `transformers.AutoModel.from_pretrained(THIS_FOLDER)` loads it.\n\n",
        tasks.join(", ")
    );
    origin(model, &mut card);
    card
}

/// The card of one exported task whose weights are in ONNX.
pub fn single_onnx_card(model: &Model, task: &NamedTask, single: &SingleTask) -> String {
    let mut card = front_matter(model, Some(single.pipeline));
    title(&mut card, task, single);
    let class = single.architecture.trim_start_matches("For");
    let _ = write!(
        card,
        "`model.onnx` is laid out as Optimum does it: `optimum.onnxruntime.ORTModelFor{class}.from_pretrained(THIS_FOLDER)` and \
         `@huggingface/transformers` load it.\n\n"
    );
    scores(model, &mut card);
    origin(model, &mut card);
    card
}

/// The card of a model with all heads in one ONNX file of this name.
pub fn onnx_card(model: &Model, file: &str) -> String {
    let mut card = front_matter(model, None);
    let names: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    let _ = write!(
        card,
        "# One encoder, {} heads: {}\n\nA multi-task model trained with polyhead. `{file}` has the encoder once and all heads: inputs \
         `input_ids`, `attention_mask` and, where the encoder knows them, `token_type_ids`; of each task the output `TASK.logits`, of \
         questions `TASK.start_logits` and `TASK.end_logits`. Tokens are those of `tokenizer.json`; what the rows of logits mean is in \
         `config.json` under `polyhead`.\n\n",
        names.len(),
        names.join(", "),
    );
    case_note(model, &mut card);
    scores(model, &mut card);
    origin(model, &mut card);
    card
}

/// The card of a model for browsers, whose network is in a file of this name.
pub fn browser_card(model: &Model, file: &str) -> String {
    let mut card = front_matter(model, None);
    let names: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    let _ = write!(
        card,
        "# One encoder, {} heads, in the browser: {}\n\nA multi-task model trained with polyhead, as a folder for any static file server. Texts \
         stay on the device of who types them. Run `npm install` once in this folder: it copies ONNX Runtime into `runtime/`. After that \
         `node_modules` need not be served. `{file}` is the network; `polyhead.mjs` says how pages of your own use it:\n\n```\nimport \
         {{ Polyhead }} from \"./polyhead.mjs\";\nconst model = await Polyhead.open(\"./\");\n```\n\n",
        names.len(),
        names.join(", "),
    );
    scores(model, &mut card);
    origin(model, &mut card);
    card
}

/// What else the encoder reads, for programs that make its inputs themselves.
fn case_note(model: &Model, card: &mut String) {
    if case_embeddings::has(model.config()) {
        let _ = write!(
            card,
            "The encoder reads how words are written, which its tokenizer does not say. Add to the `token_type_ids` of each token: 0 where \
             its word has no capital letter, 2 where only its first letter is one, 4 where it has two letters or more and all are, 6 \
             where others are. A word is a run of letters and digits; where a sub-word begins with another character, add 0.\n\n"
        );
    }
}

fn usage(model: &Model, card: &mut String) {
    let _ = write!(card, "## Use\n\n```\n");
    for task in &model.tasks {
        let call = arguments(task, model.about.examples.get(&task.name));
        let _ = writeln!(card, "polyhead predict THIS_FOLDER {call}");
    }
    let _ = write!(card, "```\n\n");
}

fn title(card: &mut String, task: &NamedTask, single: &SingleTask) {
    let _ = write!(
        card,
        "# {}: {}\n\nOne task of a multi-task model trained with polyhead.\n\n",
        task.name, single.architecture
    );
}

fn front_matter(model: &Model, pipeline: Option<&str>) -> String {
    let mut card = "---\nlibrary_name: transformers\n".to_owned();
    if let Some(pipeline) = pipeline {
        let _ = writeln!(card, "pipeline_tag: {pipeline}");
    }
    let _ = writeln!(card, "tags:\n- polyhead\n- multi-task");
    for task in &model.tasks {
        let _ = writeln!(card, "- {}", task.name);
    }
    card + &model_index(model) + "---\n\n"
}

/// The measures that the Hub knows, by what the names of ours end with or contain.
const MEASURES: [(&str, &str); 6] = [
    ("f1", "f1"),
    ("exact_match", "exact_match"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("accuracy", "accuracy"),
    ("mcc", "matthews_correlation"),
];

/// The scores as the Hub lists them (`model-index` of a model card); empty where there are none. Text is quoted as JSON does it, which YAML reads.
fn model_index(model: &Model) -> String {
    let encoder = EncoderKind::of(Path::new("config.json"), model.config()).ok();
    let mut results = String::new();
    for NamedTask { name, task } in &model.tasks {
        let known = model.about.scores.get(name).into_iter().flatten().filter_map(|(measure, value)| {
            let (_, known) = MEASURES.iter().find(|(part, _)| measure.contains(part))?;
            Some((known, measure, value.as_f64()?))
        });
        let metrics: String = known
            .map(|(known, measure, value)| {
                format!("    - type: {known}\n      name: {}\n      value: {value:.2}\n", json!(measure))
            })
            .collect();
        if !metrics.is_empty() {
            let single = encoder.and_then(|encoder| task.single(encoder));
            let pipeline = single.map_or(task.kind(), |single| single.pipeline);
            let _ = write!(
                results,
                "  - task:\n      type: {pipeline}\n      name: {}\n    dataset:\n      type: validation\n      name: the validation data \
                 of its recipe\n    metrics:\n{metrics}",
                json!(name),
            );
        }
    }
    if results.is_empty() {
        return results;
    }
    let recipe = model.about.recipe.as_ref().and_then(|text| toml::from_str::<toml::Table>(text).ok());
    let name = recipe.and_then(|recipe| Some(recipe.get("name")?.as_str()?.to_owned()));
    format!("model-index:\n- name: {}\n  results:\n{results}", json!(name.as_deref().unwrap_or("polyhead")))
}

fn scores(model: &Model, card: &mut String) {
    if model.about.scores.is_empty() {
        return;
    }
    let epoch = model.about.epoch.map_or(String::new(), |epoch| format!(", after epoch {epoch}"));
    let _ = write!(card, "## Scores on the validation data{epoch}\n\n| task | measure | value |\n|---|---|---|\n");
    for (task, values) in &model.about.scores {
        for (name, value) in values {
            let value = value.as_f64().map_or_else(|| Value::to_string(value), |value| format!("{value:.2}"));
            let _ = writeln!(card, "| {task} | {name} | {value} |");
        }
    }
    card.push('\n');
}

fn origin(model: &Model, card: &mut String) {
    if let Some(source) = &model.about.source {
        let _ = write!(card, "## Origin\n\n{}\n\n", source.said);
    }
    if let Some(recipe) = &model.about.recipe {
        let _ = write!(card, "## Recipe\n\n```toml\n{}\n```\n", recipe.trim());
    }
}
