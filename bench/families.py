#!/usr/bin/env python3
"""Encoders of each family beside PyTorch: the same training job with random weights of base size, ratios of tokens a second and of memory.

    python3 bench/families.py --data DATA_DIR --tokenizer MINILM_DIR --peer VENV/bin/python [FAMILY ...] [--results FILE]

Of each family both sides train recipes/report.toml on the first --examples sentences and questions, one epoch, in turn, --runs times:
`polyhead train` and peers/train_pytorch.py (`tuned`), on the same windows, with the same steps and real tokens. Weights are random
(peers/random_encoder.py): they decide nothing about the time. PyTorch's attention is SDPA where transformers has it for the family, else
eager. Both sides compute in f32 where bf16 is not faster.

A part is one family. It goes into FILE as soon as it is done and is not run again; --until begins nothing after that time. --table
prints what there is. DATA_DIR as for compare.py. The peer's Python has torch and transformers; this script needs the standard library.
"""
import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from harness import CORES, ROOT, Busy, is_past, keep, machine, run, say, table
from jobs import RECIPE, overrides, train_polyhead

FAMILIES = ["bert", "roberta", "distilbert", "electra", "albert", "mpnet", "deberta-v2", "modernbert"]


def peer(args, changes: dict, precision: str) -> dict:
    pairs = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    script = ROOT / "bench/peers/train_pytorch.py"
    command = [args.peer, script, "tuned", RECIPE, *pairs, "--precision", precision, "--threads", args.threads]
    done = run(command, args.threads)
    found = json.loads(done.output.splitlines()[-1])
    return {"tokens": found["real_tokens"], "steps": found["steps"], "seconds": found["wall_s"], "memory": done.memory}


def part(args, family: str) -> dict:
    encoder = args.work / family
    run([args.peer, ROOT / "bench/peers/random_encoder.py", family, args.tokenizer, encoder], args.threads)
    changes = overrides(encoder, args.data, args.examples)
    runs = []
    for number in range(args.runs):
        say(f"{family}, run {number + 1} of {args.runs}")
        busy = Busy()
        ours = train_polyhead(args.polyhead, RECIPE, changes, args.work / "runs", "auto", args.threads)
        theirs = peer(args, changes, ours["precision"])
        if (ours["steps"], ours["tokens"]) != (theirs["steps"], theirs["tokens"]):
            sys.exit(f"{family}: expected the same steps and real tokens, found {ours} and {theirs}")
        sides = {"polyhead": ours, "PyTorch": theirs}
        figures = {side: {key: round(found[key], 2) for key in ("seconds", "memory")} for side, found in sides.items()}
        runs.append({"precision": ours["precision"], "tokens": ours["tokens"], "others": busy.others()} | figures)
    shutil.rmtree(encoder)
    return {"runs": runs}


def show(found: dict) -> None:
    lines = []
    for family, part in found["parts"].items():
        ratios = [run["PyTorch"]["seconds"] / run["polyhead"]["seconds"] for run in part["runs"]]
        shares = [run["polyhead"]["memory"] / run["PyTorch"]["memory"] for run in part["runs"]]
        rates = [run["tokens"] / run["polyhead"]["seconds"] for run in part["runs"]]
        cells = [f"{statistics.median(values):{form}}" for values, form in [(ratios, ".2f"), (rates, ",.0f"), (shares, ".2f")]]
        lines.append([family, part["runs"][0]["precision"], *cells, f"{min(ratios):.2f} to {max(ratios):.2f}"])
    print(table(["family", "precision", "tokens/s, times PyTorch's", "real tokens/s", "peak memory, share", "ratios"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"{', '.join(FAMILIES)} (all of them)")
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", type=Path, help="(%(default)s)")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="a folder with the tokenizer of both sides")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--examples", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=CORES, help="(all cores: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/families.json", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/families", help="encoders and runs (%(default)s)")
    parser.add_argument("--until", metavar="HH:MM", help="begin nothing after this time of the day in UTC")
    parser.add_argument("--table", action="store_true", help="print what there is")
    args = parser.parse_args()
    if unknown := set(args.families) - set(FAMILIES):
        parser.error(f"expected families of {', '.join(FAMILIES)}, found {', '.join(sorted(unknown))}")
    found = {"examples": args.examples, "machine": machine(args.threads), "parts": {}}
    if args.results.exists():
        found = json.loads(args.results.read_text(encoding="utf-8"))
    if not args.table:
        if not (args.data and args.tokenizer and args.peer):
            parser.error("expected --data, --tokenizer and --peer")
        args.data, args.tokenizer, args.work = args.data.resolve(), args.tokenizer.resolve(), args.work.resolve()
        for family in args.families or FAMILIES:
            if family in found["parts"] or is_past(args.until):
                continue
            found["parts"][family] = part(args, family)
            keep(args.results, found)
    show(found)


if __name__ == "__main__":
    main()
