//! What may have been meant by an unknown key: a key of another table, another tool's name for one, or a slip of the pen.
//!
//! [`WORDS`] has the names that transformers, spaCy, flair, AllenNLP, Lightning and their users' scripts give to what a
//! recipe has, and to what it does not have.

use super::keys;

/// Other tools' names for one thing.
struct Word {
    /// Those names, in small letters with `_`.
    names: &'static [&'static str],
    /// What it is called here; nothing if it does not exist.
    keys: &'static [&'static str],
    /// What else there is to know; what to do instead.
    say: &'static str,
}

const fn called(names: &'static [&'static str], keys: &'static [&'static str], say: &'static str) -> Word {
    Word { names, keys, say }
}

const fn absent(names: &'static [&'static str], say: &'static str) -> Word {
    Word { names, keys: &[], say }
}

#[rustfmt::skip] // a table
const WORDS: &[Word] = &[
    // The run
    called(&["run_name", "experiment_name", "experiment", "exp_name", "project", "project_name", "run_id"], &["name"], ""),
    called(&["random_seed", "random_state", "manual_seed", "rng_seed", "data_seed", "pytorch_seed", "numpy_seed"], &["seed"], ""),
    called(&["output_dir", "out_dir", "output_path", "output_folder", "save_dir", "save_path", "base_path", "runs_dir", "checkpoint_dir", "ckpt_dir", "serialization_dir", "default_root_dir"], &["output"], ""),
    absent(&["overwrite_output_dir", "overwrite", "overwrite_cache"], "an existing run is never written over; a second one gets a number"),
    absent(&["resume_from_checkpoint", "resume", "restore", "resume_from"], "`polyhead train --resume RUN` goes on with a run"),
    absent(&["do_train", "do_predict", "do_test", "mode"], "`polyhead train`, `polyhead eval` and `polyhead predict` are commands of their own"),
    absent(&["logging_steps", "logging_dir", "logging_strategy", "log_every", "log_interval", "log_level", "log_every_n_steps", "report_to", "tensorboard", "tensorboard_dir", "wandb", "wandb_project", "use_wandb", "logger", "disable_tqdm", "verbose"],
        "every step is recorded in the run folder, in metrics.jsonl and for TensorBoard"),
    absent(&["push_to_hub", "hub_model_id", "hub_token", "hub_private_repo", "hub_strategy"], "`polyhead export` writes a folder that can be uploaded"),
    // The encoder
    called(&["model_name_or_path", "model_name", "model", "model_path", "model_id", "pretrained_model", "pretrained", "pretrained_model_name_or_path", "pretrained_model_name", "base_model", "backbone", "transformer", "transformer_model", "bert_model", "encoder_name", "encoder_path", "embeddings", "language_model"],
        &["encoder.checkpoint"], "a folder, or a name on the Hub"),
    absent(&["tokenizer", "tokenizer_name", "tokenizer_path", "config_name", "vocab_file", "use_fast", "use_fast_tokenizer", "add_prefix_space", "model_type"], "the tokenizer and the configuration are those of `encoder.checkpoint`"),
    absent(&["do_lower_case", "do_lowercase", "lowercase", "lower_case", "cased", "uncased", "strip_accents"], "the encoder's own tokenizer decides; `encoder.checkpoint` names a cased encoder or an uncased one"),
    absent(&["revision", "model_revision"], "`encoder.checkpoint` takes it after an @, as in owner/name@revision"),
    absent(&["cache_dir", "cache", "cache_path"], "the environment variables HF_HUB_CACHE and POLYHEAD_CACHE name the cache folders"),
    absent(&["token", "hf_token", "use_auth_token", "auth_token"], "the environment variable HF_TOKEN has it"),
    called(&["hidden_dropout_prob", "hidden_dropout", "encoder_dropout"], &["encoder.dropout"], ""),
    called(&["attention_probs_dropout_prob", "attention_dropout_prob", "attn_dropout", "attn_pdrop"], &["encoder.attention_dropout"], ""),
    called(&["classifier_dropout", "head_dropout", "classifier_dropout_prob", "dropout_rate", "dropout_prob"], &["tasks.NAME.dropout", "encoder.dropout"], "the first is before the head, the second inside the encoder"),
    called(&["freeze_encoder", "freeze_bert", "frozen", "freeze_layers", "freeze_embeddings", "num_frozen_layers", "frozen_layers", "unfreeze", "trainable", "requires_grad", "fine_tune", "finetune"], &["encoder.freeze"], "`embeddings`, or so many layers from below"),
    called(&["peft", "peft_config", "peft_type", "lora_config", "use_lora", "use_peft"], &["encoder.lora.rank"], "as in [encoder.lora] with rank = 8"),
    called(&["r", "lora_r", "lora_rank", "rank_lora"], &["encoder.lora.rank"], ""),
    called(&["lora_alpha"], &["encoder.lora.alpha"], ""),
    called(&["lora_dropout"], &["encoder.lora.dropout"], ""),
    called(&["target_modules", "lora_target_modules", "lora_targets", "target_layers"], &["encoder.lora.targets"], "the last parts of the names of linear layers"),
    called(&["use_rslora"], &["encoder.lora.rslora"], ""),
    absent(&["modules_to_save"], "heads are always trained and saved"),
    absent(&["use_dora", "init_lora_weights", "fan_in_fan_out", "rank_pattern", "alpha_pattern"], "LoRA has `encoder.lora.rank`, `encoder.lora.alpha`, `encoder.lora.rslora`, `encoder.lora.dropout` and `encoder.lora.targets`"),
    called(&["adapter", "adapters", "adapter_config"], &["sharing.form"], "as in sharing = { name = \"adapters\", form = \"houlsby\" }; LoRA of each task is sharing = \"lora\""),
    absent(&["quantization", "load_in_8bit", "load_in_4bit", "torch_compile", "compile", "attn_implementation"], "the encoder is trained by polyhead's own operators"),
    called(&["gradient_checkpointing", "gradient_checkpointing_kwargs", "activation_checkpointing", "checkpoint_activations", "use_checkpointing"], &["train.recompute"], "less memory for one more forward pass"),
    // Steps and batches
    called(&["train_batch_size", "per_device_train_batch_size", "per_gpu_train_batch_size", "mini_batch_size", "minibatch_size", "batchsize", "bs", "batch", "global_batch_size"], &["tasks.NAME.batch_size"], "the examples (windows) of one step"),
    absent(&["eval_batch_size", "per_device_eval_batch_size", "per_gpu_eval_batch_size", "val_batch_size", "test_batch_size", "valid_batch_size", "inference_batch_size"], "evaluation makes batches of its own size; no score depends on it"),
    called(&["gradient_accumulation_steps", "gradient_accumulation", "grad_accumulation_steps", "accumulate_grad_batches", "accumulation_steps", "accumulate_gradient", "accumulate_steps", "update_freq", "mini_batch_chunk_size"],
        &["train.accumulate"], "batches whose gradients make one step"),
    called(&["num_train_epochs", "num_epochs", "n_epochs", "max_epochs", "nb_epochs", "train_epochs", "total_epochs", "epoch_count"], &["train.epochs"], ""),
    called(&["total_steps", "num_steps", "num_train_steps", "num_training_steps", "max_train_steps", "training_steps", "train_steps", "iterations", "max_iter", "max_iterations", "steps"], &["train.max_steps"], "without it, `train.epochs` decides"),
    called(&["early_stopping", "early_stopping_patience", "early_stop", "early_stopping_rounds", "early_stopping_epochs", "n_iter_no_change", "stop_patience"], &["train.patience"], "a number of evaluations in a row that are not better; the best one's model is kept in any case (`train.best`)"),
    absent(&["early_stopping_threshold", "min_delta", "early_stopping_min_delta", "min_epochs", "min_steps"], "any gain counts as better; `train.patience` says after how many evaluations without one a run ends"),
    called(&["load_best_model_at_end", "metric_for_best_model", "greater_is_better", "save_best", "save_best_model", "best_metric", "best_model", "monitor", "validation_metric", "main_metric"], &["train.best"], "the best model is kept in any case"),
    absent(&["samples_per_epoch"], "`train.sample` says which tasks make up a step, `train.max_steps` where a run ends"),
    called(&["sampler", "task_sampler", "sampling", "task_sampling", "mixing", "mixing_strategy", "sampling_strategy", "multitask_strategy", "task_order", "schedule_tasks", "multi_task_mode"], &["train.sample"], ""),
    called(&["sampling_temperature", "task_temperature", "smoothing", "sampling_smoothing"], &["train.sample.temperature"], "as in sample = { name = \"temperature\", temperature = 5 }"),
    called(&["loss_balancing", "task_balancing", "weighting", "loss_weighting", "task_weighting", "mtl_method", "balancing"], &["train.balance"], ""),
    called(&["group_by_length", "length_grouping", "bucketing", "bucket_by_length", "sort_by_length", "shuffle", "shuffle_data"], &["train.order"], "`random` or `by_length`"),
    called(&["pad_to_max_length", "padding_strategy", "pad_to_multiple_of", "dynamic_padding"], &["train.padding"], "no result depends on it"),
    // Optimisation
    called(&["lr", "learn_rate", "base_lr", "peak_lr", "max_lr", "init_lr", "initial_lr", "learningrate", "eta"], &["train.learning_rate"], ""),
    called(&["encoder_lr", "head_lr", "classifier_lr", "bert_lr", "head_lr_factor", "lr_mult"], &["train.head_rate"], "a factor: `train.learning_rate` is that of the encoder"),
    called(&["discriminative_lr", "layerwise_lr_decay", "layerwise_learning_rate_decay", "llrd", "lr_decay"], &["train.layer_decay"], "a factor from each layer to the one below it"),
    called(&["wd", "l2", "l2_reg", "l2_regularization", "decay", "adam_weight_decay", "regularization"], &["train.weight_decay"], ""),
    called(&["warmup_ratio", "warmup_proportion", "warmup_fraction", "warmup_pct", "warmup_share", "pct_start", "cut_frac"], &["train.warmup"], "a share of the steps, from 0 to 1"),
    called(&["warmup_steps", "num_warmup_steps", "n_warmup_steps", "warmup_epochs", "warmup_updates"], &["train.warmup"], "a share of the steps, from 0 to 1, not their number"),
    called(&["max_norm", "grad_clip", "grad_clipping", "gradient_clip", "gradient_clipping", "gradient_clip_val", "clip_grad", "clip_grad_norm", "grad_norm", "grad_clip_norm", "gradient_clip_norm", "max_gradient_norm", "clip_norm", "clip"], &["train.max_grad_norm"], ""),
    absent(&["optimizer", "optimiser", "optim", "optimizer_type", "optimizer_name", "adam_beta1", "adam_beta2", "adam_epsilon", "beta1", "beta2", "betas", "eps", "epsilon", "momentum", "adafactor"], "the optimiser is AdamW; `train.learning_rate` and `train.weight_decay` are its settings"),
    absent(&["scheduler", "lr_scheduler", "lr_scheduler_type", "lr_scheduler_kwargs", "lr_schedule", "schedule", "scheduler_type", "anneal_factor", "anneal_with_restarts", "min_lr", "step_size", "gamma"], "the learning rate rises over the share `train.warmup` of the steps, then falls linearly to 0"),
    called(&["task_weight", "task_weights", "loss_weights", "loss_scale", "loss_factor", "weight", "loss_coefficient"], &["tasks.NAME.loss_weight"], ""),
    absent(&["label_smoothing", "label_smoothing_factor", "focal_loss", "use_crf", "crf", "loss_function", "criterion"], "the task decides the loss; `tasks.NAME.loss_weight` multiplies it"),
    called(&["class_weight", "label_weights", "label_weight", "pos_weight", "pos_weights", "use_class_weights", "weighted_loss"], &["tasks.NAME.class_weights"], "`balanced`, or a table of labels with their weights, of a classifier"),
    called(&["oversample", "oversampling", "undersample", "undersampling", "weighted_sampler", "weighted_sampling", "use_weighted_sampler", "balanced_sampling", "balanced_sampler", "balance_classes", "class_balanced_sampling", "class_balanced", "sampler_weights", "sampling_weights"], &["tasks.NAME.class_sampling"], "`balanced` or `square_root`, where examples have one label"),
    // The machine
    called(&["fp16", "bf16", "amp", "use_amp", "mixed_precision", "half", "half_precision", "float16", "bfloat16", "tf32", "dtype", "torch_dtype", "fp16_opt_level", "fp32"], &["train.precision"], "`auto`, `f32` or `bf16`; there is no fp16"),
    absent(&["device", "devices", "device_map", "use_cuda", "no_cuda", "cuda", "cuda_device", "use_gpu", "gpu", "gpus", "gpu_id", "n_gpu", "num_gpus", "use_cpu", "accelerator", "use_mps", "mps"], "polyhead trains and answers on the CPU"),
    absent(&["num_workers", "dataloader_num_workers", "preprocessing_num_workers", "workers", "n_jobs", "num_threads", "threads", "num_proc", "pin_memory", "dataloader_pin_memory"], "all processors are used; --threads says how many"),
    absent(&["local_rank", "deepspeed", "fsdp", "distributed", "ddp", "world_size", "num_nodes", "strategy"], "a run is one process on one machine"),
    // Evaluation and checkpoints
    called(&["eval_steps", "eval_every", "eval_interval", "eval_freq", "evaluation_steps", "evaluate_steps", "evaluate_during_training_steps", "val_check_interval", "eval_frequency"], &["train.evaluate_every"], "a number of steps"),
    called(&["evaluation_strategy", "eval_strategy", "do_eval", "evaluate_during_training", "eval_during_training"], &["train.evaluate_every"], "each epoch ends with an evaluation in any case"),
    called(&["save_steps", "save_interval", "save_freq", "checkpoint_every", "checkpoint_steps", "save_model_every_n_epochs", "save_every_n_steps", "save_checkpoint_every"], &["train.save_every"], "a number of steps"),
    called(&["save_strategy", "save_model_every_epoch"], &["train.save_every"], "each epoch ends with a checkpoint in any case"),
    called(&["save_total_limit", "max_checkpoints", "keep_last", "keep_last_n", "save_top_k", "num_checkpoints", "keep_most_recent_by_count"], &["train.keep_checkpoints"], ""),
    absent(&["metrics", "metric", "eval_metric", "compute_metrics"], "a task has its scores; `train.best` says which of them decides"),
    // Data
    called(&["train_file", "train_path", "train_data", "train_data_file", "train_data_path", "train_dataset", "train_set", "trainset", "training_file", "training_data", "training_set", "train_dir"], &["data.NAME.train"], ""),
    called(&["validation_file", "validation_path", "validation_data", "validation_data_path", "validation_set", "valid", "valid_file", "valid_path", "valid_data", "val", "val_file", "val_path", "val_data", "val_dataset", "dev", "dev_file", "dev_path", "dev_data", "dev_set", "eval", "eval_file", "eval_path", "eval_data", "eval_dataset"],
        &["data.NAME.validation"], ""),
    called(&["dataset", "datasets", "dataset_name", "dataset_path", "dataset_config_name", "data_dir", "data_folder", "data_path", "data_file", "data_files", "corpus", "file", "path"], &["data.NAME.train", "data.NAME.validation"], "files, or hf://datasets/OWNER/NAME/PATH"),
    absent(&["test", "test_file", "test_path", "test_data", "test_set", "test_dataset"], "training reads no test data; `polyhead eval MODEL --data FILE` scores a file"),
    called(&["splits", "train_split", "validation_split", "val_split", "dev_split", "test_split", "split_ratio", "train_size", "test_size", "dev_size", "val_size", "validation_size", "validation_split_percentage"], &["data.NAME.split", "data.NAME.validation"], "a share of `train` that is held out, or files"),
    called(&["max_train_samples", "max_train_examples", "max_examples", "max_samples", "n_samples", "num_examples", "num_samples", "sample_limit", "train_limit", "subset", "max_instances", "nrows", "downsample"], &["data.NAME.limit"], ""),
    called(&["max_eval_samples", "max_val_samples", "max_validation_samples", "max_dev_samples", "max_eval_examples", "eval_limit", "val_limit"], &["data.NAME.validation_limit"], ""),
    called(&["text_column", "text_column_name", "label_column", "label_column_name"], &["data.NAME.columns"], "as in columns = { text = \"body\", label = \"class\" }"),
    absent(&["column_format", "delimiter", "sep", "format", "file_format"], "the extension of a file tells its format; the pages of the tasks, docs/tasks/, say what is read"),
    // Tasks
    called(&["task", "task_name", "task_type", "type", "pipeline", "pipeline_tag", "head", "head_type", "objective"], &["tasks.NAME.kind"], ""),
    called(&["max_seq_length", "max_seq_len", "max_sequence_length", "max_len", "maxlen", "max_tokens", "max_input_length", "model_max_length", "seq_len", "seq_length", "sequence_length", "max_position_embeddings", "block_size", "max_source_length"],
        &["tasks.NAME.max_length"], "tokens of a window"),
    called(&["doc_stride", "overlap", "window_overlap", "overlap_size", "window_stride"], &["tasks.NAME.stride"], "tokens that neighbouring windows share"),
    called(&["max_query_length", "max_question_len", "max_query_len"], &["tasks.NAME.max_question_length"], ""),
    called(&["max_answer_len", "max_ans_length"], &["tasks.NAME.max_answer_length"], ""),
    called(&["n_best_size", "nbest", "nbest_size", "top_k", "topk", "beam_size"], &["tasks.NAME.n_best"], ""),
    called(&["version_2_with_negative", "squad_v2", "squad_version", "handle_impossible_answer", "allow_no_answer", "with_negative", "is_impossible"], &["tasks.NAME.no_answer"], "`allowed` or `never`; left out, the training data decide"),
    called(&["null_score_diff_threshold", "null_score_threshold", "no_answer_threshold", "na_threshold"], &["tasks.NAME.null_threshold"], ""),
    called(&["min_confidence", "confidence_threshold", "score_threshold", "entity_threshold", "minimum_score", "min_probability"], &["tasks.NAME.min_score"], "a score from 0 to 1, or { precision = 0.95 }, of entities and answers"),
    called(&["label_list", "labels_file", "label_file", "label2id", "id2label", "classes", "class_names", "num_labels", "n_labels", "num_classes", "tag_set", "tagset", "tags", "tag_type", "label_type", "entity_types"],
        &["tasks.NAME.labels"], "left out, the training data give them"),
    called(&["label_mapping", "label_map", "class_label_names", "int2str"], &["data.NAME.label_names", "data.NAME.tag_names"], "the names of 0, 1, ... in a file of class numbers"),
    called(&["use_pooler", "pooler_type", "add_pooling_layer"], &["tasks.NAME.pooler"], "a dense layer with tanh on what is read, of a classifier"),
    called(&["pooling_type", "pooling_mode", "pooling_strategy", "classifier_pooling", "cls_pooling", "mean_pooling"], &["tasks.NAME.pooling"], "`first` or `mean`, of a classifier"),
    called(&["sentence_pair", "text_pair", "pair", "is_pair", "input_type"], &["tasks.NAME.inputs"], "`text` or `pair`; left out, the training data decide"),
    called(&["problem_type", "multilabel", "multi_label", "multi_class", "is_multilabel", "is_regression", "regression"], &["tasks.NAME.problem"], "`single_label`, `multi_label` or `regression`, of a classifier"),
    called(&["threshold", "label_threshold", "classification_threshold", "decision_threshold", "multi_label_threshold", "probability_threshold"], &["tasks.NAME.thresholds"], "a number, a table of labels with theirs, or `validation`"),
    called(&["label_sep", "labels_separator", "label_delimiter", "labels_delimiter"], &["data.NAME.label_separator"], "what stands between the labels of one text"),
    absent(&["label_all_tokens", "propagate_labels"], "the first sub-word of a word carries its label"),
    absent(&["scheme", "tag_scheme", "tagging_scheme", "label_encoding", "label_scheme", "tag_format"], "IOB2, IOB1, IO, BIOES and BILOU are recognised, and converted to IOB2"),
];

