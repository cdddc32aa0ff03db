#!/usr/bin/env python3
"""Too many requests: those that are taken are answered soon and rightly, the others get a 429 at once, memory stays.

    polyhead serve MODEL                                              # in another terminal
    python3 bench/serve/load.py http://127.0.0.1:8080 [--pid PID] [--data DATA_DIR] [--seconds 60] [--json FILE]

Needs the Python standard library alone. DATA_DIR holds conll2003/valid.txt and squad/*-v1.1.json; without it the samples
of this repository are asked about. Sentences and questions with contexts are mixed, seven to three.

First the capacity: answers a second with --clients clients that each wait for their answer. Then the cases (--cases), each
for --seconds (60 for figures; 8, with --capacity-seconds 6 --requests 60, to see whether it runs):

    rates   requests that are due at 1, 2, 3 and 10 times the capacity (--times), whatever has been answered
    eight   at 3 times the capacity, a client that asks about eight texts of 80 characters in one request
    giants  4 clients with texts of 190,000 characters that try again at once when they are refused, against
            30 short requests a second (--short-rate)
    long    the same with 12 clients and texts of 20,000 characters
    retry   12 such clients at once, who wait as long as Retry-After says until all are answered, and again

Latency counts from when a request was due, so what a client would have waited is not hidden. Each runs on a connection of
its own, kept alive; where --connections of them are in use, a due request is not sent and counts as unsent. Checked:

    every answer is 200 or 429, every 429 has a Retry-After of whole seconds; one 200 in ten is read whole and must be
    what the same request got before the load (up to ties: --differ of them may have another reading)
    p99 of the 200s is within the server's request_seconds; at 2 times and more there are refusals, and at least
    --goodput of the capacity is still answered; memory grows by at most --growth MiB over that at the capacity
    at 10 times, at least --hold of the answers a second of 3 times
    eight texts wait for at most --eight times as long as single ones (half of them)
    beside long texts, at least --short-answered of the short requests are answered, and long ones are answered too
    at least --retry-answered of those who waited for Retry-After are then answered
"""

