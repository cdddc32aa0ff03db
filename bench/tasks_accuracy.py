#!/usr/bin/env python3
"""Trains each kind of task beside PyTorch on the same data at the same budget, and prints the scores of all seeds.

    python3 bench/tasks_accuracy.py --encoder MINILM_DIR --data DATA_DIR --peer VENV/bin/python [--results FILE] [CASE ...]

Of every case (CASES below) and seed, polyhead and the peer (peers/train_pytorch.py, `tuned`) train on the first --examples
examples, from one recipe that both read. Scores are those after the last epoch, of both. `ner` and `ner-document` are
polyhead's alone: the model of the best epoch, decoded by argmax and by Viterbi.

A part is one training. Its scores go into FILE as soon as it is done, and a part that is there is not run again: the same
command goes on. --until begins nothing after that time. --table prints what there is and trains nothing.

DATA_DIR holds conll2003/{train,valid}.txt, sst2/{train,dev}.txt, trec/train.txt, semeval2010_task8/train.txt and
ud_ewt/{train,dev}.conllu. Where there is no validation file, a part of the training file is one. The peer's Python has torch,
transformers and scikit-learn. This script needs the standard library alone.
"""
import argparse
import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import ROOT, Busy, is_past, keep, machine, run, say, table

TRAIN = {"epochs": 3, "learning_rate": 5e-5, "weight_decay": 0.01, "warmup": 0.1, "max_grad_norm": 1.0, "order": "by_length"}
# What a sentence of words has.
WORDS = {"max_length": 128, "stride": 32, "dropout": 0.1}
POLYHEAD, PEER = "polyhead", "PyTorch"


@dataclass
class Case:
    kind: str
    files: tuple  # of training and validation: a name in DATA_DIR, or one with a range of lines or examples
    measures: list[str]
    task: dict
    train: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    sides: tuple = (POLYHEAD, PEER)
    separator: str = "\n"  # between the examples of a file that is cut


TREC = {"encoding": "latin-1"}
SEMEVAL = "semeval2010_task8/train.txt"
NER = ("conll2003/train.txt", "conll2003/valid.txt")
DECODED = [f"{measure}, {decoding}" for decoding in ("argmax", "viterbi") for measure in ("micro_f1", "micro_f1_strict")]
CASES = {
    "sst2": Case("classify", ("sst2/train.txt", "sst2/dev.txt"), ["accuracy", "macro_f1"], WORDS),
    # There is no validation file: the last 500 of 5,452 questions.
    "trec": Case("classify", (("trec/train.txt", 0, -500), ("trec/train.txt", -500, None)), ["accuracy", "macro_f1"],
                 WORDS | {"label_until": ":"}, {"learning_rate": 1e-4}, TREC),
    "pos": Case("tag", ("ud_ewt/train.conllu", "ud_ewt/dev.conllu"), ["accuracy"], WORDS),
    "parse": Case("parse", ("ud_ewt/train.conllu", "ud_ewt/dev.conllu"), ["las", "uas", "clas"],
                  {"max_length": 256, "dropout": 0.33, "arc_size": 256, "relation_size": 128},
                  {"learning_rate": 1e-4, "head_rate": 10.0}),
    # Nor is there one here: the sentences 6,001 to 7,000. The last 891 are of another corpus.
    "semeval": Case("relation", ((SEMEVAL, 0, 6000), (SEMEVAL, 6000, 7000)), ["macro_f1", "accuracy"],
                    {"max_length": 128, "dropout": 0.1, "marker_tokens": ["$", "#"]}, {"learning_rate": 1e-4},
                    separator="\n\n"),
    "ner": Case("ner", NER, DECODED, WORDS, sides=(POLYHEAD,)),
    "ner-document": Case("ner", NER, DECODED, WORDS | {"context": "document"}, sides=(POLYHEAD,)),
}


def file_of(args, case: Case, which: tuple | str, name: str) -> Path:
    """A file of the data, or the part of one, which is written beside the runs."""
    if isinstance(which, str):
        return args.data / which
    source, first, last = which
    coding = case.data.get("encoding", "utf-8")
    text = (args.data / source).read_bytes().decode(coding).replace("\r\n", "\n").strip("\n")
    path = args.work / f"{name}{Path(source).suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((case.separator.join(text.split(case.separator)[first:last]) + case.separator).encode(coding))
    return path


def recipe(args, name: str, seed: int) -> Path:
    """A recipe that says everything both sides read."""
    case = CASES[name]
    train, validation = (file_of(args, case, which, f"{name}-{part}") for which, part in zip(case.files, ["train", "validation"]))
    limits = {"limit": args.examples, "validation_limit": args.validation}
    data = {"train": str(train), "validation": str(validation)} | limits | case.data
    tables = {
        "": {"name": f"{name}-seed{seed}", "seed": seed, "output": str(args.work)},
        "encoder": {"checkpoint": str(args.encoder)},
        "train": TRAIN | case.train,
        "tasks.task": {"kind": case.kind, "batch_size": 16, "loss_weight": 1.0} | case.task,
        "data.task": data,
    }
    lines = []
    for table_name, values in tables.items():
        lines += [f"[{table_name}]"] if table_name else []
        # TOML writes these as JSON does.
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    path = args.work / f"{name}-seed{seed}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def polyhead(args, name: str, seed: int) -> dict:
    folder = args.work / f"{name}-seed{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    output = run([args.polyhead, "train", recipe(args, name, seed), "--json", "--quiet"], args.threads).output
    events = [json.loads(line) for line in output.splitlines()]
    last = [event for event in events if event["event"] == "evaluated"][-1]
    scores = {key: value for key, value in last["scores"]["task"]["values"].items() if key in CASES[name].measures}
    if CASES[name].kind == "ner":
        scores = decoded(args, name, folder / "best")
    seconds = events[-1]["seconds"] - sum(event["seconds"] for event in events if event["event"] == "evaluated")
    shutil.rmtree(folder)
    return {"scores": scores, "seconds": round(seconds, 1), "tokens": events[-1]["tokens"]}


