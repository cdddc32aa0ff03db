#!/usr/bin/env python3
"""Is a build of polyhead as fast, and as small in memory, as another? Both in turn, ten times and more.

    python3 bench/gate.py OLD NEW --encoder MINILM_DIR --data DATA_DIR [--save NAME]

OLD and NEW are source checkouts, which are built first (`git worktree add ../old COMMIT` makes one), or folders of programs:
`polyhead`, `bench_inference` and, in OLD, `dump_features`, the examples in the folder itself or in its `examples/` (so
target/release will do). DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json.

    training    recipes/report.toml on the first 320 sentences and 320 questions, one epoch: real tokens a second of the loop
    inference   the four workloads of compare.py: latency of a sentence and of a question window, throughput of batches
    memory      the most that was resident, of a training process and of an inference process

The recipe is OLD's where OLD is a checkout, so that NEW must still read it; else this one's. OLD makes the model folder that both
load. The script ends with an error if the two count other steps or tokens, or if their logits are further apart than
rounding explains; it says whether the losses of all steps are the same numbers.

Order: OLD NEW, NEW OLD, OLD NEW ...; a pair is measured in one go, so what slows the machine down slows both. Ratios are
NEW / OLD as speeds, more is faster; intervals are Student's t on the logarithms of the ratios of the pairs (intervals.py).

    ok        the interval of a speed lies above 0.97; memory grew by at most 5 % (geometric mean)
    reaches   the interval reaches 0.97, but begins below it: more --pairs make it narrower
    too wide  the same, and its end is more than 1.1 times its beginning: nothing can be said
    WORSE     the interval of a speed ends below 0.97; memory grew by more than 5 %

Exit status: 1 if anything is WORSE, with --strict also if anything only reaches the bound; 2 if no verdict is possible: something
is too wide, fewer pairs were measured than asked for, or fewer than ten; else 0.

One turn of OLD comes first: it warms up, and says how long all will take. A session ends before --minutes are over. With --save
every pair is kept in bench/results/NAME.json, and the same command goes on from there, as often as it takes. Needs
the Python standard library alone, and a machine on which nothing else runs.
"""
import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import CORES, ROOT, Busy, build, machine, machine_lines, run, say, table, train
from intervals import ratio
from jobs import (
    BOUND,
    RECIPE,
    data_files,
    difference,
    overrides,
    seconds_and_logits,
    train_polyhead,
    workloads,
)

ENOUGH = 10  # pairs that a verdict needs
SPEED, MEMORY = 0.97, 1.05  # bounds of NEW / OLD
WIDE = 1.1  # of an interval: its end by its beginning
SIDES = ("old", "new")


def programs(folder: Path) -> dict[str, Path]:
    """The binary and the examples of a checkout, built now, or of a folder."""
    if (folder / "Cargo.toml").exists():
        return build("bench_inference", "dump_features", source=folder)
    names = ["polyhead", "bench_inference", "dump_features"]
    places = {name: [folder / name, folder / "examples" / name] for name in names}
    found = {name: path for name, paths in places.items() for path in reversed(paths) if path.is_file()}
    if missing := [name for name in names[:2] if name not in found]:
        sys.exit(f"{folder}: expected a checkout (Cargo.toml) or a folder with {' and '.join(missing)}")
    return found


