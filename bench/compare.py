#!/usr/bin/env python3
"""polyhead beside its peers on the same data, one after the other in one go: ratios first, then figures.

    python3 bench/compare.py --encoder MINILM_DIR --data DATA_DIR > comparison.md

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json.

Where the processor does not multiply bf16 faster than f32 every side takes f32.

Training: recipes/report.toml on the first sentences and questions, `polyhead train` against the same recipe in PyTorch
(peers/train_pytorch.py: `tuned`, the fastest we know, and `seed`, which pads to 128 and 384 in f32). All train on the same
windows and must count the same steps and real tokens (padding is none); which windows share a batch is up to each side's
own generator. Rates are over the seconds of the training loop: reading, tokenizing and evaluation are outside. `seed` takes
ten times as long, so it takes part in a short job only, of the first examples.

Inference: latency of a sentence and of a question window, throughput of batches, from token ids to logits, against
PyTorch and ONNX Runtime with the same weights (peers/infer.py). Every run's logits are compared with those of PyTorch in
f32, and a run that is further off than its bound ends the script.

Peers run in a virtual environment that is made on the first run (gigabytes: PyTorch); --python takes another instead,
with the packages of REQUIREMENTS. This script needs the standard library alone.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from harness import CORES, ROOT, Busy, build, machine, machine_lines, make_model, run, say, spread, table
from jobs import (
    BOUND,
    RECIPE,
    data_files,
    difference,
    overrides,
    seconds_and_logits,
    train_polyhead,
    workloads,
)

REQUIREMENTS = ["torch==2.15.0", "transformers==5.23.0", "onnxruntime==1.32.0", "onnx==1.23.2"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polyhead-bench"

REFERENCE = "PyTorch f32"
POLYHEAD = {"polyhead": "auto", "polyhead f32": "f32", "polyhead int8": "int8"}
PEERS = {
    REFERENCE: "pytorch:f32",
    "PyTorch bf16 (autocast)": "pytorch:bf16-autocast",
    "PyTorch bf16 (weights)": "pytorch:bf16-weights",
    "ONNX Runtime f32": "onnx:f32",
    "ONNX Runtime int8": "onnx:int8",
    "ONNX Runtime f32 on polyhead's file": "onnx:polyhead-f32",
    "ONNX Runtime int8 on polyhead's file": "onnx:polyhead-int8",
}


def environment(python: str | None, cache: Path) -> str:
    """The Python of the peers; its virtual environment is made unless it is there, whole."""
    if python:
        return python
    folder = cache / hashlib.sha256(" ".join([sys.version, *REQUIREMENTS]).encode()).hexdigest()[:12]
    found = folder / "bin/python"
    if not (folder / "complete").exists():
        say(f"making {folder}: {' '.join(REQUIREMENTS)}")
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True, stdout=sys.stderr)
        (folder / "complete").touch()
    return str(found)


def versions(python: str) -> dict[str, str]:
    names = [requirement.split("==")[0] for requirement in REQUIREMENTS]
    code = "import sys, importlib.metadata as m; print(sys.version.split()[0], *map(m.version, sys.argv[1:]))"
    return dict(zip(["python", *names], run([python, "-c", code, *names], 1).output.split()))


# Training


def takes_bf16() -> bool:
    """Whether polyhead takes bf16 where it may choose: `Isa::gains_by_bf16` of its kernels."""
    known = set(Path("/proc/cpuinfo").read_text().split())
    return "avx512_bf16" in known and bool(known & {"amx_bf16", "AuthenticAMD", "HygonGenuine"})


def train_peer(args, examples: int, epochs: int, mode: str) -> dict:
    changes = overrides(args.encoder, args.data, examples, epochs)
    pairs = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    # Where polyhead takes f32, the peer does.
    precision = ["--precision", "bf16" if mode == "tuned" and takes_bf16() else "f32"]
    peer = ROOT / "bench/peers/train_pytorch.py"
    done = run([args.python, peer, mode, RECIPE, *pairs, *precision, "--threads", args.threads], args.threads)
    found = json.loads(done.output.splitlines()[-1])
    return {"tokens": found["real_tokens"], "steps": found["steps"], "seconds": found["wall_s"], "wall": done.wall,
            "memory": done.memory, "precision": found["precision"]}


def job(args, examples: int, epochs: int, sides: list[str]) -> dict:
    """All sides in turn, as often as asked."""
    name = f"{examples} sentences and {examples} questions, {epochs} epoch{'s' if epochs > 1 else ''}"
    runs = {side: [] for side in sides}
    for number in range(args.training_runs):
        for side in sides:
            say(f"training on {name}, run {number + 1} of {args.training_runs}: {side}")
            if side in POLYHEAD:
                changes = overrides(args.encoder, args.data, examples, epochs)
                found = train_polyhead(
                    args.binaries["polyhead"], RECIPE, changes, args.scratch, POLYHEAD[side], args.threads)
                del found["losses"]
            else:
                found = train_peer(args, examples, epochs, side.removeprefix("PyTorch "))
            runs[side].append(found | {"rate": found["tokens"] / found["seconds"]})
    counts = {side: (runs[side][0]["steps"], runs[side][0]["tokens"]) for side in sides}
    if len(set(counts.values())) > 1:
        sys.exit(f"expected the same steps and real tokens on every side, found {counts}")
    return {"name": name, "runs": runs}


def ratios(ours: list[dict], theirs: list[dict], value) -> list[float]:
    """Run by run: those of one turn had the same neighbours on the machine."""
    return [value(a) / value(b) for a, b in zip(ours, theirs)]


def training_tables(jobs: list[dict]) -> tuple[str, str]:
    compared, figures = [], []
    for runs, name in [(found["runs"], found["name"]) for found in jobs]:
        for peer in [side for side in runs if side not in POLYHEAD]:
            for side in [side for side in runs if side in POLYHEAD]:
                pair = (runs[side], runs[peer])
                cells = [ratios(*pair, lambda run: run["rate"]), ratios(*pair, lambda run: 1 / run["wall"]),
                         ratios(*pair, lambda run: run["memory"])]
                compared.append([name, label(side, runs), label(peer, runs), *(spread(cell, ".2f") for cell in cells)])
        for side, found in runs.items():
            counts = [f"{found[0][key]:,}" for key in ("steps", "tokens")]
            forms = {"rate": ",.0f", "seconds": ",.1f", "wall": ",.1f", "memory": ",.0f"}
            cells = [spread([run[key] for run in found], form) for key, form in forms.items()]
            figures.append([name, label(side, runs), *counts, *cells])
    head = ["job", "side", "against", "tokens/s, times", "whole process, times as fast", "peak memory, share"]
    head_figures = ["job", "side", "steps", "real tokens", "real tokens/s", "training s", "whole process s", "peak MiB"]
    return table(head, compared), table(head_figures, figures)


def label(side: str, runs: dict[str, list[dict]]) -> str:
    """The side with the precision that it took: some take bf16 or f32, as the processor has it."""
    precision = runs[side][0]["precision"]
    return side if precision in side else f"{side} {precision}"


# Inference


def inference(args) -> dict:
    """Every side in turn, as often as asked; the turn begins with another side each time."""
    model = make_model(args.binaries["polyhead"], args.encoder, args.scratch, args.threads)
    for task in ["ner", "qa"]:
        run([args.binaries["polyhead"], "export", model, "--task", task, "--to", args.scratch / task], args.threads)
        for weights in ["f32", "int8"]:
            to = args.scratch / task / f"polyhead-{weights}"
            command = [args.binaries["polyhead"], "export", model, "--task", task, "--onnx", to, "--weights", weights, "--fused-attention"]
            run(command, args.threads)
    say("exporting to ONNX")
    run([args.python, ROOT / "bench/peers/infer.py", "export", args.scratch], args.threads)
    timed = workloads(args.binaries["dump_features"], RECIPE, args.encoder, args.data, args.threads, args.sentences,
                      args.questions, args.effort)
    file = args.scratch / "workloads.json"
    file.write_text(json.dumps(timed))
    # Where bf16 is no faster, those sides show nothing; polyhead takes f32 by itself.
    faster = takes_bf16()
    sides = [side for side in [*PEERS, *POLYHEAD] if faster or ("bf16" not in side and side != "polyhead")]
    sides = [side for side in sides if side == REFERENCE or any(part in side for part in args.sides)]
    runs, reference = {side: [] for side in sides}, None
    for number in range(args.inference_runs):
        first = number % len(sides)
        for side in sides[first:] + sides[:first]:
            say(f"inference, run {number + 1} of {args.inference_runs}: {side}")
            if side in POLYHEAD:
                command = [args.binaries["bench_inference"], model, file, POLYHEAD[side]]
            else:
                command = [args.python, ROOT / "bench/peers/infer.py", "time", PEERS[side], args.scratch, file, args.threads]
            output, seconds, logits = seconds_and_logits(run(command, args.threads))
            reference = reference or logits  # the first side is PyTorch f32
            precision = output.get("precision") or next(kind for kind in BOUND if kind in side)
            far = max(map(difference, logits, reference))
            if not far <= BOUND[precision]:
                sys.exit(f"{side}: expected logits within {BOUND[precision]} of those of {REFERENCE}, found {far:.1e}")
            runs[side].append({"precision": precision, "seconds": seconds, "difference": far})
    shown = [{key: value for key, value in workload.items() if key != "batches"} for workload in timed]
    return {"workloads": shown, "runs": runs}


def inference_tables(found: dict) -> tuple[str, str]:
    runs, timed = found["runs"], found["workloads"]
    columns = range(len(timed))
    names = [f"{workload['name']} ({workload['tokens']:,} tokens)" for workload in timed]
    compared, figures = [], []
    ours, theirs = ([side for side in sides if side in runs] for sides in (POLYHEAD, PEERS))
    for side in ours:
        for peer in theirs:
            cells = [ratios(runs[peer], runs[side], lambda run: run["seconds"][at]) for at in columns]
            compared.append([label(side, runs), peer, *(spread(cell, ".2f") for cell in cells)])
    for side in [*ours, *theirs]:
        of_side, cells = runs[side], []
        for at, workload in enumerate(timed):
            seconds = [run["seconds"][at] for run in of_side]
            if workload["unit"] == "ms":
                cells.append(spread([1e3 * value for value in seconds], ",.2f"))
            else:
                cells.append(spread([workload["tokens"] / value for value in seconds]))
        figures.append([label(side, runs), *cells, f"{max(run['difference'] for run in of_side):.0e}"])
    units = [f"{name}: {workload['unit']}" for name, workload in zip(names, timed)]
    return table(["side", "against", *names], compared), table(["side", *units, "logits off by"], figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, type=Path, help="a BERT folder in Hugging Face layout")
    parser.add_argument("--data", required=True, type=Path, help="a folder with conll2003 and squad")
    parser.add_argument("--python", help="the Python of the peers, instead of an environment of our own")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where that environment is made (%(default)s)")
    parser.add_argument("--threads", type=int, default=CORES, help="of every side (all cores: %(default)s)")
    parser.add_argument("--only", choices=["training", "inference"])
    parser.add_argument("--examples", type=int, default=2000, help="of each task in the full job; 0: no full job")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--short-examples", type=int, default=160, help="of each task in the short job; 0: none")
    parser.add_argument("--training-runs", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--inference-runs", type=int, default=5)
    parser.add_argument("--sides", nargs="+", default=[""], metavar="PART", help="of inference only sides with this in their name")
    parser.add_argument("--effort", type=float, default=1.0, help="of the timed rounds, this share (for trials)")
    parser.add_argument("--json", type=Path, help="also writes everything to this file")
    args = parser.parse_args()
    args.encoder, args.data = args.encoder.resolve(), args.data.resolve()
    if missing := [str(path) for path in (args.encoder, *data_files(args.data)) if not path.exists()]:
        sys.exit(f"expected {', '.join(missing)}: see --encoder and --data")

    result, busy = {"machine": machine(args.threads)}, Busy()
    args.binaries = build("bench_inference", "dump_features")
    args.python = environment(args.python, args.cache)
    result["versions"] = versions(args.python)
    with tempfile.TemporaryDirectory(prefix="polyhead-bench-") as scratch:
        args.scratch = Path(scratch)
        # Training first: the most memory of a process counts from what its parent had, and logits come in large lists.
        result["training"] = []
        if args.only != "inference":
            short = ["polyhead", "polyhead f32", "PyTorch tuned", "PyTorch seed"] if takes_bf16() else ["polyhead", "PyTorch tuned", "PyTorch seed"]
            plans = [(args.examples, args.epochs, ["polyhead", "PyTorch tuned"]), (args.short_examples, 1, short)]
            result["training"] = [job(args, *plan) for plan in plans if plan[0]]
        result["inference"] = inference(args) if args.only != "training" else None
    result["machine"]["other work on the machine meanwhile"] = busy.others()
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    show(result)


def show(result: dict) -> None:
    ratio, figures = [], []
    if result["training"]:
        compared, absolute = training_tables(result["training"])
        ratio += ["### Training", compared]
        figures += ["### Training", absolute]
    if result["inference"]:
        compared, absolute = inference_tables(result["inference"])
        ratio += ["### Inference, times as fast", compared]
        figures += ["### Inference", absolute]
    about = "Medians; in brackets the least and the greatest of the runs."
    where = machine_lines(result["machine"] | result["versions"])
    print("## polyhead to its peers", about, *ratio, "## Figures", *figures, "## Where and when", where, sep="\n\n")


if __name__ == "__main__":
    main()
