#!/usr/bin/env python3
"""What each balancer costs: the time inside it over the time of a step.

    python3 bench/strategies.py --encoder MINILM_DIR --data DATA_DIR [BALANCER ...]
    python3 bench/strategies.py --table

recipes/seven.toml with four of its tasks (entities, answers, sentiment, relations), a batch of each in every step (train.sample = "joint"), --steps steps
for each balancer. `inside` is the median over steps of `balance_seconds` over `seconds` of metrics.jsonl: dot products and sums of gradients, the weights,
and for FAMO one forward pass more; the passes of the tasks themselves are outside of it. `beside equal` is the median time of a step beside that of `equal`: with
the backward passes that are kept apart where gradients or losses are compared. The memory is the most that the process held.

DATA_DIR holds the files that recipes/seven.toml names. This script needs the standard library alone.
"""
import argparse
import shutil
import statistics
from pathlib import Path

import harness
from harness import ROOT, Busy, keep, say, table

TASKS = ["ner", "qa", "sentiment", "relation"]
BY_LOSSES = ["equal", "uncertainty", "imtl_l", "dwa", "rlw", "gls", "stch", "famo"]
BY_GRADIENTS = ["gradnorm", "mgda", "pcgrad", "gradvac", "cagrad", "imtl_g", "nash", "fairgrad", "aligned", "upgrad",
                "gradient_similarity", "sdmgrad"]
KEEPING = ["db_mtl", "moco", "excess"]
BALANCERS = BY_LOSSES + BY_GRADIENTS + KEEPING
WARM_UP = 3


def recipe_of(args) -> Path:
    """recipes/seven.toml with these tasks alone."""
    path = args.work / "four.toml"
    args.work.mkdir(parents=True, exist_ok=True)
    text = harness.only_tasks(ROOT / "recipes/seven.toml", TASKS)
    path.write_text(text.replace('"DATA/', f'"{args.data}/'), encoding="utf-8")
    return path


def run(args, balancer: str) -> dict:
    overrides = {"encoder.checkpoint": args.encoder, "output": args.work, "name": balancer, "train.sample": "joint", "train.balance": balancer,
                 "train.max_steps": args.steps, "train.diagnostics_every": 0}
    overrides |= {f"data.{task}.validation_limit": 1 for task in TASKS}
    if balancer == "gradient_similarity":
        overrides["train.balance"] = '{ name = "gradient_similarity", target = "ner" }'
    shutil.rmtree(args.work / balancer, ignore_errors=True)
    busy = Busy()
    events, done = harness.train(args.polyhead, recipe_of(args), overrides, args.threads)
    shutil.rmtree(args.work / balancer)
    steps = [event for event in events if event["event"] == "step"][WARM_UP:]
    inside = [step.get("balance_seconds", 0.0) / step["seconds"] for step in steps]
    return {"step_seconds": round(statistics.median(step["seconds"] for step in steps), 4), "inside": round(statistics.median(inside), 6),
            "steps": len(steps), "memory": round(done.memory), "others": busy.others()}


def show(parts: dict) -> None:
    equal = parts.get("equal")
    rows = []
    for name in BALANCERS:
        if part := parts.get(name):
            beside = f"{part['step_seconds'] / equal['step_seconds']:.2f}" if equal else ""
            rows.append([name, f"{1000 * part['step_seconds']:.0f}", f"{part['inside']:.2%}", beside, f"{part['memory']:,}"])
    print(table(["balancer", "ms a step", "inside", "beside equal", "MiB"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("balancers", nargs="*", metavar="BALANCER", help=f"(all: {', '.join(BALANCERS)})")
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", type=Path, help="(%(default)s)")
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=25, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=harness.CORES, help="(all cores: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/strategies.json", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/strategies", help="runs (%(default)s)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    args = parser.parse_intermixed_args()
    if unknown := set(args.balancers) - set(BALANCERS):
        parser.error(f"expected balancers of {', '.join(BALANCERS)}, found {', '.join(sorted(unknown))}")
    found = harness.kept(args.results, args.threads)
    if not args.table:
        if not (args.encoder and args.data):
            parser.error("expected --encoder and --data")
        args.encoder, args.data, args.work = args.encoder.resolve(), args.data.resolve(), args.work.resolve()
        for balancer in args.balancers or BALANCERS:
            found["parts"][balancer] = run(args, balancer)
            keep(args.results, found)
            say(f"{balancer}: {found['parts'][balancer]}")
    show(found["parts"])


if __name__ == "__main__":
    main()
