#!/usr/bin/env python3
"""Does sharing help a task that has few examples? recipes/best.toml, joint and alone, with 200, 500 and 2,000 examples of one task.

    python3 bench/sharing.py --encoder MINILM_DIR --data DATA_DIR [--seeds 42 43 44] [PART ...]
    python3 bench/sharing.py --table

A part is `SENTENCES+QUESTIONS`: one training on the first so many of each file, 0 for a task that is left out. Parts with both train jointly, as the recipe says with a
batch of both in each step, or `/in-turn` with batches of the tasks in turn and losses as they are; the other task has 2,000 examples. All are scored on the whole validation sets, by the model of the best epoch as the recipe chooses it: that of the task where it
is alone, the mean of both where they are joint. What `polyhead compare` does, with every training that several comparisons share made once.

A part's scores go into --results as soon as it is done, and a part that is there is not run again. --until begins nothing after that time. Scores do not
depend on what else runs; seconds do, and say what did.

DATA_DIR holds conll2003/{train,valid}.txt and squad/{train,validation}-v1.1.json. This script needs the standard library alone.
"""
import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import harness
import levers
from harness import ROOT, Busy, table

FEW, MANY = [200, 500, 2000], 2000
MEASURES = {"ner": ["micro_f1"], "qa": ["exact_match", "f1"]}
IN_TURN = "/in-turn"
PARTS = [f"{few}+0" for few in FEW] + [f"0+{few}" for few in FEW] + [f"{few}+{MANY}" for few in FEW] + [f"{MANY}+{few}" for few in FEW[:-1]]
PARTS += [f"{sizes}{IN_TURN}" for few in FEW[:-1] for sizes in [f"{few}+{MANY}", f"{MANY}+{few}"]]


def run(args, part: str, seed: int) -> dict:
    sizes = {task: int(size) for task, size in zip(MEASURES, part.removesuffix(IN_TURN).split("+")) if int(size)}
    overrides = harness.entities_and_answers(args.data, sizes) | (levers.IN_TURN if part.endswith(IN_TURN) else {})
    overrides |= {"seed": seed, "name": f"{part.replace('+', '-').replace('/', '-')}-{seed}", "output": args.work, "encoder.checkpoint": args.encoder}
    folder = args.work / overrides["name"]
    shutil.rmtree(folder, ignore_errors=True)
    args.work.mkdir(parents=True, exist_ok=True)
    busy = Busy()
    with tempfile.TemporaryDirectory() as work:
        recipe = Path(work) / "recipe.toml"
        recipe.write_text(harness.only_tasks(ROOT / "recipes/best.toml", list(sizes)), encoding="utf-8")
        events, _ = harness.train(args.polyhead, recipe, overrides, args.threads)
    end = events[-1]
    scores = {f"{task} {measure}": round(end["scores"][task]["values"][measure], 4) for task in sizes for measure in MEASURES[task]}
    shutil.rmtree(folder)
    return {"scores": scores, "steps": end["steps"], "tokens": end["tokens"], "others": busy.others()}


def of(parts: dict, part: str, measure: str) -> dict[str, float]:
    """By seed."""
    named = {key.split(" ")[1]: found for key, found in parts.items() if key.split(" ")[0] == part}
    return {seed: found["scores"][measure] for seed, found in named.items()}


def show(parts: dict) -> None:
    rows = []
    for task, joint_of in [("ner", lambda few: f"{few}+{MANY}"), ("qa", lambda few: f"{MANY}+{few}")]:
        for few in FEW:
            for measure in MEASURES[task]:
                name = f"{task} {measure}"
                alone = of(parts, f"{few}+0" if task == "ner" else f"0+{few}", name)
                for way in ["", IN_TURN]:
                    joint = of(parts, joint_of(few) + way, name)
                    seeds = sorted(alone.keys() & joint.keys())
                    if not seeds:
                        continue
                    gains = [joint[seed] - alone[seed] for seed in seeds]
                    mean = statistics.mean
                    rows.append([name, str(few), way.strip("/") or "as the recipe", str(len(seeds)), f"{mean(alone[seed] for seed in seeds):.2f}",
                                 f"{mean(joint[seed] for seed in seeds):.2f}", harness.difference(gains)])
    print(table(["measure", "its examples", "batches", "seeds", "alone", f"with {MANY} of the other", "difference, 95 % interval"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"(all: {', '.join(PARTS)})")
    harness.add_options(parser, "sharing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    args = parser.parse_intermixed_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected parts of {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    if not args.table:
        harness.check_options(parser, args)
        harness.measure(args, [(part, seed) for seed in args.seeds for part in args.parts or PARTS], run)
    show(harness.kept(args.results, args.threads)["parts"])


if __name__ == "__main__":
    main()
