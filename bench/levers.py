#!/usr/bin/env python3
"""What each lever of training is worth: one after the other on training data alone, then all of them on the validation sets.

    python3 bench/levers.py screen --encoder MINILM_DIR --data DATA_DIR [--task ner | qa] [ROW ...]
    python3 bench/levers.py confirm --encoder MINILM_DIR --data DATA_DIR [ROW ...]
    python3 bench/levers.py --table

`screen` trains one task alone on the first --ner 2,000 sentences or the first --qa 1,000 questions of the training files, and scores on
the last of the same files (3,042 sentences; 1,014 questions about other articles), which nothing trains on. A row of SCREEN is what
it sets over the row that it stands on. `together` trains recipes/best.toml with both tasks and other weights, samplers and balancers, scored on the same held-out
examples. `back` takes one setting of recipes/best.toml back, its task alone, and `confirm` trains recipes, both tasks; each on the first 2,000 examples and
scored on the whole validation sets. All scores are those after the last epoch.

A part is one training. Its scores go into --results as soon as it is done, and a part that is there is not run again: the same command
goes on. --until begins nothing after that time. Scores do not depend on what else runs; seconds do, and say what did.

DATA_DIR holds conll2003/{train,valid}.txt and squad/{train,validation}-v1.1.json. This script needs the standard library alone.
"""
import argparse
import json
import shutil
import statistics
from pathlib import Path

import harness
from harness import ROOT, Busy, table

