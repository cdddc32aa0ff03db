#!/usr/bin/env python3
"""Encoders of each family beside PyTorch, with random weights of base size: training and inference, as ratios of tokens a second and of memory.

    python3 bench/families.py --data DATA_DIR --tokenizer MINILM_DIR --peer VENV/bin/python [FAMILY ...] [--results FILE]

Both sides train each family by recipes/report.toml on the first --examples sentences and questions, in turn:
`polyhead train` and peers/train_pytorch.py (`tuned`), on the same windows, with the same steps and real tokens. The families take turns,
--runs times, so that ratios of one round are of one state of the machine. Memory is that of a job
whose largest batch is 16 windows of 384 tokens (of BERT large: 4): the peak of the process less weights, gradients and moments
(16 bytes a parameter); of polyhead also with `train.recompute`. Then both answer 64 sentences and 16 questions with one model
(bench_inference, peers/infer.py), whose logits must be equal. Weights are random
(peers/random_encoder.py): they decide nothing about the time. PyTorch's attention is SDPA where transformers has it for the family, else
eager. Both sides compute in f32 where bf16 is not faster.

Each figure goes into FILE as soon as it is known and is not taken again; --until begins none after that time. --table prints what there is.
DATA_DIR as for compare.py. The peer's Python has torch and transformers; this script needs the standard library.
"""
import argparse
import json
import math
import shutil
import statistics
import sys
from pathlib import Path

from harness import CORES, ROOT, Busy, build, is_past, keep, machine, make_model, run, say, table
from jobs import BOUND, RECIPE, difference, overrides, seconds_and_logits, train_polyhead, workloads

FAMILIES = ["bert", "roberta", "distilbert", "electra", "albert", "mpnet", "deberta-v2", "modernbert", "bert-large"]


def peer(args, changes: dict, precision: str) -> dict:
    pairs = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    script = ROOT / "bench/peers/train_pytorch.py"
    command = [args.peer, script, "tuned", RECIPE, *pairs, "--precision", precision, "--threads", args.threads]
    done = run(command, args.threads)
    found = json.loads(done.output.splitlines()[-1])
    return {"tokens": found["real_tokens"], "steps": found["steps"], "seconds": found["wall_s"], "memory": done.memory}


def inference(args, encoder: Path, runs: int) -> list[dict]:
    """Of each run the seconds of each workload on either side."""
    model = make_model(args.polyhead, encoder, args.work / "runs", args.threads)
    timed = [workload for workload in workloads(args.binaries["dump_features"], RECIPE, encoder, args.data, args.threads, 64, 16, 0.34)
             if "by" in workload["name"]]
    file = args.work / "workloads.json"
    file.write_text(json.dumps(timed))
    sides = {
        "polyhead": [args.binaries["bench_inference"], model, file, "f32"],
        "PyTorch": [args.peer, ROOT / "bench/peers/infer.py", "time", "pytorch:f32", model, file, args.threads],
    }
    found = []
    for _ in range(runs):
        seconds, logits = {}, {}
        for side, command in sides.items():
            _, seconds[side], logits[side] = seconds_and_logits(run(command, args.threads))
        far = max(map(difference, logits["polyhead"], logits["PyTorch"]))
        if not far <= BOUND["f32"]:
            sys.exit(f"expected logits within {BOUND['f32']} of PyTorch's, found {far:.1e}")
        found.append({"seconds": seconds, "difference": far, "workloads": [workload["name"] for workload in timed]})
    shutil.rmtree(model.parent)
    return found


