"""NER and question answering for train_pytorch.py, without tensors: examples, windows, answers, scores.

    file -> examples -> windows -> (training) targets
                                -> (evaluation) rows of logits, one a token -> tags or answers -> scores

Windows are those of polyhead (docs/tasks/ner.md, docs/tasks/qa.md): a text longer than a window is read in windows that share
`stride` tokens, and a word counts in the window where its first sub-word has most context on both sides.
"""

import json
import re
import string
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

IGNORE = -100  # a token without a target, as torch's cross-entropy has it
BEST = 20  # starts, and ends, that take part in the search for an answer


@dataclass
class Window:
    """Token ids with what they stand for."""

    example: int  # which of the examples
    ids: list[int]
    types: list[int]
    spans: list  # by token: (start, end) in the context, or the number of the word it begins, or None
    target: list[int]  # a label by token, or IGNORE; of answers the first and last token, or [CLS] twice; of texts the label


def overlapping(length: int, size: int, shared: int) -> list[range]:
    """Ranges of at most `size` over 0..length, each sharing `shared` with the one before; the last ends at `length`."""
    starts = range(0, max(1, length - shared), max(1, size - shared)) if length > size else [0]
    return [range(start, min(start + size, length)) for start in starts]


def recipe_limit(data: dict, part: str) -> int | None:
    return data.get("limit" if part == "train" else f"{part}_limit")


class Ner:
    """Sentences in columns: the word first, its tag (IOB2) last."""

    def __init__(self, settings: dict, data: dict, tokenizer):
        self.settings, self.tokenizer = settings, tokenizer
        self.files = {part: (data.get(part), recipe_limit(data, part)) for part in ("train", "validation")}
        # As in polyhead: what the whole training file has.
        kinds = {tag[2:] for sentence in self.read(self.files["train"][0], None) for _, tag in sentence if tag != "O"}
        self.labels = ["O", *(f"{mark}-{kind}" for kind in sorted(kinds) for mark in "BI")]
        self.outputs = len(self.labels)

    @staticmethod
    def read(file: str, limit: int | None) -> list[list[tuple[str, str]]]:
        sentences, current = [], []
        for number, line in enumerate([*Path(file).read_text(encoding="utf-8").splitlines(), ""], 1):
            columns = line.split()
            if columns and columns[0] != "-DOCSTART-":
                if not re.fullmatch("O|[BI]-.+", columns[-1]):
                    sys.exit(f"{file}:{number}: expected a tag of the IOB2 scheme in the last column, found {line!r}")
                current.append((columns[0], columns[-1]))
            elif current:
                sentences.append(current)
                current = []
        return sentences[:limit]

    def examples(self, part: str) -> list:
        return self.read(*self.files[part])

    def windows(self, number: int, sentence: list[tuple[str, str]]) -> list[Window]:
        encoded = self.tokenizer([word for word, _ in sentence], is_split_into_words=True, add_special_tokens=False)
        words, ids = encoded.word_ids(), encoded["input_ids"]
        begins = [word if at == 0 or words[at - 1] != word else None for at, word in enumerate(words)]
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        made = []
        for part in overlapping(len(ids), self.settings["max_length"] - 2, self.settings.get("stride", 32)):
            spans = [None, *(begins[at] for at in part), None]
            made.append(Window(number, [cls, *(ids[at] for at in part), sep], [0] * len(spans), spans, [IGNORE] * len(spans)))
        for word, (window, at) in deciding(made).items():
            made[window].target[at] = self.target(sentence[word][1])
        # A window of which every word counts elsewhere teaches nothing.
        return [window for window in made if set(window.target) != {IGNORE}] or made[:1]

    def target(self, tag: str) -> int:
        return self.labels.index(tag)

    def tags(self, sentence: list[tuple[str, str]], windows: list[Window], rows: list) -> list[str]:
        """The best label of each word; O for words that the tokenizer makes nothing of."""
        tags = ["O"] * len(sentence)
        for word, (window, at) in deciding(windows).items():
            row = rows[window][at]
            tags[word] = self.labels[max(range(len(row)), key=row.__getitem__)]
        return tags

    def scores(self, examples: list, windows: list[list[Window]], rows: list[list]) -> dict:
        from seqeval.metrics import f1_score
        from seqeval.scheme import IOB2

        gold = [[tag for _, tag in sentence] for sentence in examples]
        found = [self.tags(*one) for one in zip(examples, windows, rows)]
        strict = f1_score(gold, found, mode="strict", scheme=IOB2)
        return {"micro_f1": 100 * f1_score(gold, found), "micro_f1_strict": 100 * strict}


