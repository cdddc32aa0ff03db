#!/usr/bin/env python3
"""Compares polyhead's training windows with those that transformers' tokenizers make.

    python3 checks/features_parity.py --encoder MINILM_DIR --data DATA_DIR [--limit 2000]      real data
    python3 checks/features_parity.py --ugly [--limit 500]                                     each kind of tokenizer, ugly Unicode

DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json. The reference follows run_ner.py and run_qa.py: first sub-word
labels, truncation to 128; windows of 384 with 128 overlapping (ugly: 128 with 32), the first answer, [CLS] where the window does not hold
it. `--ugly` makes sentences and questions of pieces of many scripts, marks, spaces and emoji, and reads them with the tokenizers of
`fixtures/`. Two things differ from transformers on purpose and are left out: words of scripts without spaces have a label for each
character, and an answer that ends with a mark that an uncased tokenizer drops ends with the sub-word before it. Ends with status 1 if a window differs. Needs transformers and torch.
"""
import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
# A tokenizer of each kind.
TOKENIZERS = ["tiny-bert", "tiny-roberta", "tiny-xlm-roberta", "tiny-mpnet", "tiny-albert", "tiny-deberta-v2", "tiny-modernbert"]
PIECES = [
    "Ada", "London", "it's", "don't", "U.S.", "3.50", "1,000", "e-mail", "x" * 9, "naïve", "cafe\u0301", "Zoë", "İbrahim", "Straße", "ﬁn",
    "東京都", "北京", "서울", "각", "नेहरू", "ירושלים", "مرحبا", "Москва", "Ωμέγα", "ไทย", "👩\u200d🚀", "🇩🇪", "🚀", "😀!", "½", "²", "™", "…",
    "—", "‘is’", "“not”", "(", ")", ".", ",", "a\u0300\u0301", "x\u0302", "Ada\u200bLovelace", "so\u00adft", "\ufeffx", "#", "$", "<s>", "[SEP]", "_", "▁",
    "Ġ", "##a", "ﷺ", "𝒜", "ＡＢＣ", "ǆ", "K", "Å",
]
UNSPACED = {"東京都", "北京", "ไทย"}
SPACES = [" ", " ", " ", "  ", "\u00a0", "\u3000", "\u2003", "\t", "\n", ""]


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


def ugly_sentences(rng: random.Random, limit: int):
    for _ in range(limit):
        words = [piece for piece in rng.choices(PIECES, k=rng.randint(1, 25)) if piece not in UNSPACED] or ["Ada"]
        yield words, [rng.choice(["O", "B-X"]) for _ in words]


def ugly_questions(rng: random.Random, limit: int):
    """(question, context, answer); the answer is some of the pieces, with what stands between them."""
    for _ in range(limit):
        pieces = [rng.choice(PIECES) for _ in range(rng.randint(3, 60))]
        first = rng.randrange(len(pieces))
        last = min(len(pieces) - 1, first + rng.randrange(4))
        if not pieces[last][-1].isalnum():
            pieces[last] = "London"
        context, start, end = rng.choice(["", " ", "\u00a0"]), 0, 0
        for at, piece in enumerate(pieces):
            start = len(context) if at == first else start
            context += piece
            end = len(context) if at == last else end
            context += rng.choice(SPACES)
        question = rng.choice(["", " "]) + "".join(rng.choice(PIECES) + rng.choice(SPACES) for _ in range(3)) + "?"
        yield question, context, {"answer_start": start, "text": context[start:end]}


def ner_windows(tokenizer, examples, labels):
    for words, tags in examples:
        encoding = tokenizer(words, is_split_into_words=True, truncation=True, max_length=128, return_token_type_ids=True)
        target, previous = [], None
        for word in encoding.word_ids():
            target.append(-100 if word is None or word == previous else labels.index(tags[word]))
            previous = word
        yield encoding["input_ids"], encoding["token_type_ids"], target


def qa_windows(tokenizer, examples, max_length, stride):
    for question, context, answer in examples:
        encoding = tokenizer(question.lstrip(), context, truncation="only_second", max_length=max_length, stride=stride,
                             return_overflowing_tokens=True, return_offsets_mapping=True, return_token_type_ids=True)
        first, last = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        for window, ids in enumerate(encoding["input_ids"]):
            offsets, sequence = encoding["offset_mapping"][window], encoding.sequence_ids(window)
            inside = [at for at, part in enumerate(sequence) if part == 1]
            target = [0, 0]
            if offsets[inside[0]][0] <= first and offsets[inside[-1]][1] >= last:
                start = max(at for at in inside if offsets[at][0] <= first)
                target = [start, min(at for at in inside if offsets[at][1] >= last)]
            yield ids, encoding["token_type_ids"][window], target


