"""What the scripts of this folder and of bench/serve share: an HTTP/1.1 connection, the server's own limits, texts to ask about, checks.

Only the standard library (Python 3.11 or later). Traffic goes to this machine alone: `Server` takes no other address.
Bytes are written as given, so that a script can send what no HTTP library would; answers are parsed strictly.

    Job       one good request: path and body, with what its answer must agree with
    Answer    status, headers (names in lower case), body
    Broken    the connection ended, or said something that is no HTTP, before a whole answer was there
"""

import asyncio
import ipaddress
import json
import math
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
JSON = {"content-type": "application/json"}


# HTTP


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool  # no further answer comes on this connection

    def json(self):
        return json.loads(self.body)


class Broken(Exception):
    def __init__(self, why: str, received: int):
        super().__init__(f"{why} after {received} bytes" if received else f"{why} without an answer")
        self.received = received


class Connection(asyncio.Protocol):
    """One connection. Answers come in the order of the requests; the caller writes to `transport` what it likes."""

    def __init__(self):
        self.buffer = bytearray()
        self.received = 0
        self.transport: asyncio.Transport | None = None
        self.ended: str | None = None
        self.answers = 0
        self._head: tuple[int, dict[str, str], bool] | None = None
        self._waiting: asyncio.Future | None = None

    @classmethod
    async def open(cls, server: "Server") -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, server.address, server.port)
        return connection

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.buffer += data
        self.received += len(data)
        self._wake()

    def eof_received(self):
        self.ended = self.ended or "closed"
        self._wake()
        return True  # what is still to be written may be written: half-closed is a state of its own

    def connection_lost(self, error):
        self.ended = self.ended or ("reset" if error else "closed")
        self._wake()

    def _wake(self):
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self):
        self.transport.close()

    @property
    def usable(self) -> bool:
        return self.ended is None and not self.transport.is_closing()

    async def answer(self, to: str = "POST") -> Answer:
        """The next answer; the method it is the answer `to` tells whether it has a body. Set a time limit around it."""
        while True:
            found = self._take(to)
            if found:
                self.answers += 1
                return found
            if self.ended:
                raise Broken(self.ended, len(self.buffer))
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    async def end(self) -> str:
        """Waits until the other side has ended the connection: "closed" or "reset"."""
        while not self.ended:
            self.buffer.clear()
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self.ended

    def _take(self, to: str) -> Answer | None:
        while self._head is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                if self.buffer[:5] != b"HTTP/"[: len(self.buffer)]:
                    raise Broken(f"no HTTP: {bytes(self.buffer[:40])!r}", len(self.buffer))
                return None
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            form = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: .*)?", first)
            if not form:
                raise Broken(f"no HTTP: {first[:60]!r}", len(self.buffer))
            headers: dict[str, str] = {}
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon or name != name.strip():
                    raise Broken(f"a malformed header {line[:60]!r}", len(self.buffer))
                name = name.lower()
                headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
            status = int(form[1])
            del self.buffer[: end + 4]
            if status >= 200 or status == 101:
                http10 = first.startswith("HTTP/1.0")
                said = headers.get("connection", "").lower()
                self._head = status, headers, "close" in said or (http10 and "keep-alive" not in said)
        status, headers, closes = self._head
        if to == "HEAD" or status in (101, 204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            taken = self._chunks()
            if taken is None:
                return None
            body, used = taken
            del self.buffer[:used]
        elif "content-length" in headers:
            length = int(headers["content-length"])
            if len(self.buffer) < length:
                return None
            body = bytes(self.buffer[:length])
            del self.buffer[:length]
        elif self.ended == "closed":
            body, closes = bytes(self.buffer), True
            self.buffer.clear()
        else:
            return None
        self._head = None
        return Answer(status, headers, body, closes)

    def _chunks(self) -> tuple[bytes, int] | None:
        body, at = bytearray(), 0
        while (line := self.buffer.find(b"\r\n", at)) >= 0:
            try:
                size = int(bytes(self.buffer[at:line]).split(b";")[0], 16)
            except ValueError:
                raise Broken("a bad chunk size", len(self.buffer)) from None
            at = line + 2
            if size == 0:
                end = self.buffer.find(b"\r\n", at)
                return None if end < 0 else (bytes(body), end + 2)
            if len(self.buffer) < at + size + 2:
                return None
            body += self.buffer[at : at + size]
            at += size + 2
        return None


class Raw(Connection):
    """The same over a bare socket: an answer that came before the other side hung up on our writing is still read."""

    @classmethod
    async def open(cls, server: "Server", receive_buffer: int | None = None) -> "Raw":
        self = cls()
        self.loop = asyncio.get_running_loop()
        self.socket = socket.socket(socket.AF_INET6 if ":" in server.address else socket.AF_INET)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await self.loop.sock_connect(self.socket, (server.address, server.port))
        except BaseException:
            self.socket.close()
            raise
        self.reader: asyncio.Task | None = None
        return self

    async def send(self, data: bytes) -> bool:
        """Whether all of it went out."""
        try:
            await self.loop.sock_sendall(self.socket, data)
        except OSError:
            return False
        return True

    async def receive(self, most: int) -> int:
        """Reads once; how many bytes came."""
        try:
            data = await self.loop.sock_recv(self.socket, most)
        except OSError:
            self.connection_lost(True)
            return 0
        if data:
            self.data_received(data)
        else:
            self.eof_received()
        return len(data)

    def read(self):
        """Reads on, in the background, until the end or `close`."""

        async def all_of_it():
            while not self.ended:
                await self.receive(1 << 16)

        self.reader = asyncio.create_task(all_of_it())

    async def hang_up(self, *tasks: asyncio.Task):
        """Closes; tasks that use the socket end before, or the event loop would watch a number that is another's."""
        tasks = [task for task in (self.reader, *tasks) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.socket.close()

    @property
    def usable(self) -> bool:
        return self.ended is None


class Server:
    """Where it listens, and what /info says of it."""

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            sys.exit(f"{url}: an address like http://127.0.0.1:8080 is needed")
        self.address = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        try:
            here = ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            here = False
        if not here:
            sys.exit(f"{parts.hostname}: these scripts send traffic to this machine alone (127.0.0.1, ::1, localhost)")
        self.port = parts.port or 80
        self.host = f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
        self.url = f"http://{self.host}"
        try:
            with urllib.request.urlopen(f"{self.url}/info", timeout=20) as answer:
                self.info = json.load(answer)
        except OSError as error:
            sys.exit(f"{self.url}/info: {error}")
        self.limits: dict[str, float] = self.info["limits"]
        missing = {
            "body_bytes",
            "texts",
            "characters",
            "tokens",
            "queue_tokens",
            "connections",
            "request_seconds",
        } - self.limits.keys()
        if missing:
            sys.exit(f"/info states no limit for {', '.join(sorted(missing))}")

    def task(self, pipeline: str) -> dict | None:
        """The first task of this pipeline: "token-classification", "question-answering" or "text-classification"."""
        kind = {"token-classification": "ner", "question-answering": "qa", "text-classification": "classify"}[pipeline]
        return next((t for t in self.info["tasks"] if t.get("pipeline") == pipeline or t["kind"] == kind), None)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        head = (
            {"host": self.host} | ({} if body is None else {"content-length": str(len(body))} | JSON) | (headers or {})
        )
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")

    async def ask(self, raw: bytes, seconds: float, to: str = "POST") -> Answer:
        """One request on a connection of its own."""
        connection = await Connection.open(self)
        try:
            async with asyncio.timeout(seconds):
                connection.transport.write(raw)
                return await connection.answer(to)
        finally:
            connection.close()


# Texts, and good requests


@dataclass
class Job:
    path: str
    body: bytes
    kind: str  # ner or qa
    text: str  # what offsets count in
    expected: list | None = field(default=None, compare=False)  # the spans it was once answered with

    def spans(self, answer: Answer) -> list:
        """[(start, end, text)] of an answer; ValueError where it is not the answer to this request."""
        found = answer.json()
        found = found if isinstance(found, list) else [found]
        word = "word" if self.kind == "ner" else "answer"
        spans = [(one["start"], one["end"], one[word]) for one in found]
        for start, end, said in spans:
            if self.text[start:end] != said:
                raise ValueError(f"{said!r} is not at {start}..{end} of {self.text[:60]!r}")
        return spans

    def wrong(self, answer: Answer) -> str | None:
        """What is wrong with a 200: another request's answer, say."""
        try:
            spans = self.spans(answer)
        except (ValueError, KeyError, TypeError) as error:
            return f"{type(error).__name__}: {error}"
        if self.expected is not None and spans != self.expected:
            return f"{spans} where it was {self.expected} before, for {self.text[:60]!r}"
        return None


def sentences(path: Path) -> list[str]:
    """Of a file in columns."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    found = (" ".join(line.split()[0] for line in block.splitlines() if line.strip()) for block in blocks)
    return [text for text in found if text and not text.startswith("-DOCSTART-")]


def questions(path: Path) -> list[tuple[str, str]]:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return [(q["question"], p["context"]) for a in articles for p in a["paragraphs"] for q in p["qas"]]


def corpus(data: Path | None) -> tuple[list[str], list[tuple[str, str]]]:
    """Sentences and (question, context): of DATA/conll2003 and DATA/squad, or of the samples in this repository."""
    if data is None:
        return sentences(ROOT / "samples/ner/validation.conll"), questions(ROOT / "samples/qa/validation.json")
    squad = [
        path for name in ["dev-v1.1", "validation-v1.1", "train-v1.1"] if (path := data / f"squad/{name}.json").exists()
    ]
    if not squad:
        sys.exit(f"{data}/squad: no dev-v1.1.json, validation-v1.1.json or train-v1.1.json")
    return sentences(data / "conll2003/valid.txt"), questions(squad[0])


def jobs(server: Server, data: Path | None, count: int, share_qa: float = 0.3, seed: int = 7) -> list[Job]:
    """Mixed requests, the same for the same arguments: short sentences, and questions with their contexts."""
    texts, asked = corpus(data)
    ner, qa = server.task("token-classification"), server.task("question-answering")
    if not ner and not qa:
        sys.exit("the server has neither a task for token classification nor one for question answering")
    share_qa = 0.0 if not qa else 1.0 if not ner else share_qa
    chance = random.Random(seed)
    longest = server.limits["characters"]
    asked = [pair for pair in asked if sum(map(len, pair)) <= longest]
    made = []
    for _ in range(count):
        if chance.random() < share_qa:
            question, context = chance.choice(asked)
            # Said, for it is where servers differ: the peer has no "no answer", and transformers' 15 tokens.
            parameters = {"max_answer_len": 15, "handle_impossible_answer": False, "max_seq_len": qa["max_tokens"]}
            body = {"inputs": {"question": question, "context": context}, "parameters": parameters}
            made.append(Job(f"/tasks/{qa['name']}", json.dumps(body).encode(), "qa", context))
        else:
            text = chance.choice(texts)
            body = {"inputs": text, "parameters": {"aggregation_strategy": "first"}}
            made.append(Job(f"/tasks/{ner['name']}", json.dumps(body).encode(), "ner", text))
    return made


def requests(server: Server, made: list[Job]) -> list[bytes]:
    return [server.request("POST", job.path, job.body) for job in made]


# Processes


class Started:
    """A server that this script started; it is ended with the `with` block, whatever happens in it."""

    def __init__(self, command: list, ready: str = r"listening on (http://\S+)", seconds: float = 120, **options):
        self.messages = tempfile.TemporaryFile("w+")
        self.lines = tempfile.NamedTemporaryFile("r+")
        self.began = time.perf_counter()
        output = open(self.lines.name, "w")  # a file, so that a server that says much never waits for a reader
        # A relative path without a slash would be looked up on PATH.
        command = [Path(command[0]).absolute() if Path(command[0]).is_file() else command[0], *command[1:]]
        self.process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=self.messages, **options)
        output.close()
        try:
            self.url = self._await(ready, seconds)
        except BaseException:
            self.end()
            raise
        self.seconds = time.perf_counter() - self.began
        self.pid = self.process.pid

    def _await(self, ready: str, seconds: float) -> str:
        while time.perf_counter() - self.began < seconds:
            found = re.search(ready, Path(self.lines.name).read_text())
            if found:
                return found[1]
            if self.process.poll() is not None:
                sys.exit(f"{self.said()}\nstatus {self.process.returncode}: {' '.join(map(str, self.process.args))}")
            time.sleep(0.05)
        sys.exit(f"{self.said()}\nnot listening after {seconds} s")

    def said(self) -> str:
        self.messages.seek(0)
        return self.messages.read()[-4000:]

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def memory(pid: int | None, line: str = "VmRSS") -> float:
    """MiB that are resident; `VmHWM` for the most since the start. NaN without a process or /proc."""
    try:
        found = re.search(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return math.nan
    return int(found[1]) / 1024 if found else math.nan


def many_files(wanted: int) -> int:
    """Lets this process open so many; how many connections that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted + 64 if hard == resource.RLIM_INFINITY else min(wanted + 64, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most) - 64


# Figures and checks


def percentile(values: list[float], share: float) -> float:
    """By nearest rank; NaN of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def milliseconds(seconds: float) -> str:
    return (
        "-" if math.isnan(seconds) else f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    )


def mib(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f} MiB"


def table(header: list[str], rows: list[list]) -> str:
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in [header, ["---"] * len(header), *rows])


def say(message: str) -> None:
    print(time.strftime("%H:%M:%S"), message, file=sys.stderr, flush=True)


class Checks:
    """What was asked and what failed. `end` prints the count and ends the script: 1 after a failure."""

    def __init__(self):
        self.passed = 0
        self.failures: list[str] = []

    def that(self, holds: bool, otherwise: str) -> bool:
        if holds:
            self.passed += 1
        else:
            self.failures.append(otherwise)
        return bool(holds)

    def end(self):
        for failure in self.failures[:50]:
            print(f"FAILED {failure}")
        if len(self.failures) > 50:
            print(f"... and {len(self.failures) - 50} more")
        print(f"{self.passed} passed, {len(self.failures)} failed")
        sys.exit(1 if self.failures or not self.passed else 0)
