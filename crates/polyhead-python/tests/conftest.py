"""What the tests share: a model of three heads, trained here on the sample corpus, on the tiny encoder of the fixtures.

They run on the installed wheel, from any folder: `pytest crates/polyhead-python/tests`. What it answers means nothing, but has
the right form.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polyhead

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "samples"
#: The command that came with the wheel.
COMMAND = Path(sys.executable).with_name("polyhead")

TEXTS = [
    "Ada Lovelace worked with Charles Babbage in London.",
    "",
    "👩‍🔬 Marie Curie (née Skłodowska) left Warsaw for Paris; Zoë stayed in São Paulo.",
    "Nothing here .",
    " ".join(["Grace Hopper worked at Harvard University."] * 40),
]
QUESTIONS = [("Who worked?", TEXTS[0]), ("Wohin ging sie?", TEXTS[2]), ("Where?", TEXTS[4])]


def data(task: str, end: str) -> dict[str, str]:
    return {split: str(SAMPLES / task / f"{split}.{end}") for split in ("train", "validation")}


def recipe(output: Path, **train: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "output": output,
        "encoder": {"checkpoint": ROOT / "fixtures/tiny-bert"},
        "train": {"max_steps": 12, "learning_rate": 1e-3, "precision": "f32", "feature_cache": False, **train},
        "tasks": {
            "ner": {"max_length": 64},
            "qa": {"max_length": 64, "stride": 16, "max_question_length": 16},
            "sentiment": {"kind": "classify", "max_length": 64},
        },
        "data": {
            "ner": {**data("ner", "conll"), "validation_limit": 8},
            "qa": {**data("qa", "json"), "limit": 40, "validation_limit": 4},
            "sentiment": {**data("sentiment", "tsv"), "validation_limit": 8},
        },
    }


Tensors = dict[str, tuple[int, list[int]]]


def tensors(folder: str) -> tuple[bytearray, Tensors]:
    """The bytes of a model's weights, and where each tensor begins in them, with its shape (safetensors)."""
    raw = bytearray((Path(folder) / "model.safetensors").read_bytes())
    length = int.from_bytes(raw[:8], "little")
    header = {name: facts for name, facts in json.loads(raw[8 : 8 + length]).items() if name != "__metadata__"}
    return raw, {name: (8 + length + facts["data_offsets"][0], facts["shape"]) for name, facts in header.items()}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> polyhead.Run:
    run = polyhead.train(recipe(tmp_path_factory.mktemp("runs")))
    # So short a run finds no entity: without a bias for "none" it finds many.
    raw, places = tensors(run.model)
    at, _ = places["heads.ner.bias"]
    raw[at : at + 4] = struct.pack("<f", -2.0)
    (Path(run.model) / "model.safetensors").write_bytes(raw)
    return run


@pytest.fixture(scope="session")
def model(run: polyhead.Run) -> polyhead.Model:
    return run.load(precision="f32")


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def command() -> Command:
    def command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        call = [str(COMMAND), *map(str, arguments)]
        return subprocess.run(call, capture_output=True, text=True, encoding="utf-8", timeout=300, **options)

    return command
