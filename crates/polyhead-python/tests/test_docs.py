"""Every example of docs/python.md runs, one after the other, as a reader would run them."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import polyhead

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
#: Blocks of Python, each with what it needs besides.
BLOCKS = [(needs.split(), code) for needs, code in re.findall(r"^```python([^\n]*)\n(.*?)^```$", PAGE, re.M | re.S)]


def test_the_examples_of_the_page_run(run: polyhead.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/quickstart").symlink_to(run.folder)
    for name in ("samples", "recipes"):
        Path(name).symlink_to(ROOT / name)
    # The encoder is the small one, and runs are short: all else is as it stands on the page and in the recipe that it names.
    train = polyhead.train

    def short(given: Any = None, **options: Any) -> polyhead.Run:
        if given is not None:
            tasks = given["tasks"] if isinstance(given, dict) else ("ner", "qa", "sentiment")
            small = {"encoder.checkpoint": str(ROOT / "fixtures/tiny-bert"), "train.max_steps": 4, "train.feature_cache": False}
            small.update({f"tasks.{task}.max_length": 64 for task in tasks})
            small.update({"tasks.qa.stride": 16, "tasks.qa.max_question_length": 16} if "qa" in tasks else {})
            options["overrides"] = {**options.get("overrides", {}), **small}
        return train(given, **options)

    monkeypatch.setattr(polyhead, "train", short)
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
