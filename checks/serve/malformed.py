#!/usr/bin/env python3
"""Malformed requests: each must be refused in the API's own words, and the server must go on as if nothing had been.

    polyhead serve MODEL                                              # in another terminal
    python3 checks/serve/malformed.py http://127.0.0.1:8080 [--pid PID] [--rounds 5] [--list]

Needs the Python standard library alone. The cases are of three groups, counted apart:

    handler   answered 4xx with {"error", "code"}, the code one of those the case names and the status that of the code
    library   an HTTP library refuses these before any handler sees them: 4xx (501, 505 too), where the body may be empty;
              some may also be cut without an answer
    unusual   legal, or a matter of taste: served, or refused as in the first group; never a 5xx, silence or a hang

After each case a good request on the same connection is answered rightly, unless that is closed, and then one on a new
connection is. With --pid, the resident memory after the last round is that after the second, but for --growth MiB.
"""

import argparse
import asyncio
import sys
import time

from loopback import Answer, Broken, Checks, Job, Raw, Server, jobs, memory, mib, say, table
from malformed_cases import STATUS, Case, all_cases

# The library's own refusals where there is a handler-like status outside of STATUS.
LIBRARY = {*range(400, 500), 501, 505}
PATIENCE = 20.0  # seconds for an answer that needs no waiting


# Running them


def fault(case: Case, answer: Answer) -> str | None:
    """What is wrong with an answer."""
    told = f"{answer.status} {answer.body[:160].decode('utf-8', 'replace')!r}"
    if case.group == "unusual" and (answer.status < 400 or (case.to == "HEAD" and answer.status < 500)):
        return case.also(answer)
    library = LIBRARY if case.group == "library" else {414, 431} if case.group == "unusual" else ()
    if answer.status in library and not answer.body:
        return case.also(answer)
    if not 400 <= answer.status < 500:
        return f"{told}, where a refusal is due"
    if answer.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return f"{told}: content-type {answer.headers.get('content-type')!r}"
    try:
        said = answer.json()
        error, code = said["error"], said["code"]
        shaped = isinstance(error, str) and error and isinstance(code, str) and isinstance(said.get("hint", ""), str)
        shaped = shaped and not said.keys() - {"error", "code", "hint"}
    except (ValueError, KeyError, TypeError):
        shaped = False
    if not shaped:
        return f"{told}: not of the form {{error, code}}"
    if code not in STATUS and case.group != "handler":
        return case.also(answer)
    if STATUS.get(code) != answer.status:
        return f"{told}: {code} does not go with {answer.status}"
    if case.codes and code not in case.codes:
        return f"{told}: where {' or '.join(sorted(case.codes))} is due"
    if "panicked" in error or ".rs:" in error:
        return f"{told}: it tells of its inside"
    return case.also(answer)


async def run(server: Server, case: Case, good: Job, patience: float) -> tuple[str | None, str]:
    """What was wrong, and what came."""
    connection = await Raw.open(server)
    sending = asyncio.create_task(connection.send(case.raw))
    connection.read()
    try:
        try:
            async with asyncio.timeout(patience):
                if case.half_close:
                    await sending
                    try:
                        connection.socket.shutdown(1)
                    except OSError:
                        pass
                answer = await connection.answer(case.to)
        except TimeoutError:
            return f"no answer in {patience:.0f} s", "hung"
        except Broken as broken:
            cut = case.cut and (broken.received == 0 or "no HTTP" in str(broken))
            return (None if cut else str(broken)), "cut"
        except ValueError as error:
            return f"no HTTP: {error}", "cut"
        wrong = fault(case, answer)
        if wrong or case.alone or case.half_close or answer.closes or not connection.usable:
            return wrong, str(answer.status)
        try:
            async with asyncio.timeout(PATIENCE):
                await sending
                await connection.send(server.request("POST", good.path, good.body))
                after = await connection.answer()
        except TimeoutError:
            return "the good request behind it on the same connection got no answer", str(answer.status)
        except Broken as broken:
            return (str(broken) if broken.received else None), str(answer.status)
        wrong = good.wrong(after) if after.status == 200 else f"{after.status} {after.body[:100]!r}"
        return (f"the good request behind it on the same connection: {wrong}" if wrong else None), str(answer.status)
    finally:
        await connection.hang_up(sending)