def deciding(windows: list[Window]) -> dict[int, tuple[int, int]]:
    """By word: the window, and the token in it, where its first sub-word has most context; the first of equals."""
    best = {}
    for number, window in enumerate(windows):
        for at, word in enumerate(window.spans):
            context = min(at, len(window.spans) - 1 - at)
            if word is not None and (word not in best or context > best[word][0]):
                best[word] = (context, number, at)
    return {word: place for word, (_, *place) in best.items()}


class Qa:
    """Questions of SQuAD v1.1: the first gold answer trains, all of them count in the score."""

    outputs = 2  # of each token: is it the answer's start, is it its end

    def __init__(self, settings: dict, data: dict, tokenizer):
        self.settings, self.tokenizer = settings, tokenizer
        self.files = {part: (data.get(part), recipe_limit(data, part)) for part in ("train", "validation")}

    def examples(self, part: str) -> list[dict]:
        file, limit = self.files[part]
        found = [
            {"question": asked["question"], "context": paragraph["context"], "answers": asked["answers"]}
            for article in json.loads(Path(file).read_text(encoding="utf-8"))["data"]
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ][:limit]
        for question in found:
            first = question["answers"][0] if question["answers"] else sys.exit(f"{file}: a question without an answer")
            start = first["answer_start"]
            if question["context"][start : start + len(first["text"])] != first["text"]:
                sys.exit(f"{file}: {first['text']!r} is not at {start} of its context")
        return found

    def windows(self, number: int, example: dict) -> list[Window]:
        question = self.tokenizer(example["question"], add_special_tokens=False)["input_ids"]
        question = question[: self.settings.get("max_question_length", 64)]
        context = self.tokenizer(example["context"], add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = context["input_ids"], context["offset_mapping"]
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        before = [cls, *question, sep]
        made = []
        for part in overlapping(len(ids), self.settings["max_length"] - len(before) - 1, self.settings["stride"]):
            spans = [*[None] * len(before), *(offsets[at] for at in part), None]
            types = [*[0] * len(before), *[1] * (len(part) + 1)]
            target = self.target(example["answers"][0], spans)
            made.append(Window(number, [*before, *(ids[at] for at in part), sep], types, spans, target))
        return made

    @staticmethod
    def target(answer: dict, spans: list) -> list[int]:
        start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        inside = [(at, span) for at, span in enumerate(spans) if span]
        if not inside or inside[0][1][0] > start or inside[-1][1][1] < end:
            return [0, 0]
        first = max(at for at, span in inside if span[0] <= start)
        return [first, min(at for at, span in inside if span[1] >= end)]

    def answer(self, example: dict, windows: list[Window], rows: list) -> str:
        """Of all pairs of a good start and a good end, in order and not too long, the one with most logits."""
        best = (float("-inf"), "")
        for window, row in zip(windows, rows):
            places = range(len(row))
            starts = sorted(places, key=lambda at: row[at][0], reverse=True)[:BEST]
            ends = sorted(places, key=lambda at: row[at][1], reverse=True)[:BEST]
            for start in (at for at in starts if window.spans[at]):
                for end in (at for at in ends if window.spans[at]):
                    if start <= end < start + self.settings["max_answer_length"]:
                        text = example["context"][window.spans[start][0] : window.spans[end][1]]
                        best = max(best, (row[start][0] + row[end][1], text), key=lambda one: one[0])
        return best[1]

    def scores(self, examples: list[dict], windows: list[list[Window]], rows: list[list]) -> dict:
        exact = overlap = 0.0
        for example, *found in zip(examples, windows, rows):
            answer, golds = self.answer(example, *found), [gold["text"] for gold in example["answers"]]
            exact += max(plain(answer) == plain(gold) for gold in golds)
            overlap += max(word_f1(answer, gold) for gold in golds)
        return {"exact_match": 100 * exact / len(examples), "f1": 100 * overlap / len(examples)}


def plain(answer: str) -> str:
    """What SQuAD compares: lower case, without ASCII punctuation and the articles of English, single spaces."""
    letters = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", letters).split())


def word_f1(found: str, gold: str) -> float:
    """SQuAD v1.1's F1 of two answers as bags of words."""
    found, gold = plain(found).split(), plain(gold).split()
    same = sum((Counter(found) & Counter(gold)).values())
    return 2 * same / (len(found) + len(gold)) if same else 0.0