MEASURES = {"ner": ["micro_f1", "micro_f1_strict"], "qa": ["exact_match", "f1"]}
HELD_OUT = {"ner": 3042, "qa": 5}  # sentences; articles
# Each row: the task, the row that it stands on, and what it sets.
SCREEN = {
    "ner base": ("ner", None, {}),
    "ner rate 1e-4": ("ner", "ner base", {"train.learning_rate": 1e-4}),
    "ner rate 2.5e-4": ("ner", "ner base", {"train.learning_rate": 2.5e-4}),
    "ner rate 5e-4": ("ner", "ner base", {"train.learning_rate": 5e-4}),
    "ner batch 8": ("ner", "ner rate 2.5e-4", {"tasks.ner.batch_size": 8}),
    "ner batch 4": ("ner", "ner rate 2.5e-4", {"tasks.ner.batch_size": 4}),
    "ner batch 8, rate 5e-4": ("ner", "ner rate 5e-4", {"tasks.ner.batch_size": 8}),
    "ner batch 8, rate 1e-4": ("ner", "ner rate 1e-4", {"tasks.ner.batch_size": 8}),
    "ner order random": ("ner", "ner batch 8", {"train.order": "random"}),
    "ner layer decay 0.9": ("ner", "ner batch 8", {"train.layer_decay": 0.9}),
    "ner layer decay 0.8": ("ner", "ner batch 8", {"train.layer_decay": 0.8}),
    "ner head rate 10": ("ner", "ner batch 8", {"train.head_rate": 10.0}),
    "ner dropout 0": ("ner", "ner batch 8", {"encoder.dropout": 0.0, "encoder.attention_dropout": 0.0}),
    "ner dropout 0, head too": ("ner", "ner dropout 0", {"tasks.ner.dropout": 0.0}),
    "ner viterbi": ("ner", "ner batch 8", {"tasks.ner.decoding": "viterbi"}),
    "ner document context": ("ner", "ner batch 8", {"tasks.ner.context": "document"}),
    "ner case embeddings": ("ner", "ner batch 8", {"encoder.case_embeddings": "true"}),
    "ner weight decay 0.1": ("ner", "ner batch 8", {"train.weight_decay": 0.1}),
    "ner warm-up 0.05": ("ner", "ner batch 8", {"train.warmup": 0.05}),
    "ner warm-up 0.2": ("ner", "ner batch 8", {"train.warmup": 0.2}),
    "qa base": ("qa", None, {}),
    "qa rate 1e-4": ("qa", "qa base", {"train.learning_rate": 1e-4}),
    "qa rate 2.5e-4": ("qa", "qa base", {"train.learning_rate": 2.5e-4}),
    "qa rate 5e-4": ("qa", "qa base", {"train.learning_rate": 5e-4}),
    "qa batch 8": ("qa", "qa rate 2.5e-4", {"tasks.qa.batch_size": 8}),
    "qa batch 4": ("qa", "qa rate 2.5e-4", {"tasks.qa.batch_size": 4}),
    "qa batch 8, rate 5e-4": ("qa", "qa rate 5e-4", {"tasks.qa.batch_size": 8}),
    "qa batch 8, rate 1e-4": ("qa", "qa rate 1e-4", {"tasks.qa.batch_size": 8}),
    "qa order random": ("qa", "qa batch 8", {"train.order": "random"}),
    "qa layer decay 0.9": ("qa", "qa batch 8", {"train.layer_decay": 0.9}),
    "qa head rate 10": ("qa", "qa batch 8", {"train.head_rate": 10.0}),
    "qa dropout 0": ("qa", "qa batch 8", {"encoder.dropout": 0.0, "encoder.attention_dropout": 0.0}),
    "qa dropout 0, head too": ("qa", "qa dropout 0", {"tasks.qa.dropout": 0.0}),
    "qa length penalty 0.1": ("qa", "qa batch 8", {"tasks.qa.length_penalty": 0.1}),
    "qa length penalty 0.15": ("qa", "qa batch 8", {"tasks.qa.length_penalty": 0.15}),
    "qa length penalty 0.3": ("qa", "qa batch 8", {"tasks.qa.length_penalty": 0.3}),
    "qa joint": ("qa", "qa batch 8", {"tasks.qa.loss": "joint"}),
    "qa warm-up 0.05": ("qa", "qa batch 8", {"train.warmup": 0.05}),
    "qa warm-up 0.2": ("qa", "qa batch 8", {"train.warmup": 0.2}),
}
PRIVATE = {"sharing": '{ name = "private_layers", layers = 1 }'}
IN_TURN = {"train.sample": "round_robin", "train.balance": "equal"}
# recipes/best.toml with one task, without one of its settings.
BACK = {
    "ner best": ("ner", {}),
    "ner rate 5e-5": ("ner", {"train.learning_rate": 5e-5}),
    "ner batches of 16": ("ner", {"tasks.ner.batch_size": 16}),
    "ner no case embeddings": ("ner", {"encoder.case_embeddings": "false"}),
    "ner argmax": ("ner", {"tasks.ner.decoding": "argmax"}),
    "ner random order": ("ner", {"train.order": "random"}),
    "ner all layers": ("ner", {"encoder.drop_layers": 0}),
    "qa best": ("qa", {}),
    "qa rate 5e-5": ("qa", {"train.learning_rate": 5e-5}),
    "qa batches of 16": ("qa", {"tasks.qa.batch_size": 16}),
    "qa no length penalty": ("qa", {"tasks.qa.length_penalty": 0.0}),
    "qa all layers": ("qa", {"encoder.drop_layers": 0}),
}
CONFIRM = {
    "report": ("recipes/report.toml", {}),
    "rate 2.5e-4, batch 8": ("recipes/report.toml", {"train.learning_rate": 2.5e-4, "tasks.ner.batch_size": 8, "tasks.qa.batch_size": 8}),
    "rate 2.5e-4": ("recipes/report.toml", {"train.learning_rate": 2.5e-4}),
    "best": ("recipes/best.toml", {}),
    "best, all data": ("recipes/best.toml", {"data.ner.limit": 100_000, "data.qa.limit": 100_000}),
    "in turn": ("recipes/best.toml", IN_TURN),
    "in turn, entities count 0.3": ("recipes/best.toml", IN_TURN | {"tasks.ner.loss_weight": 0.3}),
    "in turn, answers in batches of 16": ("recipes/best.toml", IN_TURN | {"tasks.qa.batch_size": 16}),
    "in turn, all data": ("recipes/best.toml", IN_TURN | {"data.ner.limit": 100_000, "data.qa.limit": 100_000}),
    "in turn, a private layer": ("recipes/best.toml", IN_TURN | PRIVATE),
    "in turn, all layers": ("recipes/best.toml", IN_TURN | {"encoder.drop_layers": 0}),
    "best, case embeddings off": ("recipes/best.toml", {"encoder.case_embeddings": "false"}),
    "best, argmax": ("recipes/best.toml", {"tasks.ner.decoding": "argmax"}),
    "best, no length penalty": ("recipes/best.toml", {"tasks.qa.length_penalty": 0.0}),
}

