#!/usr/bin/env python3
"""Trains recipes/report.toml with several seeds and prints the table of scores with their spread.

    python3 bench/report_accuracy.py --polyhead target/release/polyhead --encoder MINILM_DIR --data DATA_DIR

DATA_DIR holds conll2003/{train,valid}.txt and squad/{train,validation}-v1.1.json. Runs that are already in --output are
not trained again. Needs the Python standard library alone.
"""
import argparse
import json
import statistics
import subprocess
from pathlib import Path

COLUMNS = [("ner", "micro_f1"), ("ner", "micro_f1_strict"), ("qa", "exact_match"), ("qa", "f1")]


def finished(run: Path) -> dict:
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return next((event for event in events if event["event"] == "finished"), {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--polyhead", default="target/release/polyhead")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--output", type=Path, default=Path("runs/report-accuracy"))
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    args = parser.parse_args()

    rows = []
    for seed in args.seeds:
        run = args.output / f"seed{seed}"
        if not (run / "metrics.jsonl").exists() or not finished(run):
            overrides = [
                f"encoder.checkpoint={args.encoder}",
                f"data.ner.train={args.data}/conll2003/train.txt",
                f"data.ner.validation={args.data}/conll2003/valid.txt",
                f"data.qa.train={args.data}/squad/train-v1.1.json",
                f"data.qa.validation={args.data}/squad/validation-v1.1.json",
                f"seed={seed}", f"name=seed{seed}", f"output={args.output}", *args.overrides,
            ]
            command = [args.polyhead, "train", "recipes/report.toml"]
            subprocess.run(command + [part for pair in overrides for part in ("--set", pair)], check=True)
        end = finished(run)
        rows.append([end["scores"][task]["values"][name] for task, name in COLUMNS] + [end["seconds"], end["tokens"] / end["seconds"]])

    print("| seed | NER F1 (lenient) | NER F1 (strict) | QA EM | QA F1 | wall s | real tokens/s |\n|---|---|---|---|---|---|---|")
    for seed, row in zip(args.seeds, rows):
        print(f"| {seed} | " + " | ".join(f"{value:.2f}" for value in row[:4]) + f" | {row[4]:.0f} | {row[5]:.0f} |")
    means = [statistics.mean(column) for column in zip(*rows)]
    spreads = [statistics.stdev(column) if len(rows) > 1 else 0.0 for column in zip(*rows)]
    print("| mean ± sd | " + " | ".join(f"{m:.2f} ± {s:.2f}" for m, s in zip(means[:4], spreads[:4])) + f" | {means[4]:.0f} | {means[5]:.0f} |")


if __name__ == "__main__":
    main()
