#!/usr/bin/env python3
"""How long polyhead trains until it has the scores that PyTorch has in the end.

    python3 bench/time_to_score.py --encoder MINILM_DIR --data DATA_DIR --python VENV/bin/python [PART ...]
    python3 bench/time_to_score.py --table

The parts, each one training on the first 2,000 sentences and questions, scored on the whole validation sets:

    reference   PyTorch (peers/train_pytorch.py tuned), recipes/report.toml as it is: its rate of 5e-5
    tuned       the same at --rate, the best single rate of that recipe (the screen of levers.py says which)
    best        polyhead, recipes/best.toml, scored every tenth of its steps

Seconds are those of the training loops: reading, tokenizing and scoring are outside on both sides. Polyhead has a score of PyTorch from the first
scoring on at which it has all three: F1 of entities (seqeval's), exact match and F1 of answers (SQuAD v1.1).

A part's figures go into --results as soon as it is done, and a part that is there is not run again. Parts that are compared are to be of one
machine with nothing beside: each says what took its time.

DATA_DIR holds conll2003/{train,valid}.txt and squad/{train,validation}-v1.1.json. --python has torch, transformers and seqeval.
"""
import argparse
import json
import shutil
import tomllib
from pathlib import Path

import harness
from harness import ROOT, Busy, keep, say, table

PEER = ROOT / "bench/peers/train_pytorch.py"
MEASURES = {"NER F1": ("ner", "micro_f1"), "QA exact match": ("qa", "exact_match"), "QA F1": ("qa", "f1")}
PARTS = ["reference", "tuned", "best"]
TENTHS = 10


def data_of(args) -> dict:
    return {"encoder.checkpoint": args.encoder} | harness.entities_and_answers(args.data, {"ner": 2000, "qa": 2000})


def of_pytorch(args, rate: float | None) -> dict:
    overrides = data_of(args) | ({"train.learning_rate": rate} if rate else {})
    pairs = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    command = [args.python, PEER, "tuned", ROOT / "recipes/report.toml", "--eval", "--threads", args.threads, *pairs]
    found = json.loads(harness.run(command, args.threads).output.splitlines()[-1])
    scores = {name: round(found["scores"][task][measure], 4) for name, (task, measure) in MEASURES.items()}
    return {"scores": scores, "seconds": round(found["wall_s"], 1), "tokens": found["real_tokens"], "precision": found["precision"]}


def of_polyhead(args) -> dict:
    folder = args.work / "time-to-score"
    overrides = data_of(args) | {"output": args.work, "name": folder.name}

    def train(more: dict) -> list[dict]:
        shutil.rmtree(folder, ignore_errors=True)
        events, _ = harness.train(args.polyhead, ROOT / "recipes/best.toml", overrides | more, args.threads)
        shutil.rmtree(folder)
        return events

    # The plan of one step says how many an epoch has.
    recipe = tomllib.loads((ROOT / "recipes/best.toml").read_text(encoding="utf-8"))
    plan = next(event for event in train({"train.max_steps": 1}) if event["event"] == "planned")
    steps = plan["steps_per_epoch"] * recipe["train"]["epochs"]
    scored, seconds = [], 0.0
    for event in train({"train.evaluate_every": -(-steps // TENTHS)}):
        seconds += event["seconds"] if event["event"] == "step" else 0.0
        if event["event"] == "evaluated":
            scores = {name: round(event["scores"][task]["values"][measure], 4) for name, (task, measure) in MEASURES.items()}
            scored.append({"step": event["step"], "seconds": round(seconds, 1), "scores": scores})
    return {"scored": scored, "seconds": round(seconds, 1), "steps": steps}


def run_part(args, part: str) -> dict:
    busy = Busy()
    found = of_polyhead(args) if part == "best" else of_pytorch(args, None if part == "reference" else args.rate)
    return found | {"others": busy.others()} | ({"rate": args.rate} if part == "tuned" else {})


def show(parts: dict) -> None:
    best = parts.get("best")
    if best:
        rows = [[str(one["step"]), f"{one['seconds']:.0f}", *(f"{one['scores'][name]:.1f}" for name in MEASURES)] for one in best["scored"]]
        print(table(["step", "seconds", *MEASURES], rows), end="\n\n")
    rows = []
    for part in PARTS[:2]:
        if part not in parts:
            continue
        peer = parts[part]
        def since(names) -> str:
            """When polyhead has these first, and how many times as fast that is."""
            there = [one for one in best["scored"] if all(one["scores"][name] >= peer["scores"][name] for name in names)] if best else []
            return f"{there[0]['seconds']:.0f} s, {peer['seconds'] / there[0]['seconds']:.1f} times as fast" if there else "never" if best else "-"

        cells = [f"{peer['scores'][name]:.1f}; {since([name])}" for name in MEASURES]
        rows.append([f"PyTorch, {part}", f"{peer['seconds']:.0f}", *cells, since(MEASURES)])
    print(table(["", "seconds", *MEASURES, "all three"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"(all: {', '.join(PARTS)})")
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", type=Path, help="(%(default)s)")
    parser.add_argument("--python", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rate", type=float, default=2.5e-4, help="of `tuned` (%(default)s)")
    parser.add_argument("--threads", type=int, default=harness.CORES, help="(all cores: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/time_to_score.json", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/time_to_score", help="runs (%(default)s)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    args = parser.parse_intermixed_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected parts of {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    found = harness.kept(args.results, args.threads)
    if not args.table:
        if not (args.encoder and args.data):
            parser.error("expected --encoder and --data")
        args.encoder, args.data, args.work = args.encoder.resolve(), args.data.resolve(), args.work.resolve()
        for part in args.parts or PARTS:
            if part in found["parts"]:
                continue
            if part != "best" and not args.python:
                parser.error(f"{part}: expected --python")
            found["parts"][part] = run_part(args, part)
            keep(args.results, found)
            say(f"{part}: {found['parts'][part]}")
    show(found["parts"])


if __name__ == "__main__":
    main()
