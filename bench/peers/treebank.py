"""Parts of speech and dependency trees out of CoNLL-U for train_pytorch.py, without tensors: examples, windows, trees, scores.

Words, windows and measures are those of polyhead (docs/tasks/tag.md, docs/tasks/parse.md).
"""

import math
import sys
from pathlib import Path

from tasks import IGNORE, Ner, Window, deciding, recipe_limit

# Relations that the official evaluation of CoNLL 2018 leaves out of CLAS, besides punctuation.
FUNCTIONAL = {"aux", "cop", "mark", "det", "clf", "case", "cc", "punct"}


def sentences(file: str, limit: int | None) -> list[list[list[str]]]:
    """The ten columns of each word; tokens of several words and empty nodes are none."""
    found, current = [], []
    for line in [*Path(file).read_text(encoding="utf-8").splitlines(), ""]:
        columns = line.split("\t")
        if columns[0].isdecimal():
            current.append(columns)
        elif not line and current:
            found.append(current)
            current = []
    return found[:limit]


class Tag(Ner):
    """Sentences of words with a label each: UPOS. Windows are those of entities."""

    def __init__(self, settings: dict, data: dict, tokenizer):
        self.settings, self.tokenizer = settings, tokenizer
        self.files = {part: (data[part], recipe_limit(data, part)) for part in ("train", "validation")}
        whole = self.read(self.files["train"][0], None)
        self.labels = sorted({tag for sentence in whole for _, tag in sentence if tag != "_"})
        self.outputs = len(self.labels)

    @staticmethod
    def read(file: str, limit: int | None) -> list[list[tuple[str, str]]]:
        return [[(columns[1], columns[3]) for columns in sentence] for sentence in sentences(file, limit)]

    def target(self, tag: str) -> int:
        return IGNORE if tag == "_" else self.labels.index(tag)

    def scores(self, examples: list, windows: list[list[Window]], rows: list[list]) -> dict:
        right = words = 0
        for sentence, of_one, logits in zip(examples, windows, rows):
            found = {}
            for word, (window, at) in deciding(of_one).items():
                row = logits[window][at]
                found[word] = self.labels[max(range(len(row)), key=row.__getitem__)]
            known = [(word, tag) for word, (_, tag) in enumerate(sentence) if tag != "_"]
            right, words = right + sum(found.get(word) == tag for word, tag in known), words + len(known)
        return {"accuracy": 100 * right / words}


class Parse:
    """Trees over words: a head for each, 0 for the root, and a relation to it."""

    def __init__(self, settings: dict, data: dict, tokenizer):
        self.settings, self.tokenizer = settings, tokenizer
        self.files = {part: (data[part], recipe_limit(data, part)) for part in ("train", "validation")}
        whole = sentences(self.files["train"][0], None)
        self.labels = sorted({columns[7] for sentence in whole for columns in sentence})
        self.root = self.labels.index("root")
        self.outputs = len(self.labels)

    def examples(self, part: str) -> list[dict]:
        made = []
        for sentence in sentences(*self.files[part]):
            heads, relations = [int(columns[6]) for columns in sentence], [columns[7] for columns in sentence]
            example = {"words": [columns[1] for columns in sentence], "heads": heads, "relations": relations}
            fits = len(self.window(0, example).ids) <= self.settings["max_length"]
            if fits:
                made.append(example)
            elif part != "train":
                sys.exit(f"expected a sentence of at most max_length tokens: {' '.join(example['words'])}")
        return made

    def windows(self, number: int, example: dict) -> list[Window]:
        return [self.window(number, example)]

    def window(self, number: int, example: dict) -> Window:
        """`spans` are the tokens where words begin, the root's first; `target` is all heads, then all relations."""
        ids, begins = [self.tokenizer.cls_token_id], [0]
        for word in example["words"]:
            begins.append(len(ids))
            ids += self.tokenizer(word, add_special_tokens=False)["input_ids"] or [self.tokenizer.unk_token_id]
        ids.append(self.tokenizer.sep_token_id)
        # One that only the validation data have is never predicted, and not trained.
        known = [self.labels.index(name) if name in self.labels else IGNORE for name in example["relations"]]
        return Window(number, ids, [0] * len(ids), begins, [*example["heads"], *known])

    def scores(self, examples: list[dict], windows: list, rows: list[list]) -> dict:
        """`rows`: of each sentence the heads and relations that were found. As the official evaluation of CoNLL 2018 counts
        where words are given: punctuation counts, subtypes do not."""
        counts = dict.fromkeys(["words", "uas", "las", "gold", "found", "clas"], 0)
        for example, [(heads, relations)] in zip(examples, rows):
            for head, relation, own, number in zip(example["heads"], example["relations"], heads, relations):
                gold, found = relation.split(":")[0], self.labels[number].split(":")[0]
                right = head == own and gold == found
                counts["words"] += 1
                counts["uas"] += head == own
                counts["las"] += right
                counts["gold"] += gold not in FUNCTIONAL
                counts["found"] += found not in FUNCTIONAL
                counts["clas"] += right and gold not in FUNCTIONAL
        shares = {name: 100 * counts[name] / counts["words"] for name in ("las", "uas")}
        return shares | {"clas": 200 * counts["clas"] / max(1, counts["gold"] + counts["found"])}


def best_tree(scores: list[list[float]]) -> list[int]:
    """The heads of the tree with the largest sum of scores and exactly one root: `scores[word][head]` of the words 1, 2, ..., head 0
    is the root; row 0 is not read. Chu and Liu (1965), Edmonds (1967)."""
    size = len(scores)
    finite = [score for row in scores[1:] for score in row if score > -math.inf]
    # So much that a second root costs more than any other arcs can bring.
    cost = (max(finite) - min(finite) + 1) * size
    weights = [[-math.inf if head == word else score - cost * (head == 0) for head, score in enumerate(row)]
               for word, row in enumerate(scores)]
    return arborescence(weights)


def arborescence(weights: list[list[float]]) -> list[int]:
    size = len(weights)
    heads = [0, *(max(range(size), key=weights[word].__getitem__) for word in range(1, size))]
    cycle = circle(heads)
    if not cycle:
        return heads
    # The circle becomes one node, the last. What leads into it breaks one of its arcs.
    outside = [node for node in range(size) if node not in cycle]
    inside = sorted(cycle)
    into, out_of = [], []  # by the outside nodes: the node of the circle that the arc enters, and the one that it leaves
    smaller = [[weights[word][head] for head in outside] for word in outside]
    for at, node in enumerate(outside):
        out_of.append(max(inside, key=weights[node].__getitem__))
        smaller[at].append(weights[node][out_of[-1]] if node else -math.inf)
    row = []
    for node in outside:
        into.append(max(inside, key=lambda word: weights[word][node] - weights[word][heads[word]]))
        row.append(weights[into[-1]][node] - weights[into[-1]][heads[into[-1]]])
    smaller.append([*row, -math.inf])
    found = arborescence(smaller)
    for at, node in enumerate(outside):
        if node:
            heads[node] = out_of[at] if found[at] == len(outside) else outside[found[at]]
    entered = found[len(outside)]
    heads[into[entered]] = outside[entered]
    return heads


def circle(heads: list[int]) -> set[int]:
    """The nodes of a circle, if there is one."""
    done: set[int] = {0}
    for start in range(1, len(heads)):
        path, node = [], start
        while node not in done and node not in path:
            path.append(node)
            node = heads[node]
        if node in path:
            return set(path[path.index(node) :])
        done.update(path)
    return set()