import argparse
import asyncio
import json
import math
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "checks/serve"))
from loopback import (
    Checks,
    Job,
    Server,
    corpus,
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
from traffic import Load, capacity, open_loop, repeat, watch

# Within so many seconds the queue is full at twice the capacity.
FILLS = 30

CASES = ["rates", "eight", "giants", "long", "retry"]


class Bench:
    """What the cases share."""

    def __init__(self, args):
        self.args, self.server, self.checks = args, Server(args.url), Checks()
        self.most = min(args.connections, int(self.server.limits["connections"]) - 8, many_files(args.connections))
        self.work = jobs(self.server, args.data, args.requests)
        self.raw = requests(self.server, self.work)
        self.found = Load()
        self.rate = 0.0
        self.figures: dict = {"limits": self.server.limits, "cases": {}}

    async def ask_once(self):
        """What each request is answered with when nothing else is asked."""
        say(f"asking {len(self.work)} requests once, one after the other")
        for job, raw in zip(self.work, self.raw):
            answer = await self.server.ask(raw, self.server.limits["request_seconds"] + 5)
            if answer.status != 200:
                sys.exit(f"{job.path}: {answer.status} {answer.body[:200]!r}")
            job.expected = job.spans(answer)

    async def capacity(self) -> bool:
        args = self.args
        say(f"measuring the capacity with {args.clients} clients")
        self.found = await capacity(self.server, self.work, self.raw, args.clients, args.capacity_seconds, args.pid)
        self.rate = len(self.found.accepted) / self.found.seconds
        self.figures["capacity"] = self.found.figures()
        self.checks.that(not self.found.failures, f"at the capacity: {dict(self.found.failures.most_common(3))}")
        print(
            f"capacity: {self.rate:,.0f} answers/s with {args.clients} clients, "
            f"p50 {milliseconds(percentile(self.found.accepted, 0.5))}, "
            f"p99 {milliseconds(percentile(self.found.accepted, 0.99))}, {mib(self.found.memory)}\n"
        )
        return self.checks.that(self.rate > 0, "no capacity")

    async def at(self, times: float) -> Load:
        """The mixed requests at so many times the capacity."""
        say(f"{times:g} times: {self.rate * times:,.0f} requests/s for {self.args.seconds:g} s")
        return await open_loop(
            self.server, self.work, self.raw, self.rate * times, self.args.seconds, self.most, self.args.pid
        )

    def keep(self, case: str, load: Load, **more):
        self.figures["cases"][case] = load.figures() | more

    def well(self, load: Load, at: str):
        """What holds of every load."""
        self.checks.that(not load.failures, f"{at}: {dict(load.failures.most_common(3))}")
        self.checks.that(load.accepted, f"{at}: nothing was accepted")
        limit = self.server.limits["request_seconds"]
        p99 = percentile(load.accepted, 0.99)
        self.checks.that(not p99 > limit, f"{at}: p99 {milliseconds(p99)} is beyond the server's own limit")
        share = load.differing <= self.args.differ * load.read
        self.checks.that(share, f"{at}: {load.differing} of {load.read} answers are not those of before")
        grown = load.memory > self.found.memory + self.args.growth
        self.checks.that(not grown, f"{at}: {mib(load.memory)}, after {mib(self.found.memory)} at the capacity")

    def text(self, characters: int) -> str:
        """Sentences, one after the other."""
        sentences, asked = corpus(self.args.data)
        parts, length = [], 0
        source = [context for _, context in asked] + sentences
        while length < characters:
            parts.append(source[len(parts) % len(source)])
            length += len(parts[-1]) + 1
        return " ".join(parts)[:characters]

    def job(self, texts: list[str]) -> Job:
        """Texts in one request: of named entities, or, if the model has none, a question with each as its context."""
        if ner := self.server.task("token-classification"):
            inputs = texts if len(texts) > 1 else texts[0]
            body = {"inputs": inputs, "parameters": {"aggregation_strategy": "first"}}
            return Job(f"/tasks/{ner['name']}", json.dumps(body).encode(), "ner", texts[0])
        qa = self.server.task("question-answering")
        inputs = [{"question": "What is it?", "context": text} for text in texts]
        body = {"inputs": inputs if len(texts) > 1 else inputs[0]}
        return Job(f"/tasks/{qa['name']}", json.dumps(body).encode(), "qa", texts[0])

    async def longest(self, characters: int) -> tuple[Job, int]:
        """A request with a text of so many characters, or of fewer, if the server takes no request of so many tokens."""
        characters = min(characters, int(self.server.limits["characters"]))
        while characters > 100:
            job = self.job([self.text(characters)])
            raw = self.server.request("POST", job.path, job.body)
            answer = await self.server.ask(raw, self.server.limits["request_seconds"] + 5)
            if answer.status == 200:
                return job, characters
            if answer.status != 422:
                break
            characters = characters * 9 // 10
        sys.exit(f"{characters} characters: {answer.status} {answer.body[:200]!r}")


async def rates(bench: Bench):
    args, checks, rows, answered = bench.args, bench.checks, [], {}
    behind = 0.0
    for times in args.times:
        load = await bench.at(times)
        total = load.sent + load.unsent
        answered[times] = len(load.accepted) / load.seconds
        good = answered[times] / bench.rate
        rows.append(
            [
                f"{times:g}",
                f"{bench.rate * times:,.0f}/s",
                f"{answered[times]:,.0f}/s ({good:.0%})",
                milliseconds(percentile(load.accepted, 0.5)),
                milliseconds(percentile(load.accepted, 0.99)),
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
        bench.keep(f"rates {times:g}", load, share_of_capacity=good)
        bench.well(load, at)
        if times >= 2:
            # Where the server takes no more connections than its queue holds requests, that is what refuses. A short round
            # may end before the queue is full.
            full = load.unsent and bench.most >= int(bench.server.limits["connections"]) - 8
            checks.that(
                load.refused or full or args.seconds < FILLS,
                f"{at}: nothing was refused; {bench.most} connections, {load.unsent} requests unsent",
            )
            checks.that(good >= args.goodput, f"{at}: {good:.0%} of the capacity is answered")
        await asyncio.sleep(min(2.0, args.seconds))
    header = ["times", "due", "answered", "p50", "p99", "429", "p99 of 429", "unsent", "failed", "memory"]
    header.append("sent late, p99")
    print(table(header, rows))
    if {3, 10} <= answered.keys():
        hold = answered[10] / answered[3]
        bench.figures["answered_at_10_over_3"] = hold
        print(f"\nAnswers a second at 10 times the capacity over those at 3 times: {hold:.0%}")
        checks.that(hold >= args.hold, f"at 10 times {hold:.0%} of the answers of 3 times")
    print(
        f'\nAt most {bench.most} connections; latency from the due time. "Sent late" is this script falling behind; '
        "it shares the cores."
    )
    if behind > 0.1:
        print(
            f"This script was {milliseconds(behind)} late at its worst rate: the machine was too busy, and the latencies "
            "are partly its own."
        )
    print()


async def eight(bench: Bench):
    """Eight short texts in a request, among single ones at 3 times the capacity."""
    sentence = bench.text(640)
    job = bench.job([sentence[at * 80 : at * 80 + 80] for at in range(8)])
    job.spans = lambda answer: answer.json()  # a list for each text: its form alone is looked at
    probe, ends = Load(), time.perf_counter() + bench.args.seconds
    single, _ = await asyncio.gather(bench.at(3), repeat(bench.server, probe, job, ends, 0.1, 0.05))
    probe.seconds = bench.args.seconds
    bench.keep("eight: single requests", single)
    bench.keep("eight: eight texts", probe)
    one, of_eight = percentile(single.accepted, 0.5), percentile(probe.accepted, 0.5)
    rows = [row_of("single requests", single), row_of("eight texts of 80 characters", probe)]
    print(table(HEADER, rows) + "\n")
    bench.well(single, "beside eight texts")
    bench.checks.that(not probe.failures, f"eight texts: {dict(probe.failures.most_common(3))}")
    bench.checks.that(probe.accepted, "eight texts: nothing was accepted")
    most = bench.args.eight * one
    bench.checks.that(of_eight <= most, f"eight texts: p50 {milliseconds(of_eight)}, single ones {milliseconds(one)}")


async def beside(bench: Bench, case: str, clients: int, characters: int, patience: float | None):
    """Short requests beside clients with long texts."""
    args, checks = bench.args, bench.checks
    job, taken = await bench.longest(characters)
    short = bench.job([bench.text(80)])
    raw, long = bench.server.request("POST", short.path, short.body), Load()
    say(f"{case}: {clients} clients with {taken:,} characters for {args.seconds:g} s")
    ends = time.perf_counter() + args.seconds
    watching = asyncio.create_task(watch(long, args.pid))

    async def rounds():
        """Without patience of their own, all ask at once, and again when all are answered."""
        while time.perf_counter() < ends:
            most = 1 if patience is None else None
            await asyncio.gather(*(repeat(bench.server, long, job, ends, patience, most=most) for _ in range(clients)))

    running = asyncio.create_task(rounds())
    shorts = await open_loop(
        bench.server, [short], [raw], args.short_rate, args.seconds, bench.most - clients, args.pid
    )
    await running
    watching.cancel()
    long.seconds = args.seconds
    bench.keep(f"{case}: short", shorts)
    bench.keep(f"{case}: long", long, clients=clients, characters=taken)
    rows = [row_of("short requests", shorts), row_of(f"{clients} clients, {taken:,} characters", long)]
    print(table(HEADER, rows))
    share = len(shorts.accepted) / max(1, shorts.sent + shorts.unsent)
    print(f"\n{case}: {share:.1%} of the short requests are answered")
    checks.that(share >= args.short_answered, f"{case}: {share:.1%} of the short requests are answered")
    checks.that(not shorts.failures, f"{case}: {dict(shorts.failures.most_common(3))}")
    checks.that(long.accepted, f"{case}: no long request was answered")
    checks.that(not long.failures, f"{case}: {dict(long.failures.most_common(3))}")
    checks.that(not long.memory > bench.found.memory + args.growth, f"{case}: {mib(long.memory)}")
    if patience is None and long.retries:
        honest = long.retries_taken / long.retries
        print(
            f"{case}: told to wait for {percentile(long.waits, 0.5):g} s (half of them); "
            f"{honest:.0%} of {long.retries} were answered then"
        )
        bench.figures["retry_answered"] = honest
        checks.that(honest >= args.retry_answered, f"{case}: {honest:.0%} of those who waited were answered")
    print()


HEADER = ["", "sent", "answered", "p50", "p99", "429", "failed"]


def row_of(name: str, load: Load) -> list:
    return [
        name,
        load.sent,
        f"{len(load.accepted)} ({len(load.accepted) / max(load.seconds, 1e-9):,.1f}/s)",
        milliseconds(percentile(load.accepted, 0.5)),
        milliseconds(percentile(load.accepted, 0.99)),
        len(load.refused),
        sum(load.failures.values()),
    ]


async def refusals(bench: Bench):
    """What /metrics counted: refusals by reason and class, and how much was tokenised."""
    answer = await bench.server.ask(bench.server.request("GET", "/metrics"), 10, "GET")
    lines = answer.body.decode().splitlines()
    wanted = ["polyhead_refusals_total", "polyhead_tokenize_seconds_count", "polyhead_queue_tokens{"]
    shown = dict(line.rsplit(" ", 1) for line in lines if line.startswith(tuple(wanted)))
    bench.figures["metrics"] = {name: float(value) for name, value in shown.items()}
    print("\n".join(f"    {name} {value}" for name, value in sorted(shown.items())))
    left = sum(value for name, value in bench.figures["metrics"].items() if name.startswith("polyhead_queue_tokens"))
    bench.checks.that(left == 0, f"{left:g} tokens wait though nothing is asked")


async def main(args) -> Checks:
    bench = Bench(args)
    if {"rates", "eight"} & set(args.cases):
        await bench.ask_once()
        if not await bench.capacity():
            return bench.checks
    else:
        bench.found.resident.append(memory(args.pid))
    for case in args.cases:
        match case:
            case "rates":
                await rates(bench)
            case "eight":
                await eight(bench)
            case "giants":
                await beside(bench, case, 4, 190_000, 0.1)
            case "long":
                await beside(bench, case, 12, 20_000, 0.1)
            case "retry":
                await beside(bench, case, 12, 20_000, None)
        await asyncio.sleep(min(2.0, args.seconds))
    await refusals(bench)
    after = await bench.server.ask(bench.server.request("GET", "/health"), 10, "GET")
    bench.checks.that(after.status == 200, f"/health after it: {after.status}")
    if args.pid:
        bench.checks.that(not math.isnan(memory(args.pid)), "the server's process is gone")
    if args.json:
        bench.figures["load_average"] = os.getloadavg()
        bench.figures["failures"] = bench.checks.failures
        args.json.write_text(json.dumps(bench.figures, indent=1) + "\n")
    return bench.checks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, for a machine to read")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--seconds", type=float, default=60, help="of each rate and each case")
    parser.add_argument("--times", type=float, nargs="+", default=[1, 2, 3, 10])
    parser.add_argument("--clients", type=int, default=64, help="for the capacity")
    parser.add_argument("--capacity-seconds", type=float, default=20)
    parser.add_argument(
        "--connections", type=int, default=4096, help="the most that are open; the server's limit holds, too"
    )
    parser.add_argument("--requests", type=int, default=300, help="different ones")
    parser.add_argument("--short-rate", type=float, default=30, help="short requests a second beside long ones")
    parser.add_argument("--growth", type=float, default=256, metavar="MIB")
    parser.add_argument("--goodput", type=float, default=0.5, metavar="SHARE")
    parser.add_argument("--hold", type=float, default=0.9, metavar="SHARE")
    parser.add_argument("--eight", type=float, default=2, metavar="TIMES")
    parser.add_argument("--short-answered", type=float, default=0.99, metavar="SHARE")
    parser.add_argument("--retry-answered", type=float, default=0.5, metavar="SHARE")
    parser.add_argument("--differ", type=float, default=0.01, metavar="SHARE")
    asyncio.run(main(parser.parse_args())).end()
