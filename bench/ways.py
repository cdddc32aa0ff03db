#!/usr/bin/env python3
"""Which way of sharing an encoder, and at which learning rate? Entities, sentiment and relations of recipes/seven.toml, 1,000 examples each.

    python3 bench/ways.py rates --encoder MINILM_DIR --data DATA_DIR [WAY ...]
    python3 bench/ways.py scores --encoder MINILM_DIR --data DATA_DIR [--seeds 42 43 44] [WAY ...]
    python3 bench/ways.py --table

all-MiniLM-L6-v2, three epochs, batches of 8. `rates` trains every way at several rates, one seed, and scores on 500 examples of each task from the end of its training file, which
nothing trains on. `scores` takes each way's best rate (of the mean of the three headline scores) and scores on the first 500 validation examples, which chose
nothing; `answers` does the same with 1,000 questions of SQuAD besides, of `hard`, `lora`, `cross_attention` and the best other. All scores are those after the last epoch.

A part is one training. Its scores go into --results as soon as it is done, and a part that is there is not run again. --until begins nothing after that time. Scores do not
depend on what else runs; seconds do, and say what did.

DATA_DIR holds the files that recipes/seven.toml names. This script needs the standard library alone.
"""
import argparse
import shutil
import statistics
from pathlib import Path

import harness
import levers
from harness import ROOT, Busy, table

RATE = 2.5e-4  # of `learning_rate = "auto"` with MiniLM, where it is trained
WHOLE, FROZEN = [0.5, 1, 2], [1, 2, 4, 8, 16]
WAYS = {
    "hard": ("hard", WHOLE),
    "private_layers": ("private_layers", WHOLE),
    "cross_stitch": ("cross_stitch", WHOLE),
    "sluice": ("sluice", WHOLE),
    "cross_attention": ("cross_attention", WHOLE),
    "houlsby": ('{ name = "adapters", form = "houlsby" }', FROZEN),
    "pfeiffer": ('{ name = "adapters", form = "pfeiffer" }', FROZEN),
    "parallel": ('{ name = "adapters", form = "parallel" }', FROZEN),
    "lora": ("lora", FROZEN),
    "dora": ('{ name = "lora", dora = true }', FROZEN),
    "ia3": ("ia3", FROZEN),
    "bitfit": ("bitfit", FROZEN),
}
TASKS = {"ner": "micro_f1", "sentiment": "accuracy", "relation": "macro_f1"}
WITH_ANSWERS = TASKS | {"qa": "f1"}
HELD_OUT = 500
EXAMPLES = 1000


def held_out(args, task: str) -> Path:
    """The last examples of a training file, written beside the runs."""
    if task in levers.HELD_OUT:
        return levers.held_out(args, task)
    args.work.mkdir(parents=True, exist_ok=True)
    source, lines = {"sentiment": ("sst2/train.txt", 1), "relation": ("semeval2010_task8/train.txt", 4)}[task]
    path = args.work / f"held-out-{task}.txt"
    text = (args.data / source).read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(text[-HELD_OUT * lines:]), encoding="utf-8")
    return path


def train(args, way: str, rate: float, seed: int, tasks: dict[str, str], overrides: dict) -> dict:
    name = f"{way}-{seed}"
    shutil.rmtree(args.work / name, ignore_errors=True)
    args.work.mkdir(parents=True, exist_ok=True)
    recipe = args.work / f"{'-'.join(tasks)}.toml"
    recipe.write_text(harness.only_tasks(ROOT / "recipes/seven.toml", list(tasks)).replace('"DATA/', f'"{args.data}/'), encoding="utf-8")
    overrides = {"name": name, "output": args.work, "encoder.checkpoint": args.encoder, "seed": seed, "sharing": WAYS[way][0], "train.head_rate": 1.0,
                 "train.learning_rate": RATE * rate} | overrides
    for task in tasks:
        overrides |= {f"tasks.{task}.batch_size": 8, f"data.{task}.limit": EXAMPLES, f"data.{task}.validation_limit": HELD_OUT}
    busy = Busy()
    events, done = harness.train(args.polyhead, recipe, overrides, args.threads)
    last = [event for event in events if event["event"] == "evaluated"][-1]
    scores = {task: round(last["scores"][task]["values"][measure], 4) for task, measure in tasks.items()}
    seconds = events[-1]["seconds"] - sum(event["seconds"] for event in events if event["event"] == "evaluated")
    parameters = next(event["parameters"] for event in events if event["event"] == "planned")
    shutil.rmtree(args.work / name)
    return {"scores": scores, "rate": rate, "parameters": parameters, "steps": events[-1]["steps"], "seconds": round(seconds, 1), "memory": round(done.memory),
            "others": busy.others()}