# What concerns both tasks: recipes/best.toml with batches of the tasks in turn and this, both on their first 2,000 examples, scored on held-out training data. In the first two rows a task is alone.
JOINT = {"train.sample": "joint"}
# No example is seen more often than the recipe says.
ONCE = {"train.sample": '{ name = "joint", repeat = false }'}
ALONE = {"entities alone": "ner", "answers alone": "qa"}
TOGETHER = {
    "entities alone": {},
    "answers alone": {},
    "in turn": {},
    "entities count 0.5": {"tasks.ner.loss_weight": 0.5},
    "entities count 0.3": {"tasks.ner.loss_weight": 0.3},
    "entities count 0.1": {"tasks.ner.loss_weight": 0.1},
    "entities count 3": {"tasks.ner.loss_weight": 3.0},
    "rate 1.7e-4": {"train.learning_rate": 1.7e-4},
    "rate 1.2e-4": {"train.learning_rate": 1.2e-4},
    "entities in batches of 16": {"tasks.ner.batch_size": 16},
    "entities in batches of 32": {"tasks.ner.batch_size": 32},
    "answers in batches of 16": {"tasks.qa.batch_size": 16},
    "a batch of both in each step": JOINT,
    "a batch of both in each step, entities count 5": JOINT | {"tasks.ner.loss_weight": 5.0},
    "a batch of both in each step, entities count 10": JOINT | {"tasks.ner.loss_weight": 10.0},
    "a batch of both in each step, entities count 5, rate 3.5e-4": JOINT | {"tasks.ner.loss_weight": 5.0, "train.learning_rate": 3.5e-4},
    "a batch of both in each step, entities count 10, rate 3.5e-4": JOINT | {"tasks.ner.loss_weight": 10.0, "train.learning_rate": 3.5e-4},
    "a batch of both in each step, entities count 5, all layers": JOINT | {"tasks.ner.loss_weight": 5.0, "encoder.drop_layers": 0},
    "a batch of both in each step, entities count 10, rate 2e-4": JOINT | {"tasks.ner.loss_weight": 10.0, "train.learning_rate": 2e-4},
    "gradients of equal length": JOINT | {"train.balance": "db_mtl"},
    "both in each step, once": ONCE,
    "both in each step, once, entities count 3": ONCE | {"tasks.ner.loss_weight": 3.0},
    "both in each step, once, entities count 5": ONCE | {"tasks.ner.loss_weight": 5.0},
    "both in each step, once, entities count 7": ONCE | {"tasks.ner.loss_weight": 7.0},
    "both in each step, once, entities count 5, in batches of 6": ONCE | {"tasks.ner.loss_weight": 5.0, "tasks.ner.batch_size": 6},
    "both in each step, once, entities count 10": ONCE | {"tasks.ner.loss_weight": 10.0},
    "both in each step, once, entities count 20": ONCE | {"tasks.ner.loss_weight": 20.0},
    "both in each step, once, gradients of equal length": ONCE | {"train.balance": "db_mtl"},
    "a private layer": PRIVATE,
    "two private layers": {"sharing": '{ name = "private_layers", layers = 2 }'},
    "a private layer, entities count 0.3": PRIVATE | {"tasks.ner.loss_weight": 0.3},
    "a private layer, entities count 0.5": PRIVATE | {"tasks.ner.loss_weight": 0.5},
    "both in each step, once, entities count 5, a private layer": ONCE | PRIVATE | {"tasks.ner.loss_weight": 5.0},
    "both in each step, once, entities count 12, a private layer": ONCE | PRIVATE | {"tasks.ner.loss_weight": 12.0},
    "both in each step, once, entities count 10, a private layer": ONCE | PRIVATE | {"tasks.ner.loss_weight": 10.0},
    "both in each step, once, gradients of equal length, a private layer": ONCE | PRIVATE | {"train.balance": "db_mtl"},
    "batches in random order": {"train.sample": "proportional"},
}


def settings(row: str) -> dict:
    """What a row sets, with all that it stands on."""
    _, below, own = SCREEN[row]
    return (settings(below) if below else {}) | own


