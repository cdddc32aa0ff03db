#!/usr/bin/env python3
"""Trains recipes/report.toml with several seeds and prints the table of scores with their spread.

    python3 bench/report_accuracy.py --encoder MINILM_DIR --data DATA_DIR [--peer VENV/bin/python]

DATA_DIR holds conll2003/{train,valid}.txt and squad/{train,validation}-v1.1.json. With --peer the same recipe is trained by
PyTorch, too (peers/train_pytorch.py, `tuned`); that Python has torch, transformers and seqeval. polyhead's scores are those of its
best epoch, the peer's those of its last. Runs that are already in --output are not trained again. Seconds are those of the
whole run for polyhead, of the training loop for the peer. Needs the Python standard library alone.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from harness import ROOT, table

COLUMNS = [("ner", "micro_f1"), ("ner", "micro_f1_strict"), ("qa", "exact_match"), ("qa", "f1")]
RECIPE = ROOT / "recipes/report.toml"


def finished(run: Path) -> dict:
    file = run / "metrics.jsonl"
    events = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return next((event for event in events if event["event"] == "finished"), {})


def pairs(changes: list[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


def polyhead(args, seed: int, changes: list[str]) -> list[float]:
    """A row of the table: scores, seconds, real tokens a second."""
    run = args.output / f"seed{seed}"
    if not finished(run):
        own = [f"name=seed{seed}", f"output={args.output}"]
        command = [args.polyhead, "train", RECIPE, *pairs([*changes, *own, *args.overrides])]
        subprocess.run(command, check=True, stdout=sys.stderr)
    end = finished(run)
    scores = [end["scores"][task]["values"][name] for task, name in COLUMNS]
    return [*scores, end["seconds"], end["tokens"] / end["seconds"]]


def peer(args, seed: int, changes: list[str]) -> list[float]:
    file = args.output / f"peer-seed{seed}.json"
    if not file.exists():
        script = ROOT / "bench/peers/train_pytorch.py"
        command = [args.peer, script, "tuned", RECIPE, "--eval", *pairs([*changes, *args.overrides])]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(output.splitlines()[-1] + "\n")
    end = json.loads(file.read_text())
    return [*(end["scores"][task][name] for task, name in COLUMNS), end["wall_s"], end["real_tokens"] / end["wall_s"]]


def show(title: str, seeds: list[int], rows: list[list[float]]) -> None:
    lines = [
        [str(seed), *(f"{value:.2f}" for value in row[:4]), *(f"{value:,.0f}" for value in row[4:])]
        for seed, row in zip(seeds, rows)
    ]
    columns = list(zip(*rows))
    means = [statistics.mean(column) for column in columns]
    spreads = [statistics.stdev(column) if len(rows) > 1 else 0.0 for column in columns]
    scores = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in zip(means[:4], spreads)]
    lines.append(["mean ± sd", *scores, *(f"{mean:,.0f}" for mean in means[4:])])
    head = ["seed", "NER F1 (lenient)", "NER F1 (strict)", "QA EM", "QA F1", "s", "real tokens/s"]
    print(f"{title}\n\n{table(head, lines)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", help="(%(default)s)")
    parser.add_argument("--encoder", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--peer", metavar="PYTHON", help="also trains the peer, in this Python")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--output", type=Path, default=Path("runs/report-accuracy"))
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    args = parser.parse_args()
    args.output = args.output.resolve()
    data = args.data.resolve()
    changes = [
        f"encoder.checkpoint={args.encoder.resolve()}",
        f"data.ner.train={data}/conll2003/train.txt",
        f"data.ner.validation={data}/conll2003/valid.txt",
        f"data.qa.train={data}/squad/train-v1.1.json",
        f"data.qa.validation={data}/squad/validation-v1.1.json",
    ]
    sides = {"polyhead": polyhead} | ({"PyTorch": peer} if args.peer else {})
    for name, side in sides.items():
        show(name, args.seeds, [side(args, seed, [*changes, f"seed={seed}"]) for seed in args.seeds])


if __name__ == "__main__":
    main()
