"""Model folders between polyhead and transformers, both ways. Run by hand with a trained model folder.

1. AutoModel.from_pretrained(MODEL) loads: nothing is missing, nothing but heads.* is left over, and its hidden states
   are polyhead's.
2. `polyhead export MODEL --task TASK --to DIR` of each NER and QA task, and of each classifier with a pooler (ModernBERT: each task with `transform`), loads in
   AutoModelForTokenClassification, -QuestionAnswering or -SequenceClassification, nothing missing or left over, and gives
   polyhead's logits.
3. A folder that transformers saved of any of these classes loads in polyhead and gives transformers' logits.

Errors are max|a - b| / max|b|, bound 1e-4. Ends with status 1 if anything differs.

Run from the repository: python checks/transformers_roundtrip.py MODEL
Needs torch, transformers, safetensors, and cargo (or --polyhead BIN and --dump BIN, the built example dump_logits).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4
CLASSES = {
    "ner": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
}
PAIRS = [
    ("Where was Ada Lovelace born?", "Ada Lovelace was born in London on 10 December 1815."),
    ("Who wrote it?", "The first published computer program was written by Ada Lovelace for Charles Babbage."),
    ("What?", "Yes."),
]

failed = False


def report(fine, message):
    global failed
    failed |= not fine
    print("ok    " if fine else "FAILED", message)


def compare(found, want, what):
    error = (found - want).abs().max().item() / max(want.abs().max().item(), 1e-38)
    report(found.shape == want.shape and error <= TOLERANCE, f"{what}: error {error:.1e}")


def load(cls, folder, left_over=()):
    net, info = cls.from_pretrained(folder, output_loading_info=True)
    left = [name for name in info["unexpected_keys"] if not name.startswith(tuple(left_over))]
    # A folder exported or imported as a single task has no pooler; transformers makes none for it either.
    report(not info["missing_keys"], f"{cls.__name__}: missing {sorted(info['missing_keys']) or 'nothing'}")
    report(not left, f"{cls.__name__}: left over {sorted(left) or 'nothing'}")
    report(net.dtype == torch.float32, f"{cls.__name__}: {net.dtype}")
    return net.eval()


def run(net, rows, pick):
    # Not every family knows token types.
    known = getattr(net.config, "type_vocab_size", 0) > 1
    given = [{"input_ids": ids[None]} | ({"token_type_ids": types[None]} if known else {}) for ids, types in rows]
    with torch.no_grad():
        return [pick(net(**one)) for one in given]


def logits_of(task):
    if task != "qa":
        return lambda out: out.logits if task == "classify" else out.logits[0]
    return lambda out: torch.stack([out.start_logits[0], out.end_logits[0]], dim=1)


def dump(args, folder, rows):
    """polyhead's hidden states and logits."""
    inputs = {
        "ids": torch.cat([ids for ids, _ in rows]),
        "type_ids": torch.cat([types for _, types in rows]),
        "lengths": torch.tensor([len(ids) for ids, _ in rows]),
    }
    command = [args.dump] if args.dump else ["cargo", "run", "-q", "--release", "-p", "polyhead", "--example", "dump_logits", "--"]
    with tempfile.TemporaryDirectory() as scratch:
        files = [str(Path(scratch) / name) for name in ["inputs.safetensors", "outputs.safetensors"]]
        save_file(inputs, files[0])
        subprocess.run([*command, str(Path(folder).resolve()), *files], check=True, cwd=ROOT)
        return load_file(files[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a folder that `polyhead train` made: RUN/best")
    parser.add_argument("--polyhead", help="the polyhead binary; cargo runs it if this is left out")
    parser.add_argument("--dump", help="the built example dump_logits; cargo runs it if this is left out")
    args = parser.parse_args()
    polyhead = [args.polyhead] if args.polyhead else ["cargo", "run", "-q", "--release", "--"]

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    encoded = [tokenizer(question, context, return_token_type_ids=True) for question, context in PAIRS]
    rows = [(torch.tensor(one["input_ids"]), torch.tensor(one["token_type_ids"])) for one in encoded]
    ours = dump(args, args.model, rows)

    print("1. The encoder in transformers")
    net = load(AutoModel, args.model, left_over=["heads."])
    levels = [lambda out, level=level: out.hidden_states[level][0] for level in range(net.config.num_hidden_layers + 1)]
    net.config.output_hidden_states = True
    for level, pick in enumerate(levels):
        compare(torch.cat(run(net, rows, pick)), ours[f"hidden.{level}"], f"hidden states {level}")

    tasks = json.loads((args.model / "config.json").read_text())["polyhead"]["tasks"]
    with tempfile.TemporaryDirectory() as scratch:
        # A classifier without the pooler is refused, as it has no form there.
        known = [task for task in tasks if task["kind"] in CLASSES]
        known = [task for task in known if task["kind"] != "classify" or task["config"].get("pooler") or task["config"].get("transform")]
        for name, kind in [(task["name"], task["kind"]) for task in known]:
            print(f"2. `{name}` exported to transformers")
            exported = Path(scratch) / f"exported-{name}"
            export = ["export", str(args.model.resolve()), "--task", name, "--to", str(exported)]
            done = subprocess.run([*polyhead, *export], cwd=ROOT, stderr=subprocess.PIPE, text=True)
            if done.returncode == 2:  # a class with other layers
                print("refused", done.stderr.strip())
                continue
            report(done.returncode == 0, f"export: status {done.returncode} {done.stderr.strip()}")
            net = load(CLASSES[kind], exported)
            compare(torch.cat(run(net, rows, logits_of(kind))), ours[f"logits.{name}"], "logits")
            again = AutoTokenizer.from_pretrained(exported)(*PAIRS[0])["input_ids"]
            report(again == encoded[0]["input_ids"], "its tokenizer gives the same ids")
            if kind != "qa":
                labels = [net.config.id2label[id] for id in range(net.config.num_labels)]
                config = next(task["config"] for task in tasks if task["name"] == name)
                expected = config["labels"] or ["LABEL_0"]  # of a number
                report(labels == expected, f"labels {labels}")
            if kind == "classify":
                problem = {"regression": "regression"}.get(config["problem"], f"{config['problem']}_classification")
                report(net.config.problem_type == problem, f"problem_type {net.config.problem_type}")

            print(f"3. `{name}` saved by transformers, back in polyhead")
            saved = Path(scratch) / f"saved-{name}"
            with torch.no_grad():  # another head than polyhead's own
                for parameter in (net.qa_outputs if kind == "qa" else net.classifier).parameters():
                    parameter.add_(0.05 * torch.randn(parameter.shape))
            net.save_pretrained(saved)
            tokenizer.save_pretrained(saved)
            compare(dump(args, saved, rows)[f"logits.{kind}"], torch.cat(run(net, rows, logits_of(kind))), "logits")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
