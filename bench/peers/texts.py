"""Text classification and relations for train_pytorch.py, without tensors: examples, windows, scores.

Files and windows are those of polyhead (docs/tasks/classify.md, docs/tasks/relation.md), for texts that fit one window.
"""

import re
import sys
from pathlib import Path

from tasks import Window, recipe_limit


class OneLabel:
    """One label for each example, those of the whole training file."""

    def __init__(self, settings: dict, data: dict, tokenizer):
        self.settings, self.data, self.tokenizer = settings, data, tokenizer
        self.labels = sorted({example["label"] for example in self.read(data["train"])})
        self.outputs = len(self.labels)

    def examples(self, part: str) -> list[dict]:
        return self.read(self.data[part])[: recipe_limit(self.data, part)]

    def window(self, number: int, example: dict, ids: list[int], spans: list) -> list[Window]:
        ids = [self.tokenizer.cls_token_id, *ids, self.tokenizer.sep_token_id]
        if len(ids) > self.settings["max_length"]:
            sys.exit(f"expected texts of at most max_length tokens, found {len(ids)}: {example['text']}")
        return [Window(number, ids, [0] * len(ids), spans, [self.labels.index(example["label"])])]

    def found(self, rows: list[list]) -> list[str]:
        """The best label of each example."""
        return [self.labels[max(range(len(row)), key=row.__getitem__)] for [row] in rows]


class Classify(OneLabel):
    """Lines of a label and a text."""

    def read(self, file: str) -> list[dict]:
        lines = Path(file).read_text(encoding=self.data.get("encoding", "utf-8")).splitlines()
        split = (line.split(maxsplit=1) for line in lines if line.strip())
        until = self.settings.get("label_until")
        return [{"label": label.split(until)[0] if until else label, "text": text} for label, text in split]

    def windows(self, number: int, example: dict) -> list[Window]:
        return self.window(number, example, self.tokenizer(example["text"], add_special_tokens=False)["input_ids"], [])

    def scores(self, examples: list[dict], windows: list, rows: list[list]) -> dict:
        from sklearn.metrics import accuracy_score, f1_score

        gold, found = [example["label"] for example in examples], self.found(rows)
        macro = f1_score(gold, found, average="macro", labels=sorted({*gold, *found}), zero_division=0)
        return {"accuracy": 100 * accuracy_score(gold, found), "macro_f1": 100 * macro}


class Relation(OneLabel):
    """SemEval-2010 task 8: sentences with <e1>...</e1> and <e2>...</e2>, their label on the next line."""

    def read(self, file: str) -> list[dict]:
        blocks = Path(file).read_text(encoding="utf-8").split("\n\n")
        made = []
        for sentence, label, *_ in (block.strip().splitlines() for block in blocks if block.strip()):
            pieces = re.split(r"(</?e[12]>)", sentence.split("\t", 1)[1].strip().removeprefix('"').removesuffix('"'))
            text, places = "", {}
            for piece in pieces:
                if re.fullmatch(r"</?e[12]>", piece):
                    places[piece.strip("<>")] = len(text)
                else:
                    text += piece
            parts = [(places[f"e{number}"], places[f"/e{number}"]) for number in (1, 2)]
            made.append({"text": text, "parts": parts, "label": label.strip()})
        return made

    def windows(self, number: int, example: dict) -> list[Window]:
        """With a token before and behind each part; `spans` are the two parts, with these tokens."""
        encoded = self.tokenizer(example["text"], add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        inside = [[at for at, (start, end) in enumerate(offsets) if start < to and since < end] for since, to in example["parts"]]
        (a, b), (c, d) = [(part[0], part[-1] + 1) for part in inside]
        if b > c:
            sys.exit(f"expected the first part before the second: {example['text']}")
        one, two = (self.tokenizer.convert_tokens_to_ids(token) for token in self.settings["marker_tokens"])
        ids = [*ids[:a], one, *ids[a:b], one, *ids[b:c], two, *ids[c:d], two, *ids[d:]]
        spans = [(1 + a, 1 + b + 2), (1 + c + 2, 1 + d + 4)]  # behind [CLS]
        return self.window(number, example, ids, spans)

    def scores(self, examples: list[dict], windows: list, rows: list[list]) -> dict:
        gold, found = [example["label"] for example in examples], self.found(rows)
        right = sum(a == b for a, b in zip(gold, found))
        return {"macro_f1": semeval_f1(gold, found), "accuracy": 100 * right / len(gold)}


def semeval_f1(gold: list[str], found: list[str]) -> float:
    """The official number of SemEval-2010 task 8: the mean over the relations of the gold labels, without Other, of an F1 that
    counts a right relation in the wrong direction as predicted and not as right."""
    name = [label.split("(")[0] for label in gold], [label.split("(")[0] for label in found]
    scores = []
    for relation in sorted({*name[0]} - {"Other"}):
        right = sum(a == b and of == relation for a, b, of in zip(gold, found, name[0]))
        precision, recall = right / max(1, name[1].count(relation)), right / name[0].count(relation)
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    return 100 * sum(scores) / len(scores)
