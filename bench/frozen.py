#!/usr/bin/env python3
"""What does training cost when a part of the encoder is frozen, or when it has LoRA?

    python3 bench/frozen.py --encoder MINILM_DIR --data DATA_DIR [--json FILE]

The same job (recipes/report.toml on the first sentences and questions, so many steps) with nothing frozen, with the embeddings, with
half of the layers, with all of them, and with LoRA of rank 8. Every round runs all five, each beginning with another one, so that what
slows the machine down slows all. Each is compared with full training of its round:

    speed      real tokens a second of the steps, forward and backward passes and update; the first --warm-up steps are not counted
    memory     the most that was resident in the process (VmHWM), loading and saving included
    optimiser  bytes of AdamW's moments, as a checkpoint holds them

Ratios are those to full training; intervals are Student's t on the logarithms of the ratios of the rounds (intervals.py). Needs
the Python standard library alone, and a machine on which nothing else runs.
"""
import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from harness import CORES, Busy, build, machine, machine_lines, say, table, train
from intervals import ratio
from jobs import RECIPE, data_files, overrides

FULL = "nothing frozen"


def variants(layers: int) -> dict[str, dict]:
    """What is frozen, as what is set over the recipe."""
    half = layers // 2
    return {
        FULL: {},
        "embeddings frozen": {"encoder.freeze": "embeddings"},
        f"{half} of {layers} layers frozen": {"encoder.freeze": half},
        f"all {layers} layers frozen": {"encoder.freeze": layers},
        "LoRA, rank 8": {"encoder.lora.rank": 8},
    }


def measure(polyhead: Path, changes: dict, warm_up: int, threads: int) -> dict:
    events, done = train(polyhead, RECIPE, changes, threads)
    steps = [event for event in events if event["event"] == "step"][warm_up:]
    tokens = sum(task["tokens"] for step in steps for task in step["tasks"])
    end = events[-1]
    moments = list(Path(end["folder"]).glob("checkpoint-*/optimizer.safetensors"))
    found = {
        "tokens": tokens,
        "seconds": sum(step["seconds"] for step in steps),
        "memory": done.memory,
        "optimiser": sum(file.stat().st_size for file in moments),
        "parameters": events[0]["parameters"],
        "precision": events[0]["precision"],
        "losses": [task["loss"] for step in steps for task in step["tasks"]],
    }
    shutil.rmtree(end["folder"])
    return found


def show(rounds: list[dict]) -> list[dict]:
    """Prints the table; its rows as data."""
    rows, found = [], []
    for name in rounds[0]:
        of = [each[name] for each in rounds]
        full = [each[FULL] for each in rounds]
        speed = [[each["tokens"] / each["seconds"] for each in side] for side in (full, of)]
        memory = [[each["memory"] for each in side] for side in (full, of)]
        counts, optimiser = of[0]["parameters"], of[0]["optimiser"]
        row = {
            "name": name, "tokens a second": statistics.median(speed[1]), "memory, MiB": statistics.median(memory[1]),
            "optimiser, bytes": optimiser, "optimiser, ratio": optimiser / full[0]["optimiser"],
            "parameters": counts,
        }
        shown = ["1", "1"]
        if name != FULL:
            for at, (key, values) in enumerate((("speed", speed), ("memory", memory))):
                if len(rounds) > 1:
                    each = ratio(*values)
                    row[f"{key}, ratio"] = {"middle": each.middle, "low": each.low, "high": each.high}
                    shown[at] = f"{each.middle:.3f} ({each.low:.3f} to {each.high:.3f})"
                else:
                    row[f"{key}, ratio"] = {"middle": values[1][0] / values[0][0]}
                    shown[at] = f"{values[1][0] / values[0][0]:.3f}"
        found.append(row)
        rows.append([
            name, f"{100 * counts['trained'] / counts['all']:.2f} %", f"{row['tokens a second']:,.0f}", shown[0],
            f"{row['memory, MiB']:,.0f}", shown[1], f"{optimiser / 2**20:,.1f}", f"{row['optimiser, ratio']:.4f}",
        ])
    header = ["", "trained", "real tokens/s", "speed, ratio", "memory, MiB", "memory, ratio", "optimiser, MiB", "optimiser, ratio"]
    print(table(header, rows), end="\n\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, type=Path, help="a BERT folder in Hugging Face layout")
    parser.add_argument("--data", required=True, type=Path, help="a folder with conll2003 and squad")
    parser.add_argument("--steps", type=int, default=40, help="of each training (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=4, help="of them, not counted (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--precision", choices=["auto", "f32", "bf16"], default="auto", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=CORES, help="(all cores: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes every round, too")
    args = parser.parse_args()
    if args.steps <= args.warm_up or args.rounds < 1:
        parser.error("expected more steps than those of the warm-up, and a round")
    args.encoder, args.data = args.encoder.resolve(), args.data.resolve()
    if missing := [str(path) for path in (args.encoder / "config.json", *data_files(args.data)) if not path.exists()]:
        sys.exit(f"expected {', '.join(missing)}")
    layers = json.loads((args.encoder / "config.json").read_text())["num_hidden_layers"]
    polyhead = build()["polyhead"]
    found = variants(layers)
    names, rounds, busy = list(found), [], Busy()
    with tempfile.TemporaryDirectory(prefix="polyhead-frozen-") as scratch:
        # Batches of both tasks for every step; the moments of the last checkpoint are weighed.
        own = overrides(args.encoder, args.data, 16 * args.steps) | {
            "output": scratch, "train.max_steps": args.steps, "train.keep_optimizer": "true",
            "train.precision": args.precision, "train.diagnostics_every": 0,
        }
        for number in range(args.rounds):
            at = number % len(names)
            order = names[at:] + names[:at]
            each = {}
            for name in order:
                each[name] = measure(polyhead, own | found[name], args.warm_up, args.threads)
            if len({(one["tokens"], one["precision"]) for one in each.values()}) != 1:
                sys.exit("expected the same tokens and precision of all")
            rounds.append({name: each[name] for name in names})
            say(f"round {number + 1} of {args.rounds}: " + ", ".join(
                f"{name} {each[name]['tokens'] / each[name]['seconds']:,.0f}" for name in names))
    rows = show(rounds)
    where = machine(args.threads) | {"precision": rounds[0][FULL]["precision"], "rounds": args.rounds, "steps": args.steps,
                                     "other work on the machine meanwhile": busy.others()}
    print(machine_lines(where))
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "rows": rows, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
