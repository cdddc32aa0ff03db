//! `polyhead export` and `polyhead import`: there and back, and no folder of the user's is lost on the way.
#![allow(clippy::unwrap_used)]

mod support;
use support::{model, path, polyhead, text};

#[test]
fn an_exported_task_comes_back_with_the_same_answers() {
    let folder = model();
    for (task, question) in [
        ("ner", &["Ada lived in London."][..]),
        ("qa", &["--question", "Who?", "--context", "Ada lived in London. She left."]),
    ] {
        let (out, back) = (folder.path().join("out").join(task), folder.path().join("back").join(task));
        let ran = polyhead(&["export", &path(&folder), "--task", task, "--to", text(&out)]);
        assert!(ran.stderr.contains(text(&out)));
        assert_eq!(ran.success(), "");
        for name in ["config.json", "model.safetensors", "tokenizer.json", "README.md"] {
            assert!(out.join(name).is_file(), "{name}");
        }
        assert_eq!(polyhead(&["import", text(&out), "--to", text(&back)]).success(), "");
        let ask =
            |model: &str, more: &[&str]| polyhead(&[&["predict", model, "--json"], more, question].concat()).json();
        let answer = ask(text(&back), &[]);
        assert_eq!(answer, ask(&path(&folder), &["--task", task]), "the only task needs no name");
        assert!(polyhead(&["inspect", text(&back)]).success().contains("local folder"), "where it came from is kept");
        let facts = polyhead(&["inspect", text(&out), "--json"]).json();
        assert_eq!(facts["tasks"][0]["kind"], task, "an exported folder can be looked at as it is");
    }
}

#[test]
fn a_folder_that_exists_is_replaced_only_when_asked_and_only_if_it_is_a_model() {
    let folder = model();
    let export =
        |to: &str, more: &[&str]| polyhead(&[&["export", &path(&folder), "--task", "ner", "--to", to], more].concat());
    let mine = folder.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    export(text(&mine), &[]).success();
    assert!(export(text(&mine), &[]).failure(73).contains("--overwrite"));
    export(text(&mine), &["--overwrite"]).success();
    let precious = folder.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("thesis.txt"), "years of work").unwrap();
    for call in [&[][..], &["--overwrite"]] {
        export(text(&precious), call).failure(73);
        polyhead(&[&["import", text(&mine), "--to", text(&precious)], call].concat()).failure(73);
    }
    assert_eq!(std::fs::read_to_string(precious.join("thesis.txt")).unwrap(), "years of work");
    let file = support::file(&folder, "file", "");
    export(&file, &["--overwrite"]).failure(73);
}

#[test]
fn a_model_is_written_as_onnx_with_all_heads_and_alone() {
    let folder = model();
    let onnx = |to: &std::path::Path, more: &[&str]| {
        polyhead(&[&["export", &path(&folder), "--onnx", text(to)], more].concat())
    };
    let (all, one) = (folder.path().join("all"), folder.path().join("one"));
    let ran = onnx(&all, &[]);
    assert!(ran.stderr.contains("polyhead.onnx"), "{}", ran.stderr);
    assert_eq!(ran.success(), "");
    onnx(&one, &["--task", "ner", "--weights", "int8", "--opset", "20", "--external-data"]).success();
    let files = |folder: &std::path::Path, names: &[&str]| {
        for name in names {
            assert!(folder.join(name).is_file(), "{}", folder.join(name).display());
        }
        assert!(!folder.join("model.safetensors").exists());
    };
    files(&all, &["polyhead.onnx", "config.json", "tokenizer.json", "README.md"]);
    for task in ["ner", "qa"] {
        files(&all.join(task), &["model.onnx", "config.json", "tokenizer.json", "README.md"]);
    }
    files(&one, &["model.onnx", "model.onnx_data", "config.json"]);
    let config = std::fs::read_to_string(all.join("qa").join("config.json")).unwrap();
    assert!(config.contains("BertForQuestionAnswering"), "{config}");
    // As a model folder: only what is one of these is replaced.
    assert!(onnx(&all, &[]).failure(73).contains("--overwrite"));
    onnx(&all, &["--overwrite"]).success();
    let refused = |more: &[&str], says: &str| {
        let said = onnx(&folder.path().join("none"), more).failure(2);
        assert!(said.contains(says), "{more:?}: {said}");
    };
    refused(&["--opset", "16"], "17 to 23");
    refused(&["--task", "pos"], "pos");
    refused(&["--to", "elsewhere"], "--to");
    refused(&["--recipe", "x.toml"], "--recipe is for --weights qdq");
    refused(&["--examples", "7"], "--examples is for --weights qdq");
    polyhead(&["export", &path(&folder), "--task", "ner", "--to", "x", "--weights", "int8"]).failure(2);
    assert!(!folder.path().join("none").exists());
}