/// What may have been meant by a key that `table` does not have.
pub(super) fn hint(table: &str, key: &str, known: &[String], recipe: &toml::Table) -> Option<String> {
    let elsewhere = of_this_task(table, keys::everywhere(key, recipe));
    if let [only] = elsewhere.as_slice()
        && only == key
    {
        return Some(format!("`{key}` stands at the top of a recipe, before the first [table]"));
    }
    if !elsewhere.is_empty() {
        return Some(format!("it stands elsewhere: {}", listed(&elsewhere)));
    }
    if let Some(word) = WORDS.iter().find(|word| word.names.contains(&plain(key).as_str())) {
        return Some(word.hint(table, key, recipe));
    }
    if let Some(near) = nearest(key, known.iter().map(String::as_str)) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<String> = keys::keys(crate::tasks::TASKS).into_iter().map(|key| key.key).collect();
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let names: Vec<String> = all.iter().map(|key| last(key)).collect();
    let near = nearest(key, names.iter().map(String::as_str))?;
    Some(format!("did you mean {}?", listed(&of_this_task(table, keys::everywhere(near, recipe)))))
}

/// The kind that another tool's name means, or that is spelled nearly so.
pub(crate) fn kind<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let meant =
        crate::tasks::TASKS.iter().find(|kind| kind.aliases.contains(&plain(found).as_str())).map(|kind| kind.kind);
    meant
        .and_then(|kind| known.iter().copied().find(|known| *known == kind))
        .or_else(|| nearest(found, known.iter().copied()))
}

