"""python3 bench/test_gate.py    the statistics against scipy and by hand, and the verdicts that gate.py draws from them."""
import contextlib
import io
import json
import math
import unittest
from pathlib import Path

from gate import judge, rows, show
from intervals import ratio, student_t

SCIPY = json.loads((Path(__file__).resolve().parent.parent / "fixtures/student_t.json").read_text())


class Intervals(unittest.TestCase):
    def test_quantiles_are_those_of_scipy(self):
        for probability, degrees, t in SCIPY["quantiles"]:
            self.assertAlmostEqual(student_t(probability, degrees) / t, 1, delta=1e-9, msg=(probability, degrees))

    def test_intervals_are_those_of_scipys_paired_t_test(self):
        for case in SCIPY["paired"]:
            # scipy's are of differences: those of logarithms are ratios.
            joint, single = ([math.exp(value / 100) for value in case[name]] for name in ("joint", "single"))
            found = ratio(single, joint)
            for end, value in zip(case["interval"], (found.low, found.high)):
                self.assertAlmostEqual(100 * math.log(value), end, delta=1e-7)

    def test_two_pairs_by_hand(self):
        # ln 2 and ln 8: mean ln 4, sd ln 4 / sqrt 2, so half = t * ln 4 / 2 with t(0.95, 1) = 12.7062.
        found = ratio([1, 1], [2, 8])
        self.assertAlmostEqual(found.middle, 4)
        self.assertAlmostEqual(found.high / 4, 4 ** (12.706204736 / 2), delta=1e-3)
        self.assertAlmostEqual(found.low * found.high, 16)

    def test_a_slow_moment_of_the_machine_cancels(self):
        self.assertEqual(ratio([1, 10, 3], [2, 20, 6]), (2, 2, 2))

    def test_one_pair_has_no_interval(self):
        self.assertRaises(ValueError, ratio, [1], [2])


def verdict(kind: str, middle: float, noise: float) -> str:
    """Of ten pairs whose ratios lie around `middle`; `noise` is the standard deviation of their logarithms, nearly."""
    old = [100.0] * 10
    new = [100 * middle * math.exp(noise * (-1) ** pair) for pair in range(10)]
    return judge({"name": "", "kind": kind, "old": old, "new": new})[0]


class Verdicts(unittest.TestCase):
    def test_a_speed_is_judged_by_where_its_interval_lies(self):
        # Half an interval is 2.262 * (10/9) ** 0.5 / 10 ** 0.5 = 0.754 of the noise.
        self.assertEqual(verdict("rate", 1.00, 0.02), "ok")
        self.assertEqual(verdict("rate", 0.99, 0.04), "reaches")
        self.assertEqual(verdict("rate", 0.95, 0.04), "reaches")
        self.assertEqual(verdict("rate", 0.95, 0.02), "WORSE")
        self.assertEqual(verdict("rate", 1.00, 0.20), "too wide")
        self.assertEqual(verdict("rate", 1.50, 0.20), "ok")

    def test_a_longer_time_is_a_lower_speed(self):
        self.assertEqual(verdict("time", 1.10, 0.02), "WORSE")
        self.assertEqual(verdict("time", 0.90, 0.02), "ok")

    def test_memory_may_grow_by_five_per_cent(self):
        self.assertEqual(verdict("memory", 1.04, 0.01), "ok")
        self.assertEqual(verdict("memory", 1.06, 0.01), "WORSE")

    def test_the_exit_status_tells_worse_from_too_few(self):
        def status(pairs: int, times_as_fast: float) -> int:
            def side(speed):
                training = {"tokens": 100, "seconds": 1 / speed, "precision": "f32", "memory": 9, "same losses": True}
                inference = {"seconds": [1 / speed, 2 / speed], "precision": "f32", "memory": 9, "logits off by": 0.0}
                return {"training": training, "inference": inference}

            sides = {"old": side(1), "new": side(times_as_fast)}
            pair = {part: {name: found[part] for name, found in sides.items()} for part in ("training", "inference")}
            workloads = [{"name": "one", "unit": "ms", "tokens": 1}, {"name": "many", "unit": "real tokens/s", "tokens": 5}]
            state = {"pairs": [pair] * pairs, "workloads": workloads, "machine": {}, "others": []}
            self.assertEqual(len(rows(state)), 5)
            with contextlib.redirect_stdout(io.StringIO()):
                return show(state, 10, False)

        self.assertEqual(status(10, 1.0), 0)
        self.assertEqual(status(10, 0.9), 1)
        self.assertEqual(status(9, 1.0), 2)


if __name__ == "__main__":
    unittest.main()
