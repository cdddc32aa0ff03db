#!/usr/bin/env python3
"""Reads a run's trainer_state.json with transformers and compares it with metrics.jsonl.

    python3 checks/trainer_state_check.py RUN [--state FOLDER]

transformers.TrainerState must load it and, saving it again, lose and add nothing; every entry of log_history must follow
from metrics.jsonl. Ends with status 1 if anything differs. FOLDER holds trainer_state.json where it is not in the run folder
(see the example `records`). Needs transformers.
"""
import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

from transformers.trainer_callback import TrainerState

failed = False


def check(what: str, found, expected) -> None:
    global failed
    same = found == expected
    if isinstance(found, float) and isinstance(expected, (int, float)):
        same = math.isclose(found, expected, rel_tol=1e-12)
    failed |= not same
    if not same:
        print(f"FAILED {what}: expected {expected}, found {found}")


def history(events: list, steps_per_epoch: int, every: int) -> list:
    """log_history as transformers.Trainer would make it of these events."""
    logged, recent, step = [], [], 0
    for event in events:
        step = event.get("step", step)
        at = {"step": step, "epoch": step / steps_per_epoch}
        match event["event"]:
            case "step":
                # Format 1 had one task a step, whose fields stood in the step itself.
                recent.extend((task["task"], task["loss"]) for task in event.get("tasks", [event]))
                if step % every:
                    continue
                entry = {"loss": sum(loss for _, loss in recent) / len(recent),
                         "learning_rate": event["lr"], "grad_norm": event["grad_norm"], **at}
                for task in {task for task, _ in recent}:
                    losses = [loss for name, loss in recent if name == task]
                    entry[f"loss_{task}"] = sum(losses) / len(losses)
                recent = []
                logged.append(entry)
            case "evaluated":
                entry = {f"eval_{task}_{name}": value for task, score in event["scores"].items()
                         for name, value in score["values"].items()}
                if event["value"] is not None:
                    entry["eval_value"] = event["value"]
                logged.append({**entry, "eval_runtime": event["seconds"], **at})
            case "finished":
                losses = [task["loss"] for event in events if event["event"] == "step"
                          for task in event.get("tasks", [event])]
                logged.append({"train_runtime": event["seconds"], "train_steps_per_second": step / event["seconds"],
                               "train_loss": sum(losses) / len(losses), "total_flos": None, **at})
    return logged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--state", type=Path)
    args = parser.parse_args()
    path = (args.state or args.run) / "trainer_state.json"
    events = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text().splitlines()]
    plan = next(event for event in events if event["event"] == "planned")
    steps = [event for event in events if event["event"] == "step"]

    state = TrainerState.load_from_json(str(path))
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.json"
        state.save_to_json(str(again))
        ours, theirs = json.loads(path.read_text()), json.loads(again.read_text())
        check("what transformers saves again", theirs, ours)
        check("the order of the fields", list(ours), list(theirs))

    check("global_step", state.global_step, steps[-1]["step"])
    check("max_steps", state.max_steps, plan["steps"])
    check("num_train_epochs", state.num_train_epochs, plan["epochs"])
    check("epoch", state.epoch, steps[-1]["step"] / plan["steps_per_epoch"])
    check("eval_steps", state.eval_steps, plan["steps_per_epoch"])
    check("num_input_tokens_seen", state.num_input_tokens_seen, sum(task["tokens"] for step in steps for task in step.get("tasks", [step])))
    improved = [event for event in events if event["event"] == "evaluated" and event["improved"]]
    if improved:
        check("best_metric", state.best_metric, improved[-1]["value"])
        check("best_model_checkpoint", Path(state.best_model_checkpoint).name, "best")
        if "step" in improved[-1]:
            check("best_global_step", state.best_global_step, improved[-1]["step"])
    expected = history(events, plan["steps_per_epoch"], state.logging_steps)
    check("entries of log_history", len(state.log_history), len(expected))
    for at, (found, wanted) in enumerate(zip(state.log_history, expected)):
        check(f"the keys of log_history[{at}]", set(found), set(wanted))
        for key in found.keys() & wanted.keys():
            check(f"log_history[{at}].{key}", found[key], state.total_flos if key == "total_flos" else wanted[key])
    print(f"{len(state.log_history)} entries, {state.global_step} steps, best {state.best_metric} at {state.best_global_step}, "
          f"{state.total_flos:.3e} operations")
    print("FAILED" if failed else "ok")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
