#!/usr/bin/env python3
"""The description of the API in other hands: validators, generators of clients, and the generated clients at work.

polyhead serve MODEL                                              # in another terminal; a model with NER and QA
python checks/serve/openapi_check.py http://127.0.0.1:8080 [--into FOLDER]

The script installs what it needs, in a folder of its own (a temporary one, or FOLDER, which is used again the next time):
packages of PyPI with pip, of npm with npm. Node 20 or later is needed.

references   every reference leads to a schema under `components`, and no schema is `true`
validators   openapi-spec-validator (PyPI), and @redocly/cli with its recommended rules (npm)
python       a client made by openapi-python-client (PyPI), used: answers, failures, what the server says of itself
typescript   clients made by @hey-api/openapi-ts and openapi-typescript (npm), checked by the compiler and used

Requests made from the description by schemathesis are in `clients.py`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

from loopback import Checks, Server, table

PYTHON = ["openapi-spec-validator", "openapi-python-client"]
NODE = ["@redocly/cli", "@hey-api/openapi-ts@0", "openapi-typescript@7", "openapi-fetch@0", "typescript@5"]
TEXT = "Ada Lovelace was born in London. 👩‍🚀 Zoë lives in Zürich."

# Uses the generated client: every call and every field below is its own.
USE_PYTHON = '''
import json, sys
from polyhead_client import Client
from polyhead_client.api.default import analyze, answer_with_task, health, infer, info
from polyhead_client.models import (AnalyzeRequest, AnalyzeResponse, AnswerWithTaskTask, Error, InferRequest, InferTask,
    InputTensor, InputTensorDatatype, QuestionAnsweringAnswer, QuestionAnsweringInput, QuestionAnsweringParameters,
    QuestionAnsweringRequest, TokenClassificationRequest)

url, ner, qa, text = sys.argv[1:]
client = Client(base_url=url)
assert health.sync(client=client).status == "ok"
about = info.sync(client=client)
assert [task.name for task in about.tasks] and about.limits.texts > 0 and about.model.parameters > 0
asked = analyze.sync(client=client, body=AnalyzeRequest(text=text, question="Where was she born?"))
assert isinstance(asked, AnalyzeResponse) and asked.tokens > 0, asked
results = asked.results
for entity in getattr(results, ner).entities:
    assert text[entity.start : entity.end] == entity.text and 0 <= entity.score <= 1, entity
answer = getattr(results, qa)
assert text[answer.start : answer.end] == answer.answer and len(answer.alternatives) <= 2, answer
tokens = answer_with_task.sync(AnswerWithTaskTask(ner), client=client, body=TokenClassificationRequest(inputs=text))
assert all(text[one.start : one.end] == one.word for one in tokens), tokens
question = QuestionAnsweringInput(question="Where was she born?", context=text)
body = QuestionAnsweringRequest(inputs=question, parameters=QuestionAnsweringParameters(top_k=3))
best = answer_with_task.sync(AnswerWithTaskTask(qa), client=client, body=body)
assert 1 <= len(best) <= 3 and all(isinstance(one, QuestionAnsweringAnswer) for one in best), best
tensor = InputTensor(name="text", shape=[1], datatype=InputTensorDatatype.BYTES, data=[text])
inferred = infer.sync(InferTask(ner), client=client, body=InferRequest(inputs=[tensor], id="7"))
assert (inferred.id, inferred.model_name) == ("7", ner) and json.loads(inferred.outputs[0].data[0]) is not None
refused = analyze.sync_detailed(client=client, body=AnalyzeRequest(question="Who?"))
assert refused.status_code == 422 and isinstance(refused.parsed, Error) and refused.parsed.code == "invalid", refused
print("used")
'''

# The same with the client of @hey-api/openapi-ts, and the types of openapi-typescript with openapi-fetch.
USE_TYPESCRIPT = '''
import createClient from "openapi-fetch";
import { client } from "./hey/client.gen";
import { analyze, answerWithTask, infer, info } from "./hey/sdk.gen";
import type { AnalyzeRequest, NerEntity } from "./hey/types.gen";
import type { paths } from "./types";

declare const process: { argv: string[]; exit(code: number): never };
const [url, text] = process.argv.slice(2) as [string, string];
const must = (good: unknown, what: unknown) => { if (!good) { console.error("not as described:", what); process.exit(1); } };
const letters = [...text];

async function main() {
  client.setConfig({ baseUrl: url });
  const about = await info();
  must(about.data && about.data.tasks.length > 0 && about.data.limits.texts > 0, about.error);
  const asked = await analyze({ body: { text, question: "Where was she born?" } });
  must(asked.data && asked.data.tokens > 0, asked.error);
  const entities: NerEntity[] = asked.data?.results.NER?.entities ?? [];
  must(entities.every((one) => letters.slice(one.start, one.end).join("") === one.text), entities);
  const answer = asked.data?.results.QA;
  must(answer && letters.slice(answer.start, answer.end).join("") === answer.answer, answer);
  const best = await answerWithTask({ path: { task: "QA" }, body: { inputs: { question: "Where was she born?", context: text }, parameters: { top_k: 2 } } });
  must(Array.isArray(best.data) && best.data.length > 0, best.error);
  const inferred = await infer({ path: { task: "NER" }, body: { inputs: [{ name: "text", shape: [1], datatype: "BYTES", data: [text] }] } });
  must(inferred.data?.outputs[0]?.name === "entities", inferred.error);
  const refused = await analyze({ body: { question: "Who?" } });
  must(refused.error && "code" in refused.error && refused.error.code === "invalid", refused);

  const typed = createClient<paths>({ baseUrl: url });
  const { data, error } = await typed.POST("/analyze", { body: { text, tasks: ["NER"] } });
  must(data && (data.results.NER?.entities.length ?? -1) >= 0, error);
  const wrong = await typed.POST("/analyze", { body: { question: "Who?" } });
  must(wrong.error?.code === "invalid", wrong.error);
  // @ts-expect-error A field that the model's tasks do not have is no request.
  const unknown: AnalyzeRequest = { text, txet: text };
  must((await analyze({ body: unknown })).error, unknown);
  console.log("used");
}
main();
'''


def places(value, place=""):
    """Every value of a description with the name of the field that it stands in."""
    yield place, value
    if isinstance(value, dict):
        for name, field in value.items():
            yield from places(field, name)
    elif isinstance(value, list):
        for item in value:
            yield from places(item, place)


def references(described: dict, checks: Checks):
    schemas = described["components"]["schemas"]
    for place, value in places(described):
        if place == "$ref":
            name = value.removeprefix("#/components/schemas/")
            checks.that(name in schemas, f"{value} leads nowhere")
        if place in ("schema", "items", "anyOf", "oneOf"):
            checks.that(not isinstance(value, bool), f"{place} is {value}")
        checks.that(place not in ("$defs", "$schema"), f"{place} in the description")


def tool(checks: Checks, what: str, command: list, folder: Path, wanted: str = "") -> str:
    """Runs a program of someone else; a failure is told with what it said."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    good = done.returncode == 0 and wanted in done.stdout
    checks.that(good, f"{what} ends with {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout


def installed(folder: Path, checks: Checks) -> Path:
    """What is needed, in this folder; the folder of Python's programs."""
    programs = folder / "python" / "bin"
    if not programs.exists():
        venv.create(folder / "python", with_pip=True)
        tool(checks, "pip", [programs / "pip", "install", "-q", *PYTHON], folder)
    if not (folder / "node_modules").exists():
        (folder / "package.json").write_text('{"private": true}')
        tool(checks, "npm", ["npm", "install", "--no-audit", "--no-fund", *NODE], folder)
    return programs


def python_client(server: Server, programs: Path, folder: Path, tasks: list, checks: Checks):
    # The only body that is neither JSON nor text.
    (folder / "python-client.yml").write_text("content_type_overrides:\n  application/openmetrics-text: text/plain\n")
    command = ["openapi-python-client", "generate", "--path", "openapi.json", "--output-path", "polyhead_client"]
    more = ["--meta", "none", "--overwrite", "--config", "python-client.yml", "--fail-on-warning"]
    # It formats what it makes with a program that lies beside it.
    path = f"PATH={programs}:/usr/local/bin:/usr/bin:/bin"
    tool(checks, "openapi-python-client", ["env", path, *command, *more], folder)
    (folder / "use.py").write_text(USE_PYTHON)
    tool(checks, "the client of openapi-python-client", [programs / "python", "use.py", server.url, *tasks, TEXT], folder, "used")


def typescript_clients(server: Server, folder: Path, tasks: list, checks: Checks):
    run = ["npx", "--no-install"]
    tool(checks, "@hey-api/openapi-ts", [*run, "openapi-ts", "-i", "openapi.json", "-o", "hey", "-c", "@hey-api/client-fetch"], folder)
    tool(checks, "openapi-typescript", [*run, "openapi-typescript", "openapi.json", "-o", "types.ts"], folder)
    ner, qa = tasks
    (folder / "use.ts").write_text(USE_TYPESCRIPT.replace("NER", ner).replace("QA", qa))
    strict = ["--strict", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10", "--lib", "es2022,dom,dom.iterable"]
    compiled = [*run, "tsc", *strict, "--skipLibCheck", "--ignoreDeprecations", "5.0", "--outDir", "out", "use.ts"]
    tool(checks, "the TypeScript compiler", compiled, folder)
    tool(checks, "the clients in TypeScript", ["node", "out/use.js", server.url, TEXT], folder, "used")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--into", type=Path, help="where to install what is needed; used again the next time")
    args = parser.parse_args()
    server, checks = Server(args.url), Checks()
    tasks = [server.task("token-classification"), server.task("question-answering")]
    if not all(tasks):
        sys.exit("the model needs a task for token classification and one for question answering")
    tasks = [task["name"] for task in tasks]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (args.into or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        programs = installed(folder, checks)
        with urllib.request.urlopen(f"{server.url}/openapi.json", timeout=20) as answer:
            described = json.load(answer)
        (folder / "openapi.json").write_text(json.dumps(described))
        rows = []
        for name, call in {
            "references": lambda: references(described, checks),
            "openapi-spec-validator": lambda: tool(checks, "openapi-spec-validator", [programs / "openapi-spec-validator", "openapi.json"], folder),
            "@redocly/cli": lambda: tool(checks, "redocly", ["npx", "--no-install", "redocly", "lint", "--extends", "recommended", "openapi.json"], folder),
            "openapi-python-client": lambda: python_client(server, programs, folder, tasks, checks),
            "@hey-api/openapi-ts, openapi-typescript": lambda: typescript_clients(server, folder, tasks, checks),
        }.items():
            before = checks.passed, len(checks.failures)
            call()
            rows.append([name, checks.passed - before[0], len(checks.failures) - before[1]])
    print(table(["check", "passed", "failed"], rows))
    checks.end()


if __name__ == "__main__":
    main()
