"""The command that the wheel brings is the whole command line."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from conftest import COMMAND, Command, recipe

import polyhead


def test_exit_codes_and_streams(command: Command, run: polyhead.Run) -> None:
    version = command("--version")
    assert (version.returncode, version.stdout) == (0, f"polyhead {polyhead.__version__}\n")
    help_ = command("--help")
    assert help_.returncode == 0 and "Usage: polyhead" in help_.stdout and "quantize" in help_.stdout
    for arguments, code in ((["trian"], 2), (["inspect", "/nowhere"], 66), (["predict", run.model, "--task", "nre", "x"], 2)):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (code, "") and "error" in done.stderr
    table = command("predict", run.model, "--task", "sentiment", "The bread is delicious.")
    assert table.returncode == 0 and table.stdout.startswith("label")


def test_a_reader_that_goes_away_is_no_error(run: polyhead.Run) -> None:
    call = 'yes Ada left London. | head -n 3000 | "$0" predict "$1" --task sentiment | head -n 1; exit ${PIPESTATUS[2]}'
    done = subprocess.run(["bash", "-c", call, str(COMMAND), run.model], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_a_checkpoint(tmp_path: Path, number: signal.Signals, code: int) -> None:
    begun = polyhead.train(recipe(tmp_path, max_steps=1))
    file, output = Path(begun.folder) / "recipe.toml", tmp_path / "stopped"
    longer = ["train.max_steps=100000", "train.epochs=1000", f"output={output}"]
    call = [str(COMMAND), "train", str(file), "--json", *(word for pair in longer for word in ("--set", pair))]
    training = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert training.stdout is not None
    for line in training.stdout:
        if json.loads(line)["event"] == "step":
            training.send_signal(number)
            break
    last = training.stdout.read().splitlines()[-1]
    assert training.wait(60) == code and json.loads(last)["event"] == "stopped"


def test_it_serves_the_answers_of_the_module(model: polyhead.Model, run: polyhead.Run) -> None:
    call = [str(COMMAND), "serve", run.model, "--port", "0", "--precision", "f32", "--quiet"]
    serving = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    assert serving.stdout is not None
    try:
        address = serving.stdout.readline().split()[-1]
        text = "Ada Lovelace worked with Charles Babbage in London."
        request = {"text": text, "tasks": ["ner"]}
        asked = urllib.request.Request(
            f"{address}/analyze", json.dumps(request).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answered:
            found = json.load(answered)
        expected = model.ner(text)["entities"]
        assert found["results"]["ner"]["entities"] == expected
    finally:
        serving.send_signal(signal.SIGINT)
        assert serving.wait(60) == 0
