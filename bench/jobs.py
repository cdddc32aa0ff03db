"""What compare.py and gate.py time: a training job and four inference workloads, made of the same data.

    training    a recipe on the first sentences and questions, once through the loop; real tokens a second
    inference   token ids -> logits: a sentence, 512 sentences by 32, 64 question windows by 16, one question window

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json. The standard library alone.
"""
import json
import math
import shutil
import statistics
from pathlib import Path

from harness import ROOT, Finished, run, train

RECIPE = ROOT / "recipes/report.toml"
# How far logits may be from those of a reference: max|a - b| / max|b| over a workload. A bf16 has 8 significant bits; what
# int8 loses is shown, and nothing is asked of it.
BOUND = {"f32": 1e-3, "bf16": 5e-2, "int8": math.inf}


def data_files(data: Path) -> tuple[Path, Path]:
    """Sentences and questions."""
    return data / "conll2003/train.txt", data / "squad/train-v1.1.json"


def overrides(encoder: Path, data: Path, examples: int, epochs: int = 1) -> dict:
    """A training job, as what is set over the recipe: by polyhead and by its peer."""
    sentences, questions = data_files(data)
    return {
        "encoder.checkpoint": encoder, "seed": 42, "train.epochs": epochs,
        "data.ner.train": sentences, "data.ner.validation": sentences, "data.ner.limit": examples,
        "data.qa.train": questions, "data.qa.validation": questions, "data.qa.limit": examples,
        "data.ner.validation_limit": 1, "data.qa.validation_limit": 1,
    }


def train_polyhead(polyhead: Path, recipe: Path, changes: dict, scratch: Path, precision: str, threads: int) -> dict:
    """The seconds are those of the steps: the peer saves nothing and evaluates nothing."""
    own = {"output": scratch, "name": "training", "train.precision": precision}
    events, done = train(polyhead, recipe, changes | own, threads)
    end = events[-1]
    shutil.rmtree(end["folder"])
    seconds = sum(event["seconds"] for event in events if event["event"] == "step")
    # Format 1 of metrics.jsonl had one task a step, whose fields stood in the step itself.
    losses = [task["loss"] for event in events if event["event"] == "step" for task in event.get("tasks", [event])]
    precision = next(event["precision"] for event in events if "precision" in event)
    return {"tokens": end["tokens"], "steps": end["steps"], "seconds": seconds, "wall": done.wall,
            "memory": done.memory, "precision": precision, "losses": losses}


def workloads(dump_features: Path, recipe: Path, encoder: Path, data: Path, threads: int, sentences: int = 512,
              questions: int = 64, effort: float = 1.0) -> list[dict]:
    """What inference is timed on, as windows of token ids out of the data; `effort` is the share of the rounds."""
    changes = overrides(encoder, data, 2000) | {"data.ner.limit": sentences}
    done = run([dump_features, recipe, *(f"{key}={value}" for key, value in changes.items())], threads)
    windows = {"ner": [], "qa": []}
    for row in map(json.loads, done.output.splitlines()):
        windows[row["task"]].append({"ids": row["ids"], "types": row["types"]})

    def length(window):
        return len(window["ids"])

    def workload(name, task, unit, chosen, batch, warmup, rounds):
        batches = [chosen[at : at + batch] for at in range(0, len(chosen), batch)]
        return {"name": name, "task": task, "unit": unit, "tokens": sum(map(length, chosen)), "warmup": warmup,
                "rounds": max(1, round(rounds * effort)), "batches": batches}

    sentence = min(windows["ner"], key=lambda window: abs(length(window) - 16))  # about twelve words
    # By length, so that whoever pads pads little; questions from all over the data, for each paragraph has several.
    many = sorted(windows["ner"][:sentences], key=length)
    asked = sorted(windows["qa"][:: len(windows["qa"]) // questions][:questions], key=length)
    return [
        workload("NER, one sentence", "ner", "ms", [sentence], 1, 10, 100),
        workload(f"NER, {len(many)} sentences by 32", "ner", "real tokens/s", many, 32, 1, 3),
        workload(f"QA, {len(asked)} windows by 16", "qa", "real tokens/s", asked, 16, 1, 3),
        workload("QA, one window", "qa", "ms", [max(windows["qa"], key=length)], 1, 3, 20),
    ]


def seconds_and_logits(done: Finished) -> tuple[dict, list[float], list[list[float]]]:
    """Of what bench_inference and its peers print: all of it, and by workload the median seconds and the logits."""
    output = json.loads(done.output)
    seconds = [statistics.median(map(sum, found["seconds"])) for found in output["workloads"]]
    return output, seconds, [found["logits"] for found in output["workloads"]]


def difference(found: list[float], want: list[float]) -> float:
    """max|a - b| / max|b|; infinite where numbers are missing or are none, which `max` would not see."""
    if len(found) != len(want) or not all(value is not None and math.isfinite(value) for value in found):
        return math.inf
    return max(abs(a - b) for a, b in zip(found, want)) / max(map(abs, want))
