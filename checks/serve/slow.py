#!/usr/bin/env python3
"""500 slow clients must not slow the others: they are served as before, and each slow one is cut in time.

    polyhead serve MODEL                                              # in another terminal
    python3 checks/serve/slow.py http://127.0.0.1:8080 [--pid PID] [--clients 500]

Needs the Python standard library alone. A quarter of the slow clients each:

    head      a good request line, then a header, a byte a second
    body      a good head, then the body, a byte a second
    reader    asks for the server's largest page until that is 16 MiB, in one go, and reads 1 KiB of it a second
    idle      one good request, then nothing on the connection, which is kept alive

Before and while they are there, --normal clients ask good requests, every other on a new connection. Checked:

    every good request is answered rightly; p99 beside the slow clients is at most --bound seconds, and p50 at most --times
    that of the normal clients alone (and 20 ms, where that is next to nothing)
    a head, a body and a reader are cut (408, or the connection closed) within the server's header_seconds, body_seconds
    and write_seconds (request_seconds where /info has no such limit) and --margin; an idle connection within its
    idle_seconds, or header_seconds where /info has no such limit: the wait for a next request is one for its head
    with --pid: the server ends up with the file descriptors it began with, and its memory grows by at most --growth MiB
"""

import argparse
import asyncio
import os
import time
from collections import Counter, defaultdict
from pathlib import Path

