"""ONNX folders of polyhead in the programs that they are for: Optimum with transformers' pipelines, and transformers.js under Node.

MODEL is a folder that `polyhead train` wrote (recipes/quickstart.toml with --set encoder.case_embeddings=false). It is exported in f32 (all heads, each task alone)
and in int8. Then:

- Optimum's class of each task loads its folder, and transformers' pipelines over it give the entities, answers and labels that
  `polyhead predict` prints for the same texts, scores within 1e-4;
- with --node DIR (a folder with @huggingface/transformers in node_modules) transformers.js loads the same folders and gives the same
  entities, answers and labels;
- the file with all heads gives in one call what the others give.

Run from the repository: python checks/onnx_clients_check.py MODEL --polyhead target/release/polyhead [--node DIR]
Needs optimum-onnx with the transformers that it takes, onnxruntime, numpy. Ends with status 1 if anything differs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import AutoTokenizer, pipeline

TEXTS = [
    "Marie Curie was born in Warsaw and worked in Paris.",
    "The European Central Bank raised its rates on Thursday.",
    "Jürgen Klopp left Liverpool; the Reds had won the Premier League in 2020.",
    "A wonderful film, and far too short.",
    "Nothing works, and nobody answers the phone.",
]
QUESTIONS = [
    ("Where was Marie Curie born?", TEXTS[0]),
    ("Who raised its rates?", TEXTS[1]),
    ("When did the Reds win the Premier League?", TEXTS[2]),
]
TOLERANCE = 1e-4
failed = False


def report(fine, message):
    global failed
    failed |= not fine
    print("ok    " if fine else "FAILED", message)


def run(*command, stdin=None):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, input=stdin).stdout


def predict(args, task, requests):
    lines = run(args.polyhead, "predict", args.model, "--task", task, "--input", "-",
                stdin="\n".join(json.dumps(request) for request in requests) + "\n")
    return [json.loads(line) for line in lines.splitlines()]


def entities_of(words):
    """(type, start, end) of words with one label each, B- and I- taken as transformers' `simple` does."""
    return [(word["entity_group"], word["start"], word["end"]) for word in words]


def check_tokens(ours, name, folder):
    from optimum.onnxruntime import ORTModelForTokenClassification

    model, tokenizer = ORTModelForTokenClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    # Entities of whole words: a word has the label of its first token, as polyhead decides it.
    theirs = pipeline("token-classification", model, tokenizer=tokenizer, aggregation_strategy="first")(TEXTS)
    same = 0
    for text, mine, found in zip(TEXTS, ours, theirs):
        mine = [(entity["type"], entity["start"], entity["end"]) for entity in mine["entities"]]
        if mine == entities_of(found):
            same += 1
        else:
            report(False, f"{name}: {text!r}: {entities_of(found)} for {mine}")
    report(same == len(TEXTS), f"{name}: Optimum and a pipeline find the same entities in {same} of {len(TEXTS)} texts")


def check_questions(ours, name, folder):
    from optimum.onnxruntime import ORTModelForQuestionAnswering

    model, tokenizer = ORTModelForQuestionAnswering.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    answers = pipeline("question-answering", model, tokenizer=tokenizer)
    same = 0
    for (question, context), mine in zip(QUESTIONS, ours):
        # Its own default is 15 tokens, polyhead's 30.
        found = answers(question=question, context=context, max_answer_len=30)
        if (found["start"], found["end"]) == (mine["start"], mine["end"]):
            same += 1
        else:
            report(False, f"{name}: {question!r}: {found} for {mine}")
    report(same == len(QUESTIONS), f"{name}: Optimum and a pipeline give the same answers to {same} of {len(QUESTIONS)} questions")


def check_labels(ours, name, folder):
    from optimum.onnxruntime import ORTModelForSequenceClassification

    model, tokenizer = ORTModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = pipeline("text-classification", model, tokenizer=tokenizer)(TEXTS)
    far = max(abs(theirs["score"] - mine["score"]) for theirs, mine in zip(found, ours))
    same = [theirs["label"] for theirs in found] == [mine["label"] for mine in ours]
    report(same and far < TOLERANCE, f"{name}: Optimum and a pipeline give the same labels, scores within {far:.1e}")


def plain(text):
    """As an uncased tokenizer gives it back: transformers.js returns the text of tokens."""
    letters = unicodedata.normalize("NFD", text.lower())
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Mn").replace(" ", "")


def asked(kind):
    """The requests of `polyhead predict` that a kind of task is asked."""
    return [{"question": question, "context": context} for question, context in QUESTIONS] if kind == "qa" else [{"text": text} for text in TEXTS]


CHECKS = {"ner": check_tokens, "tag": check_tokens, "qa": check_questions, "classify": check_labels}

