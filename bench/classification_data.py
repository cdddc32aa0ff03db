"""Makes data of text classification out of data sets of other tasks, as JSON Lines: pairs of texts, and several labels.

  pairs    squad/{train,validation}-v1.1.json: {"text": question, "text_pair": sentence, "label": "yes" or "no"}: does the sentence hold
           the answer? Of each question the sentence in which its first answer begins, and another of its context, drawn by the seed.
  several  conll2003/{train,valid}.txt: {"text": words, "labels": the types of the entities in the sentence}, perhaps none

Writes OUT/pairs-{train,validation}.jsonl and OUT/several-{train,validation}.jsonl. Questions and sentences come in an order that the
seed decides, the two pairs of a question together, so that the first so many are a sample.

Run: python3 bench/classification_data.py DATA_DIR OUT
"""

import argparse
import json
import random
import re
from pathlib import Path

# A sentence ends with a mark and its closing quotes or brackets, before white space and what may begin another.
END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")


def sentences(text):
    """The sentences of a text with where each begins and ends."""
    start = 0
    for end in END.finditer(text):
        yield start, end.start(), text[start : end.start()].strip()
        start = end.end()
    yield start, len(text), text[start:].strip()


def pairs(squad, key):
    for article in squad["data"]:
        for paragraph in article["paragraphs"]:
            parts = [part for part in sentences(paragraph["context"]) if part[2]]
            for asked in paragraph["qas"]:
                at = asked["answers"][0]["answer_start"]
                holding = [text for start, end, text in parts if start <= at < end]
                others = [text for start, end, text in parts if not start <= at < end]
                if holding and others:
                    yield [(asked["question"], holding[0], "yes"), (asked["question"], key.choice(others), "no")]


def conll(text):
    for sentence in re.split(r"\n\s*\n", text):
        rows = [line.split() for line in sentence.splitlines() if line.strip()]
        if rows and rows[0][0] != "-DOCSTART-":
            kinds = {row[-1].split("-", 1)[1] for row in rows if row[-1] != "O"}
            yield {"text": " ".join(row[0] for row in rows), "labels": sorted(kinds)}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{path}: {len(rows)} examples")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for split, file, tagged in [("train", "train-v1.1.json", "train.txt"), ("validation", "validation-v1.1.json", "valid.txt")]:
        key = random.Random(f"{args.seed} {split}")
        found = list(pairs(json.loads((args.data / "squad" / file).read_text()), key))
        key.shuffle(found)
        names = ["text", "text_pair", "label"]
        write(args.out / f"pairs-{split}.jsonl", [dict(zip(names, one)) for both in found for one in both])
        found = list(conll((args.data / "conll2003" / tagged).read_text()))
        key.shuffle(found)
        write(args.out / f"several-{split}.jsonl", found)


if __name__ == "__main__":
    main()
