"""The malformed requests of malformed.py: bytes, and the refusals that are right for each.

    Case      one request
    Cases     collects them for a server: its limits and its tasks' names tell where too much begins
    all_cases the whole list, in the order of the functions that make its parts

A refusal's codes are those of the API; STATUS has the status of each.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Callable

from loopback import Answer, Server

STATUS = {
    "bad_json": 400, "bad_request": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404,
    "method_not_allowed": 405, "timeout": 408, "too_large": 413, "unsupported_media_type": 415, "invalid": 422,
    "overloaded": 429, "internal": 500, "unavailable": 503
}


@dataclass
class Case:
    name: str
    group: str  # handler, library, unusual
    raw: bytes
    codes: set[str]  # of a refusal in the handler group; empty: any
    half_close: bool = False  # our side of the connection is closed after the last byte
    cut: bool = False  # no answer at all is one, too
    alone: bool = False  # what is left on the connection is no request
    slow: bool = False  # it takes the server's own time limit
    to: str = "POST"
    also: Callable[[Answer], str | None] = lambda answer: None


class Cases:
    """Collects them; the methods are shorthands for what many cases share."""
    def __init__(self, server: Server):
        self.server = server
        self.all: list[Case] = []

    def raw(self, name: str, raw: bytes, *codes: str, group: str = "handler", **more):
        self.all.append(Case(name, group, raw, set(codes), **more))

    def body(self, name: str, path: str, body, *codes: str, headers=None, group: str = "handler", **more):
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        codes = codes or (("invalid", ) if group == "handler" else ())
        if group == "handler" and len(sent) > self.server.limits["body_bytes"]:
            codes = ("too_large", )
        self.raw(name, self.server.request("POST", path, sent, headers), *codes, group=group, **more)

    def head(self, name: str, first: str, headers: list[str] | None = None, body: bytes = b"", *codes: str,
             group: str = "handler", **more):
        """A request line and header lines as they are."""
        lines = [first, *([f"Host: {self.server.host}"] if headers is None else headers)]
        raw = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
        self.raw(name, raw, *codes, group=group, **more)


def names(word: str) -> Callable[[Answer], str | None]:
    """The refusal must name what is wrong."""
    return lambda answer: None if word in answer.body.decode("utf-8", "replace"
                                                             ) else f"the answer does not name {word!r}"


def without(text: str) -> Callable[[Answer], str | None]:
    def check(answer: Answer) -> str | None:
        said = answer.body.decode("utf-8", "replace") + str(answer.headers)
        return f"the answer holds {text!r}" if text in said else None

    return check


def served(answer: Answer) -> str | None:
    return None if answer.status == 200 else f"{answer.status} where 200 is the only right answer"


def lying_json(cases: Cases, path: str, good: bytes):
    """Bodies that are no JSON, or hardly."""
    text = good.decode()
    bad = {
        "empty body": b"",
        "white space alone": b" \r\n\t ",
        "truncated": good[:-3],
        "truncated in a string": b'{"inputs": "Ada',
        "truncated in an escape": b'{"inputs": "Ada\\u00',
        "no JSON": b"Ada Lovelace was born in London.",
        "form data": b"inputs=Ada+Lovelace",
        "two values": good + good,
        "something behind": good + b" x",
        "trailing comma": good[:-1] + b",}",
        "a comment": b"/* */" + good,
        "single quotes": text.replace('"', "'").encode(),
        "a key without quotes": b'{inputs: "Ada"}',
        "NaN": b'{"inputs": NaN}',
        "Infinity": b'{"inputs": "Ada", "parameters": {"stride": Infinity}}',
        "-Infinity": b'{"inputs": "Ada", "parameters": {"stride": -Infinity}}',
        "a leading zero": b'{"inputs": "Ada", "parameters": {"stride": 010}}',
        "a hexadecimal number": b'{"inputs": "Ada", "parameters": {"stride": 0x10}}',
        "True in Python's spelling": b'{"inputs": True}',
        "a bare newline in a string": b'{"inputs": "Ada\nLovelace"}',
        "a NUL in a string": b'{"inputs": "Ada\x00"}',
        "NUL bytes alone": b"\x00" * 64,
        "an unknown escape": b'{"inputs": "Ada\\x41"}',
        "invalid UTF-8": b'{"inputs": "Ada \xff\xfe"}',
        "overlong UTF-8": b'{"inputs": "Ada \xc0\xaf"}',
        "UTF-8 of a surrogate": b'{"inputs": "Ada \xed\xa0\x80"}',
        "UTF-8 beyond Unicode": b'{"inputs": "Ada \xf4\x90\x80\x80"}',
        "UTF-8 cut in a character": b'{"inputs": "Ada \xe2\x82"}',
        "Latin-1": '{"inputs": "Zoë"}'.encode("latin-1"),
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32"),
        "gzip without saying so": gzip.compress(good),
        "100,000 open brackets": b"[" * 100_000,
        "100,000 arrays in one another": b"[" * 100_000 + b"]" * 100_000,
        "100,000 arrays as the inputs": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "50,000 objects in one another": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "deep in an unknown field": good[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    }
    for name, body in bad.items():
        cases.body(name, path, body, "bad_json")
    cases.body("a lone high surrogate", path, b'{"inputs": "Ada \\ud800"}', "bad_json", "invalid")
    cases.body("a lone low surrogate", path, b'{"inputs": "Ada \\udc00 x"}', "bad_json", "invalid")
    cases.body("surrogates the wrong way round", path, b'{"inputs": "\\udc00\\ud800"}', "bad_json", "invalid")
    cases.body("1e400", path, b'{"inputs": "Ada", "parameters": {"stride": 1e400}}', "bad_json", "invalid")
    digits = b'{"inputs": "Ada", "parameters": {"stride": ' + b"9" * 10_000 + b"}}"
    cases.body("a number of 10,000 digits", path, digits, "bad_json", "invalid")
    for name, body in {
            "null": b"null", "an array": b"[]", "a string": b'"Ada"', "a number": b"1", "true": b"true",
            "an empty object": b"{}", "an array of requests": b"[" + good + b"]"
    }.items():
        cases.body(f"the body is {name}", path, body)
    cases.body("a byte order mark", path, b"\xef\xbb\xbf" + good, group="unusual")
    cases.body("a key twice", path, b'{"inputs": "Ada", "inputs": "Bob"}', group="unusual")


NOT_STRINGS = {"null": None, "a number": 1, "true": True, "an object": {}, "an array": ["x"]}
NO_COUNTS = {
    "-1": -1, "1e9": 1e9, "2.5": 2.5, "a string": "3", "true": True, "an array": [3], "2^63": 2**63, "2^64": 2**64,
    "10^30": 10**30, "-2^63": -(2**63)
}


def ner_fields(cases: Cases, path: str, task: dict):
    limits = cases.server.limits
    good = "Ada was born in London."
    wrong = {
        "null": None, "a number": 1, "true": True, "an object": {}, "an array of numbers": [1],
        "an array of null": [None], "a text and a number": [good, 1], "arrays of texts": [[good]],
        "a question": {"question": "Who?",
                       "context": good}, "a text and a question": [good, {"question": "Who?", "context": good}]
    }
    for name, value in wrong.items():
        cases.body(f"ner: inputs is {name}", path, {"inputs": value})
    cases.body("ner: no inputs", path, {"parameters": {}})
    cases.body("ner: the field of another API", path, {"text": good})
    cases.body("ner: an unknown field", path, {"inputs": good, "inptus": 1}, also=names("inptus"))
    cases.body("ner: an unknown parameter", path, {"inputs": good, "parameters": {"strides": 1}}, also=names("strides"))
    cases.body("ner: a parameter of question answering", path, {"inputs": good, "parameters": {"top_k": 1}},
               also=names("top_k"))
    for name, value in {"a string": "x", "an array": [], "a number": 1, "true": True}.items():
        cases.body(f"ner: parameters is {name}", path, {"inputs": good, "parameters": value})
    parameters = {
        "aggregation_strategy": {
            "unknown": "median", "of another case": "SIMPLE", "empty": "", "a number": 1, "an array": ["simple"]
        },
        "ignore_labels": {"a string": "O", "a number": 1, "an object": {}, "an array of numbers": [1]},
        "stride":
            NO_COUNTS | {"the window": task["max_tokens"], "beyond the window": task["max_tokens"] + 1, "10^9": 10**9},
        "offset_unit": {"unknown": "chars", "empty": "", "a number": 1, "an array": ["char"]},
    }
    for parameter, values in parameters.items():
        for name, value in values.items():
            cases.body(f"ner: {parameter} is {name}", path, {"inputs": good, "parameters": {parameter: value}},
                       "invalid", "bad_json")
    many, long = int(limits["texts"]) + 1, int(limits["characters"]) + 1
    cases.body("ner: too many texts", path, {"inputs": ["x"] * many})
    cases.body("ner: very many texts", path, {"inputs": ["x"] * max(many, 200_000)})
    cases.body("ner: a text too long", path, {"inputs": "x " * (long // 2 + 1)}, "invalid", "too_large")
    cases.body("ner: one word too long", path, {"inputs": "x" * long}, "invalid", "too_large")
    # Whether the limit is one text's or all texts' is for the server to say.
    cases.body("ner: texts too long together", path, {"inputs": ["word " * (long // 10)] * 3}, group="unusual")
    for name, inputs in {
            "an empty text": "", "white space": " \t\n", "no texts": [], "a NUL": "Ada\0Lovelace",
            "control characters": "\x01\x7f\x9f", "a byte order mark": "\ufeffAda",
            "characters beyond the BMP": "\U0001f469\u200d\U0001f680 Ada", "a thousand accents": "e" + "\u0301" * 1000,
            "text from right to left": "\u202eAda\u202c", "private use": "\ue000",
            "an ignored label that is none": "Ada"
    }.items():
        more = {"parameters": {"ignore_labels": ["nothing"]}} if "ignored" in name else {}
        cases.body(f"ner: {name}", path, {"inputs": inputs} | more, group="unusual")
    for name, parameters in {
            "parameters is null": None, "a null parameter": {"stride": None}, "stride 0": {"stride": 0}
    }.items():
        cases.body(f"ner: {name}", path, {"inputs": good, "parameters": parameters}, group="unusual")


def qa_fields(cases: Cases, path: str, task: dict):
    limits = cases.server.limits
    good = {"question": "Who was born?", "context": "Ada was born in London."}
    wrong = {
        "null": None, "a number": 1, "a string": "Who?", "an array of strings": ["Who?"], "an empty object": {},
        "an array of null": [None], "arrays of questions": [[good]], "a question and a text": [good, "Ada"]
    }
    for name, value in wrong.items():
        cases.body(f"qa: inputs is {name}", path, {"inputs": value})
    for part in good:
        cases.body(f"qa: no {part}", path, {"inputs": {k: v for k, v in good.items() if k != part}})
        for name, value in NOT_STRINGS.items():
            cases.body(f"qa: {part} is {name}", path, {"inputs": good | {part: value}})
    cases.body("qa: an unknown field", path, {"inputs": good, "topk": 1}, also=names("topk"))
    cases.body("qa: an unknown field of inputs", path, {"inputs": good | {"contxt": ""}}, also=names("contxt"))
    cases.body("qa: an unknown parameter", path, {"inputs": good, "parameters": {"topk": 1}}, also=names("topk"))
    cases.body("qa: a parameter of ner", path, {"inputs": good, "parameters": {"aggregation_strategy": "simple"}},
               also=names("aggregation_strategy"))
    window = task["max_tokens"]
    parameters = {
        "top_k": NO_COUNTS | {"0": 0, "10^9": 10**9},
        "doc_stride": NO_COUNTS | {"the window": window, "10^9": 10**9},
        "max_answer_len": NO_COUNTS | {"0": 0},
        "max_seq_len": NO_COUNTS | {"0": 0, "2": 2, "beyond the model": 10**9},
        "max_question_len": NO_COUNTS | {"0": 0},
        "handle_impossible_answer": {"a string": "yes", "a number": 1, "an array": []},
        "align_to_words": {"a string": "no", "a number": 0, "an object": {}},
        "offset_unit": {"unknown": "utf-16", "a number": 8},
    }
    for parameter, values in parameters.items():
        for name, value in values.items():
            cases.body(f"qa: {parameter} is {name}", path, {"inputs": good, "parameters": {parameter: value}},
                       "invalid", "bad_json")
    many, long = int(limits["texts"]) + 1, int(limits["characters"]) + 1
    cases.body("qa: too many questions", path, {"inputs": [good] * many})
    cases.body("qa: a context too long", path, {"inputs": good | {"context": "word " * (long // 5 + 1)}}, "invalid",
               "too_large")
    cases.body("qa: a question too long", path, {"inputs": good | {"question": "word " * (long // 5 + 1)}}, "invalid",
               "too_large")
    for name, inputs in {
            "an empty question": good | {"question": ""}, "an empty context": good | {"context": ""},
            "no questions": [], "a context of accents": good | {"context": "\u0301" * 500}
    }.items():
        cases.body(f"qa: {name}", path, {"inputs": inputs}, group="unusual")


def both_forms(cases: Cases, ner: dict | None, qa: dict | None):
    """POST / and /analyze."""
    text, question = "Ada was born in London.", {"question": "Who?", "context": "Ada was born."}
    for name, value in {
            "null": None, "a number": 1, "true": True, "an empty object": {}, "a text and a question": [text, question],
            "an array of numbers": [1, 2], "an object of neither task": {"premise": "x"}
    }.items():
        cases.body(f"/: inputs is {name}", "/", {"inputs": value})
    cases.body("/: no inputs", "/", {})
    cases.body("/: an unknown field", "/", {"inputs": text, "model": "x"}, also=names("model"))
    for name, value in NOT_STRINGS.items():
        cases.body(f"/analyze: text is {name}", "/analyze", {"text": value})
        if name != "null":
            cases.body(f"/analyze: question is {name}", "/analyze", {"text": text, "question": value})
    cases.body("/analyze: no text", "/analyze", {"question": "Who?"})
    cases.body("/analyze: an unknown field", "/analyze", {"text": text, "qustion": "Who?"}, also=names("qustion"))
    for name, value in {"a string": "ner", "an array of numbers": [1], "an object": {}, "true": True}.items():
        cases.body(f"/analyze: tasks is {name}", "/analyze", {"text": text, "tasks": value})
    cases.body("/analyze: an unknown task", "/analyze", {"text": text, "tasks": ["nothing"]}, "invalid", "not_found",
               also=names("nothing"))
    cases.body("/analyze: offset_unit is unknown", "/analyze", {"text": text, "offset_unit": "bytes"})
    cases.body("/analyze: a text too long", "/analyze", {"text": "x " * int(cases.server.limits["characters"])},
               "invalid", "too_large")
    if qa:
        cases.body("/analyze: qa without a question", "/analyze", {"text": text, "tasks": [qa["name"]]})
    cases.body("/analyze: no tasks", "/analyze", {"text": text, "tasks": []}, group="unusual")
    cases.body("/analyze: a task twice", "/analyze",
               {"text": text, "tasks": [(ner or qa)["name"]] * 2, "question": "Who?"}, group="unusual")


def inference_protocol(cases: Cases, ner: dict | None, qa: dict | None):
    def tensor(name="text", datatype="BYTES", shape=(1, ), data=("Ada was born.", ), **more) -> dict:
        return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(data)} | more

    def case(name: str, inputs, *codes: str, path: str = "", group: str = "handler", **body):
        inputs = {} if inputs is ... else {"inputs": inputs}
        cases.body(f"OIP: {name}", path or f"/v2/models/{(ner or qa)['name']}/infer", inputs | body,
                   *(codes or ("invalid", )), group=group)

    case("an unknown model", [tensor()], "not_found", path="/v2/models/nothing/infer")
    case("an unknown version", [tensor()], "not_found", path=f"/v2/models/{(ner or qa)['name']}/versions/2/infer")
    case("no inputs", ...)
    for name, value in {"null": None, "a string": "Ada", "an object": tensor(), "an array of strings": ["Ada"]}.items():
        case(f"inputs is {name}", value)
    case("no tensors", [])
    if ner:
        for part in ["name", "datatype", "shape", "data"]:
            case(f"a tensor without {part}", [{k: v for k, v in tensor().items() if k != part}])
        for datatype in ["FP32", "INT64", "BOOL", "bytes", "STRING", "", 1, None]:
            case(f"datatype {datatype!r}", [tensor(datatype=datatype)])
        for shape in [(2, ), (0, ), (-1, ), (1.5, ), ("1", ), (2**63, ), (2**64, ), (2**32, 2**32), (None, ), (1, 2)]:
            case(f"shape {list(shape)} for one text", [tensor(shape=shape)])
        case("the shape is a number", [tensor() | {"shape": 1}])
        case("more data than the shape", [tensor(data=("a", "b"))])
        case("no data for the shape", [tensor(data=())])
        for name, data in {"a number": [1], "null": [None], "an object": [{}], "true": [True]}.items():
            case(f"the data is {name}", [tensor(data=data)])
        case("the data is no array", [tensor() | {"data": "Ada"}])
        case("an unknown tensor", [tensor(name="texts")])
        case("a tensor too many", [tensor(), tensor(name="question")])
        case("a tensor twice", [tensor(), tensor()])
        case("a field too many in a tensor", [tensor(dtype="BYTES")])
        case("too many texts", [
            tensor(shape=(int(cases.server.limits["texts"]) + 1, ), data=["x"] *
                   (int(cases.server.limits["texts"]) + 1))
        ])
        case("id is a number", [tensor()], id=1)
        case("an unknown field", [tensor()], model="x")
        case("an unknown output", [tensor()], outputs=[{"name": "nothing"}])
        case("outputs is a string", [tensor()], outputs="entities")
        case("parameters is an array", [tensor()], parameters=[])
        case("a shape with a row", [tensor(shape=(1, 1))], group="unusual")
        case("nested data", [tensor(data=(["Ada"], ))], group="unusual")
        case("no rows", [tensor(shape=(0, ), data=())], group="unusual")
        head = json.dumps(
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES",
                         "parameters": {"binary_data_size": 7}}]}).encode()
        path = f"/v2/models/{ner['name']}/infer"
        binary = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        cases.body("OIP: the binary extension, sizes lying", path, head + b"\xff\xff\xff\xffAda", "invalid", "bad_json",
                   "bad_request", "unsupported_media_type", headers=binary)
        cases.body("OIP: the binary extension, a header too long", path, head, "invalid", "bad_json", "bad_request",
                   "unsupported_media_type",
                   headers=binary | {"inference-header-content-length": "99999999999999999999"})
        cases.raw(
            "OIP: no content type (Triton's client sends none)",
            cases.server.request("POST", path,
                                 json.dumps({"inputs": [tensor()]
                                             }).encode()).replace(b"content-type: application/json\r\n", b""),
            group="unusual")
    if qa:
        path = f"/v2/models/{qa['name']}/infer"
        one, two = tensor("question", data=["Who?"]), tensor("context", data=["a", "b"], shape=[2])
        case("one tensor of two", [one], path=path)
        case("two shapes", [one, two], path=path)
        case("a tensor twice, another missing", [one, one], path=path)


def routes(cases: Cases, name: str, good: bytes):
    """Methods and paths."""
    def allows(*methods: str) -> Callable[[Answer], str | None]:
        def check(answer: Answer) -> str | None:
            allowed = {part.strip() for part in answer.headers.get("allow", "").split(",")}
            return None if allowed >= set(
                methods) else f"Allow is {answer.headers.get('allow')!r}, without {', '.join(methods)}"

        return check

    read = [
        "/health", "/info", "/metrics", "/openapi.json", "/docs", "/report", "/assets/app.js", "/assets/app.css",
        "/assets/icon.svg", "/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{name}",
        f"/v2/models/{name}/ready"
    ]
    write = [f"/tasks/{name}", "/analyze", f"/v2/models/{name}/infer", f"/v2/models/{name}/versions/1/infer"]
    for path in read:
        for method in ["POST", "DELETE"]:
            cases.raw(f"{method} {path}", cases.server.request(method, path, good if method == "POST" else None),
                      "method_not_allowed", also=allows("GET"))
    for path in write:
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]:
            cases.raw(f"{method} {path}",
                      cases.server.request(method, path, good if method in ("PUT", "PATCH") else None),
                      "method_not_allowed", also=allows("POST"))
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "BREW", "post", "PROPFIND"]:
        cases.raw(f"{method} /", cases.server.request(method, "/", good if method == "PUT" else None),
                  "method_not_allowed", also=allows("GET", "POST"))
    cases.head("OPTIONS *", "OPTIONS * HTTP/1.1", group="unusual", to="OPTIONS")
    cases.head("CONNECT", f"CONNECT {cases.server.host} HTTP/1.1", group="library", cut=True, alone=True)
    cases.raw("HEAD /health", cases.server.request("HEAD", "/health"), group="unusual", to="HEAD")

    post = {
        "an unknown task": "/tasks/nothing", "no task": "/tasks/", "tasks alone": "/tasks", "a task of another case":
            f"/tasks/{name.upper()}", "a task's part": f"/tasks/{name}/more", "a NUL in a path": f"/tasks/{name}%00",
        "a newline in a path": f"/tasks/{name}%0a", "a header in a path": "/tasks/x%0d%0aset-cookie:%20a=b%0d%0a",
        "a script in a path": "/tasks/%3Cscript%3Ealert(1)%3C/script%3E", "no UTF-8 in a path": "/tasks/%ff%fe",
        "a half escape": "/tasks/%", "a wrong escape": "/tasks/%zz", "overlong UTF-8 in a path": "/tasks/%c0%ae%c0%ae",
        "a slash twice": f"//tasks/{name}", "dots": f"/tasks/../tasks/{name}",
        "encoded dots": f"/tasks/%2e%2e/tasks/{name}", "a path of 8,000 bytes": "/tasks/" + "x" * 8000
    }
    for what, path in post.items():
        cases.raw(what, cases.server.request("POST", path, good), "not_found", "bad_request",
                  also=lambda answer: "a header of the path's came back" if "set-cookie" in answer.headers else None)
    for path in [
            "/assets/../../../../../../etc/passwd", "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
            "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd", "/assets/..%5c..%5cetc%5cpasswd",
            "/assets/%252e%252e%252fetc%252fpasswd", "/assets//etc/passwd", "/report/../../../../etc/passwd",
            "/assets/app.js%00.css", "/assets/nothing.js", "/assets/", "/nothing", "/.git/config", "/v2/models/nothing",
            "/v1/models"
    ]:
        cases.raw(f"GET {path}", cases.server.request("GET", path), "not_found", "bad_request", also=without("root:"),
                  to="GET")
    cases.raw("a slash at the end", cases.server.request("POST", f"/tasks/{name}/", good), group="unusual")
    cases.raw("an encoded slash", cases.server.request("POST", f"/tasks%2f{name}", good), group="unusual")
    cases.raw("an encoded letter", cases.server.request("POST", f"/tasks/%{ord(name[0]):02x}{name[1:]}", good),
              group="unusual")
    cases.raw("a query nobody asked for", cases.server.request("POST", f"/tasks/{name}?x=1&x=%ff", good),
              group="unusual")
    cases.raw("a query of 20,000 bytes", cases.server.request("POST", f"/tasks/{name}?" + "x" * 20_000, good),
              group="unusual")
    cases.raw("a path of 200,000 bytes", cases.server.request("POST", "/tasks/" + "x" * 200_000, good), group="library",
              alone=True)


def headers(cases: Cases, path: str, good: bytes):
    """Content types and encodings, Host and Origin, and what goes for a header."""
    server = cases.server

    def with_headers(name: str, lines: dict[str, str], *codes: str, body: bytes = good, group: str = "handler", **more):
        cases.body(name, path, body, *codes, headers=lines, group=group, **more)

    for kind in [
            "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
            "application/octet-stream", "application/jsonx", "application", "text/json; charset", "", ";", "*/*"
    ]:
        with_headers(f"content-type {kind!r}", {"content-type": kind}, "unsupported_media_type")
    plain = server.request("POST", path, good)
    cases.raw("no content type", plain.replace(b"content-type: application/json\r\n", b""), "unsupported_media_type")
    with_headers("charset latin-1", {"content-type": "application/json; charset=iso-8859-1"}, group="unusual")
    with_headers("charset utf-16", {"content-type": "application/json; charset=utf-16"}, group="unusual")
    with_headers("charset utf-8", {"content-type": 'application/json; charset="UTF-8"'}, group="unusual", also=served)
    with_headers("content-type in capitals", {"content-type": "APPLICATION/JSON"}, group="unusual", also=served)
    with_headers("a suffix +json", {"content-type": "application/vnd.api+json"}, group="unusual")
    two = plain.replace(b"content-type: application/json\r\n",
                        b"content-type: application/json\r\ncontent-type: text/plain\r\n")
    cases.raw("two content types", two, group="unusual")
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(
        [packer.compress(b'{"inputs": "'), *(packer.compress(bytes(1 << 20)) for _ in range(256)),
         packer.flush()])
    for name, encoding, body in [("gzip", "gzip", gzip.compress(good)), ("a gzip bomb of 256 MiB", "gzip", bomb),
                                 ("deflate", "deflate", good), ("br", "br", good), ("an unknown encoding", "x", good),
                                 ("gzip that is none", "gzip", good)]:
        with_headers(f"content-encoding: {name}", {"content-encoding": encoding}, "unsupported_media_type", "too_large",
                     body=body)
    with_headers("content-encoding: identity", {"content-encoding": "identity"}, group="unusual")

    for name, host in {
            "foreign": "evil.example", "foreign with the port": f"evil.example:{server.port}",
            "like ours": f"127.0.0.1.evil.example:{server.port}",
            "with a name in front": f"127.0.0.1:{server.port}@evil.example", "empty": "",
            "a port alone": f":{server.port}", "with a path": f"{server.host}/x",
            "two in one": f"{server.host}, evil.example", "a private address": "192.168.0.1", "a number": "2130706433",
            "of zeros": f"0.0.0.0:{server.port}"
    }.items():
        with_headers(f"Host: {name}", {"host": host}, "forbidden", "bad_request")
    cases.head("no Host", f"POST {path} HTTP/1.1", ["Content-Type: application/json", f"Content-Length: {len(good)}"],
               good, "bad_request", "forbidden")
    cases.head("two Hosts", f"POST {path} HTTP/1.1", [
        f"Host: {server.host}", "Host: evil.example", "Content-Type: application/json", f"Content-Length: {len(good)}"
    ], good, "bad_request", "forbidden")
    for name, origin in {
            "foreign": "http://evil.example", "null": "null", "https": f"https://evil.example:{server.port}",
            "another port": f"http://{server.address}:1", "like ours": f"{server.url}.evil.example", "empty": "",
            "no URL": "x"
    }.items():
        with_headers(f"Origin: {name}", {"origin": origin}, "forbidden", "bad_request")
    cases.raw(
        "a preflight of a foreign page",
        server.request("OPTIONS", path, None,
                       {"origin": "http://evil.example", "access-control-request-method": "POST"}), "forbidden",
        "method_not_allowed", also=lambda a: "it allows the foreign page"
        if "access-control-allow-origin" in a.headers else None)
    cases.raw("GET /info for a foreign Host", server.request("GET", "/info", None, {"host": "evil.example"}),
              "forbidden", to="GET")
    with_headers("our own Origin", {"origin": server.url}, group="unusual", also=served)
    rest = [f"Host: {server.host}", "Content-Type: application/json", f"Content-Length: {len(good)}"]
    cases.head("absolute form, ours", f"POST {server.url}{path} HTTP/1.1", rest, good, group="unusual", also=served)
    cases.head("absolute form, foreign", f"POST http://evil.example{path} HTTP/1.1", rest, good, "forbidden",
               "bad_request", "not_found")
    cases.head("absolute form, another scheme", f"POST ftp://{server.host}{path} HTTP/1.1", rest, good, group="unusual")
    for name, value in {"an unknown expectation": "200-ok", "100-continue": "100-continue"}.items():
        with_headers(f"Expect: {name}", {"expect": value}, group="unusual",
                     also=served if value == "100-continue" else lambda answer: None)
    with_headers("a key where none is asked for", {"authorization": "Bearer \t" + "x" * 100}, group="unusual")
    with_headers(
        "Upgrade: websocket",
        {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "eA==", "sec-websocket-version": "13"},
        group="unusual")
    with_headers("Upgrade: h2c",
                 {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"},
                 group="unusual")
    with_headers("Accept: XML", {"accept": "application/xml"}, group="unusual")
    with_headers("Range", {"range": "bytes=0-0"}, group="unusual")
    with_headers("If-None-Match", {"if-none-match": "*"}, group="unusual")

    for name, lines in {
            "a header of 1 MB": ["X: " + "x" * 1_000_000], "10,000 headers": [f"X-{i}: {i}" for i in range(10_000)],
            "a header without a colon": ["no colon here"], "a space before the colon": ["X : 1"],
            "a name in Unicode": ["X\u00e9: 1"], "an empty name": [": 1"], "a NUL in a header": ["X: a\0b"],
            "a bare CR in a header": ["X: a\rSet-Cookie: a=b"], "a folded header": ["X: a", "\tfolded"],
            "a space before the first header": [" X: 1"]
    }.items():
        first = lines if "before the first" in name else []
        cases.head(name, f"POST {path} HTTP/1.1", [*first, *rest, *lines], good, group="library", alone=True,
                   cut="1 MB" in name or "10,000" in name, also=lambda answer: "a header of the header's came back"
                   if "set-cookie" in answer.headers else None)


def framing(cases: Cases, path: str, good: bytes):
    """Request lines, lengths, chunks."""
    server = cases.server
    base = [f"Host: {server.host}", "Content-Type: application/json"]
    line = f"POST {path} HTTP/1.1"

    def library(name: str, first: str, lines: list[str], body: bytes = good, **more):
        cases.head(name, first, lines, body, group="library", alone=True, **more)

    length = f"Content-Length: {len(good)}"
    for name, first in {
            "no version": f"POST {path}", "a version that is none": f"POST {path} HTTP/1.x",
            "HTTP/3.0": f"POST {path} HTTP/3.0", "lower case": f"POST {path} http/1.1",
            "a space in the path": "POST /tasks /ner HTTP/1.1", "no path": "POST HTTP/1.1",
            "no slash": "POST tasks HTTP/1.1", "no method": f"{path} HTTP/1.1",
            "a method that is none": f"PO(ST {path} HTTP/1.1", "a NUL in the path": f"POST {path}\0 HTTP/1.1",
            "a tab for a space": f"POST\t{path} HTTP/1.1", "a byte that is no ASCII": f"POST {path}\udcff HTTP/1.1"
    }.items():
        library(f"request line: {name}", first, [*base, length], cut=name == "no version")
    cases.head("request line: a fragment", f"POST {path}#x HTTP/1.1", [*base, length], good, group="unusual")
    cases.raw("HTTP/0.9", b"GET /health\r\n", group="library", cut=True, half_close=True, alone=True)
    cases.raw("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), group="library", cut=True,
              half_close=True, alone=True)
    cases.raw("a TLS handshake",
              bytes.fromhex("16030100c8010000c40303") + bytes(190), group="library", cut=True, half_close=True,
              alone=True)
    cases.raw("noise", bytes(range(1, 256)) * 40, group="library", cut=True, half_close=True, alone=True)
    cases.raw("newlines alone", b"\r\n" * 2000, group="library", cut=True, half_close=True, alone=True)
    cases.raw("a connection without a byte", b"", group="library", cut=True, half_close=True, alone=True)
    cases.raw("half a head", f"{line}\r\nHost: {server.host}\r\n".encode(), group="library", cut=True, half_close=True,
              alone=True)
    cases.head("HTTP/1.0", f"POST {path} HTTP/1.0", [*base, length], good, group="unusual", also=served)
    cases.head("HTTP/1.0 without a Host", f"POST {path} HTTP/1.0", [base[1], length], good, group="unusual")

    for value in ["-1", "+5", "0x10", "abc", "1e3", "5, 6", "99999999999999999999999", " ", "1 2"]:
        library(f"content-length {value!r}", line, [*base, f"Content-Length: {value}"])
    library("two content lengths that differ", line, [*base, length, f"Content-Length: {len(good) + 1}"])
    cases.head("no content length, no body", line, base, b"", "bad_json")
    cases.head("content-length 0 and a body", line, [*base, "Content-Length: 0"], good, "bad_json", alone=True)
    cases.head("content-length shorter than the body", line, [*base, f"Content-Length: {len(good) - 4}"], good,
               "bad_json", alone=True)
    cases.head("content-length longer, then the end", line, [*base, f"Content-Length: {len(good) + 9}"], good,
               group="library", half_close=True, cut=True, alone=True)
    cases.head("content-length longer, then nothing", line, [*base, f"Content-Length: {len(good) + 9}"], good,
               "timeout", "bad_request", slow=True, group="library", cut=True, alone=True)
    cases.head("a content length of 10^15", line, [*base, f"Content-Length: {10**15}"], good, "too_large", alone=True)
    much = int(server.limits["body_bytes"]) + 1
    cases.raw("a body one byte too long", server.request("POST", path, good + b" " * (much - len(good))), "too_large",
              alone=True)

    chunked = [*base, "Transfer-Encoding: chunked"]
    whole = f"{len(good):x}\r\n".encode() + good + b"\r\n"
    for name, body in {
            "a chunk size that is none": b"zz\r\n" + good + b"\r\n0\r\n\r\n",
            "a negative chunk size": b"-5\r\n" + good + b"\r\n0\r\n\r\n",
            "a chunk size of 20 digits": b"F" * 20 + b"\r\n" + good,
            "a chunk longer than its size": b"4\r\n" + good + b"\r\n0\r\n\r\n",
            "no newline behind a chunk": f"{len(good):x}\r\n".encode() + good + b"0\r\n\r\n",
            "a space for a chunk size": b" \r\n\r\n"
    }.items():
        library(name, line, chunked, body)
    library("chunks without an end, then the end", line, chunked, whole, half_close=True, cut=True)
    cases.head("chunks without an end, then nothing", line, chunked, whole, group="library", slow=True, cut=True,
               alone=True)
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    cases.head("chunks beyond the limit", line, chunked,
               piece * (much // 0x10000 + 2) + b"0\r\n\r\n", "too_large", alone=True)
    extension = f"{len(good):x};{'x' * 100_000}\r\n".encode() + good + b"\r\n0\r\n\r\n"
    library("a chunk extension of 100,000 bytes", line, chunked, extension, cut=True)
    cases.head("chunks of one byte", line, chunked, b"".join(b"1\r\n%c\r\n" % byte for byte in good) + b"0\r\n\r\n",
               group="unusual", also=served)
    cases.head("chunks with an extension and a trailer", line, chunked,
               whole.replace(b"\r\n", b";a=b\r\n", 1) + b"0\r\nX: 1\r\n\r\n", group="unusual", also=served)
    cases.head("chunked and a content length", line, [*chunked, length], whole + b"0\r\n\r\n", group="unusual")
    cases.head("a content length and chunked", line, [*base, "Content-Length: 4", "Transfer-Encoding: chunked"],
               whole + b"0\r\n\r\n", group="unusual")
    library("a transfer encoding that is not chunked", line, [*base, "Transfer-Encoding: gzip"], good)
    library("chunked twice over something unknown", line, [*base, "Transfer-Encoding: x, chunked, identity"],
            whole + b"0\r\n\r\n")
    library("chunked in HTTP/1.0", f"POST {path} HTTP/1.0", chunked, whole + b"0\r\n\r\n", cut=True)
    cases.head("lines that end in LF alone", line, [f"Host: {server.host}"], b"", group="unusual", alone=True, cut=True)
    cases.all[-1].raw = cases.all[-1].raw.replace(b"\r\n", b"\n").replace(b"POST", b"GET",
                                                                          1).replace(path.encode(), b"/health")


def all_cases(server: Server) -> list[Case]:
    cases = Cases(server)
    ner, qa = server.task("token-classification"), server.task("question-answering")
    text, question = "Ada was born in London.", {"question": "Who?", "context": "Ada was born."}
    path = f"/tasks/{(ner or qa)['name']}"
    good = json.dumps({"inputs": text if ner else question}).encode()
    lying_json(cases, path, good)
    if ner:
        ner_fields(cases, path, ner)
    if qa:
        qa_fields(cases, f"/tasks/{qa['name']}", qa)
    both_forms(cases, ner, qa)
    inference_protocol(cases, ner, qa)
    routes(cases, (ner or qa)["name"], good)
    headers(cases, path, good)
    framing(cases, path, good)
    return cases.all
