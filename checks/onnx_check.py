"""ONNX files of polyhead in onnx.checker and ONNX Runtime: the same logits as polyhead's, in f32.

For each encoder folder: a model folder with random heads of NER (with a transform), QA, classification, labelled words and relations is made of it, written as ONNX twice
(the bytes must be the same), checked by onnx.checker (types and shapes inferred, too), and run by ONNX Runtime at batch sizes 1, 2, 5, 16 and
lengths 1, 2, 17, 64, 130, 512, unpadded, and with sequences of several lengths padded at the right and at the left. Errors are
max|a - b| / max|b| over real tokens, bound 1e-5. The same for other sets of operators, for weights in a file beside, in f16 and in int8
(wider bounds). Ends with status 1 if anything differs. With --lora each encoder has random low-rank additions in every linear layer, too.

Run from the repository: python checks/onnx_check.py ENCODER_FOLDER ...
Needs onnx, onnxruntime, numpy, safetensors, and cargo (or --bin DIR with the built examples dump_onnx and dump_logits).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5
BATCHES = [1, 2, 5, 16]
LENGTHS = [1, 2, 17, 64, 130, 512]
OUTPUTS = ["ner.logits", "qa.start_logits", "qa.end_logits", "class.logits", "pos.logits", "rel.logits"]
# Arguments of dump_onnx, and the bound of errors: f16 has 11 bits; bytes have 8, of weights and of what is multiplied with them, whose
# scale the largest number of a whole batch decides. Of random words and heads it loses more than of real ones, so the root mean square
# is held to a wide bound: that the graph is right; what it costs in scores is measured with trained models.
VARIANTS = [(["20"], TOLERANCE), (["21"], TOLERANCE), (["23"], TOLERANCE), (["external"], TOLERANCE), (["f16"], 5e-3), (["int8"], 0.25),
            (["fused"], TOLERANCE), (["fused", "f16"], 5e-3), (["fused", "int8"], 0.25)]
RANK = 3  # of low-rank additions
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

failed = False


def report(fine, message):
    global failed
    failed |= not fine
    print("ok    " if fine else "FAILED", message)


# What the names of an encoder begin with where it has a head of its own.
PREFIXES = ["bert.", "roberta.", "distilbert.", "electra.", "albert.", "mpnet.", "deberta.", "model."]
PARTS = ("embeddings.", "embeddings_project.", "encoder.", "transformer.", "layers.", "final_norm.", "pooler.")


def tensors_of(encoder):
    """By polyhead's names."""
    tensors = {}
    for name, value in load_file(encoder / "model.safetensors").items():
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name.startswith(PARTS) and value.dtype.kind == "f":
            tensors[name] = value.astype(np.float32)
    return tensors


def has_types(tensors):
    """Whether token types are told apart."""
    table = tensors.get("embeddings.token_type_embeddings.weight")
    return table is not None and len(table) > 1


def positions(config, tensors):
    """Those of RoBERTa and MPNet begin behind the padding token's. Without a table there are as many as one likes."""
    if "embeddings.position_embeddings.weight" not in tensors:
        return 600
    behind = config["model_type"] in ("roberta", "xlm-roberta", "camembert", "mpnet")
    return config["max_position_embeddings"] - (config["pad_token_id"] + 1 if behind else 0)