def version(folder: Path) -> str:
    """Of a checkout the commit, of a folder of programs the binary's digest."""
    if not (folder / "Cargo.toml").exists():
        return f"polyhead {digest(folder / 'polyhead')}"
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=folder, stdout=subprocess.PIPE, text=True)
    return described.stdout.strip()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Gate:
    """The two builds, and what is asked of them."""

    def __init__(self, args, scratch: Path):
        self.args, self.scratch = args, scratch
        self.programs = {side: programs(folder) for side, folder in zip(SIDES, (args.old, args.new))}
        own = args.old / "recipes/report.toml"
        self.recipe = own if own.exists() else RECIPE
        self.parts = [args.only] if args.only else ["training", "inference"]
        self.first_losses = self.first_logits = None

    def identity(self) -> dict:
        """What must be the same for a measurement to go on from its file."""
        sides = {side: {name: digest(found[name]) for name in ("polyhead", "bench_inference")}
                 for side, found in self.programs.items()}
        args = self.args
        asked = {"parts": self.parts, "examples": args.examples, "effort": args.effort, "precision": args.precision,
                 "threads": args.threads, "recipe": digest(self.recipe), "encoder": digest(args.encoder / "model.safetensors")}
        return sides | asked | {"processor": machine(args.threads)["processor"]}

    def prepare(self) -> None:
        """OLD makes what inference is timed on: windows of token ids, and a model, which need not be good."""
        if "inference" not in self.parts:
            return
        args, old = self.args, self.programs["old"]
        if "dump_features" not in old:
            sys.exit(f"{args.old}: expected dump_features besides, which makes what inference is timed on")
        found = workloads(old["dump_features"], self.recipe, args.encoder, args.data, args.threads, effort=args.effort)
        self.file = self.scratch / "workloads.json"
        self.file.write_text(json.dumps(found))
        self.workloads = [{key: workload[key] for key in ("name", "unit", "tokens")} for workload in found]
        changes = overrides(args.encoder, args.data, 16) | {"output": self.scratch, "name": "model", "train.max_steps": 2}
        events, _ = train(old["polyhead"], self.recipe, changes, args.threads)
        self.model = events[-1]["model"]

    def measure(self, part: str, side: str) -> dict:
        return {"training": self.training, "inference": self.inference}[part](side)

    def training(self, side: str) -> dict:
        args = self.args
        changes = overrides(args.encoder, args.data, args.examples)
        found = train_polyhead(
            self.programs[side]["polyhead"], self.recipe, changes, self.scratch, args.precision, args.threads)
        self.first_losses = self.first_losses or found["losses"]
        kept = {key: found[key] for key in ("steps", "tokens", "seconds", "precision", "memory")}
        return kept | {"same losses": found["losses"] == self.first_losses}

    def inference(self, side: str) -> dict:
        command = [self.programs[side]["bench_inference"], self.model, self.file, self.args.precision]
        done = run(command, self.args.threads)
        output, seconds, logits = seconds_and_logits(done)
        self.first_logits = self.first_logits or logits
        far = max(map(difference, logits, self.first_logits))
        if not far <= BOUND[output["precision"]]:
            sys.exit(f"{side}: expected logits within {BOUND[output['precision']]} of those of old, found {far:.1e}")
        return {"seconds": seconds, "precision": output["precision"], "memory": done.memory, "logits off by": far}

    def pair(self, number: int) -> dict:
        """Part by part, both sides; who is first changes from pair to pair."""
        found = {}
        for part in self.parts:
            found[part] = {side: self.measure(part, side) for side in (SIDES if number % 2 == 0 else SIDES[::-1])}
            self.same(part, found[part])
        return found

    @staticmethod
    def same(part: str, found: dict) -> None:
        for key in ("steps", "tokens", "precision"):
            if found["old"].get(key) != found["new"].get(key):
                sys.exit(f"{part}: expected the same {key} of both, found {found['old'][key]} and {found['new'][key]}")


# What came of it


def rows(state: dict) -> list[dict]:
    """What is judged, one by one: what kind of figure it is, and its values on both sides by pair."""
    pairs, found = state["pairs"], []

    def add(name: str, kind: str, value) -> None:
        values = {side: [value(pair, side) for pair in pairs] for side in SIDES}
        found.append({"name": name, "kind": kind} | values)

    if "training" in pairs[0]:
        add("training", "rate", lambda pair, side: pair["training"][side]["tokens"] / pair["training"][side]["seconds"])
    for at, workload in enumerate(state["workloads"]):
        if workload["unit"] == "ms":
            add(workload["name"], "time", lambda pair, side: 1e3 * pair["inference"][side]["seconds"][at])
        else:
            add(workload["name"], "rate", lambda pair, side: workload["tokens"] / pair["inference"][side]["seconds"][at])
    for part in pairs[0]:
        add(f"memory, {part}", "memory", lambda pair, side: pair[part][side]["memory"])
    return found


FORMS = {"rate": ("real tokens/s", ",.0f"), "time": ("ms", ",.2f"), "memory": ("MiB", ",.0f")}


def judge(row: dict) -> tuple[str, list[str]]:
    """The verdict on one row, and its line of the table. The ratio of times is that of speeds: OLD / NEW."""
    found = ratio(row["new"], row["old"]) if row["kind"] == "time" else ratio(row["old"], row["new"])
    if row["kind"] == "memory":
        verdict = "ok" if found.middle <= MEMORY else "WORSE"
    else:
        short = "too wide" if found.high > WIDE * found.low else "reaches"
        verdict = "WORSE" if found.high < SPEED else "ok" if found.low >= SPEED else short
    unit, form = FORMS[row["kind"]]
    medians = [format(statistics.median(row[side]), form) for side in SIDES]
    return verdict, [row["name"], unit, *medians, f"{found.middle:.3f} ({found.low:.3f} to {found.high:.3f})", verdict]


