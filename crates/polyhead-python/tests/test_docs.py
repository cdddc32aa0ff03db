"""Every example of docs/python.md runs, one after the other, as a reader would run them."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, recipe

import polyhead

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
#: Blocks of Python, each with what it needs besides.
BLOCKS = [(needs.split(), code) for needs, code in re.findall(r"^```python([^\n]*)\n(.*?)^```$", PAGE, re.M | re.S)]


def test_the_examples_of_the_page_run(run: polyhead.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/quickstart").symlink_to(run.folder)
    for name in ("samples", "recipes", "fixtures"):
        Path(name).symlink_to(ROOT / name)
    short = {**recipe(Path("runs"), max_steps=4), "name": "short"}
    # The encoder and the length of a run are the test's; all else is as it stands on the page.
    train = polyhead.train
    monkeypatch.setattr(
        polyhead,
        "train",
        lambda given=None, **options: train(short if given is not None and "resume" not in options else given, **options),
    )
    assert len(BLOCKS) > 8
    names: dict[str, Any] = {}
    missing: set[str] = set()
    for needs, code in BLOCKS:
        lacks = {module for module in needs if find_spec(module) is None}
        missing |= lacks
        if lacks:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "docs/python.md", "exec"), names)
    if missing:
        pytest.skip(f"all ran but those that need {', '.join(sorted(missing))}")


def test_every_name_of_the_page_exists() -> None:
    for name in set(re.findall(r"polyhead\.([A-Za-z_]+)", PAGE)) - {"spacy"}:
        assert hasattr(polyhead, name), name