def model_folder(encoder, into, random, lora):
    """The encoder with random heads, as polyhead saves it; with random additions, if asked for."""
    tensors = tensors_of(encoder)
    config = json.loads((encoder / "config.json").read_text())
    hidden = config.get("hidden_size") or config["dim"]
    longest = positions(config, tensors)
    for name, rows in [("ner", len(LABELS)), ("qa.start", 1), ("qa.end", 1), ("class", 3), ("pos", 4)]:
        tensors[f"heads.{name}.weight"] = random.normal(size=(rows, hidden)).astype(np.float32)
        tensors[f"heads.{name}.bias"] = random.normal(size=rows).astype(np.float32)
    for name, rows, columns in [("rel.text", hidden, hidden), ("rel.part", hidden, hidden), ("rel", 3, 3 * hidden)]:
        tensors[f"heads.{name}.weight"] = (random.normal(size=(rows, columns)) / hidden**0.5).astype(np.float32)
        tensors[f"heads.{name}.bias"] = random.normal(size=rows).astype(np.float32)
    tensors["heads.ner.transform.dense.weight"] = (random.normal(size=(hidden, hidden)) / hidden**0.5).astype(np.float32)
    tensors["heads.ner.transform.norm.weight"] = random.uniform(0.5, 1.5, size=hidden).astype(np.float32)
    tables = ("embeddings.weight", "relative_attention_bias.weight")
    linear = [name for name in tensors if not name.startswith(("heads.", "embeddings.", "pooler.")) and tensors[name].ndim == 2]
    layers = [name.removesuffix(".weight") for name in linear if not name.endswith(tables)]
    for name in layers if lora else []:
        outer, inner = tensors[f"{name}.weight"].shape
        tensors[f"{name}.lora_A.weight"] = (random.normal(size=(RANK, inner)) / inner**0.5).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = (random.normal(size=(outer, RANK)) / 10).astype(np.float32)
    lengths = {"max_length": longest, "stride": 8}
    config["polyhead"] = {
        "version": "0.1.0",
        "tasks": [
            {"name": "ner", "kind": "ner", "config": {**lengths, "labels": LABELS, "transform": True}},
            {"name": "qa", "kind": "qa", "config": {**lengths, "max_question_length": 16}},
            {"name": "class", "kind": "classify", "config": {**lengths, "labels": ["a", "b", "c"], "inputs": "pair"}},
            {"name": "pos", "kind": "tag", "config": {**lengths, "labels": ["ADP", "NOUN", "VERB", "X"]}},
            {"name": "rel", "kind": "relation", "config": {"max_length": longest, "labels": ["a", "b", "c"]}},
        ],
    }
    if lora:
        config["polyhead"]["lora"] = {"rank": RANK, "alpha": 5.0, "targets": layers}
    save_file(tensors, into / "model.safetensors")
    (into / "config.json").write_text(json.dumps(config))
    shutil.copy(encoder / "tokenizer.json", into / "tokenizer.json")
    return config, tensors


def run(args, example, *arguments):
    cargo = ["cargo", "run", "-q", "--release", "-p", "polyhead", "--example", example, "--"]
    program = [str(args.bin.resolve() / example)] if args.bin else cargo
    subprocess.run([*program, *map(str, arguments)], check=True, cwd=ROOT)


def padded(rows, length, left):
    """int64 [batch, length] and where the real tokens are."""
    matrix, real = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), bool)
    for index, row in enumerate(rows):
        where = slice(length - len(row), length) if left else slice(0, len(row))
        matrix[index, where], real[index, where] = row, True
    return matrix, real