def at_rate(args, way: str, rate: float, seed: int) -> dict:
    return train(args, way, rate, seed, TASKS, {f"data.{task}.validation": held_out(args, task) for task in TASKS})


def of_seeds(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def mean(part: dict) -> float:
    return statistics.mean(part["scores"].values())


def best_rate(parts: dict, way: str) -> float | None:
    found = [part for key, part in parts.items() if key.startswith(f"rates {way} ")]
    return max(found, key=mean)["rate"] if found else None


def scored(args, way: str, seed: int, tasks: dict[str, str] = TASKS) -> dict:
    rate = best_rate(harness.kept(args.results, args.threads)["parts"], way)
    if rate is None:
        raise SystemExit(f"no rate of {way} is measured: run `rates` first")
    return train(args, way, rate, seed, tasks, {})


def run(args, stage: str, way: str, *more) -> dict:
    match stage:
        case "rates":
            return at_rate(args, way, *more)
        case "scores":
            return scored(args, way, *more)
        case _:
            return scored(args, way, *more, WITH_ANSWERS)


def parts_of(args) -> list[tuple]:
    ways = args.ways or list(WAYS)
    if args.stage == "rates":
        return [("rates", way, rate, 42) for way in ways for rate in WAYS[way][1]]
    return [(args.stage, way, seed) for seed in args.seeds for way in ways]


def show(parts: dict) -> None:
    rows = [[way, *(f"{mean(part):.2f}" if (part := parts.get(f"rates {way} {rate} 42")) else "" for rate in sorted({*WHOLE, *FROZEN}))] for way in WAYS]
    print("Mean of the scores on held-out training data, by rate\n")
    print(table(["way", *(f"{rate * RATE:.3g}" for rate in sorted({*WHOLE, *FROZEN}))], rows))
    for stage, tasks in [("scores", TASKS), ("answers", WITH_ANSWERS)]:
        of = {way: {key.split(" ")[2]: part for key, part in parts.items() if key.startswith(f"{stage} {way} ")} for way in WAYS}
        rows = []
        for way, found in of.items():
            if not found:
                continue
            means = {seed: mean(part) for seed, part in found.items()}
            gains = [means[seed] - mean(of["hard"][seed]) for seed in sorted(means.keys() & of["hard"].keys())]
            first = next(iter(found.values()))
            rows.append([way, f"{first['rate'] * RATE:.3g}", str(len(found)), *(of_seeds([part["scores"][task] for part in found.values()]) for task in tasks),
                         f"{statistics.mean(means.values()):.2f}", harness.difference(gains) if way != "hard" else "", f"{first['parameters']['trained']:,}",
                         f"{1000 * first['seconds'] / first['steps']:.0f}", f"{first['memory']}"])
        if rows:
            print(f"\n{stage}: validation data, mean and standard deviation of seeds\n")
            print(table(["way", "rate", "seeds", *tasks, "mean", "beside hard", "trained", "ms a step", "MiB"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=["rates", "scores", "answers"])
    parser.add_argument("ways", nargs="*", metavar="WAY", help="(all)")
    harness.add_options(parser, "ways")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    args = parser.parse_intermixed_args()
    if args.stage and not args.table:
        harness.check_options(parser, args)
        harness.measure(args, parts_of(args), run)
    show(harness.kept(args.results, args.threads)["parts"])


if __name__ == "__main__":
    main()
