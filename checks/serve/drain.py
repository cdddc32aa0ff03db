#!/usr/bin/env python3
"""Stopping and reloading under load: no request that was taken is lost.

    python3 checks/serve/drain.py target/release/polyhead MODEL [--other MODEL2] [--clients 32]

Needs the Python standard library alone; starts the server itself, on a free port of 127.0.0.1, twice:

    SIGTERM    under load. Every request sent at least --grace seconds before the signal is answered in full (200, or
               429); one sent later is answered, refused (503) or finds the door closed, but never gets half an answer.
               The process ends with 0 within the deadline (--deadline, or drain_seconds of /info, or request_seconds)
    SIGHUP     under load, three times: every request is answered with 200 (429), on the connections that were open; the
               process is the same. With --other, the model is served through a symlink that points to MODEL2 before
               the second signal and to a folder that is no model before the third: answers must become those of
               MODEL2, and stay so. Then SIGTERM, and the end must be as above.
"""

import argparse
import asyncio
import json
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loopback import (
    Broken,
    Checks,
    Connection,
    Job,
    Server,
    Started,
    jobs,
    milliseconds,
    percentile,
    requests,
    say,
    table,
)


@dataclass
class Sent:
    """A request: when it was sent, when its answer was whole, and what came: a status, "closed", "half", "wrong"."""

    at: float
    done: float = float("nan")
    came: str = ""


class Load:
    """Clients that each send their next request when they have an answer, until `stop` or the door is closed."""

    def __init__(self, server: Server, work: list[Job]):
        self.server, self.work, self.raw = server, work, requests(server, work)
        self.all: list[Sent] = []
        self.refused_connections = 0
        self.stop = False

    async def client(self, at: int):
        connection: Connection | None = None
        while not self.stop:
            if connection is None or not connection.usable:
                try:
                    connection = await Connection.open(self.server)
                except OSError:
                    self.refused_connections += 1
                    await asyncio.sleep(0.1)
                    continue
            job = self.work[at % len(self.work)]
            one = Sent(time.perf_counter())
            self.all.append(one)
            connection.transport.write(self.raw[at % len(self.raw)])
            try:
                async with asyncio.timeout(self.server.limits["request_seconds"] + 5):
                    answer = await connection.answer()
                one.came = str(answer.status)
                if answer.status == 200 and job.wrong(answer):
                    one.came = f"wrong: {job.wrong(answer)}"
                if answer.closes:
                    connection.close()
                    connection = None
                if answer.status in (429, 503):
                    await asyncio.sleep(0.1)
            except Broken as broken:
                one.came = f"half: {broken}" if broken.received else "closed"
                connection = None
            except TimeoutError:
                one.came = "nothing"
                connection.close()
                connection = None
            one.done = time.perf_counter()
            at += 1
        if connection:
            connection.close()

    def start(self, clients: int):
        self.tasks = [asyncio.create_task(self.client(at * 31)) for at in range(clients)]

    async def end(self):
        self.stop = True
        await asyncio.gather(*self.tasks)


async def terminate(started: Started, load: Load, args, checks: Checks, what: str) -> list:
    """The signal, the end of the process, and what became of the requests before and behind it."""
    server = load.server
    deadline = args.deadline or server.limits.get("drain_seconds") or server.limits["request_seconds"]
    signalled = time.perf_counter()
    flying = sum(1 for one in load.all if not one.came and one.at < signalled - args.grace)
    started.process.send_signal(signal.SIGTERM)
    while started.process.poll() is None and time.perf_counter() - signalled < deadline + 5:
        await asyncio.sleep(0.02)
    took = time.perf_counter() - signalled
    code = started.process.poll()
    await load.end()
    checks.that(flying > 0, f"{what}: nothing was being answered when the signal came, so nothing was shown")
    checks.that(code is not None and took <= deadline, f"{what}: still running after {deadline:g} s")
    checks.that(code == 0, f"{what}: exit status {code}\n{started.said()[-1500:]}")
    before = [one for one in load.all if one.at < signalled - args.grace]
    behind = [one for one in load.all if one.at >= signalled - args.grace]
    lost = Counter(one.came for one in before if one.came not in ("200", "429"))
    checks.that(not lost, f"{what}: taken before the signal, and not answered: {dict(lost)}")
    odd = Counter(one.came for one in behind if one.came not in ("200", "429", "503", "closed"))
    checks.that(not odd, f"{what}: sent as it was stopping: {dict(odd)}")
    came = Counter(one.came for one in behind)
    return [
        what,
        len(before),
        flying,
        ", ".join(f"{k}: {n}" for k, n in came.most_common()) or "none",
        load.refused_connections,
        f"{took:.2f} s",
        code,
    ]


