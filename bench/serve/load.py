#!/usr/bin/env python3
"""Too many requests: those that are taken are answered soon and rightly, the others get a 429 at once, memory stays.

    polyhead serve MODEL                                              # in another terminal
    python3 bench/serve/load.py http://127.0.0.1:8080 [--pid PID] [--data DATA_DIR] [--seconds 60]

Needs the Python standard library alone. DATA_DIR holds conll2003/valid.txt and squad/*-v1.1.json; without it the samples
of this repository are asked about. Sentences and questions with contexts are mixed, seven to three.

First the capacity: answers a second with --clients clients that each wait for their answer. Then requests that are due
at 1, 2 and 10 times that rate, whatever has been answered (an open loop), for --seconds each. Latency counts from when a
request was due, so what a client would have waited is not hidden. Each runs on a connection of its own, kept alive; where
--connections of them are in use, a due request is not sent and counts as unsent. Checked, at each rate:

    every answer is 200 or 429, every 429 has a Retry-After of whole seconds; one 200 in ten is read whole and must be
    what the same request got before the load (up to ties: --differ of them may have another reading)
    p99 of the 200s is within the server's request_seconds; at 2 and 10 times there are refusals, and at least
    --goodput of the capacity is still answered; memory grows by at most --growth MiB over that at the capacity
"""

import argparse
import asyncio
import math
import sys
import time
from collections import Counter
from pathlib import Path

from loopback import (
    Broken,
    Checks,
    Connection,
    Job,
    Server,
    jobs,
    many_files,
    memory,
    mib,
    milliseconds,
    percentile,
    requests,
    say,
    table,
)


class Load:
    """What came of the requests of one rate."""

    def __init__(self):
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.late: list[float] = []  # seconds between due and sent: this script's own fault
        self.failures: Counter[str] = Counter()
        self.unsent = self.sent = self.read = self.differing = 0
        self.resident: list[float] = []
        self.seconds = 0.0

    @property
    def memory(self) -> float:
        return max(self.resident, default=math.nan)

    def count(self, job: Job, answer, seconds: float):
        if answer.status == 200:
            self.accepted.append(seconds)
            if len(self.accepted) % 10 == 0:
                self.read += 1
                self.look(job, answer)
        elif answer.status == 429:
            self.refused.append(seconds)
            after = answer.headers.get("retry-after", "")
            if not after.isdecimal() or b'"overloaded"' not in answer.body:
                self.failures[f"a 429 with Retry-After {after!r}: {answer.body[:80]!r}"] += 1
        else:
            self.failures[f"{answer.status} {answer.body[:80]!r}"] += 1

    def look(self, job: Job, answer):
        """An answer that does not fit its text is a fault; one that is another reading of it may be a tie."""
        try:
            self.differing += job.spans(answer) != job.expected
        except (ValueError, KeyError, TypeError) as error:
            self.failures[f"the answer to another request? {error}"] += 1


async def watch(load: Load, pid: int | None):
    while True:
        load.resident.append(memory(pid))
        await asyncio.sleep(0.25)


async def capacity(
    server: Server, work: list[Job], raw: list[bytes], clients: int, seconds: float, pid: int | None
) -> Load:
    """A closed loop: each client sends its next request when it has its answer. The first third is not counted, nor
    what is answered behind the end, when clients that have ended no longer keep the server busy."""
    load, counts = Load(), time.perf_counter() + seconds / 3
    ends = counts + seconds * 2 / 3

    async def client(at: int):
        connection = await Connection.open(server)
        while time.perf_counter() < ends:
            if not connection.usable:
                connection = await Connection.open(server)
            start = time.perf_counter()
            connection.transport.write(raw[at % len(raw)])
            try:
                async with asyncio.timeout(server.limits["request_seconds"] + 5):
                    answer = await connection.answer()
                now = time.perf_counter()
                if counts <= now <= ends or answer.status not in (200, 429):
                    load.count(work[at % len(work)], answer, now - start)
                if answer.status == 429:
                    await asyncio.sleep(0.1)  # what is refused must not be what keeps the server busy
            except (Broken, TimeoutError) as error:
                load.failures[f"{type(error).__name__} {error}"] += 1
                connection.close()
            at += clients
        connection.close()

    watching = asyncio.create_task(watch(load, pid))
    await asyncio.gather(*(client(at) for at in range(clients)))
    watching.cancel()
    load.seconds = ends - counts
    return load


async def open_loop(
    server: Server, work: list[Job], raw: list[bytes], rate: float, seconds: float, most: int, pid: int | None
) -> Load:
    load, idle, busy = Load(), [], set()
    loop, limit = asyncio.get_running_loop(), server.limits["request_seconds"] + 5

    async def one(at: int, due: float):
        connection = None
        try:
            while idle and not connection:
                connection = idle.pop()
                connection = connection if connection.usable else None
            async with asyncio.timeout(limit):
                fresh = connection is None
                connection = connection or await Connection.open(server)
                load.late.append(loop.time() - due)
                connection.transport.write(raw[at])
                try:
                    answer = await connection.answer()
                except Broken as broken:
                    if fresh or broken.received:
                        raise
                    # An idle connection that the server closed as we wrote: every client tries such a request again.
                    connection = await Connection.open(server)
                    connection.transport.write(raw[at])
                    answer = await connection.answer()
            load.count(work[at], answer, loop.time() - due)
            if not answer.closes and connection.usable:
                idle.append(connection)
                connection = None
        except (OSError, Broken, TimeoutError) as error:
            load.failures[f"{type(error).__name__} {error}"] += 1
        finally:
            if connection:
                connection.close()

    watching = asyncio.create_task(watch(load, pid))
    start = loop.time()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        elif number % 64 == 0:
            await asyncio.sleep(0)  # behind: answers must be read all the same
        if len(busy) >= most:
            load.unsent += 1
            continue
        task = asyncio.create_task(one(number % len(raw), due))
        load.sent += 1
        busy.add(task)
        task.add_done_callback(busy.discard)
    await asyncio.gather(*list(busy))
    load.seconds = loop.time() - start
    watching.cancel()
    for connection in idle:
        connection.close()
    return load