def decoded(args, name: str, model: Path) -> dict:
    """The scores of a model with each decoding, which its configuration names."""
    file = model / "config.json"
    scores = {}
    for decoding in ("argmax", "viterbi"):
        config = json.loads(file.read_text(encoding="utf-8"))
        config["polyhead"]["tasks"][0]["config"]["decoding"] = decoding
        file.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
        data = args.data / CASES[name].files[1]
        command = [args.polyhead, "eval", model, "--data", data, "--limit", args.validation, "--json"]
        found = json.loads(run(command, args.threads).output)
        for measure in ("micro_f1", "micro_f1_strict"):
            scores[f"{measure}, {decoding}"] = found["score"]["values"][measure]
    return scores


def peer(args, name: str, seed: int) -> dict:
    script = ROOT / "bench/peers/train_pytorch.py"
    command = [args.peer, script, "tuned", recipe(args, name, seed), "--eval", "--threads", args.threads]
    end = json.loads(run(command, args.threads).output.splitlines()[-1])
    scores = {key: value for key, value in end["scores"]["task"].items() if key in CASES[name].measures}
    return {"scores": scores, "seconds": round(end["wall_s"], 1), "tokens": end["real_tokens"], "torch": end["torch"]}


def kept(args) -> dict:
    if args.results.exists():
        return json.loads(args.results.read_text(encoding="utf-8"))
    return {"examples": args.examples, "validation": args.validation, "machine": machine(args.threads), "parts": {}}


def show(found: dict) -> None:
    """A line for each measure: mean and standard deviation of each side, and over how many seeds."""
    lines = []
    for name, case in CASES.items():
        for measure in case.measures:
            cells = []
            for side in (POLYHEAD, PEER):
                parts = [part for key, part in found["parts"].items() if key.startswith(f"{name} {side} ")]
                values = [part["scores"][measure] for part in parts]
                spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
                cells += [f"{statistics.mean(values):.2f}{spread}" if values else "", str(len(values) or "")]
            if any(cells):
                lines.append([name, measure, *cells])
    print(table(["case", "measure", POLYHEAD, "seeds", PEER, "seeds"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (all of them)")
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", type=Path, help="(%(default)s)")
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peer", metavar="PYTHON", help="the peer's Python; without it polyhead's parts are run alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--examples", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--validation", type=int, default=1000, help="the first so many to score on (%(default)s)")
    parser.add_argument("--threads", type=int, default=machine(1)["cores"], help="(all cores: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/tasks_accuracy.json", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/tasks-accuracy", help="recipes and runs (%(default)s)")
    parser.add_argument("--until", metavar="HH:MM", help="begin nothing after this time of the day in UTC")
    parser.add_argument("--table", action="store_true", help="print what there is")
    args = parser.parse_args()
    if unknown := set(args.cases) - set(CASES):
        parser.error(f"expected cases of {', '.join(CASES)}, found {', '.join(sorted(unknown))}")
    if not args.table:
        if not (args.encoder and args.data):
            parser.error("expected --encoder and --data")
        args.encoder, args.data, args.work = args.encoder.resolve(), args.data.resolve(), args.work.resolve()
        train(args)
    show(kept(args))


def train(args) -> None:
    found = kept(args)
    if (found["examples"], found["validation"]) != (args.examples, args.validation):
        sys.exit(f"{args.results} is of {found['examples']} examples and {found['validation']} of validation data")
    # Seed by seed, so that what there is after any time is of all cases.
    for seed in args.seeds:
        for name in args.cases or CASES:
            for side in CASES[name].sides:
                key = f"{name} {side} {seed}"
                if key in found["parts"] or side == PEER and not args.peer:
                    continue
                if is_past(args.until):
                    say(f"stopped before {key}")
                    return
                say(key)
                busy, began = Busy(), time.perf_counter()
                part = (polyhead if side == POLYHEAD else peer)(args, name, seed)
                part["scores"] = {measure: round(score, 4) for measure, score in part["scores"].items()}
                part["wall"], part["others"] = round(time.perf_counter() - began, 1), busy.others()
                found["parts"][key] = part
                keep(args.results, found)
                say(f"{key}: {part['scores']}")
            tokens = {side: found["parts"].get(f"{name} {side} {seed}", {}).get("tokens") for side in CASES[name].sides}
            if len(set(tokens.values()) - {None}) > 1:
                sys.exit(f"{name}: expected the same real tokens on every side, found {tokens}")


if __name__ == "__main__":
    main()
