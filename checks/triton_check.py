"""The config.pbtxt beside ONNX files of polyhead, read by Triton's own definition of it and held against the graph.

Run from the repository: python checks/triton_check.py DIR ...      DIR: what `polyhead export MODEL --onnx DIR` wrote
Needs onnx and tritonclient[grpc], which has that definition. Ends with status 1 if anything differs.
"""

import sys
from pathlib import Path

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

ELEMENTS = {onnx.TensorProto.INT64: model_config_pb2.TYPE_INT64, onnx.TensorProto.FLOAT: model_config_pb2.TYPE_FP32}


def described(values):
    """Name, type and lengths behind the batch of what a graph declares."""
    found = []
    for value in values:
        tensor = value.type.tensor_type
        lengths = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim]
        assert tensor.shape.dim[0].dim_param == "batch_size", value.name
        found.append((value.name, ELEMENTS[tensor.elem_type], lengths[1:]))
    return found


def main():
    failed = False
    files = [file for folder in sys.argv[1:] for file in sorted(Path(folder).rglob("config.pbtxt"))]
    if not files:
        sys.exit(__doc__)
    for file in files:
        config = text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        graph = onnx.load(next(file.parent.glob("*.onnx")), load_external_data=False).graph
        fine = (config.backend, config.HasField("dynamic_batching")) == ("onnxruntime", True) and config.max_batch_size > 0
        for ports, values in [(config.input, graph.input), (config.output, graph.output)]:
            fine &= [(port.name, port.data_type, list(port.dims)) for port in ports] == described(values)
        failed |= not fine
        print("ok    " if fine else "FAILED", file)
    sys.exit(failed)


if __name__ == "__main__":
    main()
