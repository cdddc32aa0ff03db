#!/usr/bin/env python3
"""With few examples: how often should they be seen, and at which rate? recipes/best.toml, one task alone.

    python3 bench/few.py --encoder MINILM_DIR --data DATA_DIR [--seeds 42]
    python3 bench/few.py --table

A part is `TASK EXAMPLES EPOCHS RATE`: the first so many examples of the training file, seen so many times, at so many times the rate of the recipe. Scores are those
after the last epoch on 500 sentences or 300 questions from the end of the training file, which nothing trains on.

A part's scores go into --results as soon as it is done, and a part that is there is not run again. --until begins nothing after that time. Scores do not
depend on what else runs.

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json. This script needs the standard library alone.
"""
import argparse
from pathlib import Path

import harness
import levers
from harness import ROOT, table

RATE = 2.5e-4  # of `learning_rate = "auto"` with MiniLM
SCORED = {"ner": 500, "qa": 300}
PARTS = [f"{task} {examples} {epochs} {rate}"
         for task in SCORED for examples, choices in [(200, [(3, 1), (12, 1), (12, 0.5)]), (500, [(3, 1), (9, 1), (9, 0.5)])] for epochs, rate in choices]


def run(args, part: str, seed: int) -> dict:
    task, examples, epochs, rate = part.split(" ")
    recipe = args.work / f"{task}-best.toml"
    args.work.mkdir(parents=True, exist_ok=True)
    recipe.write_text(harness.only_tasks(ROOT / "recipes/best.toml", [task]), encoding="utf-8")
    overrides = harness.entities_and_answers(args.data, {task: int(examples)})
    overrides |= {f"data.{task}.validation": levers.held_out(args, task), f"data.{task}.validation_limit": SCORED[task], "seed": seed,
                  "train.epochs": int(epochs), "train.learning_rate": RATE * float(rate)}
    return levers.train(args, recipe, "few", overrides)


def show(parts: dict) -> None:
    rows = []
    for key, part in parts.items():
        task, examples, epochs, rate, seed = key.split(" ")
        scores = ", ".join(f"{name.split(' ')[1]} {score:.2f}" for name, score in part["scores"].items() if "strict" not in name)
        rows.append([task, examples, epochs, rate, seed, scores])
    print(table(["task", "examples", "epochs", "times the rate", "seed", "scores"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="(all)")
    harness.add_options(parser, "few")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    args = parser.parse_intermixed_args()
    if not args.table:
        harness.check_options(parser, args)
        harness.measure(args, [(part, seed) for seed in args.seeds for part in args.parts or PARTS], run)
    show(harness.kept(args.results, args.threads)["parts"])


if __name__ == "__main__":
    main()
