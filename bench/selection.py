#!/usr/bin/env python3
"""Does `polyhead select` find what helps? One task is planted that must help, one that can't, for each of five seeds.

    python3 bench/selection.py --encoder MINILM_DIR --data DATA_DIR [--seeds 1 2 3 4 5]
    python3 bench/selection.py --table

The target is sentiment (SST-2) with 200 sentences. Beside it train, with 500 examples each: `same`, more sentences of SST-2 (the target's own other half), `shuffled`,
sentences of SST-2 whose labels are permuted, and two real ones, the type of a question (TREC) and entities (CoNLL-2003). Of every seed all sentences are drawn anew. The
first must rank first and the second last.

A seed is a part: its answer goes into --results as soon as it is there, and is not run again. --until begins nothing after that time. Answers do not depend on what else
runs.

DATA_DIR holds sst2/train.txt, trec/train.txt and conll2003/train.txt. This script needs the standard library alone.
"""
import argparse
import json
import random
import shutil
from pathlib import Path

import harness
from harness import table

OTHERS = ["same", "shuffled", "question", "ner"]
RECIPE = """\
name = "select"
seed = {seed}
output = {output:?}

[encoder]
checkpoint = {encoder:?}
drop_layers = 1
case_embeddings = "auto"

[train]
epochs = 6
learning_rate = "auto"
order = "by_length"

[tasks.sentiment]
kind = "classify"
batch_size = 8
max_length = 128

[tasks.same]
kind = "classify"
batch_size = 8
max_length = 128

[tasks.shuffled]
kind = "classify"
batch_size = 8
max_length = 128

[tasks.question]
kind = "classify"
label_until = ":"
batch_size = 8
max_length = 128

[tasks.ner]
batch_size = 8
max_length = 128
decoding = "viterbi"

[data.sentiment]
train = {sentiment:?}
validation = {validation:?}

[data.same]
train = {same:?}

[data.shuffled]
train = {shuffled:?}

[data.question]
train = {question:?}

[data.ner]
train = {ner:?}
limit = {others}
"""


def write_data(args, folder: Path, seed: int) -> dict:
    """The files of a seed, by their names in the recipe."""
    draw = random.Random(seed)
    lines = (args.data / "sst2/train.txt").read_text(encoding="utf-8").splitlines()
    draw.shuffle(lines)
    questions = (args.data / "trec/train.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    ends = [args.target, args.target + args.others, args.target + 2 * args.others, args.target + 2 * args.others + 500]
    sentiment, same, shuffled, validation = (lines[begin:end] for begin, end in zip([0, *ends], ends))
    labels = [line.split(" ", 1)[0] for line in shuffled]
    draw.shuffle(labels)
    shuffled = [f"{label} {line.split(' ', 1)[1]}" for label, line in zip(labels, shuffled)]
    texts = {"sentiment": sentiment, "same": same, "shuffled": shuffled, "validation": validation, "question": draw.sample(questions, args.others)}
    files = {}
    for name, lines in texts.items():
        files[name] = folder / f"{name}.txt"
        files[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files | {"ner": args.data / "conll2003/train.txt"}


def run(args, seed: int) -> dict:
    folder = args.work / f"seed{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    values = {name: str(path) for name, path in write_data(args, folder, seed).items()}
    values |= {"seed": seed, "output": str(folder), "encoder": str(args.encoder), "others": args.others}
    text = RECIPE
    for name, value in values.items():
        text = text.replace(f"{{{name}:?}}", json.dumps(value)).replace(f"{{{name}}}", str(value))
    recipe = folder / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    command = [args.polyhead, "select", recipe, "--target", "sentiment", "--trainings", args.trainings, "--json", "--quiet"]
    found = json.loads(harness.run(command, args.threads).output)
    shutil.rmtree(folder)
    probed = {auxiliary["task"]: {"gain": round(auxiliary["gain"]["mean"], 2), "cosine": round(auxiliary["cosine"], 4)} for auxiliary in found["ranked"]}
    whole = [{"with": part["with"], "score": round(part["score"]["mean"], 2), "interval": part["interval"]} for part in found["confirmed"]]
    return {"seeds": [len(seeds) for seeds in found["seeds"]], "alone": round(found["alone"]["mean"], 2), "ranked": probed, "confirmed": whole, "chosen": found["chosen"]}


def show(parts: dict) -> None:
    rows = []
    for seed, part in parts.items():
        probed = [f"{part['ranked'][task]['gain']:+.2f} ({part['ranked'][task]['cosine']:.3f})" for task in OTHERS]
        rows.append([seed, " > ".join(part["ranked"]), f"{part['alone']:.2f}", *probed, ", ".join(part["chosen"]) or "none"])
    print(table(["seed", "rank", "alone", *(f"{task}: gain (cosine)" for task in OTHERS), "chosen"], rows))
    right = [list(part["ranked"])[0] == "same" and list(part["ranked"])[-1] == "shuffled" for part in parts.values()]
    print(f"\nthe planted task that helps first, and the one that can't last: {sum(right)} of {len(right)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    harness.add_options(parser, "selection")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--target", type=int, default=200, help="sentences of the target (%(default)s)")
    parser.add_argument("--others", type=int, default=500, help="examples of each other task (%(default)s)")
    parser.add_argument("--trainings", type=float, default=12, help="the budget of a selection (%(default)s)")
    args = parser.parse_args()
    if not args.table:
        harness.check_options(parser, args)
        harness.measure(args, [(seed,) for seed in args.seeds], run)
    show(harness.kept(args.results, args.threads)["parts"])


if __name__ == "__main__":
    main()
