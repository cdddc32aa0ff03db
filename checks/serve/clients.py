#!/usr/bin/env python3
"""Real clients against the server: Hugging Face's, an Open Inference Protocol client, and schemathesis.

pip install huggingface_hub "tritonclient[http]" schemathesis
polyhead serve MODEL                                              # in another terminal
python checks/serve/clients.py http://127.0.0.1:8080 [--skip hub triton schemathesis] [--examples 50]

hub            huggingface_hub.InferenceClient, pointed at the server: token_classification, question_answering and
               text_classification, without parameters and with all they have, on / and on /tasks/NAME; its errors carry the server's words
triton         tritonclient, with tensors as JSON and, as it sends and asks for them unless told otherwise, as binary data:
               the answers must be the same. The protocol is the one of Triton and KServe, and this client, Triton's own,
               is the one in use: of the others on PyPI, kserve and mlserver bring a whole server with them, and
               open-inference-openapi has not been generated anew since 2024. It sends no content type, and asks for
               data in JSON output by output
schemathesis   requests made from /openapi.json, valid and invalid, --examples for each operation; the answers must
               be as the document says: status, content type, schema, headers, methods; and never a 5xx
"""

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from loopback import Checks, Server, table

TEXT = "Ada Lovelace was born in London and worked with Charles Babbage. 👩‍🚀 Zoë Müller lives in Zürich."
QUESTION, CONTEXT = (
    "Where was Ada Lovelace born?",
    "In 1815 Ada Lovelace was born in London. She died there in 1852, before Zoë was born.",
)
# What is not asked of the server. Valid by the document is not valid by the model: a stride below the window is a rule
# that JSON Schema has no words for. The other three need resources that are made and deleted, or a key.
LEFT_OUT = ["positive_data_acceptance", "use_after_free", "ensure_resource_availability", "ignored_auth"]