#[test]
fn what_is_no_single_task_model_is_not_imported() {
    let folder = model();
    let to = folder.path().join("to");
    polyhead(&["import", text(&support::tiny_bert()), "--to", text(&to)]).failure(65);
    polyhead(&["import", "./nowhere", "--to", text(&to)]).failure(66);
    polyhead(&["export", &path(&folder), "--task", "pos", "--to", text(&to)]).failure(2);
    polyhead(&["export", &path(&folder), "--to", text(&to)]).failure(2);
    assert!(!to.exists());
}

#[test]
fn a_model_with_lora_is_merged_into_a_plain_one_with_the_same_answers() {
    let folder = model();
    let data = support::file(&folder, "train.conll", "Ada B-PER\nlived O\nin O\nLondon B-LOC\n\n".repeat(8));
    let encoder = support::tiny_bert();
    let recipe = format!(
        "name = 'small'\noutput = '{}'\n[encoder]\ncheckpoint = '{}'\n[encoder.lora]\nrank = 4\n[train]\nlearning_rate = 1e-2\nepochs = 10\n\
         feature_cache = false\nprecision = 'f32'\n[tasks.ner]\nbatch_size = 2\nmax_length = 32\nstride = 8\n[data.ner]\ntrain = '{data}'\n",
        folder.path().display(),
        text(&encoder),
    );
    let recipe = support::file(&folder, "small.toml", recipe);
    let said = polyhead(&["train", &recipe]).stderr;
    let (run, merged) = (folder.path().join("small"), folder.path().join("merged/small"));
    assert!(said.contains(" of them trained"), "{said}");
    let facts = polyhead(&["inspect", text(&run), "--json"]).json();
    assert_eq!(facts["lora"]["rank"], 4);
    assert_eq!(facts["parameters"]["trained"], 3 * 2 * 2 * 4 * 32 + 5 * 33, "factors and a head of five labels");
    let shown = polyhead(&["inspect", text(&run)]).success();
    assert!(shown.contains("shared encoder (LoRA trained)") && shown.contains("query, value"), "{shown}");

    let ran = polyhead(&["merge", text(&run), text(&merged)]);
    assert!(ran.stderr.contains("rank 4, alpha 8, on query, value) is merged"), "{}", ran.stderr);
    assert_eq!(ran.success(), "");
    let facts = polyhead(&["inspect", text(&merged), "--json"]).json();
    assert!(facts["lora"].is_null());
    let answer = |model: &str| {
        polyhead(&["predict", model, "--json", "--precision", "f32", "Ada lived in London with Ada."]).json()
    };
    let (before, after) = (answer(text(&run)), answer(text(&merged)));
    let entities = before["entities"].as_array().unwrap();
    assert!(!entities.is_empty());
    for (before, after) in entities.iter().zip(after["entities"].as_array().unwrap()) {
        assert_eq!((&before["text"], &before["type"]), (&after["text"], &after["type"]));
        let apart = before["score"].as_f64().unwrap() - after["score"].as_f64().unwrap();
        assert!(apart.abs() < 1e-5, "{before} and {after}");
    }

    // Its training data say what range the inputs of its layers have.
    let ranges = folder.path().join("qdq");
    let export = |model: &std::path::Path, more: &[&str]| {
        polyhead(&[&["export", text(model), "--onnx", text(&ranges), "--weights", "qdq"], more].concat())
    };
    assert!(export(&merged, &[]).failure(66).contains("--recipe FILE"));
    assert!(!ranges.exists());
    let ran = export(&run, &["--examples", "5"]);
    assert!(ran.stderr.contains("ner: 5 of 8 training examples"), "{}", ran.stderr);
    ran.success();
    let file = std::fs::read(ranges.join("polyhead.onnx")).unwrap();
    let ops = |op: &[u8]| file.windows(op.len()).filter(|bytes| *bytes == op).count();
    assert!(ops(b"DequantizeLinear") > 12 && ops(b"DynamicQuantizeLinear") == 0);
    assert_eq!(ops(b"MatMulInteger"), 0, "that of dynamic quantisation");
    export(&merged, &["--recipe", &recipe, "--overwrite"]).success();

    assert!(polyhead(&["merge", text(&run), text(&merged)]).failure(73).contains("--overwrite"));
    polyhead(&["merge", text(&run), text(&merged), "--overwrite"]).success();
    assert!(
        polyhead(&["merge", text(&merged), text(&folder.path().join("twice"))]).failure(2).contains("nothing to merge")
    );
}

