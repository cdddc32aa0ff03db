#!/usr/bin/env python3
"""polyhead serve beside FastAPI with transformers (bench/peers/serve_fastapi.py): the same weights, requests and clients, in turn.

    python3 bench/serve/compare.py target/release/polyhead MODEL --python VENV/bin/python [--data DATA_DIR] [--rounds 3]

This script needs the standard library alone; VENV has torch, transformers, fastapi, uvicorn, httptools and uvloop.
DATA_DIR holds conll2003/valid.txt and squad/*-v1.1.json; without it the samples of this repository are asked about.

MODEL is exported task by task for the peer. In each round both servers are started, one after the other (never both at
once, and who is first changes), asked --warm-up requests one by one, and then by 1, 8 and 64 clients for --seconds each;
a client sends its next request when it has its answer (a closed loop). Requests are mixed, sentences and questions with
contexts, seven to three, the same for both. The clients share the machine with the server, and take the same from both.

Exit status 1 if any request fails, or if fewer than --agreement of the warm-up's answers are the same spans: then the
two did not do the same work.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path += [str(ROOT / "bench"), str(ROOT / "checks/serve")]
from harness import CORES, Busy, machine, machine_lines, spread
from loopback import (
    Broken,
    Checks,
    Connection,
    Job,
    Server,
    Started,
    jobs,
    memory,
    mib,
    milliseconds,
    percentile,
    requests,
    say,
    table,
)

PEER = ROOT / "bench/peers/serve_fastapi.py"


@dataclass
class Side:
    """A server, and what it did in all rounds; figures by the number of clients, one for each round."""

    name: str
    command: list
    answers: list = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)
    p50: dict[int, list[float]] = field(default_factory=dict)
    p99: dict[int, list[float]] = field(default_factory=dict)
    ready: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)


async def closed(
    server: Server, work: list[Job], raw: list[bytes], clients: int, seconds: float, failures: Counter
) -> tuple[float, list[float]]:
    """Answers a second, and what each took."""
    taken: list[float] = []
    began = time.perf_counter()
    ends = began + seconds

    async def client(at: int):
        connection = await Connection.open(server)
        while time.perf_counter() < ends:
            if not connection.usable:
                connection = await Connection.open(server)
            job, start = work[at % len(work)], time.perf_counter()
            connection.transport.write(raw[at % len(raw)])
            try:
                async with asyncio.timeout(60):
                    answer = await connection.answer()
            except (Broken, TimeoutError) as error:
                failures[f"{type(error).__name__} {error}"] += 1
                connection.close()
                continue
            finish = time.perf_counter()
            if answer.status != 200:
                failures[f"{answer.status} {answer.body[:80]!r}"] += 1
            elif finish <= ends:
                # What is answered behind the end would count for a rate over less time than it took.
                taken.append(finish - start)
                if len(taken) % 20 == 0 and (wrong := job.wrong(answer)):
                    failures[wrong] += 1
            if answer.closes:
                connection.close()
            at += 1
        connection.close()

    # Each client begins elsewhere in the list, so that the mix is the same at any time.
    await asyncio.gather(*(client(number * len(work) // clients) for number in range(clients)))
    return len(taken) / seconds, taken


async def measure(side: Side, args, checks: Checks):
    with Started(side.command) as started:
        side.ready.append(started.seconds)
        server = Server(started.url)
        work = jobs(server, args.data, args.requests)
        raw = requests(server, work)
        answers = []
        for job, sent in zip(work[: args.warm_up], raw):
            answer = await server.ask(sent, 120)
            if answer.status != 200:
                sys.exit(f"{side.name}: {answer.status} {answer.body[:300]!r}")
            answers.append(sorted({(start, end) for start, end, _ in job.spans(answer)}))
        side.answers = side.answers or answers
        for clients in args.clients:
            failures: Counter[str] = Counter()
            rate, taken = await closed(server, work, raw, clients, args.seconds, failures)
            checks.that(not failures, f"{side.name}, {clients} clients: {dict(failures.most_common(3))}")
            checks.that(taken, f"{side.name}, {clients} clients: no answer")
            for figures, value in [
                (side.rates, rate),
                (side.p50, percentile(taken, 0.5)),
                (side.p99, percentile(taken, 0.99)),
            ]:
                figures.setdefault(clients, []).append(value)
            say(f"{side.name}, {clients} clients: {rate:,.1f}/s")
        side.most.append(memory(started.pid, "VmHWM"))


def export(args, scratch: Path) -> list[Path]:
    """The tasks as single-task models of transformers, by name; the server tells which there are."""
    with Started([args.binary, "serve", args.model, "--port", "0"]) as started:
        names = [task["name"] for task in Server(started.url).info["tasks"] if task["kind"] in ("ner", "qa")]
    for name in names:
        command = [Path(args.binary).absolute(), "export", args.model, "--task", name, "--to", scratch / name]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return [scratch / name for name in names]


def report(sides: list[Side], args) -> str:
    ours, theirs = sides
    rows = []
    for clients in args.clients:
        ratios = [a / b for a, b in zip(ours.rates[clients], theirs.rates[clients])]
        waits = [b / a for a, b in zip(ours.p99[clients], theirs.p99[clients])]
        rows.append(
            [
                clients,
                spread(ratios, ".2f"),
                spread(waits, ".2f"),
                *(
                    cell
                    for side in sides
                    for cell in [
                        spread(side.rates[clients], ",.1f"),
                        milliseconds(statistics.median(side.p50[clients])),
                        milliseconds(statistics.median(side.p99[clients])),
                    ]
                ),
            ]
        )
    header = [
        "clients",
        "throughput: times the peer's",
        "p99: the peer is slower by",
        *(f"{side.name}: {what}" for side in sides for what in ["answers/s", "p50", "p99"]),
    ]
    more = [[side.name, f"{statistics.median(side.ready):.1f} s", mib(max(side.most))] for side in sides]
    return f"{table(header, rows)}\n\n{table(['server', 'start until it listens', 'most memory'], more)}"


async def main(args) -> Checks:
    checks, busy = Checks(), Busy()
    with tempfile.TemporaryDirectory() as scratch:
        models = args.exports or export(args, Path(scratch))
        sides = [
            Side("polyhead", [args.binary, "serve", args.model, "--port", "0", *args.arguments]),
            Side(
                f"FastAPI {args.dtype}", [args.python, PEER, *models, "--dtype", args.dtype, "--threads", args.threads]
            ),
        ]
        for number in range(args.rounds):
            for side in sides if number % 2 == 0 else sides[::-1]:
                await measure(side, args, checks)
    same = sum(a == b for a, b in zip(sides[0].answers, sides[1].answers))
    asked = len(sides[0].answers)
    print(report(sides, args))
    print(
        f"\nMedians of {args.rounds} rounds of {args.seconds:g} s (least to greatest). The same spans: {same} of {asked} answers.\n"
    )
    print(machine_lines(machine(args.threads)), f"- others meanwhile took {busy.others()}", sep="\n")
    checks.that(asked and same / asked >= args.agreement, f"{same} of {asked} answers agree")
    return checks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--python", default=sys.executable, help="the Python of the peer")
    parser.add_argument("--data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--requests", type=int, default=500, help="different ones")
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--threads", type=int, default=CORES, help="of the peer")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the peer")
    parser.add_argument("--agreement", type=float, default=0.9, metavar="SHARE")
    parser.add_argument(
        "--exports", type=Path, nargs="+", metavar="DIR", help="what `polyhead export` wrote, if it is there already"
    )
    parser.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="more arguments of `polyhead serve`")
    asyncio.run(main(parser.parse_args())).end()
