"""How sure a ratio is: measurements of two builds that were taken in pairs -> the ratio and its 95 % interval.

    pairs (old, new) -> ln(new / old) of each -> mean ± t * sd / sqrt(n) -> exp: low, ratio, high

Both of a pair were measured next to each other, so what slowed the machine down then slowed both, and cancels. On logarithms
twice as fast and half as fast are equally far from 1. t is Student's, for n - 1 degrees of freedom: the interval holds for
few pairs, if the logarithms are about normal. Tested against scipy by test_gate.py.
"""
import math
from typing import NamedTuple


class Ratio(NamedTuple):
    low: float
    middle: float  # the geometric mean
    high: float


def student_t(probability: float, degrees: int) -> float:
    """The t so that a value of Student's distribution lies within -t .. t with this probability."""
    low, high = 0.0, 1.0
    while within(high, degrees) < probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def within(t: float, degrees: int) -> float:
    """The probability of -t .. t: with angle = atan(t / sqrt(degrees)) the density is cos(angle) ** (degrees - 1)."""
    scale = 2 * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    angle, parts = math.atan(t / math.sqrt(degrees)), 2000
    step = angle / parts
    heights = [math.cos(at * step) ** (degrees - 1) for at in range(parts + 1)]
    simpson = heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
    return scale * simpson * step / 3


def ratio(old: list[float], new: list[float], probability: float = 0.95) -> Ratio:
    """new / old over at least two pairs of positive measurements."""
    if len(old) != len(new) or len(old) < 2:
        raise ValueError(f"expected the same number of measurements on both sides, at least 2, found {len(old)} and {len(new)}")
    logs = [math.log(b / a) for a, b in zip(old, new)]
    mean = math.fsum(logs) / len(logs)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1))
    half = student_t(probability, len(logs) - 1) * deviation / math.sqrt(len(logs))
    return Ratio(math.exp(mean - half), math.exp(mean), math.exp(mean + half))