#[test]
fn additions_go_to_peft_and_several_folders_come_back_as_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = support::tiny_bert();
    let [ner, qa] = ["ner", "qa"].map(|task| fixture.join("peft").join(task));
    let both = folder.path().join("both");
    let named = [format!("people={}", text(&ner)), format!("qa={}", text(&qa))];
    let base = ["--base", text(&fixture)];
    let labels = ["--labels", "people=O,B-LOC,I-LOC,B-PER,I-PER"];
    let import = |to: &std::path::Path, more: &[&str]| {
        polyhead(&[&["import", &named[0], &named[1], "--to", text(to)], more].concat())
    };
    assert_eq!(import(&both, &[base, labels].concat()).success(), "");
    let facts = polyhead(&["inspect", text(&both), "--json"]).json();
    assert_eq!((&facts["tasks"][0]["name"], &facts["sharing"]["name"]), (&"people".into(), &"lora".into()));
    let (out, encoder) = (folder.path().join("out"), folder.path().join("encoder"));
    let export = |more: &[&str]| {
        polyhead(&[&["export", text(&both), "--task", "people", "--adapter", text(&out)], more].concat())
    };
    assert!(export(&[]).failure(2).contains("--base DIR"));
    export(&["--base", text(&encoder)]).success();
    assert!(encoder.join("model.safetensors").is_file() && out.join("adapter_model.safetensors").is_file());
    assert!(export(&["--base", text(&encoder)]).failure(73).contains("--overwrite"));
    export(&["--base", text(&encoder), "--overwrite"]).success();
    // It says where its encoder is, and comes back with the same answers.
    let back = folder.path().join("back");
    let from = format!("people={}", text(&out));
    polyhead(&["import", &from, "--to", text(&back), labels[0], labels[1]]).success();
    let ask = |model: &std::path::Path| {
        polyhead(&["predict", text(model), "--json", "--task", "people", "Ada lived in London."]).json()
    };
    assert_eq!(ask(&back), ask(&both));
    // A task more, one less, and what else can be made of additions.
    let changed = |call: &[&str], name: &str, to_flag: bool| {
        let to = folder.path().join(name);
        let to_flag: &[&str] = if to_flag { &["--to"] } else { &[] };
        polyhead(&[call, to_flag, &[text(&to)]].concat()).success();
        to
    };
    let again = format!("again={}", text(&qa));
    let three = changed(&["import", &again, "--into", text(&both)], "three", true);
    assert_eq!(ask(&three), ask(&both));
    let two = changed(&["unload", "--task", "qa", text(&three)], "two", false);
    let facts = polyhead(&["inspect", text(&two), "--json"]).json();
    assert_eq!((&facts["tasks"][1]["name"], facts["tasks"].as_array().unwrap().len()), (&"again".into(), 2));
    let negated = changed(&["negate", "--task", "people", text(&both)], "negated", false);
    changed(&["average", text(&both), text(&negated)], "mean", true);
    let merged = changed(&["merge", "--task", "people", text(&both)], "merged", false);
    let facts = polyhead(&["inspect", text(&merged), "--json"]).json();
    assert!(facts["lora"].is_null() && facts["sharing"]["name"] != "lora", "{facts}");
    assert!(polyhead(&["merge", text(&both), "x"]).stderr.contains("--task"));
    for (more, said) in [
        (&["--labels", "people"][..], "expected TASK=LABEL"),
        (&["--labels", "nobody=O"], "no task `nobody`"),
        (&["--base", "./nowhere"], "nowhere"),
    ] {
        let ran = import(&folder.path().join("none"), more);
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert!(
        polyhead(&["import", text(&ner), text(&folder.path().join("none")), "--to", "x"])
            .stderr
            .contains("adapter_config.json")
    );
}
