"""Types are checked, and those of the extension module are those of the real one."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from conftest import ROOT

import polyhead

pytest.importorskip("mypy")


def mypy(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    config = str(ROOT / "crates/polyhead-python/pyproject.toml")
    call = [sys.executable, "-m", *arguments]
    call[3:3] = ["--mypy-config-file", config] if "stubtest" in arguments[0] else ["--config-file", config]
    return subprocess.run(call, capture_output=True, text=True, cwd=folder)


def test_the_package_is_typed(tmp_path: Path) -> None:
    assert files("polyhead").joinpath("py.typed").is_file()
    pytest.importorskip("spacy")
    done = mypy("mypy", "--strict", "--cache-dir", str(tmp_path), "-p", "polyhead", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_are_checked_against_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import polyhead\n"
        "model = polyhead.load('runs/quickstart', threads=2)\n"
        "answer = model.ner('Ada')\n"
        "reveal_type(answer)\n"
        "if isinstance(answer, polyhead.Spans):\n"
        "    reveal_type(answer.entities[0].start)\n"
        "reveal_type(model.embed(['Ada']))\n"
        "model.predict('ner', 3)\n"
        "print(model.ner('Ada').entities)\n"
        "polyhead.train('recipe.toml', on_event=lambda event: print(event['event'])).load()\n"
    )
    done = mypy("mypy", "--strict", "--cache-dir", str(tmp_path), "program.py", folder=tmp_path)
    shown = re.findall(r':(\d+): (?:note: Revealed type is "([^"]+)"|error: .*\[([a-z-]+)\])', done.stdout)
    lines = {int(line): kind or error for line, kind, error in shown}
    assert lines[4].endswith("Answer") and lines[6] in ("int", "builtins.int") and "_32Bit" in lines[7]
    assert lines[8] == "arg-type" and set(lines) == {4, 6, 7, 8}, done.stdout


def test_stubs_are_those_of_the_module(tmp_path: Path) -> None:
    done = mypy("mypy.stubtest", "polyhead._polyhead", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_offered_is_documented() -> None:
    for name in polyhead.__all__:
        thing = getattr(polyhead, name)
        assert name == "__version__" or (thing.__doc__ and len(thing.__doc__) > 8), name