def held_out(args, task: str) -> Path:
    """The last examples of the training file, written beside the runs."""
    args.work.mkdir(parents=True, exist_ok=True)
    if task == "ner":
        path = args.work / "held-out.conll"
        sentences = (args.data / "conll2003/train.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
        path.write_text("\n\n".join(sentences[-HELD_OUT[task]:]) + "\n", encoding="utf-8")
    else:
        path = args.work / "held-out.json"
        squad = json.loads((args.data / "squad/train-v1.1.json").read_text(encoding="utf-8"))
        path.write_text(json.dumps(squad | {"data": squad["data"][-HELD_OUT[task]:]}), encoding="utf-8")
    return path


def recipe_of(args, task: str) -> Path:
    """That of the report, of one task."""
    path = args.work / f"{task}.toml"
    args.work.mkdir(parents=True, exist_ok=True)
    path.write_text(harness.only_tasks(ROOT / "recipes/report.toml", [task]), encoding="utf-8")
    return path


def train(args, recipe: Path, name: str, overrides: dict) -> dict:
    """Scores after the last epoch, seconds of training, tokens."""
    folder = args.work / name
    shutil.rmtree(folder, ignore_errors=True)
    overrides = {"name": name, "output": args.work, "encoder.checkpoint": args.encoder} | overrides
    busy = Busy()
    events, done = harness.train(args.polyhead, recipe, overrides, args.threads)
    last = [event for event in events if event["event"] == "evaluated"][-1]
    scores = {
        f"{task} {measure}": round(last["scores"][task]["values"][measure], 4)
        for task in MEASURES if task in last["scores"] for measure in MEASURES[task]
    }
    seconds = events[-1]["seconds"] - sum(event["seconds"] for event in events if event["event"] == "evaluated")
    shutil.rmtree(folder)
    return {"scores": scores, "seconds": round(seconds, 1), "tokens": events[-1]["tokens"], "memory": round(done.memory), "others": busy.others()}


def screened(args, row: str, seed: int) -> dict:
    task = SCREEN[row][0]
    train_file = {"ner": "conll2003/train.txt", "qa": "squad/train-v1.1.json"}[task]
    overrides = {
        "seed": seed, f"data.{task}.train": args.data / train_file, f"data.{task}.validation": held_out(args, task),
        f"data.{task}.limit": getattr(args, task), f"data.{task}.validation_limit": 100_000,
    }
    return train(args, recipe_of(args, task), f"{task}-{seed}", overrides | settings(row))


def confirmed(args, row: str, seed: int) -> dict:
    overrides = {"seed": seed} | harness.entities_and_answers(args.data, {"ner": 2000, "qa": 2000})
    recipe, own = CONFIRM[row]
    return train(args, ROOT / recipe, f"confirm-{seed}", overrides | own)


def best_of(args, tasks: list[str]) -> Path:
    """recipes/best.toml with these tasks alone."""
    path = args.work / f"{'-'.join(tasks)}-best.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(harness.only_tasks(ROOT / "recipes/best.toml", tasks), encoding="utf-8")
    return path


def together(args, row: str, seed: int) -> dict:
    tasks = [ALONE[row]] if row in ALONE else list(MEASURES)
    overrides = harness.entities_and_answers(args.data, {task: 2000 for task in tasks}) | {"seed": seed}
    overrides |= {f"data.{task}.validation": held_out(args, task) for task in tasks}
    return train(args, best_of(args, tasks), f"together-{seed}", overrides | IN_TURN | TOGETHER[row])


def taken_back(args, row: str, seed: int) -> dict:
    task, own = BACK[row]
    overrides = harness.entities_and_answers(args.data, {task: 2000}) | {"seed": seed}
    return train(args, best_of(args, [task]), f"back-{seed}", overrides | own)


def below(stage: str, row: str) -> str | None:
    """The row that a row is held against."""
    if stage == "screen":
        return SCREEN[row][1]
    return {"back": f"{row.split(' ')[0]} best", "together": "in turn"}.get(stage) if row not in ("in turn", "ner best", "qa best") else None


def show(found: dict) -> None:
    """A line for each row and measure: mean, standard deviation, what it is beside the row below it, with the 95 % interval of several seeds."""
    lines = []
    for stage, (rows, _) in STAGES.items():
        for row in rows:
            parts = {key.rsplit(" ", 1)[1]: part for key, part in found["parts"].items() if key.rsplit(" ", 1)[0] == f"{stage} {row}"}
            if not parts:
                continue
            base = below(stage, row)
            cells = []
            for measure in next(iter(parts.values()))["scores"]:
                values = [part["scores"][measure] for part in parts.values()]
                spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
                gains = [part["scores"][measure] - found["parts"][f"{stage} {base} {seed}"]["scores"][measure]
                         for seed, part in parts.items() if f"{stage} {base} {seed}" in found["parts"]]
                cells.append(f"{measure.split(' ', 1)[1]} {statistics.mean(values):.2f}{spread}{f' ({harness.difference(gains)})' if gains else ''}")
            lines.append([row, base or "", str(len(parts)), *cells])
    width = max((len(line) for line in lines), default=3)
    lines = [line + [""] * (width - len(line)) for line in lines]
    print(table(["row", "on", "seeds", *(["score"] * (width - 3))], lines))


STAGES = {"screen": (SCREEN, screened), "together": (TOGETHER, together), "back": (BACK, taken_back),
          "confirm": (CONFIRM, confirmed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=list(STAGES))
    parser.add_argument("rows", nargs="*", metavar="ROW", help="(all of the stage)")
    parser.add_argument("--task", choices=list(MEASURES), help="the rows of this task alone")
    harness.add_options(parser, "levers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--ner", type=int, default=2000, help="sentences of the screen (%(default)s)")
    parser.add_argument("--qa", type=int, default=1000, help="questions of the screen (%(default)s)")
    args = parser.parse_intermixed_args()
    rows, of_row = STAGES.get(args.stage, ({}, None))
    if unknown := set(args.rows) - set(rows):
        parser.error(f"expected rows of {', '.join(rows)}, found {', '.join(sorted(unknown))}")
    if args.stage:
        harness.check_options(parser, args)
        chosen = [row for row in args.rows or rows if args.stage != "screen" or args.task in (None, SCREEN[row][0])]
        parts = [(args.stage, row, seed) for seed in args.seeds for row in chosen]
        harness.measure(args, parts, lambda args, _, row, seed: of_row(args, row, seed))
    show(harness.kept(args.results, args.threads))


if __name__ == "__main__":
    main()