def compare(args, name: str, encoder: Path, files: tuple[Path, Path], examples: dict, lengths: tuple[int, int]) -> bool:
    """Prints how many windows of each task differ; whether none does."""
    (ner, qa), (max_length, stride) = files, lengths
    overrides = [f"encoder.checkpoint={encoder}", f"data.ner.train={ner}", f"data.ner.validation={ner}",
                 f"data.qa.train={qa}", f"data.qa.validation={qa}", f"data.ner.limit={args.limit}",
                 f"data.qa.limit={args.limit}", "data.ner.validation_limit=1", "data.qa.validation_limit=1",
                 "tasks.ner.truncate=true", f"tasks.qa.max_length={max_length}", f"tasks.qa.stride={stride}"]
    cargo = ["cargo", "run", "-q", "--release", "-p", "polyhead", "--example", "dump_features", "--"]
    command = [*([args.dump] if args.dump else cargo), "recipes/report.toml", *overrides]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr.strip()}")
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    labels = next(row["labels"] for row in ours if row["task"] == "ner")
    of_texts = tokenizer_of(encoder)
    of_words = tokenizer_of(encoder, behind_spaces=True)
    references = {"ner": ner_windows(of_words, examples["ner"], labels), "qa": qa_windows(of_texts, examples["qa"], max_length, stride)}
    typed = json.loads((encoder / "config.json").read_text()).get("type_vocab_size", 0) > 1
    same = True
    for task, reference in references.items():
        mine, theirs = [row for row in ours if row["task"] == task], list(reference)
        # Targets are classes or positions, by name. Encoders without token types get none.
        pairs = [((row["ids"], row["types"] if typed else want[1], *row["targets"].values()), want) for row, want in zip(mine, theirs)]
        different = [pair for pair in pairs if pair[0] != pair[1]]
        same &= bool(mine) and len(mine) == len(theirs) and not different
        print(f"{name}, {task}: {len(mine)} windows, transformers {len(theirs)}, different {len(different)}")
        for found, want in different[:3]:
            for what, one, other in zip(["ids", "types", "targets"], found, want):
                if one != other:
                    print(f"  {what}: ours {one[:40]}, theirs {other[:40]}")
    return same


def tokenizer_of(encoder: Path, behind_spaces: bool = False):
    """The tokenizer of `tokenizer.json` as it stands; in a list of words each stands behind a space, as transformers asks for with
    byte-level ones."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(encoder / "tokenizer.json"))
    inner = tokenizer.backend_tokenizer
    if behind_spaces and type(inner.pre_tokenizer).__name__ == "ByteLevel":
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def of_fixture(name: str, folder: Path) -> Path:
    """A model folder with the tokenizer and the configuration of a fixture; no window depends on the weights."""
    source = ROOT / "fixtures" / name
    # XLM-RoBERTa has a tokenizer alone there, and RoBERTa's layers.
    own = source if (source / "config.json").exists() else source.parent / "tiny-roberta"
    config = AutoConfig.from_pretrained(own)
    vocabulary = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    config.vocab_size = max(config.vocab_size, len(vocabulary) + 20)
    config.max_position_embeddings = max(config.max_position_embeddings, 140)
    AutoModel.from_config(config).save_pretrained(folder)
    shutil.copy(source / "tokenizer.json", folder / "tokenizer.json")
    return folder


def ugly(args) -> bool:
    rng = random.Random(args.seed)
    examples = {"ner": list(ugly_sentences(rng, args.limit)), "qa": list(ugly_questions(rng, args.limit))}
    same = True
    with tempfile.TemporaryDirectory() as scratch:
        files = (Path(scratch) / "ner.jsonl", Path(scratch) / "qa.jsonl")
        rows = [{"words": words, "tags": tags} for words, tags in examples["ner"]]
        files[0].write_text("".join(json.dumps(row) + "\n" for row in rows))
        rows = [{"id": str(at), "question": question, "context": context, "answers": [answer]}
                for at, (question, context, answer) in enumerate(examples["qa"])]
        files[1].write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name in TOKENIZERS:
            same &= compare(args, name, of_fixture(name, Path(scratch) / name), files, examples, (128, 32))
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=lambda path: Path(path).resolve())
    parser.add_argument("--data", type=lambda path: Path(path).resolve())
    parser.add_argument("--ugly", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="of the ugly texts (%(default)s)")
    parser.add_argument("--limit", type=int, help="examples of each task (2000; ugly: 500)")
    parser.add_argument("--dump", help="the built example dump_features; cargo runs it if this is left out")
    args = parser.parse_args()
    args.limit = args.limit or (500 if args.ugly else 2000)
    if args.ugly:
        sys.exit(0 if ugly(args) else 1)
    if not (args.encoder and args.data):
        parser.error("expected --encoder and --data, or --ugly")
    ner, qa = args.data / "conll2003/train.txt", args.data / "squad/train-v1.1.json"
    examples = {"ner": sentences(ner, args.limit), "qa": questions(qa, args.limit)}
    sys.exit(0 if compare(args, args.encoder.name, args.encoder, (ner, qa), examples, (384, 128)) else 1)


if __name__ == "__main__":
    main()
