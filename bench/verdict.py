#!/usr/bin/env python3
"""Which strategy for several tasks is worth its cost? `polyhead compare --balance all --sample all`, in two stages.

    python3 bench/verdict.py screen --encoder MINILM_DIR --data DATA_DIR
    python3 bench/verdict.py final --encoder MINILM_DIR --data DATA_DIR [--balance A,B,C] [--sample D,E,F]
    python3 bench/verdict.py --table

Four tasks of recipes/seven.toml (entities, answers, sentiment, relations) with all-MiniLM-L6-v2, at the rate that is known to suit it and batches of 8. `screen`
trains with every strategy once: 400 examples of each task, two epochs, one seed. `final` trains the three best of each list, which the screen
names unless they are given, beside `equal` and `round_robin`: 1,000 examples, five seeds that the screen did not have. Strategies with a target help entities.

The comparisons' folders stay in --work, and the same command goes on with what it finds there; --until begins no comparison after that time. Their reports go into
--results. Scores do not depend on what else runs; seconds do.

DATA_DIR holds the files that recipes/seven.toml names. This script needs the standard library alone.
"""
import argparse
import json
from pathlib import Path

import harness
from harness import ROOT, Busy, say, table

TASKS = ["ner", "qa", "sentiment", "relation"]
TARGET = "ner"
STAGES = {"screen": (400, [42]), "final": (1000, [43, 44, 45, 46, 47])}
GROUPS = {"balance": "equal", "sample": "round_robin"}


def recipe_of(args) -> Path:
    """recipes/seven.toml with these tasks alone."""
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / "four.toml"
    text = harness.only_tasks(ROOT / "recipes/seven.toml", TASKS)
    path.write_text(text.replace('"DATA/', f'"{args.data}/'), encoding="utf-8")
    return path


def best(found: dict, group: str) -> list[str]:
    """The three of a list that came out best in the screen."""
    entries = found["parts"][f"screen {group}"]["entries"]
    ranked = sorted(entries, key=lambda entry: -entry["mean"]["score"]["mean"])
    return [name_of(entry) for entry in ranked if name_of(entry) != GROUPS[group]][:3]


def name_of(entry: dict) -> str:
    return entry["strategy"] if isinstance(entry["strategy"], str) else entry["strategy"]["name"]


def names_of(args, stage: str, group: str) -> list[str]:
    """The strategies that a stage compares."""
    if given := getattr(args, group):
        return given.split(",")
    return ["all"] if stage == "screen" else best(harness.kept(args.results, args.threads), group)


def run(args, stage: str, group: str) -> dict:
    (limit, seeds), names = STAGES[stage], names_of(args, stage, group)
    say(f"{stage} {group}: {', '.join(names)}")
    overrides = {"encoder.checkpoint": args.encoder, "output": args.work, "name": f"{stage}-{group}", "train.epochs": 2, "train.learning_rate": "auto",
                 "train.head_rate": 1.0, "train.diagnostics_every": 20, "encoder.drop_layers": 1, "encoder.case_embeddings": "auto"}
    for task in TASKS:
        overrides |= {f"data.{task}.limit": limit, f"data.{task}.validation_limit": 500, f"tasks.{task}.batch_size": 8}
    pairs = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    command = [args.polyhead, "compare", recipe_of(args), f"--{group}", ",".join(names), "--target", TARGET, "--seeds", ",".join(map(str, seeds)),
               "--json", "--quiet", *pairs]
    busy = Busy()
    report = json.loads(harness.run(command, args.threads).output)
    return report["groups"][0] | {"seeds": seeds, "examples": limit, "others": busy.others()}


def show(parts: dict) -> None:
    for key, part in parts.items():
        print(f"\n{key}: {part['examples']} examples of each task, seeds {part['seeds']}; beside it others took {part['others']}\n")
        plain = part["entries"][0]["step_seconds"]["mean"]
        rows = []
        for entry in sorted(part["entries"], key=lambda entry: -entry["mean"]["score"]["mean"]):
            mean, interval = entry["mean"], entry["mean"]["interval"]
            difference = f"{mean['difference']['mean']:+.2f}" if mean["difference"] else ""
            scores = [f"{task['score']['mean']:.1f}" for task in entry["tasks"]]
            rows.append([name_of(entry), f"{mean['score']['mean']:.2f}", difference, f"{interval[0]:+.2f} to {interval[1]:+.2f}" if interval else "", *scores,
                         f"{entry['step_seconds']['mean'] / plain:.2f}"])
        names = [task["name"] for task in part["entries"][0]["tasks"]]
        print(table(["strategy", "mean", "difference", "interval", *names, f"seconds a step, of {name_of(part['entries'][0])}"], rows))
        for pair in part["cosines"]:
            print(f"{pair['a']} and {pair['b']}: cosine {pair['mean']['mean']:.3f}, below 0 in {pair['below_zero']:.0%} of the samples")
        if part["smallest_shown"]:
            print(f"a difference of about {part['smallest_shown']:.2f} points could have been shown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=list(STAGES))
    parser.add_argument("--balance", help="(screen: all; final: the three best of the screen)")
    parser.add_argument("--sample", help="(the same)")
    harness.add_options(parser, "verdict")
    args = parser.parse_args()
    if args.stage:
        harness.check_options(parser, args)
        harness.measure(args, [(args.stage, group) for group in GROUPS], run)
    show(harness.kept(args.results, args.threads)["parts"])


if __name__ == "__main__":
    main()