def show(state: dict, asked: int, strict: bool) -> int:
    """Prints the table; the exit status."""
    judged = [judge(row) for row in rows(state)]
    print(table(["what", "unit", "OLD", "NEW", "speed or memory, NEW / OLD (95 %)", "verdict"], [line for _, line in judged]), end="\n\n")
    pairs = state["pairs"]
    print(f"- pairs: {len(pairs)} of {asked}")
    for part, of_part in pairs[0].items():
        print(f"- precision of both in {part}: {of_part['old']['precision']}")
    if "training" in pairs[0]:
        same = all(pair["training"][side]["same losses"] for pair in pairs for side in SIDES)
        print(f"- losses of all steps: {'the same numbers in both' if same else 'not the same numbers in both'}")
    if "inference" in pairs[0]:
        apart = max(pair["inference"][side]["logits off by"] for pair in pairs for side in SIDES)
        print(f"- logits apart by at most {apart:.0e}")
    print(machine_lines(state["machine"] | {"other work on the machine meanwhile": ", ".join(state["others"])}))
    verdicts = [verdict for verdict, _ in judged]
    if "WORSE" in verdicts or (strict and "reaches" in verdicts):
        return 1
    return 2 if "too wide" in verdicts or len(pairs) < max(asked, ENOUGH) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--encoder", required=True, type=Path, help="a BERT folder in Hugging Face layout")
    parser.add_argument("--data", required=True, type=Path, help="a folder with conll2003 and squad")
    parser.add_argument("--pairs", type=int, default=ENOUGH, help="(%(default)s)")
    parser.add_argument("--only", choices=["training", "inference"])
    parser.add_argument("--examples", type=int, default=320, help="of each task in training (%(default)s)")
    parser.add_argument("--effort", type=float, default=1.0, help="this share of the rounds of inference (%(default)s)")
    parser.add_argument("--precision", choices=["auto", "f32"], default="auto", help="of both (%(default)s: bf16 where native)")
    parser.add_argument("--threads", type=int, default=CORES, help="(all cores: %(default)s)")
    parser.add_argument("--minutes", type=float, default=55, help="of a session, the builds not counted (%(default)s)")
    parser.add_argument("--save", metavar="NAME", help="keeps every pair in bench/results/NAME.json, and goes on from there")
    parser.add_argument("--strict", action="store_true", help="what only reaches the bound fails, too")
    args = parser.parse_args()
    args.old, args.new, args.encoder, args.data = (path.resolve() for path in (args.old, args.new, args.encoder, args.data))
    if args.pairs < 2:
        parser.error("an interval needs at least 2 pairs")
    if missing := [str(path) for path in (args.old, args.new, args.encoder, *data_files(args.data)) if not path.exists()]:
        sys.exit(f"expected {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="polyhead-gate-") as scratch:
        sys.exit(session(args, Path(scratch)))


def session(args, scratch: Path) -> int:
    """Measures as many pairs as are missing and fit; the exit status."""
    gate = Gate(args, scratch)
    identity, busy = gate.identity(), Busy()
    if identity["old"] == identity["new"]:
        say("OLD and NEW are the same programs: this measures how much the machine varies")
    file = ROOT / f"bench/results/{args.save}.json" if args.save else None
    where = machine(args.threads) | {"OLD": version(args.old), "NEW": version(args.new)}
    del where["polyhead"]  # the commit of this script
    state = {"compared": identity, "machine": where, "others": [], "workloads": [], "pairs": []}
    if file and file.exists():
        state = json.loads(file.read_text())
        if other := [key for key, value in identity.items() if state["compared"].get(key) != value]:
            sys.exit(f"{file} holds another measurement ({', '.join(other)} differ): remove it, or save under another name")
    missing = args.pairs - len(state["pairs"])
    if missing <= 0:
        return show(state, args.pairs, args.strict)

    began = time.monotonic()
    gate.prepare()
    state["workloads"] = gate.workloads if "inference" in gate.parts else []
    say("one turn of OLD, to warm up")
    turn = time.monotonic()
    for part in gate.parts:
        gate.measure(part, "old")
    one = 2 * (time.monotonic() - turn)
    spent = (time.monotonic() - began) / 60
    sessions = " and more than one session" if spent + missing * one / 60 > args.minutes else ""
    say(f"{missing} pairs of {one:.0f} s: {missing * one / 60:.0f} minutes{sessions}")
    if sessions and not file:
        sys.exit("expected --save, so that the next session goes on, or a smaller job: --examples, --effort, --only, --pairs")

    earlier = list(state["others"])
    while len(state["pairs"]) < args.pairs and time.monotonic() - began + one <= 60 * args.minutes:
        turn = time.monotonic()
        state["pairs"].append(gate.pair(len(state["pairs"])))
        one = max(one, time.monotonic() - turn)
        state["others"] = [*earlier, busy.others()]
        say(f"pair {len(state['pairs'])} of {args.pairs}: {time.monotonic() - turn:.0f} s")
        if file:
            file.parent.mkdir(exist_ok=True)
            kept = file.with_suffix(".tmp")
            kept.write_text(json.dumps(state, indent=1) + "\n")
            os.replace(kept, file)
    if len(state["pairs"]) < args.pairs:
        say(f"{len(state['pairs'])} of {args.pairs} pairs: the same command goes on from {file}")
    if len(state["pairs"]) < 2:
        return 2
    return show(state, args.pairs, args.strict)


if __name__ == "__main__":
    main()