impl Word {
    fn hint(&self, table: &str, key: &str, recipe: &toml::Table) -> String {
        if self.keys.is_empty() {
            return format!("there is no `{key}`: {}", self.say);
        }
        let here = |pattern: &&str| {
            let (first, rest) = pattern.split_once(".NAME.").unwrap_or(("", pattern));
            match first {
                "" => vec![(*pattern).to_owned()],
                first => {
                    let mut places = keys::everywhere(rest, recipe);
                    places.retain(|place| place.starts_with(&format!("{first}.")));
                    of_this_task(table, places)
                }
            }
        };
        let places: Vec<String> = self.keys.iter().flat_map(here).collect();
        let say = if self.say.is_empty() { String::new() } else { format!("; {}", self.say) };
        format!("it is called {} here{say}", listed(&places))
    }
}

/// Of the places under several tasks, that of the task in whose table the key was found.
fn of_this_task(table: &str, mut places: Vec<String>) -> Vec<String> {
    if let Some((_, task)) = table.split_once('.') {
        let own = |place: &String| place.split('.').nth(1) == Some(task);
        if places.iter().any(own) {
            places.retain(own);
        }
    }
    places
}

fn listed(keys: &[String]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    quoted.join(", ")
}

/// As [`WORDS`] writes names: `--learning-rate` is `learning_rate`.
fn plain(name: &str) -> String {
    name.trim_start_matches('-').replace(['-', ' '], "_").to_ascii_lowercase()
}

