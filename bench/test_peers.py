#!/usr/bin/env python3
"""Tests what the peers compute by themselves beside PyTorch: trees and scores. Seconds, with nothing but Python.

    python3 bench/test_peers.py

SemEval's F1 is held to what the official scorer printed (fixtures/semeval_cases.jsonl), the best tree to all trees of few words.
"""
import itertools
import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench/peers"))

from texts import semeval_f1  # noqa: E402
from treebank import best_tree, circle  # noqa: E402


def the_f1_of_relations_is_that_of_the_official_scorer() -> int:
    labels, *cases = map(json.loads, (ROOT / "fixtures/semeval_cases.jsonl").read_text(encoding="utf-8").splitlines())
    checked = 0
    for case in cases:
        if "ways" not in case or -1 in case["proposed"]:
            continue
        gold, found = ([labels["labels"][number] for number in case[side]] for side in ("key", "proposed"))
        if set(gold) == {"Other"}:
            continue
        want = case["ways"][-1]["macro"][2]
        # The scorer prints two digits.
        assert abs(semeval_f1(gold, found) - want) <= 0.00501, (semeval_f1(gold, found), want)
        checked += 1
    return checked


def the_best_tree_is_that_of_all_trees() -> int:
    chance = random.Random(1)
    for number in range(200):
        size = chance.randint(2, 6)
        # Few values, so that circles are frequent.
        scores = [[-float(chance.randint(0, 9)) - chance.random() for _ in range(size)] for _ in range(size)]
        trees = ([0, *heads] for heads in itertools.product(range(size), repeat=size - 1))
        trees = (heads for heads in trees if heads.count(0) == 2 and all(heads[at] != at for at in range(1, size)))

        def total(heads):
            return sum(scores[word][head] for word, head in enumerate(heads) if word)

        best = max((heads for heads in trees if not circle(heads)), key=total)
        assert best_tree(scores) == best, (number, best_tree(scores), best)
    return 200


if __name__ == "__main__":
    for test in (the_f1_of_relations_is_that_of_the_official_scorer, the_best_tree_is_that_of_all_trees):
        print(f"{test.__name__}: {test()} cases")
