#!/usr/bin/env python3
"""Compares polyhead's training windows with those that transformers' tokenizers make, on real data.

    python3 checks/features_parity.py --encoder MINILM_DIR --data DATA_DIR [--limit 2000]

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json. The reference follows run_ner.py and run_qa.py: first sub-word
labels, truncation to 128; windows of 384 with 128 overlapping, the first answer, [CLS] where the window does not hold it.
Ends with status 1 if a window differs. Needs transformers.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent


def sentences(path: Path, limit: int):
    words, tags, count = [], [], 0
    for line in [*path.read_text(encoding="utf8").splitlines(), ""]:
        parts = line.split()
        if parts and parts[0] != "-DOCSTART-":
            words.append(parts[0])
            tags.append(parts[-1])
        elif words:
            yield words, tags
            words, tags, count = [], [], count + 1
            if count == limit:
                return


def questions(path: Path, limit: int):
    rows = (
        (qa["question"], paragraph["context"], qa["answers"][0])
        for article in json.loads(path.read_text())["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    )
    yield from (row for row, _ in zip(rows, range(limit)))


def ner_windows(tokenizer, path, limit, labels):
    for words, tags in sentences(path, limit):
        encoding = tokenizer(words, is_split_into_words=True, truncation=True, max_length=128)
        target, previous = [], None
        for word in encoding.word_ids():
            target.append(-100 if word is None or word == previous else labels.index(tags[word]))
            previous = word
        yield encoding["input_ids"], encoding["token_type_ids"], target


def qa_windows(tokenizer, path, limit):
    for question, context, answer in questions(path, limit):
        encoding = tokenizer(question.lstrip(), context, truncation="only_second", max_length=384, stride=128,
                             return_overflowing_tokens=True, return_offsets_mapping=True)
        first, last = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        for window, ids in enumerate(encoding["input_ids"]):
            offsets, sequence = encoding["offset_mapping"][window], encoding.sequence_ids(window)
            inside = [at for at, part in enumerate(sequence) if part == 1]
            target = [0, 0]
            if offsets[inside[0]][0] <= first and offsets[inside[-1]][1] >= last:
                start = max(at for at in inside if offsets[at][0] <= first)
                target = [start, min(at for at in inside if offsets[at][1] >= last)]
            yield ids, encoding["token_type_ids"][window], target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--data", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--dump", help="the built example dump_features; cargo runs it if this is left out")
    args = parser.parse_args()
    ner, qa = args.data / "conll2003/train.txt", args.data / "squad/train-v1.1.json"
    overrides = [f"encoder.checkpoint={args.encoder}", f"data.ner.train={ner}", f"data.ner.validation={ner}",
                 f"data.qa.train={qa}", f"data.qa.validation={qa}", f"data.ner.limit={args.limit}",
                 f"data.qa.limit={args.limit}", "data.ner.validation_limit=1", "data.qa.validation_limit=1",
                 "tasks.ner.truncate=true"]
    cargo = ["cargo", "run", "-q", "--release", "-p", "polyhead", "--example", "dump_features", "--"]
    command = [*([args.dump] if args.dump else cargo), "recipes/report.toml", *overrides]
    output = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    ours = [json.loads(line) for line in output.splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    labels = next(row["labels"] for row in ours if row["task"] == "ner")
    references = {"ner": ner_windows(tokenizer, ner, args.limit, labels), "qa": qa_windows(tokenizer, qa, args.limit)}
    same = True
    for task, reference in references.items():
        mine, theirs = [row for row in ours if row["task"] == task], list(reference)
        pairs = [((row["ids"], row["types"], row["target"]), want) for row, want in zip(mine, theirs)]
        different = [pair for pair in pairs if pair[0] != pair[1]]
        same &= bool(mine) and len(mine) == len(theirs) and not different
        print(f"{task}: {len(mine)} windows, transformers {len(theirs)}, different {len(different)}")
        for found, want in different[:3]:
            print("  ours  ", found[0][:12], found[2][:12])
            print("  theirs", want[0][:12], want[2][:12])
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
