#!/usr/bin/env python3
"""Compares polyhead's training windows with those that transformers' tokenizers make, on real data.

    python3 checks/features_parity.py --encoder MINILM_DIR --data DATA_DIR [--limit 2000]

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json. The reference follows run_ner.py and run_qa.py: first sub-word
labels, truncation to 128; windows of 384 with 128 overlapping, the first answer, [CLS] where the window does not hold it.
Needs transformers.
"""
import argparse
import json
import subprocess
from pathlib import Path

from transformers import AutoTokenizer


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
                target = [max(at for at in inside if offsets[at][0] <= first), min(at for at in inside if offsets[at][1] >= last)]
            yield ids, encoding["token_type_ids"][window], target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--limit", type=int, default=2000)
    args = parser.parse_args()
    ner, qa = args.data / "conll2003/train.txt", args.data / "squad/train-v1.1.json"
    overrides = [f"encoder.checkpoint={args.encoder}", f"data.ner.train={ner}", f"data.ner.validation={ner}",
                 f"data.qa.train={qa}", f"data.qa.validation={qa}", f"data.ner.limit={args.limit}",
                 f"data.qa.limit={args.limit}", "data.ner.validation_limit=1", "data.qa.validation_limit=1", "tasks.ner.truncate=true"]
    command = ["cargo", "run", "-q", "--release", "-p", "polyhead", "--example", "dump_features", "--", "recipes/report.toml", *overrides]
    ours = [json.loads(line) for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    labels = next(row["labels"] for row in ours if row["task"] == "ner")
    for task, reference in (("ner", ner_windows(tokenizer, ner, args.limit, labels)), ("qa", qa_windows(tokenizer, qa, args.limit))):
        mine = [row for row in ours if row["task"] == task]
        theirs = list(reference)
        different = [at for at, (row, want) in enumerate(zip(mine, theirs)) if (row["ids"], row["types"], row["target"]) != tuple(want)]
        print(f"{task}: {len(mine)} windows, transformers {len(theirs)}, different {len(different)}")
        for at in different[:3]:
            print("  ours  ", mine[at]["ids"][:12], mine[at]["target"][:12])
            print("  theirs", theirs[at][0][:12], theirs[at][2][:12])


if __name__ == "__main__":
    main()