def attempt(checks: Checks, what: str, call):
    """The value of a call; an exception is a failure."""
    try:
        value = call()
    except Exception as error:
        checks.that(False, f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return None
    checks.that(True, what)
    return value


def refused(checks: Checks, what: str, call, *words: str):
    """The call must raise, and say these words."""
    try:
        value = call()
    except Exception as error:
        said = f"{error} {getattr(getattr(error, 'response', None), 'text', '')}"
        missing = [word for word in words if word not in said]
        checks.that(not missing, f"{what}: {said[:300]!r} is without {missing}")
    else:
        checks.that(False, f"{what}: {str(value)[:200]} where an error is due")


def hub(server: Server, checks: Checks):
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost,::1"}
    from huggingface_hub import InferenceClient

    ner, qa = server.task("token-classification"), server.task("question-answering")
    classify = server.task("text-classification")

    def spans(what: str, found, text: str, word: str):
        if found is None:
            return
        found = found if isinstance(found, list) else [found]
        wrong = [one for one in found if text[one.start : one.end] != one[word] or not 0 <= one.score <= 1]
        checks.that(not wrong, f"{what}: {wrong[:2]} do not fit the text")

    # A text alone is of token classification and of text classification: where a model does both, the task must be named.
    for path in [f"/tasks/{ner['name']}", *([] if classify else [""])] if ner else []:
        client = InferenceClient(model=f"{server.url}{path}" if path else server.url)
        where = f"hub {path or '/'}"
        found = attempt(checks, f"{where}: token_classification", lambda: client.token_classification(TEXT))
        spans(f"{where}: token_classification", found, TEXT, "word")
        checks.that(
            found and all(one.entity_group for one in found),
            f"{where}: without parameters entities are grouped: {str(found)[:200]}",
        )
        for strategy in ["none", "simple", "first", "average", "max"]:
            what = f"{where}: aggregation_strategy {strategy}"
            found = attempt(checks, what, lambda: client.token_classification(TEXT, aggregation_strategy=strategy))
            spans(what, found, TEXT, "word")
            if strategy == "none" and found:
                checks.that(all(one.entity for one in found), f"{what}: without `entity`")
        found = attempt(
            checks,
            f"{where}: ignore_labels, stride",
            lambda: client.token_classification(TEXT, ignore_labels=["O", "PER"], stride=16),
        )
        spans(f"{where}: ignore_labels", found, TEXT, "word")
        checks.that(
            found is None or all(one.entity_group != "PER" for one in found),
            f"{where}: an ignored label came: {str(found)[:200]}",
        )
        refused(
            checks,
            f"{where}: a stride beyond any window",
            lambda: client.token_classification(TEXT, stride=10**6),
            "422",
            "stride",
        )
    for path in ["", f"/tasks/{qa['name']}"] if qa else []:
        client = InferenceClient(model=f"{server.url}{path}" if path else server.url)
        where = f"hub {path or '/'}"
        found = attempt(
            checks,
            f"{where}: question_answering",
            lambda: client.question_answering(question=QUESTION, context=CONTEXT),
        )
        spans(f"{where}: question_answering", found, CONTEXT, "answer")
        checks.that(not isinstance(found, list), f"{where}: a list where one answer was asked for")
        more = {
            "align_to_words": True,
            "doc_stride": 64,
            "handle_impossible_answer": True,
            "max_answer_len": 20,
            "max_question_len": 32,
            "max_seq_len": 128,
        }
        found = attempt(
            checks,
            f"{where}: all parameters",
            lambda: client.question_answering(question=QUESTION, context=CONTEXT, top_k=3, **more),
        )
        spans(f"{where}: all parameters", found, CONTEXT, "answer")
        checks.that(isinstance(found, list) and 1 <= len(found) <= 3, f"{where}: top_k=3 gives {str(found)[:200]}")
        if isinstance(found, list):
            checks.that(
                [one.score for one in found] == sorted((one.score for one in found), reverse=True),
                f"{where}: not the best first",
            )
        refused(
            checks,
            f"{where}: top_k 0",
            lambda: client.question_answering(question=QUESTION, context=CONTEXT, top_k=0),
            "422",
            "top_k",
        )
    for path in [f"/tasks/{classify['name']}", *([] if ner else [""])] if classify else []:
        client = InferenceClient(model=f"{server.url}{path}" if path else server.url)
        where = f"hub {path or '/'}"
        found = attempt(checks, f"{where}: text_classification", lambda: client.text_classification(TEXT)) or []
        checks.that(
            sorted(one.label for one in found) == sorted(classify["labels"]),
            f"{where}: not every label once: {str(found)[:200]}",
        )
        checks.that(
            [one.score for one in found] == sorted((one.score for one in found), reverse=True)
            and abs(sum(one.score for one in found) - 1) < 1e-6,
            f"{where}: no probabilities, best first: {str(found)[:200]}",
        )
        for function in ["softmax", "sigmoid", "none"]:
            what = f"{where}: top_k 1 with {function}"
            call = lambda: client.text_classification(TEXT, top_k=1, function_to_apply=function)  # noqa: B023, E731
            one = attempt(checks, what, call) or []
            checks.that([best.label for best in one] == [found[0].label] if found else False, f"{what}: {one}")
        refused(
            checks,
            f"{where}: top_k 0",
            lambda: client.text_classification(TEXT, top_k=0),
            "422",
            "top_k",
        )
    refused(
        checks,
        "hub: an unknown task",
        lambda: InferenceClient(model=f"{server.url}/tasks/nothing").token_classification(TEXT),
        "404",
    )


def sense(column: list) -> list:
    """Texts of an output without the scores in them."""
    return [json.loads(re.sub(r'"score":\s*[0-9.e-]+', '"score":0', one)) if one[:1] in "[{" and one else one for one in column]


def mixed_data(client, task: dict, asked: dict, numpy):
    from tritonclient.http import InferInput, InferRequestedOutput

    inputs = [InferInput(field, [2], "BYTES") for field in task["fields"]]
    for one in inputs:
        one.set_data_from_numpy(numpy.array(asked[one.name()][:2], dtype=object))
    outputs = {"ner": "entities", "qa": "answer"}.get(task["kind"])
    wanted = [InferRequestedOutput(outputs, binary_data=False)] if outputs else None
    return client.infer(task["name"], inputs, outputs=wanted).get_response() if wanted else None


def triton(server: Server, checks: Checks):
    import numpy
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

    client = InferenceServerClient(server.host, network_timeout=60, connection_timeout=10)
    checks.that(attempt(checks, "triton: live", client.is_server_live) is True, "triton: the server is not live")
    checks.that(attempt(checks, "triton: ready", client.is_server_ready) is True, "triton: the server is not ready")
    about = attempt(checks, "triton: server metadata", client.get_server_metadata) or {}
    checks.that({"name", "version", "extensions"} <= about.keys(), f"triton: server metadata is {about}")
    checks.that(
        attempt(checks, "triton: an unknown model", lambda: client.is_model_ready("nothing")) is False,
        "triton: an unknown model is ready",
    )
    refused(checks, "triton: metadata of an unknown model", lambda: client.get_model_metadata("nothing"), "nothing")

    asked = {
        "text": [TEXT, "Nobody is here.", CONTEXT],
        "question": [QUESTION, "Who?", QUESTION],
        "context": [CONTEXT, TEXT, CONTEXT],
    }
    for task in server.info["tasks"]:
        if not set(task["fields"]) <= asked.keys():
            continue
        name = f"triton: {task['name']}"
        checks.that(
            attempt(checks, f"{name}: ready", lambda: client.is_model_ready(task["name"])) is True, f"{name}: not ready"
        )
        attempt(checks, f"{name}: version 1 ready", lambda: client.is_model_ready(task["name"], "1"))
        told = attempt(checks, f"{name}: metadata", lambda: client.get_model_metadata(task["name"]))
        if not told:
            continue
        checks.that(
            {one["name"] for one in told["inputs"]} == set(task["fields"]), f"{name}: inputs are {told['inputs']}"
        )
        checks.that(
            all(one["datatype"] == "BYTES" and one["shape"] == [-1] for one in told["inputs"]),
            f"{name}: inputs are {told['inputs']}",
        )
        types = {one["name"]: one["datatype"] for one in told["outputs"]}
        checks.that(types, f"{name}: metadata name no outputs")

        def infer(count: int, version: str = "", wanted=tuple(types), binary=False, **more):
            inputs = []
            for field in task["fields"]:
                inputs.append(InferInput(field, [count], "BYTES"))
                inputs[-1].set_data_from_numpy(numpy.array(asked[field][:count], dtype=object), binary_data=binary)
            # Without a word of outputs, it asks for all of them as binary data.
            outputs = [InferRequestedOutput(one, binary_data=binary) for one in wanted] if wanted else None
            return client.infer(task["name"], inputs, model_version=version, outputs=outputs, **more)

        for count in [1, 3]:
            result = attempt(checks, f"{name}: {count} rows (no content type)", lambda: infer(count, request_id="a-7"))
            if result is None:
                # The rest is worth knowing all the same.
                result = attempt(
                    checks,
                    f"{name}: {count} rows",
                    lambda: infer(count, request_id="a-7", headers={"content-type": "application/json"}),
                )
            if result is None:
                continue
            answer = result.get_response()
            checks.that(
                answer.get("id") == "a-7" and answer.get("model_name") == task["name"], f"{name}: {str(answer)[:200]}"
            )
            for output, datatype in types.items():
                one = result.get_output(output)
                shaped = one and one["datatype"] == datatype and one["shape"] == [count] and len(one["data"]) == count
                checks.that(shaped, f"{name}: the output {output} is {str(one)[:200]}")
            if task["kind"] == "ner":
                for text, entities in zip(asked["text"], result.as_numpy("entities")):
                    found = json.loads(entities)
                    checks.that(
                        all(text[e["start"] : e["end"]] == e["text"] for e in found),
                        f"{name}: {found} does not fit {text!r}",
                    )
            if task["kind"] == "qa":
                columns = [result.as_numpy(column) for column in ["answer", "start", "end"]]
                for context, said, start, end in zip(asked["context"], *columns):
                    said = said.decode() if isinstance(said, bytes) else str(said)
                    checks.that(context[start:end] == said, f"{name}: {said!r} is not at {start}..{end}")
        def text(column):
            return [one.decode() if isinstance(one, bytes) else one for one in column.tolist()]

        plain = attempt(checks, f"{name}: as JSON", lambda: infer(3))
        for what, wanted in {"as binary data": tuple(types), "as it asks by itself": None}.items():
            result = attempt(checks, f"{name}: {what}", lambda: infer(3, wanted=wanted, binary=True, request_id="b-7"))
            if not result or not plain:
                continue
            answer = result.get_response()
            sizes = [one.get("parameters", {}).get("binary_data_size") for one in answer["outputs"]]
            checks.that(all(sizes) and answer["id"] == "b-7", f"{name} {what}: the outputs are {str(answer)[:200]}")
            for output, datatype in types.items():
                one, other = result.as_numpy(output), plain.as_numpy(output)
                kind = {"BYTES": "O", "FP64": "f", "INT64": "i"}[datatype]
                checks.that(one.dtype.kind == kind, f"{name} {what}: {output} is {one.dtype}")
                # Scores may differ in their last digits: batches are not the same.
                same = numpy.allclose(one, other) if kind != "O" else sense(text(one)) == sense(text(other))
                checks.that(same, f"{name} {what}: {output} is {one} and {other} as JSON")
        mixed = attempt(checks, f"{name}: binary data in, JSON out", lambda: mixed_data(client, task, asked, numpy))
        checks.that(mixed is None or "data" in mixed["outputs"][0], f"{name}: {str(mixed)[:200]}")
        first = next(iter(types), None)
        headers = {"content-type": "application/json"}
        one = attempt(checks, f"{name}: one output, version 1", lambda: infer(1, "1", (first,), headers=headers))
        checks.that(
            one is None or [o["name"] for o in one.get_response()["outputs"]] == [first],
            f"{name}: other outputs than {first}",
        )
        refused(checks, f"{name}: an unknown output", lambda: infer(1, wanted=("nothing",), headers=headers), "nothing")
        refused(checks, f"{name}: an unknown version", lambda: infer(1, "2", headers=headers))
    client.close()


def schemathesis(server: Server, checks: Checks, examples: int, seed: int):
    command = [
        str(Path(sys.executable).parent / "st"),
        "run",
        f"{server.url}/openapi.json",
        "--url",
        server.url,
        "--checks",
        "all",
        "--exclude-checks",
        ",".join(LEFT_OUT),
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        str(examples),
        "--seed",
        str(seed),
        "--request-timeout",
        str(server.limits["request_seconds"] + 5),
        "--continue-on-failure",
        "--generation-database",
        "none",
        "--output-truncate",
        "true",
        "--no-color",
        "--workers",
        "1",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800
        )
    told = done.stdout.strip().splitlines()
    if done.returncode:
        print("\n".join(told[-200:]))
    else:
        at = next((number for number, line in enumerate(told) if "SUMMARY" in line), -20)
        print("\n".join(told[at:]))
    checks.that(done.returncode == 0, f"schemathesis ends with {done.returncode}")
    checks.that(any("Operations" in line or "operations" in line for line in told), "schemathesis tested nothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--skip", nargs="+", choices=["hub", "triton", "schemathesis"], default=[])
    parser.add_argument("--examples", type=int, default=50, help="of schemathesis, for each operation")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    server, all_checks, rows = Server(args.url), Checks(), []
    runs = {
        "hub": ("huggingface_hub", lambda checks: hub(server, checks)),
        "triton": ("tritonclient", lambda checks: triton(server, checks)),
        "schemathesis": ("schemathesis", lambda checks: schemathesis(server, checks, args.examples, args.seed)),
    }
    for name, (package, call) in runs.items():
        if name in args.skip:
            continue
        checks = Checks()
        try:
            call(checks)
        except Exception as error:
            checks.that(False, f"{name}: {type(error).__name__}: {error}")
        rows.append([package, importlib.metadata.version(package), checks.passed, len(checks.failures)])
        all_checks.passed += checks.passed
        all_checks.failures += checks.failures
    print(table(["client", "version", "passed", "failed"], rows))
    all_checks.end()


if __name__ == "__main__":
    main()