def parameters(model: Path) -> int:
    """The numbers in a file of safetensors, by its header."""
    with (model / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def full_windows(args) -> Path:
    """A file of SQuAD with contexts of some 500 tokens: each begins with a window of 384."""
    articles = json.loads((args.data / "squad/train-v1.1.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"] if paragraph["qas"]]
    long = sorted(paragraphs, key=lambda paragraph: abs(len(paragraph["context"]) - 2500))[:16]
    chosen = [{"context": paragraph["context"], "qas": paragraph["qas"][:1]} for paragraph in long]
    file = args.work / "long.json"
    file.write_text(json.dumps({"version": "1.1", "data": [{"title": "long", "paragraphs": chosen}]}), encoding="utf-8")
    return file


def memory(args, encoder: Path, precision: str) -> dict:
    """The peak of each process on full windows, in MiB."""
    changes = overrides(encoder, args.data, 16) | {"train.order": "by_length", "data.qa.train": full_windows(args)}
    if encoder.name == "bert-large":
        # 16 windows take PyTorch more than the 24 GiB of the machine that this was written for.
        changes |= {"tasks.ner.batch_size": 4, "tasks.qa.batch_size": 4}
    peaks = {}
    for name, more in [("polyhead", {}), ("recompute", {"train.recompute": "true"})]:
        done = train_polyhead(args.polyhead, RECIPE, changes | more, args.work / "runs", "auto", args.threads)
        peaks[name] = round(done["memory"])
    return peaks | {"PyTorch": round(peer(args, changes, precision)["memory"])}


def training(args, encoder: Path) -> dict:
    busy = Busy()
    changes = overrides(encoder, args.data, args.examples, args.epochs)
    ours = train_polyhead(args.polyhead, RECIPE, changes, args.work / "runs", "auto", args.threads)
    theirs = peer(args, changes, ours["precision"])
    if (ours["steps"], ours["tokens"]) != (theirs["steps"], theirs["tokens"]):
        sys.exit(f"{encoder.name}: expected the same steps and real tokens, found {ours} and {theirs}")
    seconds = {side: round(found["seconds"], 2) for side, found in [("polyhead", ours), ("PyTorch", theirs)]}
    return {"precision": ours["precision"], "tokens": ours["tokens"], "others": busy.others(), "seconds": seconds}


def measure(args, families: list[str], found: dict) -> None:
    """Adds what is not there, and keeps each figure as soon as it is known."""
    parts = {family: found["parts"].setdefault(family, {"runs": []}) for family in families}
    encoders = {family: args.work / family for family in families}
    for family, encoder in encoders.items():
        run([args.peer, ROOT / "bench/peers/random_encoder.py", family, args.tokenizer, encoder], args.threads)
        parts[family]["parameters"] = parameters(encoder)
    for number in range(args.runs):
        for family, part in parts.items():
            if len(part["runs"]) == number and not is_past(args.until):
                say(f"{family}, training, run {number + 1} of {args.runs}")
                part["runs"].append(training(args, encoders[family]))
                keep(args.results, found)
    for family, part in parts.items():
        steps = {
            "memory": lambda: memory(args, encoders[family], part["runs"][0]["precision"]),
            "inference": lambda: inference(args, encoders[family], args.runs),
        }
        for name, step in steps.items():
            if part["runs"] and name not in part and not is_past(args.until):
                say(f"{family}, {name}")
                part[name] = step()
                keep(args.results, found)
    for encoder in encoders.values():
        shutil.rmtree(encoder)


def training_cells(part: dict, bert: list[dict]) -> list[str]:
    runs = part["runs"]
    if not runs:
        return [""] * 4
    ratios = [times_as_fast(run) for run in runs]
    beside = [ratio / times_as_fast(run) for ratio, run in zip(ratios, bert)]
    rate = statistics.median(run["tokens"] / run["seconds"]["polyhead"] for run in runs)
    return [runs[0]["precision"], f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)})",
            f"{statistics.median(beside):.2f}" if beside else "", f"{rate:,.0f}"]


def times_as_fast(run: dict) -> float:
    return run["seconds"]["PyTorch"] / run["seconds"]["polyhead"]


def answer_cells(part: dict) -> list[str]:
    if "inference" not in part:
        return [""] * 2
    of_workload = zip(*(zip(run["seconds"]["polyhead"], run["seconds"]["PyTorch"]) for run in part["inference"]))
    return [f"{statistics.median(theirs / ours for ours, theirs in pairs):.2f}" for pairs in of_workload]


def memory_cells(part: dict) -> list[str]:
    if "memory" not in part:
        return [""] * 3
    beyond = {side: peak - 16 * part["parameters"] / 2**20 for side, peak in part["memory"].items()}
    shares = [f"{beyond[side] / beyond['PyTorch']:.2f}" for side in ("polyhead", "recompute")]
    return [f"{beyond['polyhead']:,.0f}", *shares]


def show(found: dict) -> None:
    bert = found["parts"].get("bert", {"runs": []})["runs"]
    lines = [[family, *training_cells(part, bert), *answer_cells(part), *memory_cells(part)] for family, part in found["parts"].items()]
    columns = ["family", "precision", "training, times PyTorch's tokens/s (runs)", "times bert's ratio of the same round", "real tokens/s",
               "sentences", "questions", "memory beyond, MiB", "share of PyTorch's", "with recompute"]
    print(table(columns, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"{', '.join(FAMILIES)} (all of them)")
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", type=Path, help="(%(default)s)")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="a folder with the tokenizer of both sides")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--examples", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=CORES, help="(all cores: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/families.json", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/families", help="encoders and runs (%(default)s)")
    parser.add_argument("--until", metavar="HH:MM", help="begin nothing after this time of the day in UTC")
    parser.add_argument("--table", action="store_true", help="print what there is")
    args = parser.parse_args()
    if unknown := set(args.families) - set(FAMILIES):
        parser.error(f"expected families of {', '.join(FAMILIES)}, found {', '.join(sorted(unknown))}")
    found = {"examples": args.examples, "machine": machine(args.threads), "parts": {}}
    if args.results.exists():
        found = json.loads(args.results.read_text(encoding="utf-8"))
    if not args.table:
        if not (args.data and args.tokenizer and args.peer):
            parser.error("expected --data, --tokenizer and --peer")
        args.binaries = build("bench_inference", "dump_features")
        args.data, args.tokenizer, args.work = args.data.resolve(), args.tokenizer.resolve(), args.work.resolve()
        measure(args, args.families or FAMILIES, found)
    show(found)


if __name__ == "__main__":
    main()