def check(args, encoder, scratch):
    random = np.random.default_rng(1)
    folder = scratch / "model"
    folder.mkdir()
    config, tensors = model_folder(encoder, folder, random, args.lora)
    files = [scratch / "one.onnx", scratch / "two.onnx"]
    for file in files:
        run(args, "dump_onnx", folder, file)
    report(files[0].read_bytes() == files[1].read_bytes(), "the same bytes twice")
    onnx.checker.check_model(str(files[0]), full_check=True)
    model = onnx.load(files[0])
    names = {tensor.name for tensor in model.graph.initializer}
    weights = set(load_file(folder / "model.safetensors"))
    # Low-rank additions are merged into the weights.
    weights = {name for name in weights if not name.startswith("pooler.") and ".lora_" not in name}
    report(weights <= names, f"initialisers have the names of the weights; without: {sorted(weights - names) or 'none'}")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    report(len(inferred.graph.value_info) > 0, f"{len(model.graph.node)} nodes, {len(inferred.graph.value_info)} inferred shapes")
    session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])
    report(
        [value.name for value in session.get_inputs()]
        == ["input_ids", "attention_mask"] + ["token_type_ids"] * has_types(tensors) + ["rel.ranges", "rel.pairs"],
        f"inputs {[(value.name, value.shape) for value in session.get_inputs()]}",
    )

    longest, vocabulary = positions(config, tensors), config["vocab_size"]
    cases = []
    for batch in BATCHES:
        for length in dict.fromkeys(min(length, longest) for length in LENGTHS):
            cases.append((f"{batch} x {length}", [length] * batch, [False]))
            shorter = [int(random.integers(1, length + 1)) for _ in range(batch - 1)]
            if batch > 1 and length > 1:
                cases.append((f"{batch} x {length} padded", [length, *shorter], [False, True]))
    # The longest, in a batch that padding fills.
    cases.append((f"5 x {longest} padded", [longest, longest // 3, 1, 2, longest - 1], [False, True]))
    ids = [[random.integers(0, vocabulary, n) for n in lengths] for _, lengths, _ in cases]
    types = [[random.integers(0, 2, n) for n in lengths] for _, lengths, _ in cases]
    # Two parts of each sequence, anywhere.
    ends = [[np.sort(random.choice(n + 1, (2, 2), replace=True), axis=1) for n in lengths] for _, lengths, _ in cases]
    ranges = [np.stack([np.where(part[:, :1] == part[:, 1:], [[0, 1]], part) for part in case]) for case in ends]
    pairs = np.array([[[0, 1]]], np.int64)
    flat = lambda all: np.concatenate([row for case in all for row in case]).astype(np.int64)
    inputs = {
        "ids": flat(ids),
        "type_ids": flat(types),
        "lengths": np.array([n for _, lengths, _ in cases for n in lengths], np.int64),
        "ranges": np.concatenate(ranges).astype(np.int64),
        "pairs": np.repeat(pairs, sum(map(len, ends)), axis=0),
    }
    save_file(inputs, scratch / "inputs.safetensors")
    run(args, "dump_logits", folder, scratch / "inputs.safetensors", scratch / "outputs.safetensors")
    want = load_file(scratch / "outputs.safetensors")

    def worst_of(session, tolerance):
        """The largest error of all cases, of which those beyond the tolerance are reported one by one, and the root mean square."""
        start, first, worst, squares = 0, 0, 0.0, np.zeros(2)
        for (name, lengths, sides), ids_here, types_here, parts in zip(cases, ids, types, ranges):
            end = start + sum(lengths)
            for left in sides:
                (matrix, real), (segments, _) = padded(ids_here, max(lengths), left), padded(types_here, max(lengths), left)
                feed = {"input_ids": matrix, "attention_mask": real.astype(np.int64)}
                before = np.array([max(lengths) - n if left else 0 for n in lengths])
                feed["rel.ranges"] = (parts + before[:, None, None]).astype(np.int64)
                feed["rel.pairs"] = np.repeat(pairs, len(lengths), axis=0)
                if has_types(tensors):
                    feed["token_type_ids"] = segments
                found = dict(zip(OUTPUTS, session.run(OUTPUTS, feed)))
                found["qa.logits"] = np.stack([found["qa.start_logits"], found["qa.end_logits"]], axis=-1)
                for task in ["ner", "qa", "class", "pos", "rel"]:
                    # A row for each sequence (of relations one for its only pair), or for each real token.
                    per_sequence = task in ("class", "rel")
                    rows = slice(first, first + len(lengths)) if per_sequence else slice(start, end)
                    found_here, expected = found[f"{task}.logits"], want[f"logits.{task}"][rows]
                    found_here = found_here[:, 0] if task == "rel" else found_here
                    found_here = found_here if per_sequence else found_here[real]
                    error = np.abs(found_here - expected).max() / np.abs(expected).max()
                    worst = max(worst, error)
                    squares += [np.square(found_here - expected).sum(), np.square(expected).sum()]
                    if not error <= tolerance or found_here.shape != expected.shape:
                        report(False, f"{name}{' at the left' if left else ''}, {task}: error {error:.1e}")
            start, first = end, first + len(lengths)
        return worst, np.sqrt(squares[0] / squares[1])

    worst, _ = worst_of(session, TOLERANCE)
    report(worst <= TOLERANCE, f"{len(cases)} batches, logits of all heads: worst error {worst:.1e}")
    size = files[0].stat().st_size
    for options, tolerance in VARIANTS:
        file = scratch / f"{options[0]}.onnx"
        run(args, "dump_onnx", folder, file, *options)
        onnx.checker.check_model(str(file), full_check=True)
        of_bytes = options == ["int8"]
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        worst, mean = worst_of(session, np.inf if of_bytes else tolerance)
        share = file.stat().st_size / size
        fine = (mean if of_bytes else worst) <= tolerance
        report(fine, f"{' '.join(options)}: worst error {worst:.1e}, root mean square {mean:.1e}, {share:.0%} of the bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoders", type=Path, nargs="+", help="folders of encoders in Hugging Face layout")
    parser.add_argument("--lora", action="store_true", help="with random low-rank additions")
    parser.add_argument("--bin", type=Path, help="where the built examples are; cargo runs them if this is left out")
    args = parser.parse_args()
    for encoder in args.encoders:
        print(encoder.name)
        with tempfile.TemporaryDirectory() as scratch:
            check(args, encoder.resolve(), Path(scratch))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