from loopback import (
    Broken,
    Checks,
    Connection,
    Job,
    Raw,
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

PAGES = ["/openapi.json", "/report", "/docs", "/", "/assets/app.js", "/assets/app.css", "/metrics", "/info"]


def descriptors(pid: int | None) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return -1


class Slow:
    """What became of one slow client: how it ended, and after how many seconds."""

    def __init__(self, kind: str):
        self.kind = kind
        self.end = "not cut"
        self.seconds = float("nan")


async def trickle(slow: Slow, server: Server, first: bytes, rest: bytes, patience: float):
    """Sends the first part, then the rest by the byte, until the server has had enough."""
    connection = await Raw.open(server)
    connection.read()
    began = time.perf_counter()

    async def send():
        await connection.send(first)
        for byte in rest:
            await asyncio.sleep(1)
            if not await connection.send(bytes([byte])):
                return

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(patience):
            try:
                answer = await connection.answer()
                slow.end = str(answer.status)
                slow.seconds = time.perf_counter() - began
                await connection.end()
            except Broken as broken:
                slow.end = "cut" if not broken.received else str(broken)
            slow.seconds = time.perf_counter() - began
    except TimeoutError:
        slow.end = f"{slow.end}, not closed" if slow.end.isdecimal() else "not cut"
    finally:
        await connection.hang_up(sending)


async def reader(slow: Slow, server: Server, raw: bytes, whole: int, seconds: float):
    """Reads slowly for as long, then whatever the server still sends: all of it unless the server had cut it off."""
    connection = await Raw.open(server, receive_buffer=4096)
    sending = asyncio.create_task(connection.send(raw))
    began = time.perf_counter()
    read = 0
    try:
        while time.perf_counter() - began < seconds and not connection.ended:
            read += await connection.receive(1024)
            connection.buffer.clear()
            await asyncio.sleep(1)
        slow.seconds = time.perf_counter() - began
        try:
            async with asyncio.timeout(30):
                while not connection.ended and read < whole:
                    read += await connection.receive(1 << 16)
                    connection.buffer.clear()
        except TimeoutError:
            pass
        slow.end = "not cut" if read >= whole or not connection.ended else "cut"
    finally:
        await connection.hang_up(sending)


async def idle(slow: Slow, server: Server, patience: float):
    connection = await Raw.open(server)
    connection.read()
    try:
        await connection.send(server.request("GET", "/health"))
        async with asyncio.timeout(patience):
            await connection.answer("GET")
            began = time.perf_counter()
            await connection.end()
            slow.end, slow.seconds = "cut", time.perf_counter() - began
    except TimeoutError:
        pass
    except Broken as broken:
        slow.end = str(broken)
    finally:
        await connection.hang_up()


class Normal:
    """Clients that do nothing unusual, and the seconds their answers took."""

    def __init__(self, server: Server, work: list[Job]):
        self.server, self.work, self.raw = server, work, requests(server, work)
        self.taken: list[float] = []
        self.failures: Counter[str] = Counter()
        self.stop = False

    async def client(self, at: int):
        connection = None
        while not self.stop:
            job, raw = self.work[at % len(self.work)], self.raw[at % len(self.work)]
            start = time.perf_counter()
            try:
                async with asyncio.timeout(self.server.limits["request_seconds"]):
                    if connection is None:
                        connection, kept = await Connection.open(self.server), True
                    else:
                        kept = False
                    connection.transport.write(raw)
                    answer = await connection.answer()
                self.taken.append(time.perf_counter() - start)
                wrong = job.wrong(answer) if answer.status == 200 else f"{answer.status} {answer.body[:80]!r}"
                if wrong:
                    self.failures[wrong] += 1
                if not kept or answer.closes:
                    connection.close()
                    connection = None
            except (OSError, Broken, TimeoutError) as error:
                self.failures[f"{type(error).__name__} {error}"] += 1
                if connection:
                    connection.close()
                connection = None
            at += 1
            await asyncio.sleep(0.05)
        if connection:
            connection.close()

    async def run(self, clients: int, until: asyncio.Task | asyncio.Future) -> tuple[list[float], Counter[str]]:
        self.taken, self.failures, self.stop = [], Counter(), False
        tasks = [asyncio.create_task(self.client(at * 97)) for at in range(clients)]
        await until
        self.stop = True
        await asyncio.gather(*tasks)
        return self.taken, self.failures


async def main(args) -> Checks:
    server, checks = Server(args.url), Checks()
    names = {"head": "header_seconds", "body": "body_seconds", "reader": "write_seconds"}
    names["idle"] = "idle_seconds" if "idle_seconds" in server.limits else "header_seconds"
    limits = {kind: server.limits.get(name, server.limits["request_seconds"]) for kind, name in names.items()}
    patience = {kind: limit + args.margin for kind, limit in limits.items()}
    count = min(args.clients, int(server.limits["connections"]) - 2 * args.normal - 8, many_files(args.clients + 64))
    if count < args.clients:
        print(
            f"the server takes {server.limits['connections']} connections: {count} slow clients instead of {args.clients}\n"
        )
    normal = Normal(server, jobs(server, args.data, 200))
    before_files, before_memory = descriptors(args.pid), memory(args.pid)
    say("the normal clients alone")
    alone, failures = await normal.run(args.normal, asyncio.create_task(asyncio.sleep(args.alone)))
    checks.that(not failures, f"before the slow clients: {dict(failures.most_common(3))}")

    sizes = {}
    for path in PAGES:
        answer = await server.ask(server.request("GET", path), 20, "GET")
        if answer.status == 200:
            sizes[path] = len(answer.body)
    page = max(sizes, key=sizes.get)
    # The kernel holds up to some MiB of what the server wrote; only beyond that does the server meet the slow reader.
    times = -(-(16 << 20) // sizes[page])
    asked, whole = server.request("GET", page) * times, sizes[page] * times

    good = normal.work[0]
    head = server.request("POST", good.path, good.body).split(b"\r\n\r\n")[0]
    slow: list[Slow] = []
    tasks = []
    for number in range(count):
        one = Slow(["head", "body", "reader", "idle"][number % 4])
        slow.append(one)
        tasks.append(
            {
                "head": lambda: trickle(
                    one, server, head[: head.index(b"\r\n") + 2], b"x-slow: " + b"x" * 100_000, patience["head"]
                ),
                "body": lambda: trickle(
                    one,
                    server,
                    server.request("POST", good.path, b" " * 100_000)[:-100_000],
                    b" " * 100_000,
                    patience["body"],
                ),
                "reader": lambda: reader(one, server, asked, whole, patience["reader"]),
                "idle": lambda: idle(one, server, patience["idle"]),
            }[one.kind]()
        )
    say(f"{len(slow)} slow clients for at most {max(patience.values()) + 30:.0f} s")
    most_memory = before_memory

    async def all_slow():
        nonlocal most_memory
        running = [asyncio.create_task(task) for task in tasks]
        while any(not task.done() for task in running):
            most_memory = max(most_memory, memory(args.pid))
            await asyncio.sleep(0.5)
        for one, task in zip(slow, running):
            if task.exception():
                one.end = f"{type(task.exception()).__name__} {task.exception()}"

    beside, failures = await normal.run(args.normal, asyncio.create_task(all_slow()))
    checks.that(not failures, f"beside the slow clients: {dict(failures.most_common(3))}")
    p99 = percentile(beside, 0.99)
    checks.that(beside and p99 <= args.bound, f"p99 of the normal clients beside the slow ones is {milliseconds(p99)}")
    middle, most = percentile(beside, 0.5), args.times * percentile(alone, 0.5) + 0.02
    checks.that(beside and middle <= most, f"p50 beside the slow ones is {milliseconds(middle)}, not {milliseconds(most)} at most")
    print(
        table(
            ["normal clients", "requests", "p50", "p99", "longest"],
            [
                [
                    name,
                    len(taken),
                    milliseconds(percentile(taken, 0.5)),
                    milliseconds(percentile(taken, 0.99)),
                    milliseconds(max(taken, default=float("nan"))),
                ]
                for name, taken in [("alone", alone), ("beside", beside)]
            ],
        )
    )
    kinds: dict[str, list[Slow]] = defaultdict(list)
    for one in slow:
        kinds[one.kind].append(one)
    rows = []
    for kind, ones in kinds.items():
        ends = Counter(one.end for one in ones)
        times = [one.seconds for one in ones if one.seconds == one.seconds]
        stated = limits[kind]
        rows.append(
            [
                kind,
                len(ones),
                ", ".join(f"{end}: {n}" for end, n in ends.most_common(4)),
                f"{max(times):.1f} s" if times and kind != "reader" else "-",
                f"{stated:g} s",
            ]
        )
        right = sum(n for end, n in ends.items() if end in ("cut", "408"))
        checks.that(
            right == len(ones),
            f"{kind}: {len(ones) - right} of {len(ones)} not cut within {stated:g} s and {args.margin:g}: {dict(ends)}",
        )
        if kind in ("head", "body"):
            early = [one.seconds for one in ones if one.end in ("cut", "408") and one.seconds < min(1.0, stated / 4)]
            checks.that(
                not early, f"{kind}: {len(early)} were cut after {min(early, default=0):.2f} s, which is not slow yet"
            )
    print()
    print(table(["slow clients", "number", "ended", "the last after", "limit"], rows))
    await asyncio.sleep(1)
    checks.that((await server.ask(server.request("GET", "/health"), 10, "GET")).status == 200, "/health after it")
    if args.pid:
        left = descriptors(args.pid)
        for _ in range(20):
            if left > before_files + 4:
                await asyncio.sleep(0.5)
                left = descriptors(args.pid)
        print(
            f"\nfile descriptors: {before_files} before, {left} after; memory: {mib(before_memory)} before, {mib(most_memory)} at most"
        )
        checks.that(0 < left <= before_files + 4, f"{left} file descriptors are open, {before_files} before")
        checks.that(
            most_memory <= before_memory + args.growth, f"memory grew from {mib(before_memory)} to {mib(most_memory)}"
        )
    return checks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--clients", type=int, default=500, help="slow ones")
    parser.add_argument("--normal", type=int, default=4)
    parser.add_argument("--alone", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--bound", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--times", type=float, default=3.0, metavar="FACTOR")
    parser.add_argument("--margin", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--growth", type=float, default=256, metavar="MIB")
    parser.add_argument("--data", type=Path, metavar="DATA_DIR")
    asyncio.run(main(parser.parse_args())).end()
