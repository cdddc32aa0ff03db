"""Traffic for `load.py`: clients that wait for their answers, and requests that are due whatever has been answered.

Load      what came of the requests of one kind: latencies, refusals, failures
capacity  a closed loop of clients
open_loop requests at a fixed rate; latency counts from when one was due, so no wait is hidden
repeat    one client that asks the same again and again, and what it does when it is refused
"""

import asyncio
import math
import time
from collections import Counter

from loopback import Broken, Connection, Job, Server, memory, percentile


class Load:
    """What came of the requests of one rate."""

    def __init__(self):
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.late: list[float] = []  # seconds between due and sent: this script's own fault
        self.failures: Counter[str] = Counter()
        self.unsent = self.sent = self.read = self.differing = 0
        self.retries = self.retries_taken = 0  # after a refusal and its wait
        self.waits: list[float] = []  # seconds that a refused client was told to wait, or waited
        self.resident: list[float] = []
        self.seconds = 0.0

    @property
    def memory(self) -> float:
        return max(self.resident, default=math.nan)

    def figures(self) -> dict:
        """For a machine to read: seconds, counts, rates."""
        rate = len(self.accepted) / self.seconds if self.seconds else math.nan
        found = {
            "seconds": self.seconds,
            "sent": self.sent,
            "unsent": self.unsent,
            "answered": len(self.accepted),
            "refused": len(self.refused),
            "failed": sum(self.failures.values()),
            "answers_per_second": rate,
            "p50": percentile(self.accepted, 0.5),
            "p99": percentile(self.accepted, 0.99),
            "refused_p99": percentile(self.refused, 0.99),
            "retries": self.retries,
            "retries_answered": self.retries_taken,
            "memory_mib": self.memory,
            "sent_late_p99": percentile(self.late, 0.99),
        }
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()
        }

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
            if job.expected is not None:
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


async def repeat(
    server: Server,
    load: Load,
    job: Job,
    ends: float,
    patience: float | None,
    pause: float = 0.0,
    most: int | None = None,
):
    """Asks the same until `ends` or until it has `most` answers, each time after the answer and `pause` seconds. Refused,
    it tries again after `patience` seconds, or, without that, after those that Retry-After says; such tries are counted."""
    raw = server.request("POST", job.path, job.body)
    connection, retry, answered = await Connection.open(server), False, 0
    while (start := time.perf_counter()) < ends and answered != most:
        if not connection.usable:
            connection = await Connection.open(server)
        connection.transport.write(raw)
        load.sent += 1
        try:
            async with asyncio.timeout(server.limits["request_seconds"] + 5):
                answer = await connection.answer()
        except (Broken, TimeoutError) as error:
            load.failures[f"{type(error).__name__} {error}"] += 1
            connection.close()
            continue
        load.count(job, answer, time.perf_counter() - start)
        if retry:
            load.retries += 1
            load.retries_taken += answer.status == 200
        retry = answer.status == 429
        answered += answer.status == 200
        if retry:
            after = answer.headers.get("retry-after", "1")
            seconds = patience if patience is not None else float(after) if after.isdecimal() else 1.0
            load.waits.append(seconds)
            await asyncio.sleep(min(seconds, max(0.0, ends - time.perf_counter())))
        else:
            await asyncio.sleep(pause)
    connection.close()