NODE = """
import { pipeline, env } from "@huggingface/transformers";
env.localModelPath = process.argv[2]; env.allowRemoteModels = false;
const cases = JSON.parse(await (await import("node:fs/promises")).readFile(process.argv[3], "utf8"));
const found = {};
for (const { name, kind, dtype, inputs } of cases) {
  const task = { ner: "token-classification", tag: "token-classification", qa: "question-answering", classify: "text-classification" }[kind];
  const run = await pipeline(task, name, { dtype });
  found[`${name} ${dtype}`] = [];
  for (const input of inputs) {
    const answer = kind === "qa" ? await run(input[0], input[1]) : await run(input);
    found[`${name} ${dtype}`].push(answer);
  }
}
console.log(JSON.stringify(found));
"""


def check_node(args, tasks, folder, int8, ours, scratch):
    """transformers.js looks for NAME/onnx/model.onnx and, of int8, NAME/onnx/model_quantized.onnx."""
    cases = []
    for name, kind in tasks.items():
        own = scratch / "js" / name
        (own / "onnx").mkdir(parents=True)
        for file in folder[name].iterdir():
            if file.suffix != ".onnx":
                shutil.copy(file, own / file.name)
        shutil.copy(folder[name] / "model.onnx", own / "onnx" / "model.onnx")
        shutil.copy(int8[name] / "model.onnx", own / "onnx" / "model_quantized.onnx")
        inputs = QUESTIONS if kind == "qa" else TEXTS
        cases += [{"name": name, "kind": kind, "dtype": dtype, "inputs": inputs} for dtype in ["fp32", "q8"]]
    script, file = args.node / "polyhead_check.mjs", scratch / "cases.json"
    script.write_text(NODE)
    file.write_text(json.dumps(cases))
    output = run("node", script, scratch / "js", file)
    script.unlink()
    found = json.loads(output.splitlines()[-1])
    for name, kind in tasks.items():
        for dtype in ["fp32", "q8"]:
            same = 0
            for mine, theirs in zip(ours[name], found[f"{name} {dtype}"]):
                if kind == "qa":
                    same += plain(theirs["answer"]) == plain(mine["answer"])
                elif kind == "classify":
                    same += theirs[0]["label"] == mine["label"]
                else:
                    # It gives no offsets: the labelled tokens are those of the entities, without their pieces.
                    words = {plain(word["word"]) for word in theirs if not word["word"].startswith("##")}
                    wanted = plain(" ".join(entity["text"] for entity in mine["entities"]))
                    same += all(word in wanted for word in words) and bool(words) == bool(mine["entities"])
            # What int8 loses is shown, and nothing is asked of it.
            report(same == len(ours[name]) or dtype == "q8", f"{name}: transformers.js, {dtype}: the same for {same} of {len(ours[name])}")


def check_together(args, tasks, folder, alone):
    """The file with all heads gives what the others give, in one call."""
    session = onnxruntime.InferenceSession(folder / "polyhead.onnx", providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    feed = tokenizer(TEXTS, padding=True, return_tensors="np")
    asked = {value.name for value in session.get_inputs()}
    feed = {name: array.astype(np.int64) for name, array in feed.items() if name in asked}
    names = [value.name for value in session.get_outputs()]
    together = dict(zip(names, session.run(names, feed)))
    worst = 0.0
    for name in tasks:
        single = onnxruntime.InferenceSession(alone[name] / "model.onnx", providers=["CPUExecutionProvider"])
        outputs = [value.name for value in single.get_outputs()]
        for output, values in zip(outputs, single.run(outputs, feed)):
            worst = max(worst, np.abs(values - together[f"{name}.{output}"]).max())
    report(worst < 1e-4, f"all heads in one call: outputs {names}, within {worst:.1e} of the files of one")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--polyhead", type=Path, default=Path("target/release/polyhead"))
    parser.add_argument("--node", type=Path, help="a folder with @huggingface/transformers in node_modules")
    parser.add_argument("--without-optimum", action="store_true", help="leave out what needs optimum-onnx")
    args = parser.parse_args()
    args.polyhead = args.polyhead.resolve()
    described = json.loads(run(args.polyhead, "inspect", args.model, "--json"))
    tasks = {task["name"]: task["kind"] for task in described["tasks"] if task["kind"] in CHECKS}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for weights in ["f32", "int8"]:
            run(args.polyhead, "export", args.model, "--onnx", scratch / weights, "--weights", weights)
        folders = {weights: {name: scratch / weights / name for name in tasks} for weights in ["f32", "int8"]}
        ours = {name: predict(args, name, asked(kind)) for name, kind in tasks.items()}
        for name, kind in tasks.items():
            if not args.without_optimum:
                CHECKS[kind](ours[name], name, folders["f32"][name])
        check_together(args, tasks, scratch / "f32", folders["f32"])
        if args.node:
            args.node = args.node.resolve()
            check_node(args, tasks, folders["f32"], folders["int8"], ours, scratch)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
