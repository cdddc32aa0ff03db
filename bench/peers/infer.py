"""PyTorch and ONNX Runtime on the workloads of compare.py and families.py, which drive this with the Python of their environment.

    python bench/peers/infer.py export MODELS                         writes MODELS/{ner,qa}/{f32,int8}.onnx
    python bench/peers/infer.py time SIDE MODELS WORKLOADS THREADS    prints what the example bench_inference prints

MODELS holds the folders `ner` and `qa` that `polyhead export` wrote; or it is a model folder of polyhead, of any family: PyTorch then takes
its encoder and its heads as they are there. Padded tensors are made before the clock starts.
Each peer is set up as fast as we know how: PyTorch with SDPA in inference mode; ONNX Runtime with the graph fused by
its optimizer for Transformers (from eager attention, which that recognises; the graph of SDPA is slower), int8 weights
by channel.
"""
import argparse
import json
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def load(folder: Path, attention: str):
    from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

    if not folder.exists():
        return on_encoder(folder.parent, folder.name, attention)
    kind = {"ner": AutoModelForTokenClassification, "qa": AutoModelForQuestionAnswering}[folder.name]
    return kind.from_pretrained(folder, attn_implementation=attention).eval()


def on_encoder(model: Path, task: str, attention: str):
    """The encoder of a model folder of polyhead with the head of one task, a linear layer, on it."""
    import inspect

    import torch
    from safetensors import safe_open
    from transformers import AutoModel

    class WithHead(torch.nn.Module):
        def __init__(self):
            super().__init__()
            try:
                self.encoder = AutoModel.from_pretrained(model, attn_implementation=attention)
            except (ValueError, ImportError):  # transformers has no such attention for the family
                self.encoder = AutoModel.from_pretrained(model, attn_implementation="eager")
            with safe_open(model / "model.safetensors", "pt") as tensors:
                # Start and end of answers are two layers of one output each.
                layers = [f"heads.qa.{side}" for side in ["start", "end"]] if task == "qa" else [f"heads.{task}"]
                weight, bias = (torch.cat([tensors.get_tensor(f"{layer}.{part}") for layer in layers]) for part in ["weight", "bias"])
            self.head = torch.nn.Linear(*reversed(weight.shape))
            self.head.load_state_dict({"weight": weight, "bias": bias})
            self.known = set(inspect.signature(self.encoder.forward).parameters)
            if getattr(self.encoder.config, "type_vocab_size", 2) < 2:  # RoBERTa's table of one type
                self.known.discard("token_type_ids")

        def forward(self, **inputs):
            inputs = {name: value for name, value in inputs.items() if name in self.known}
            return {"logits": self.head(self.encoder(**inputs).last_hidden_state)}

    return WithHead().eval()


def logits_of(output):
    """[windows, tokens, outputs] of either class."""
    import torch

    return output["logits"] if "logits" in output else torch.stack([output.start_logits, output.end_logits], dim=-1)


def export(folder: Path) -> None:
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    class Logits(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, ids, mask, types):
            return logits_of(self.model(input_ids=ids, attention_mask=mask, token_type_ids=types))

    model = load(folder, "eager")
    ids = torch.full((2, 8), 100)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    raw, fused, int8 = [str(folder / name) for name in ["raw.onnx", "f32.onnx", "int8.onnx"]]
    axes = {name: {0: "windows", 1: "tokens"} for name in [*INPUTS, "logits"]}
    arguments = (ids, mask, torch.zeros_like(ids))
    # The exporter by tracing: the fusions below know its graphs, and it needs no further package.
    torch.onnx.export(Logits(model), arguments, raw, input_names=INPUTS, output_names=["logits"], dynamic_axes=axes,
                      opset_version=17, dynamo=False)
    config = model.config
    optimized = optimize_model(raw, "bert", config.num_attention_heads, config.hidden_size, opt_level=0)
    fusions = optimized.get_fused_operator_statistics()
    assert fusions["Attention"] == config.num_hidden_layers, f"expected every layer's attention fused, found {fusions}"
    optimized.save_model_to_file(fused)
    quantize_dynamic(fused, int8, weight_type=QuantType.QInt8, per_channel=True,
                     extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


def padded(batch: list[dict]) -> list[numpy.ndarray]:
    """ids, mask and types, [windows, tokens]"""
    arrays = numpy.zeros((3, len(batch), max(len(window["ids"]) for window in batch)), dtype=numpy.int64)
    for row, window in enumerate(batch):
        length = len(window["ids"])
        arrays[:, row, :length] = window["ids"], [1] * length, window["types"]
    return list(arrays)


def pytorch(side: str, folder: Path, threads: int):
    """(from arrays to a batch, from a batch to what the model returns, from that to logits)"""
    import torch

    torch.set_num_threads(threads)
    model = load(folder, "sdpa")
    if side == "bf16-weights":
        model = model.to(torch.bfloat16)
    cast = torch.autocast("cpu", torch.bfloat16) if side == "bf16-autocast" else nullcontext()

    def forward(batch):
        with torch.inference_mode(), cast:
            return model(**batch)

    def prepare(arrays):
        return dict(zip(INPUTS, map(torch.from_numpy, arrays)))

    return prepare, forward, lambda output: logits_of(output).float().numpy()


def onnx_runtime(side: str, folder: Path, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # A folder is one that `polyhead export --onnx` wrote.
    file = folder / side / "model.onnx" if (folder / side).is_dir() else folder / f"{side}.onnx"
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    asked = {value.name for value in session.get_inputs()}

    def prepare(arrays):
        return {name: array for name, array in zip(INPUTS, arrays) if name in asked}

    def logits(output):
        return output[0] if len(output) == 1 else numpy.stack(output, axis=-1)

    return prepare, lambda batch: session.run(None, batch), logits


def measure(model, workload: dict) -> dict:
    prepare, forward, logits = model
    batches = [prepare(padded(batch)) for batch in workload["batches"]]
    found = []
    for windows, batch in zip(workload["batches"], batches):
        values = logits(forward(batch))
        found += [x for row, window in zip(values, windows) for x in row[: len(window["ids"])].flatten().tolist()]
    for _ in range(1, workload["warmup"]):
        for batch in batches:
            forward(batch)
    rounds = []
    for _ in range(workload["rounds"]):
        seconds = []
        for batch in batches:
            began = time.perf_counter()
            forward(batch)
            seconds.append(time.perf_counter() - began)
        rounds.append(seconds)
    return {"name": workload["name"], "seconds": rounds, "logits": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("export").add_argument("models", type=Path)
    timing = what.add_parser("time")
    timing.add_argument("side", help="pytorch:{f32,bf16-autocast,bf16-weights}, or onnx: and the name of a file or a folder in MODELS/TASK")
    timing.add_argument("models", type=Path)
    timing.add_argument("workloads", type=Path)
    timing.add_argument("threads", type=int)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # the exporter's on tracing: compare.py checks the logits
    if args.what == "export":
        for task in ["ner", "qa"]:
            export(args.models / task)
        return
    library, side = args.side.split(":")
    workloads = json.loads(args.workloads.read_text())
    load_side = {"pytorch": pytorch, "onnx": onnx_runtime}[library]
    tasks = {workload["task"] for workload in workloads}
    models = {task: load_side(side, args.models / task, args.threads) for task in tasks}
    print(json.dumps({"workloads": [measure(models[workload["task"]], workload) for workload in workloads]}))


if __name__ == "__main__":
    main()
