#!/usr/bin/env python3
"""Reads a run's event file with the tensorboard package and compares every scalar with metrics.jsonl.

    python3 checks/tensorboard_check.py RUN [--events FOLDER]

Each number that metrics.jsonl holds for a curve must be there, at its step and time and as the nearest f32, and nothing
else. Ends with status 1 if anything differs. FOLDER holds the event file where it is not in the run folder (the example
`records` makes one for a run that was trained without). Needs tensorboard.
"""
import argparse
import json
import struct
import sys
from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def f32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def curves(event: dict) -> dict:
    """The scalars of one event, written down apart from the Rust code: docs/run-folder.md is what both follow."""
    found = {}
    match event["event"]:
        case "step":
            # Format 1 had one task a step, whose fields stood in the step itself.
            tasks = event.get("tasks", [event])
            losses = [task["loss"] for task in tasks if task["loss"] is not None]
            found["train/loss"] = sum(losses) / len(losses) if losses else None
            for task in tasks:
                found[f"loss/{task['task']}"] = task["loss"]
                if "weight" in task:
                    found[f"loss_weight/{task['task']}"] = task["weight"]
            found["train/learning_rate"] = event["lr"]
            found["train/grad_norm"] = event["grad_norm"]
            if len(tasks) == 1:
                found[f"grad_norm/{tasks[0]['task']}"] = event["grad_norm"]
            if event["seconds"] > 0:
                found["train/tokens_per_second"] = sum(task["tokens"] for task in tasks) / event["seconds"]
            for group, norm in (event.get("group_norms") or {}).items():
                found[f"group_norm/{group}"] = norm
        case "evaluated":
            for task, loss in event["losses"].items():
                found[f"epoch_loss/{task}"] = loss
            for task, score in event["scores"].items():
                for name, value in score["values"].items():
                    found[f"eval/{task}/{name}"] = value
            found["eval/value"] = event["value"]
        case "diagnosed":
            for task, norm in event["norms"].items():
                found[f"encoder_grad_norm/{task}"] = norm
            for pair in event["cosines"]:
                found[f"gradient_cosine/{pair['a']}_vs_{pair['b']}"] = pair["cosine"]
    return {tag: value for tag, value in found.items() if value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--events", type=Path)
    args = parser.parse_args()
    folder = args.events or args.run

    files = sorted(folder.glob("events.out.tfevents.*"))
    if len(files) != 1:
        sys.exit(f"FAILED {folder}: expected one event file, found {len(files)}")
    events = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text().splitlines()]
    expected = defaultdict(list)
    step, time = 0, events[0].get("time", 0.0)
    for event in events:
        step, time = event.get("step", step), event.get("time", time)
        for tag, value in curves(event).items():
            expected[tag].append((step, time, f32(value)))

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    found = {tag: [(scalar.step, scalar.wall_time, scalar.value) for scalar in accumulator.Scalars(tag)]
             for tag in accumulator.Tags()["scalars"]}

    failed = sorted(expected.keys() ^ found.keys())
    for tag in failed:
        print(f"FAILED {tag}: {'missing' if tag in expected else 'not in metrics.jsonl'}")
    for tag in sorted(expected.keys() & found.keys()):
        if expected[tag] != found[tag]:
            differing = [pair for pair in zip(expected[tag], found[tag]) if pair[0] != pair[1]]
            print(f"FAILED {tag}: {len(expected[tag])} expected, {len(found[tag])} found; first: {differing[:1]}")
            failed.append(tag)
        else:
            print(f"ok     {tag}: {len(found[tag])} values, last {found[tag][-1][2]:.6g} at step {found[tag][-1][0]}")
    if not expected:
        sys.exit("FAILED nothing to compare")
    print(f"{sum(map(len, expected.values()))} values of {len(expected)} tags, file version {accumulator.file_version}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
