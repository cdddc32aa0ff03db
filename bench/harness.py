"""What the scripts of this folder share: building, running a process and measuring it, the machine, tables.

Only the standard library, and nothing large is kept here: the memory of a child counts from what its parent had.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
# What tells how fast a processor can multiply: Intel's and AMD's flags, and those of Arm.
FLAGS = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "bf16", "i8mm", "sve"]

# Of Student's distribution, two-sided 95 %, by the number of values.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


def say(message: str) -> None:
    print(time.strftime("%H:%M:%S"), message, file=sys.stderr, flush=True)


def build(*examples: str, source: Path = ROOT) -> dict[str, Path]:
    """The binary and these examples, by name."""
    say(f"building polyhead in {source}")
    named = [part for example in examples for part in ("--example", example)]
    command = ["cargo", "build", "--release", "--workspace", "--bin", "polyhead", *named, "--message-format=json"]
    done = subprocess.run(command, cwd=source, check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {m["target"]["name"]: Path(m["executable"]) for m in messages if m.get("executable")}


@dataclass
class Finished:
    """A process that ran to its end."""

    output: str
    wall: float  # seconds from start to end
    memory: float  # the most that was resident, in MiB


def run(command: list, threads: int) -> Finished:
    """Runs a command in the repository, every library in it held to so many threads; its messages show if it fails."""
    names = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    environment = os.environ | {name: str(threads) for name in names}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
        began = time.perf_counter()
        words = [str(part) for part in command]
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=output, stderr=messages)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), messages.seek(0)
        if process.returncode:
            sys.exit(f"{messages.read()[-4000:]}\nstatus {process.returncode}: {' '.join(words)}")
        return Finished(output.read(), wall, usage.ru_maxrss / 1024)


def train(polyhead: Path, recipe: Path, overrides: dict, threads: int) -> tuple[list[dict], Finished]:
    """Trains; what it told, event by event."""
    pairs = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    done = run([polyhead, "train", recipe, "--json", "--quiet", *pairs], threads)
    return [json.loads(line) for line in done.output.splitlines()], done


def make_model(polyhead: Path, encoder: Path, output: Path, threads: int) -> Path:
    """A model folder with NER, QA and sentiment: one step of training each, for what is timed need not be right."""
    # Without case embeddings: those who are measured beside it know nothing of them.
    overrides = {"encoder.checkpoint": encoder, "output": output, "name": "model", "train.max_steps": 3, "encoder.case_embeddings": "false"}
    overrides |= {f"data.{task}.validation_limit": 1 for task in ["ner", "qa", "sentiment"]}
    events, _ = train(polyhead, ROOT / "recipes/quickstart.toml", overrides, threads)
    return Path(events[-1]["model"])


def only_tasks(recipe: Path, tasks: list[str]) -> str:
    """The text of a recipe with these tasks alone."""
    lines, kept = [], True
    for line in recipe.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]").split(".")
            kept = len(section) < 2 or section[1] in tasks
        if kept:
            lines.append(line)
    return "\n".join(lines) + "\n"


def entities_and_answers(data: Path, limits: dict[str, int]) -> dict:
    """What sets the data of `ner` and `qa`: the first so many examples of CoNLL-2003 and SQuAD, scored on all of their validation data."""
    files = {"ner": ("conll2003", "train.txt", "valid.txt"), "qa": ("squad", "train-v1.1.json", "validation-v1.1.json")}
    overrides = {}
    for task, limit in limits.items():
        folder, train, validation = files[task]
        overrides |= {f"data.{task}.train": data / folder / train, f"data.{task}.validation": data / folder / validation,
                      f"data.{task}.limit": limit, f"data.{task}.validation_limit": 100_000}
    return overrides


def kept(file: Path, threads: int) -> dict:
    """Results that were kept, or none yet: `machine` and `parts`."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"machine": machine(threads), "parts": {}}


def keep(file: Path, found: dict) -> None:
    """Writes results whole or not at all: what a measurement that goes on where it stopped rests on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(file)


def is_past(until: str | None) -> bool:
    """Whether it is this time of the day in UTC, `HH:MM`, or later."""
    return until is not None and datetime.datetime.now(datetime.timezone.utc).strftime("%H:%M") >= until


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """What every measurement in parts takes. `name` is that of its results and of the folder of its runs."""
    parser.add_argument("--polyhead", default=ROOT / "target/release/polyhead", type=Path, help="(%(default)s)")
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int, default=CORES, help="(all cores: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / f"bench/results/{name}.json", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / f"runs/{name}", help="runs (%(default)s)")
    parser.add_argument("--until", metavar="HH:MM", help="begin nothing after this time of the day in UTC")
    parser.add_argument("--table", action="store_true", help="print what there is")


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses a measurement without encoder or data, and makes its paths absolute."""
    if not (args.encoder and args.data):
        parser.error("expected --encoder and --data")
    args.encoder, args.data, args.work = args.encoder.resolve(), args.data.resolve(), args.work.resolve()


def measure(args: argparse.Namespace, parts: list[tuple], run: Callable[..., dict]) -> None:
    """Measures each part that --results has not, until --until, and keeps it at once. A part is the arguments of `run`; joined, they are its key."""
    for part in parts:
        key = " ".join(map(str, part))
        if key in kept(args.results, args.threads)["parts"]:
            continue
        if is_past(args.until):
            say(f"stopped before {key}")
            break
        began = time.perf_counter()
        done = run(args, *part)
        wall = time.perf_counter() - began
        # Another that measures other parts may have written meanwhile.
        found = kept(args.results, args.threads)
        found["parts"][key] = done | {"wall": round(wall, 1)}
        keep(args.results, found)
        say(f"{key}: {done.get('scores', '')} in {wall:.0f} s")


class Busy:
    """How much of the machine others took from the start on: what makes figures worthless, and a load average hides."""

    def __init__(self):
        self.start = self.now()

    @staticmethod
    def now() -> tuple[float, float, float]:
        """CPU seconds of all cores, of those in use by anyone, and of this process with its children."""
        first = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
        ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in first]
        idle = ticks[3] + ticks[4]
        return sum(ticks), sum(ticks) - idle, sum(os.times()[:4])

    def others(self) -> str:
        total, used, own = (now - then for now, then in zip(self.now(), self.start))
        return f"{max(0.0, used - own) / max(total, 1e-9):.0%} of its CPU time"


def machine(threads: int) -> dict:
    """What was measured on, and when."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": CORES,
        "flags": [flag for flag in FLAGS if flag in flags],
        "threads": threads,
        "load average at the start": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "polyhead": git.stdout.strip(),
    }


def machine_lines(found: dict) -> str:
    shown = ((name, " ".join(map(str, value)) if isinstance(value, list) else value) for name, value in found.items())
    return "\n".join(f"- {name}: {value}" for name, value in shown)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def difference(gains: list[float]) -> str:
    """The mean of paired differences, and of several its 95 % interval by Student's distribution."""
    mean = statistics.mean(gains)
    if len(gains) < 2:
        return f"{mean:+.2f}"
    around = STUDENT[len(gains)] * statistics.stdev(gains) / len(gains) ** 0.5
    return f"{mean:+.2f}, {mean - around:+.2f} to {mean + around:+.2f}"


def spread(values: list[float], form: str = ",.0f") -> str:
    """The median; with several values also the least and the greatest."""
    median = format(statistics.median(values), form)
    return median if len(values) == 1 else f"{median} ({min(values):{form}} to {max(values):{form}})"