def command(args, model: Path) -> list:
    return [args.binary, "serve", model, "--port", "0", *args.arguments]


async def stopping(args, checks: Checks) -> list:
    with Started(command(args, args.model)) as started:
        server = Server(started.url)
        load = Load(server, jobs(server, args.data, 200, share_qa=0.6))
        load.start(args.clients)
        await asyncio.sleep(args.seconds)
        return await terminate(started, load, args, checks, "SIGTERM")


async def probe(server: Server, raw: bytes) -> str:
    return json.dumps((await server.ask(raw, server.limits["request_seconds"])).json())


async def reloading(args, checks: Checks, scratch: Path) -> tuple[list, list]:
    link = scratch / "model"

    def point(to: Path):
        new = scratch / "new"
        new.symlink_to(to.resolve())
        new.rename(link)

    point(args.model)
    broken = scratch / "broken"
    broken.mkdir()
    with Started(command(args, link if args.other else args.model)) as started:
        server = Server(started.url)
        work = jobs(server, args.data, 200)
        load, sample = Load(server, work), requests(server, work)[0]
        first = await probe(server, sample)
        load.start(args.clients)
        await asyncio.sleep(args.seconds)
        connections_before = load.refused_connections
        began = time.perf_counter()
        for number in range(3):
            if args.other and number:
                point(args.other if number == 1 else broken)
            started.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(args.seconds)
            if args.other and number:
                until = time.perf_counter() + args.reload
                while (now := await probe(server, sample)) == first and time.perf_counter() < until:
                    await asyncio.sleep(0.2)
                checks.that(now != first, f"SIGHUP {number + 1}: the answers are not those of the other model")
            checks.that(
                started.process.poll() is None,
                f"SIGHUP {number + 1}: the process ended: {started.process.returncode}\n{started.said()[-1500:]}",
            )
        seconds = time.perf_counter() - began
        during = [one for one in load.all if one.done >= began]
        lost = Counter(one.came for one in load.all if one.came and one.came not in ("200", "429"))
        checks.that(not lost, f"SIGHUP: requests not answered: {dict(lost)}")
        checks.that(load.refused_connections == connections_before, "SIGHUP: connections were refused")
        checks.that(len(during) > args.clients, "SIGHUP: hardly a request was under way")
        waits = [one.done - one.at for one in during]
        row = [
            "SIGHUP, three times",
            len(during),
            sum(lost.values()),
            milliseconds(percentile(waits, 0.5)),
            milliseconds(percentile(waits, 0.99)),
            milliseconds(max(waits, default=float("nan"))),
            f"{seconds:.1f} s",
        ]
        if started.process.poll() is not None:
            await load.end()
            return row, ["SIGTERM behind them", *["-"] * 6]
        return row, await terminate(started, load, args, checks, "SIGTERM behind them")


async def main(args) -> Checks:
    checks = Checks()
    say("SIGTERM")
    rows = [await stopping(args, checks)]
    say("SIGHUP")
    with tempfile.TemporaryDirectory() as scratch:
        hang_up, behind = await reloading(args, checks, Path(scratch))
    rows.append(behind)
    print(
        table(
            ["stopping", "sent before", "under way", "sent behind it", "connections refused", "ended after", "status"],
            rows,
        )
    )
    print()
    print(table(["reloading", "requests", "lost", "p50", "p99", "longest", "over"], [hang_up]))
    if not args.other:
        print("\nno --other: that a reload reads the model again was not looked at")
    return checks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--other", type=Path, metavar="MODEL2", help="a model with the same tasks and other answers or scores"
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3, help="of load before a signal")
    parser.add_argument(
        "--grace",
        type=float,
        default=0.1,
        help="seconds before the signal, in which the server may not have read what was sent",
    )
    parser.add_argument("--deadline", type=float, metavar="SECONDS")
    parser.add_argument("--reload", type=float, default=20, metavar="SECONDS", help="within which a reload must show")
    parser.add_argument("--data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="more arguments of `polyhead serve`")
    asyncio.run(main(parser.parse_args())).end()
