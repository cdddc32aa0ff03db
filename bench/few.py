#!/usr/bin/env python3
"""With few examples: how often should they be seen, and at which rate, alone and beside a task that has more? recipes/best.toml.

    python3 bench/few.py --encoder MINILM_DIR --data DATA_DIR [--seeds 42]
    python3 bench/few.py --table

A part is `TASK EXAMPLES EPOCHS RATE`, one task alone: the first so many examples of the training file, seen so many times, at so many times the rate of the recipe. Or it
is `SENTENCES+QUESTIONS WAY`, both tasks: how their batches are drawn (WAYS). Scores are those after the last epoch on 500 sentences or 300 questions from the end of the
training file, which nothing trains on.

A part's scores go into --results as soon as it is done, and a part that is there is not run again. --until begins nothing after that time. Scores do not
depend on what else runs.

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json. This script needs the standard library alone.
"""
import argparse

import harness
import levers
from harness import table

RATE = 2.5e-4  # of `learning_rate = "auto"` with MiniLM
SCORED = {"ner": 500, "qa": 300}
PARTS = [f"{task} {examples} {epochs} {rate}"
         for task in SCORED for examples, choices in [(200, [(3, 1), (12, 1), (12, 0.5)]), (500, [(3, 1), (9, 1), (9, 0.5)])] for epochs, rate in choices]
WAYS = {
    "once": {},  # as the recipe says: no example more often than three times
    "again": levers.JOINT,  # every step has a batch of both: few examples are seen as often as it takes
    "in-turn": levers.IN_TURN,
}
TOGETHER = [f"{sizes} {way}" for sizes in ["2000+500", "200+2000"] for way in WAYS]


def run(args, part: str, seed: int) -> dict:
    first, *rest = part.split(" ")
    if "+" in first:
        limits = dict(zip(SCORED, map(int, first.split("+"))))
        own = WAYS[rest[0]]
    else:
        limits = {first: int(rest[0])}
        own = {"train.epochs": int(rest[1]), "train.learning_rate": RATE * float(rest[2])}
    overrides = harness.entities_and_answers(args.data, limits) | {"seed": seed}
    for task in limits:
        overrides |= {f"data.{task}.validation": levers.held_out(args, task), f"data.{task}.validation_limit": SCORED[task]}
    return levers.train(args, levers.best_of(args, list(limits)), "few", overrides | own)


def show(parts: dict) -> None:
    rows = []
    for key, part in parts.items():
        name, seed = key.rsplit(" ", 1)
        scores = ", ".join(f"{name} {score:.2f}" for name, score in part["scores"].items() if "strict" not in name)
        rows.append([name, seed, scores])
    print(table(["part", "seed", "scores"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="(all)")
    harness.add_options(parser, "few")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    args = parser.parse_intermixed_args()
    if not args.table:
        harness.check_options(parser, args)
        harness.measure(args, [(part, seed) for seed in args.seeds for part in args.parts or PARTS + TOGETHER], run)
    show(harness.kept(args.results, args.threads)["parts"])


if __name__ == "__main__":
    main()
