#!/usr/bin/env python3
"""How polyhead's speed grows with sequence length, batch, layers and threads: tokens a second, one table for each.

    python3 bench/scaling.py --encoder MINILM_DIR > scaling.md

One of the four changes at a time; the others stay at 128 tokens, 16 sequences, all layers, all threads. The sequences
of a batch have the same length. Training is `polyhead train` on sentences made for it, of words that are one token
each; the first step, which allocates, is left out. Inference is the example bench_inference on as many random ids.
Fewer layers are the first ones of the same weights. Figures are medians of steps and of passes. Needs the Python
standard library alone.
"""
import argparse
import functools
import json
import random
import re
import shutil
import statistics
import struct
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness import CORES, Busy, build, machine, machine_lines, make_model, run, say, table, train

RECIPE = """name = "scaling"
[encoder]
checkpoint = ""
[tasks.ner]
max_length = 512
[data.ner]
train = ""
"""


@dataclass(frozen=True)
class Shape:
    """What is run: sequences of `length` tokens, `batch` at once, through the first `layers`, on `threads`."""

    length: int
    batch: int
    layers: int
    threads: int


def first_layers(folder: Path, layers: int, into: Path) -> Path:
    """A model folder with the first layers of another."""
    if into.exists():
        return into
    shutil.copytree(folder, into)
    config = json.loads((into / "config.json").read_text())
    (into / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    # A safetensors file: the length of its header in 8 bytes, the header (names, shapes, places), the numbers.
    weights = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    header, body, kept, parts, at = json.loads(weights[8 : 8 + length]), weights[8 + length :], {}, [], 0
    for name, tensor in header.items():
        layer = re.search(r"encoder\.layer\.(\d+)\.", name)
        if name == "__metadata__" or (layer and int(layer[1]) >= layers):
            continue
        start, end = tensor["data_offsets"]
        kept[name] = tensor | {"data_offsets": [at, at + end - start]}
        parts.append(body[start:end])
        at += end - start
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    (into / "model.safetensors").write_bytes(b"".join([struct.pack("<Q", len(text)), text, *parts]))
    return into


class Bench:
    """Measures a shape once."""

    def __init__(self, args, scratch: Path):
        self.args, self.scratch = args, scratch
        self.binaries = build("bench_inference")
        self.model = make_model(self.binaries["polyhead"], args.encoder, scratch, args.threads)
        vocabulary = json.loads((args.encoder / "tokenizer.json").read_text())["model"]["vocab"]
        # Lower-case words of plain letters are one token in cased and uncased vocabularies.
        self.words = sorted(word for word in vocabulary if re.fullmatch("[a-z]{3,}", word))
        self.ids = [vocabulary[word] for word in self.words]

    def steps(self, shape: Shape) -> int:
        """As many as come to the tokens that are asked for."""
        return max(2, min(100, self.args.tokens // (shape.length * shape.batch)))

    @functools.cache
    def inference(self, shape: Shape) -> float:
        say(f"inference: {shape}")
        pick = random.Random(1)
        windows = [pick.choices(self.ids, k=shape.length) for _ in range(shape.batch)]
        batch = [{"ids": ids, "types": [0] * shape.length} for ids in windows]
        workload = {"name": "", "task": "ner", "warmup": 2, "rounds": self.steps(shape) + 1, "batches": [batch]}
        file = self.scratch / "workload.json"
        file.write_text(json.dumps([workload]))
        model = first_layers(self.model, shape.layers, self.scratch / f"model-{shape.layers}")
        done = run([self.binaries["bench_inference"], model, file, "auto"], shape.threads)
        seconds = statistics.median(map(sum, json.loads(done.output)["workloads"][0]["seconds"]))
        return shape.length * shape.batch / seconds

    @functools.cache
    def training(self, shape: Shape) -> float:
        say(f"training: {shape}")
        pick, steps = random.Random(1), self.steps(shape) + 1
        # [CLS] and [SEP] are two of the tokens.
        sentences = [pick.choices(self.words, k=shape.length - 2) for _ in range(shape.batch * steps)]
        tags = ["B-PER", "O", "B-LOC", "I-LOC"]
        lines = ("".join(f"{word} {tags[at % 4]}\n" for at, word in enumerate(words)) for words in sentences)
        data, recipe = self.scratch / "sentences.conll", self.scratch / "scaling.toml"
        data.write_text("\n".join(lines))
        recipe.write_text(RECIPE)
        encoder = first_layers(self.args.encoder, shape.layers, self.scratch / f"encoder-{shape.layers}")
        overrides = {"encoder.checkpoint": encoder, "data.ner.train": data, "output": self.scratch, "train.epochs": 1,
                     "tasks.ner.batch_size": shape.batch}
        events, _ = train(self.binaries["polyhead"], recipe, overrides, shape.threads)
        shutil.rmtree(events[-1]["folder"])
        taken = [event for event in events if event["event"] == "step"]
        counts = [sum(task["tokens"] for task in event["tasks"]) for event in taken]
        if counts != [shape.length * shape.batch] * steps:
            sys.exit(f"{shape}: expected {steps} steps of {shape.length * shape.batch} tokens, found {counts}")
        return shape.length * shape.batch / statistics.median(event["seconds"] for event in taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, type=Path, help="a BERT folder in Hugging Face layout")
    parser.add_argument("--lengths", type=int, nargs="*", default=[16, 64, 128, 256, 384, 512])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--layers", type=int, nargs="*", help="1, 2, 4 ... and all by default")
    parser.add_argument("--threads", type=int, default=CORES, help="all cores by default; measured at 1, 2, 4 ... too")
    parser.add_argument("--tokens", type=int, default=40_000, help="that each point is measured on, about")
    parser.add_argument("--json", type=Path, help="also writes everything to this file")
    args = parser.parse_args()
    args.encoder = args.encoder.resolve()
    layers = json.loads((args.encoder / "config.json").read_text())["num_hidden_layers"]
    base = Shape(128, 16, layers, args.threads)
    axes = {"length": args.lengths, "batch": args.batches,
            "layers": doubling(layers) if args.layers is None else args.layers, "threads": doubling(args.threads)}

    where, busy, found = machine(args.threads), Busy(), {}
    with tempfile.TemporaryDirectory(prefix="polyhead-bench-") as scratch:
        bench = Bench(args, Path(scratch))
        for axis, values in axes.items():
            shapes = [replace(base, **{axis: value}) for value in values]
            found[axis] = [asdict(s) | {"training": bench.training(s), "inference": bench.inference(s)} for s in shapes]
    where["other work on the machine meanwhile"] = busy.others()
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "points": found}, indent=1))
    for axis, points in found.items():
        if not points:
            continue
        fixed = ", ".join(f"{name} {value}" for name, value in asdict(base).items() if name != axis)
        rows = [[str(point[axis]), *cells(points, point)] for point in points]
        header = [axis, "training, tokens/s", "to the first", "inference, tokens/s", "to the first"]
        print(f"### By {axis}", f"({fixed})", table(header, rows), sep="\n\n", end="\n\n")
    print(machine_lines(where))


def cells(points: list[dict], point: dict) -> list[str]:
    return [cell for kind in ("training", "inference")
            for cell in (f"{point[kind]:,.0f}", f"{point[kind] / points[0][kind]:.2f}")]


def doubling(last: int) -> list[int]:
    """1, 2, 4 ... and the last."""
    return [*(2**power for power in range(last.bit_length()) if 2**power < last), last]


if __name__ == "__main__":
    main()