/// The known name that differs in so few letters that it is likely to be meant; case and `_` do not count.
pub(crate) fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |name: &str| plain(name).replace('_', "");
    let found = letters(found);
    let distance = |known: &str| {
        let known = letters(known);
        let most = (known.chars().count().max(found.chars().count()) / 4).max(1);
        let distance = strsim::damerau_levenshtein(&found, &known);
        (distance <= most && distance < known.chars().count().min(found.chars().count())).then_some(distance)
    };
    known
        .filter_map(|known| Some((distance(known)?, known)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tasks::TASKS;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_that_a_hint_names_exists() {
        let all: BTreeSet<String> = keys::keys(TASKS).into_iter().map(|key| key.key).collect();
        for word in WORDS {
            for key in word.keys {
                assert!(all.contains(*key), "{:?} names {key}", word.names);
            }
            for quoted in word.say.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains('.')) {
                assert!(all.contains(quoted), "{:?} says {quoted}", word.names);
            }
        }
        let aliases: Vec<&&str> = TASKS.iter().flat_map(|kind| kind.aliases).collect();
        assert_eq!(aliases.iter().collect::<BTreeSet<_>>().len(), aliases.len(), "an alias means one kind");
        assert!(aliases.iter().all(|alias| plain(alias) == ***alias), "{aliases:?}");
    }

    #[test]
    fn every_word_of_another_tool_has_one_answer_and_is_no_key_of_a_recipe() {
        let last = |key: String| key.rsplit('.').next().unwrap().to_owned();
        let own: BTreeSet<String> = keys::keys(TASKS).into_iter().map(|key| last(key.key)).collect();
        let mut seen = BTreeSet::new();
        for name in WORDS.iter().flat_map(|word| word.names) {
            assert_eq!(plain(name), *name);
            assert!(seen.insert(name), "{name} has two answers");
            assert!(!own.contains(*name), "{name} is a key: no hint is needed");
        }
    }

    #[test]
    fn only_near_spellings_are_suggested() {
        let known = ["epochs", "learning_rate", "padding", "max_steps", "diagnostics_every", "warmup", "mix", "best"];
        for (found, near) in [
            ("epoch", Some("epochs")),
            ("EPOCHS", Some("epochs")),
            ("lerning_rate", Some("learning_rate")),
            ("learning-rate", Some("learning_rate")),
            ("learningRate", Some("learning_rate")),
            ("warmpu", Some("warmup")),
            ("maxsteps", Some("max_steps")),
            ("batch_size", None),
            ("patience", None),
            ("device", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, known.into_iter()), near, "{found}");
        }
        assert_eq!(nearest("nre", ["ner", "qa"].into_iter()), Some("ner"));
        assert_eq!(nearest("aq", ["ner", "qa"].into_iter()), Some("qa"));
        assert_eq!(nearest("roundrobin", ["round_robin", "proportional"].into_iter()), Some("round_robin"));
    }
}
