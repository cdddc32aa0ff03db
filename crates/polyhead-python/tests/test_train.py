"""Training: events, the same bits as the command, stopping and going on."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Command, recipe

import polyhead

# Whoever starts the tests in the background of a shell has Ctrl-C ignored, in this process too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def weights(folder: str | Path) -> bytes:
    return (Path(folder) / "model.safetensors").read_bytes()


def recorded(folder: str | Path) -> list[dict[str, Any]]:
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def test_events_are_those_of_the_file(tmp_path: Path) -> None:
    events: list[polyhead.Event] = []
    run = polyhead.train(recipe(tmp_path), on_event=events.append)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "planned" and kinds[-1] == "finished" and kinds.count("step") == 12
    assert [event for event in events if event["event"] != "saved"] == recorded(run.folder)
    assert run == events[-1] and Path(run.model) == Path(run.folder) / "best"
    assert set(run.scores) == {"ner", "qa", "sentiment"} and run.scores["qa"]["headline"] == "f1"
    assert run.folder in repr(run) and "micro_f1" in repr(run)


def test_the_model_is_that_of_the_command_to_the_bit(tmp_path: Path, command: Command) -> None:
    one = polyhead.train(recipe(tmp_path / "python"), overrides={"train.max_steps": 4, "name": "one"})
    done = command("train", Path(one.folder) / "recipe.toml", "--set", f"output={tmp_path / 'command'}", "--quiet")
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "command/one/best") == weights(one.model)
    again = polyhead.train(Path(one.folder) / "recipe.toml", overrides={"output": tmp_path / "again"}, threads=1)
    assert weights(again.model) == weights(one.model)


def test_notes_go_to_the_logger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "polyhead")
    polyhead.train(recipe(tmp_path, max_steps=1))
    assert any("parameters" in record.message for record in caplog.records)


def test_an_exception_of_on_event_stops_the_run_and_is_raised(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    seen = []

    def on_event(event: polyhead.Event) -> None:
        seen.append(event["event"])
        if seen.count("step") == 3:
            raise Enough("three will do")

    with pytest.raises(Enough, match="three will do") as caught:
        polyhead.train(recipe(tmp_path), on_event=on_event)
    assert seen.count("step") == 3, "nothing is told after that"
    assert (tmp_path / "tiny/checkpoint-3").is_dir(), "training waits for on_event: no further step was taken"
    if sys.version_info >= (3, 11):
        assert str(tmp_path / "tiny") in caught.value.__notes__[0]


@pytest.mark.parametrize("when", ["in on_event", "while it computes"])
def test_ctrl_c_saves_and_the_run_goes_on_to_the_same_bits(tmp_path: Path, when: str) -> None:
    whole = polyhead.train(recipe(tmp_path / "whole", max_steps=40))
    events: list[polyhead.Event] = []

    def on_event(event: polyhead.Event) -> None:
        events.append(event)
        if event["event"] == "step" and event["step"] == 3:
            if when == "in on_event":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
            else:
                threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        polyhead.train(recipe(tmp_path / "stopped", max_steps=40), on_event=on_event)
    run = tmp_path / "stopped/tiny"
    (checkpoint,) = run.glob("checkpoint-*")
    step = int(checkpoint.name.split("-")[1])
    assert 3 <= step < 40, "it ended before its end"
    assert [event["event"] for event in events][-2:] == ["saved", "stopped"] and events[-1]["step"] == step
    resumed: list[polyhead.Event] = []
    gone_on = polyhead.train(resume=run, on_event=resumed.append)
    assert [event["event"] for event in resumed][:2] == ["planned", "resumed"] and resumed[1]["step"] == step
    assert weights(gone_on.model) == weights(whole.model)
    assert gone_on.scores == whole.scores


def test_a_second_ctrl_c_raises_at_once_and_the_run_saves_by_itself(tmp_path: Path) -> None:
    told: list[str] = []

    def on_event(event: polyhead.Event) -> None:
        told.append(event["event"])
        if event["event"] == "saved" or event.get("step") == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt):
        polyhead.train(recipe(tmp_path), on_event=on_event)
    assert told[-1] == "saved", "nothing is told after the second"
    for _ in range(100):
        # The run holds its folder until it has ended.
        try:
            assert polyhead.train(resume=tmp_path / "tiny")["steps"] == 12
            return
        except polyhead.PolyheadError:
            time.sleep(0.05)
    pytest.fail("the run never let go of its folder")


def test_ctrl_c_ends_an_evaluation_at_once(model: polyhead.Model) -> None:
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        files = [ROOT / "samples/ner/train.conll"] * 200
        model.evaluate("ner", files)
        time.sleep(5)
    timer.join()


def test_ctrl_c_ends_a_prediction_at_once(model: polyhead.Model) -> None:
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        model.predict("ner", ["Ada Lovelace left. " * 60] * 20_000)
        time.sleep(5)
    timer.join()
    assert time.perf_counter() - began < 5
    assert model.ner("Ada") == model.ner("Ada"), "the model goes on"


def test_other_threads_run_while_a_run_trains(tmp_path: Path) -> None:
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    counter = threading.Thread(target=tick)
    counter.start()
    steps: list[float] = []
    try:
        polyhead.train(recipe(tmp_path), on_event=lambda event: steps.append(time.perf_counter()))
    finally:
        done.set()
        counter.join()
    between = sum(steps[0] < at < steps[-1] for at in ticks)
    assert between > 0.1 * (steps[-1] - steps[0]) / 0.001, f"{between} ticks in {steps[-1] - steps[0]} s"