async def main(args) -> Checks:
    server, checks = Server(args.url), Checks()
    most = min(args.connections, int(server.limits["connections"]) - 8, many_files(args.connections))
    work = jobs(server, args.data, args.requests)
    raw = requests(server, work)
    say(f"asking {len(work)} requests once, one after the other")
    connection = await Connection.open(server)
    for job, sent in zip(work, raw):
        if not connection.usable:
            connection = await Connection.open(server)
        connection.transport.write(sent)
        answer = await asyncio.wait_for(connection.answer(), server.limits["request_seconds"] + 5)
        if answer.status != 200:
            sys.exit(f"{job.path}: {answer.status} {answer.body[:200]!r}")
        job.expected = job.spans(answer)
    connection.close()

    say(f"measuring the capacity with {args.clients} clients")
    found = await capacity(server, work, raw, args.clients, args.capacity_seconds, args.pid)
    rate = len(found.accepted) / found.seconds
    checks.that(not found.failures, f"at the capacity: {dict(found.failures.most_common(3))}")
    if not checks.that(rate > 0, "no capacity"):
        return checks
    print(
        f"capacity: {rate:,.0f} answers/s with {args.clients} clients, p50 {milliseconds(percentile(found.accepted, 0.5))}, "
        f"p99 {milliseconds(percentile(found.accepted, 0.99))}, {mib(found.memory)}\n"
    )
    rows, behind = [], 0.0
    for times in args.times:
        say(f"{times:g} times: {rate * times:,.0f} requests/s for {args.seconds:g} s")
        load = await open_loop(server, work, raw, rate * times, args.seconds, most, args.pid)
        p99, total = percentile(load.accepted, 0.99), load.sent + load.unsent
        good = len(load.accepted) / load.seconds / rate
        rows.append(
            [
                f"{times:g}",
                f"{rate * times:,.0f}/s",
                f"{len(load.accepted) / load.seconds:,.0f}/s ({good:.0%})",
                milliseconds(percentile(load.accepted, 0.5)),
                milliseconds(p99),
                f"{len(load.refused) / total:.1%}",
                milliseconds(percentile(load.refused, 0.99)),
                load.unsent,
                sum(load.failures.values()),
                mib(load.memory),
                milliseconds(percentile(load.late, 0.99)),
            ]
        )
        behind = max(behind, percentile(load.late, 0.99))
        at = f"at {times:g} times the capacity"
        checks.that(not load.failures, f"{at}: {dict(load.failures.most_common(3))}")
        checks.that(load.accepted, f"{at}: nothing was accepted")
        checks.that(
            not p99 > server.limits["request_seconds"],
            f"{at}: p99 {milliseconds(p99)} is beyond the server's own limit",
        )
        checks.that(
            load.differing <= args.differ * load.read,
            f"{at}: {load.differing} of {load.read} answers are not those of before",
        )
        checks.that(
            not load.memory > found.memory + args.growth,
            f"{at}: {mib(load.memory)}, after {mib(found.memory)} at the capacity",
        )
        if times >= 2:
            # Where the server takes no more connections than its queue holds requests, that is what refuses.
            full = load.unsent and most >= int(server.limits["connections"]) - 8
            checks.that(
                load.refused or full, f"{at}: nothing was refused; {most} connections, {load.unsent} requests unsent"
            )
            checks.that(good >= args.goodput, f"{at}: {good:.0%} of the capacity is answered")
        await asyncio.sleep(min(2.0, args.seconds))
    print(
        table(
            [
                "times",
                "due",
                "answered",
                "p50",
                "p99",
                "429",
                "p99 of 429",
                "unsent",
                "failed",
                "memory",
                "sent late, p99",
            ],
            rows,
        )
    )
    print(
        f'\nAt most {most} connections; latency from the due time. "Sent late" is this script falling behind; it shares the cores.'
    )
    if behind > 0.1:
        print(
            f"This script was {milliseconds(behind)} late at its worst rate: the machine was too busy, and the latencies are partly its own."
        )
    after = await server.ask(server.request("GET", "/health"), 10, "GET")
    checks.that(after.status == 200, f"/health after it: {after.status}")
    if args.pid:
        checks.that(not math.isnan(memory(args.pid)), "the server's process is gone")
    return checks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=float, nargs="+", default=[1, 2, 10])
    parser.add_argument("--clients", type=int, default=64, help="for the capacity")
    parser.add_argument("--capacity-seconds", type=float, default=20)
    parser.add_argument(
        "--connections", type=int, default=4096, help="the most that are open; the server's limit holds, too"
    )
    parser.add_argument("--requests", type=int, default=300, help="different ones")
    parser.add_argument("--growth", type=float, default=256, metavar="MIB")
    parser.add_argument("--goodput", type=float, default=0.5, metavar="SHARE")
    parser.add_argument("--differ", type=float, default=0.01, metavar="SHARE")
    asyncio.run(main(parser.parse_args())).end()