async def main(args) -> Checks:
    server = Server(args.url)
    good = jobs(server, None, 1)[0]
    first = await server.ask(server.request("POST", good.path, good.body), PATIENCE)
    if first.status != 200 or good.wrong(first):
        sys.exit(f"a good request is not served: {first.status} {first.body[:200]!r}")
    good.expected = good.spans(first)
    cases = [case for case in all_cases(server) if args.only in case.name]
    checks = Checks()
    limit = max(seconds for name, seconds in server.limits.items() if name.endswith("_seconds"))
    waiting = [case for case in cases if case.slow]
    cases = [case for case in cases if not case.slow]
    seen: dict[str, list[str]] = {"handler": [], "library": [], "unusual": []}
    resident = [memory(args.pid)]
    failed: set[str] = set()

    async def wait_for(case: Case):
        wrong, came = await run(server, case, good, limit + 15)
        checks.that(not wrong, f"{case.group}: {case.name}: {wrong}")
        seen[case.group].append(came)

    behind = [asyncio.create_task(wait_for(case)) for case in waiting]
    for round_ in range(args.rounds):
        began = time.perf_counter()
        for case in cases:
            try:
                wrong, came = await run(server, case, good, PATIENCE)
                after = await server.ask(server.request("POST", good.path, good.body), PATIENCE)
                if after.status != 200 or good.wrong(after):
                    wrong = wrong or f"the next good request: {after.status} {good.wrong(after) or ''}"
            except (OSError, TimeoutError, Broken) as error:
                wrong, came = f"the next good request: {type(error).__name__} {error}", "gone"
            if round_ == 0 or (wrong and case.name not in failed):
                checks.that(
                    not wrong, f"{case.group}: {case.name}: {wrong}" + (f" (round {round_ + 1})" if round_ else "")
                )
            if wrong:
                failed.add(case.name)
            if round_ == 0:
                seen[case.group].append(came)
                if args.list:
                    print(f"{case.group:8} {came:>4} {case.name}" + (f"  FAILED {wrong}" if wrong else ""))
            if came == "gone" and len(checks.failures) > 20:
                print("the server is gone; the rest is left out")
                return checks
        resident.append(memory(args.pid))
        say(f"round {round_ + 1}: {len(cases)} cases in {time.perf_counter() - began:.1f} s")
    await asyncio.gather(*behind)
    checks.that(len(cases) + len(waiting) >= 60 or args.only, "fewer than 60 cases")
    for path in ["/health", "/v2/health/ready"]:
        checks.that(
            (await server.ask(server.request("GET", path), PATIENCE, "GET")).status == 200, f"{path} at the end"
        )
    print(
        table(
            ["group", "cases", "what came (status: cases)"],
            [
                [group, len(came), ", ".join(f"{kind}: {came.count(kind)}" for kind in sorted(set(came)))]
                for group, came in seen.items()
            ],
        )
    )
    if args.pid:
        print(
            f"\nresident: {', '.join(map(mib, resident))} (before, and after each round); most ever: {mib(memory(args.pid, 'VmHWM'))}"
        )
        checks.that(
            len(resident) < 4 or resident[-1] - resident[2] <= args.growth,
            f"memory grew from {mib(resident[min(2, len(resident) - 1)])} to {mib(resident[-1])}",
        )
        checks.that(
            memory(args.pid, "VmHWM") - resident[0] <= args.peak,
            f"memory rose by more than {args.peak} MiB at its most",
        )
    else:
        print("\nno --pid: memory was not looked at")
    return checks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--pid", type=int, help="the server's process: its memory must stay flat")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", type=float, default=16, metavar="MIB", help="between the second round and the last")
    parser.add_argument("--peak", type=float, default=512, metavar="MIB", help="over the start, at any time")
    parser.add_argument("--only", default="", metavar="PART", help="cases whose names hold this")
    parser.add_argument("--list", action="store_true", help="a line for each case")
    asyncio.run(main(parser.parse_args())).end()
