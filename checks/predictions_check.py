"""Recomputes the scores of `polyhead eval` from the file of --predictions alone, with seqeval, the SQuAD v2.0 metric and the evaluation
of CoNLL 2018.

  polyhead eval MODEL --task ner --data dev.conll --predictions ner.jsonl --json > ner.json
  polyhead eval MODEL --task qa --data dev.json --predictions qa.jsonl --squad-predictions squad.json --json > qa.json
  python checks/predictions_check.py --ner ner.jsonl ner.json
  python checks/predictions_check.py --qa qa.jsonl qa.json [--squad squad.json] [--data dev.json --official DIR]
  polyhead eval MODEL --task parse --data dev.conllu --predictions parse.jsonl --json > parse.json
  python checks/predictions_check.py --trees parse.jsonl parse.json --data dev.conllu --official DIR

The SQuAD metric is that of transformers 4 (`squad_metrics`; 5 has none), whose rules are those of v2.0; or with `--official DIR`
the scripts themselves, evaluate-v1.1.py and evaluate-v2.0.py (see fixtures/README.md), which read `--data`. Needs seqeval for
--ner, transformers 4 for --qa, or numpy for --official. Trees are scored by conll18_ud_eval.py of `DIR`, which reads the file of gold
trees, and the same file with the heads and relations that were predicted.

Where "no answer" is allowed, the best answers and the scores of "no answer" are given to the metric as well: it searches for the
threshold that polyhead's `best_*` must have found, and the answers printed must be those of one threshold.

Exits with 1 if a figure differs by more than 1e-6, and if agreement would prove little: a v2.0 file must have questions of
every kind (answered rightly, in part, wrongly, not at all; without an answer, and that found or not), and a threshold that is
better than to answer nothing. A model that has seen 80 questions fourteen times and is asked about them and 120 others gets
there once `null_threshold` in the task's part of its config.json is in the middle of the `no_answer_score`s of qa.jsonl.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

FAR = 1e-6
V1 = {"exact_match": "exact", "f1": "f1"}
V2 = V1 | {"has_answer_exact_match": "HasAns_exact", "has_answer_f1": "HasAns_f1",
           "no_answer_exact_match": "NoAns_exact", "no_answer_f1": "NoAns_f1"}
BEST = {"best_exact_match": "best_exact", "best_exact_match_threshold": "best_exact_thresh",
        "best_f1": "best_f1", "best_f1_threshold": "best_f1_thresh"}


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def values(report):
    return json.loads(Path(report).read_text(encoding="utf-8"))["score"]["values"]


def compare(name, ours, theirs):
    same = abs(ours - theirs) <= FAR
    print(f"{'same' if same else 'DIFFERENT':9}  {name:26}  {ours:.6f}  {theirs:.6f}")
    return same


def holds(condition, what):
    print(f"{'holds' if condition else 'FAILED':9}  {what}")
    return condition


def ner(predictions, report):
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    rows = lines(predictions)
    gold, found = [row["gold_tags"] for row in rows], [row["tags"] for row in rows]
    ours = values(report)
    same = [compare("token_accuracy", ours["token_accuracy"], 100 * accuracy_score(gold, found))]
    scores = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    for scheme, options in [("", {}), ("_strict", {"mode": "strict", "scheme": IOB2})]:
        for name, score in scores.items():
            theirs = 100 * score(gold, found, average="micro", zero_division=0, **options)
            same.append(compare(f"micro_{name}{scheme}", ours[f"micro_{name}{scheme}"], theirs))
        # seqeval's strict report leaves out kinds of which neither side has an entity.
        theirs = 100 * f1_score(gold, found, average="macro", zero_division=0, **options)
        same.append(compare(f"macro_f1{scheme}", ours[f"macro_f1{scheme}"], theirs))
    return same


# The SQuAD metric: answers by id, and the scores of "no answer" or None -> figures by the names of evaluate-v2.0.py


def by_transformers(rows):
    from transformers.data.metrics.squad_metrics import squad_evaluate

    examples = [SimpleNamespace(qas_id=row["id"], answers=[{"text": gold} for gold in row["gold_answers"]]) for row in rows]
    # No score of "no answer" is beyond the threshold: what is answered is scored as it stands.
    return lambda answers, scores: squad_evaluate(examples, answers, scores, float("inf"))


def by_official_script(args, v2):
    script = Path(args.official) / ("evaluate-v2.0.py" if v2 else "evaluate-v1.1.py")

    def evaluate(answers, scores):
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch) / name for name in ("answers.json", "scores.json")]
            for file, content in zip(files, (answers, scores)):
                file.write_text(json.dumps(content))
            options = ["--na-prob-file", files[1], "--na-prob-thresh", "inf"] if scores else []
            command = [sys.executable, script, args.data, files[0], *options]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        return found | {"exact": found["exact_match"]} if "exact_match" in found else found

    return evaluate


def qa(args):
    rows, ours = lines(args.qa[0]), values(args.qa[1])
    v2 = "has_answer_f1" in ours
    evaluate = by_official_script(args, v2) if args.official else by_transformers(rows)
    answers = {row["id"]: row["answer"] for row in rows}
    found = evaluate(answers, None)
    same = [holds(len(answers) == len(rows), f"{len(rows)} questions, each with an id of its own")]
    same += [compare(name, ours[name], found[theirs]) for name, theirs in (V2 if v2 else V1).items() if theirs in found]
    if args.squad:
        official = json.loads(Path(args.squad).read_text(encoding="utf-8"))
        same.append(holds(official == answers, "the file of --squad-predictions has these answers"))
    if v2:
        # A context without a token has neither.
        best = {row["id"]: row.get("best_answer", "") for row in rows}
        scores = {row["id"]: row.get("no_answer_score", 0.0) for row in rows}
        found = evaluate(best, scores)
        same += [compare(name, ours[name], found[theirs]) for name, theirs in BEST.items()]
        same += one_threshold(rows)
        same += proves_something(rows, ours)
    return same


def one_threshold(rows):
    """What is answered is the best answer, unless the score of "no answer" is above one threshold."""
    given = [row for row in rows if row["answer"]]
    left = [row["no_answer_score"] for row in rows if not row["answer"] and row.get("best_answer")]
    most, least = max((row["no_answer_score"] for row in given), default=0.0), min(left, default=float("inf"))
    return [
        holds(all(row["answer"] == row["best_answer"] for row in given), "every answer given is the best one"),
        holds(most < least, f"answers up to a no_answer_score of {most:.3f}, none from {least:.3f} on"),
    ]


def proves_something(rows, ours):
    kinds = dict.fromkeys(["right", "in part", "wrong", "not answered", "none, found", "none, not found"], 0)
    for row in rows:
        if not row["gold_answers"]:
            kinds["none, not found" if row["answer"] else "none, found"] += 1
        elif not row["answer"]:
            kinds["not answered"] += 1
        else:
            words = [set(text.lower().split()) for text in [row["answer"], *row["gold_answers"]]]
            shared = any(words[0] & gold for gold in words[1:])
            kinds["right" if row["answer"] in row["gold_answers"] else "in part" if shared else "wrong"] += 1
    told = ", ".join(f"{name} {count}" for name, count in kinds.items())
    nothing = 100 * (kinds["none, found"] + kinds["none, not found"]) / max(len(rows), 1)
    return [
        holds(all(kinds.values()), f"questions of every kind: {told}"),
        holds(min(ours["best_f1"], ours["best_exact_match"]) > nothing, f"best_* above the {nothing:.2f} of no answers at all"),
    ]


def trees(args):
    rows, ours = lines(args.trees[0]), values(args.trees[1])
    found, written, at = iter(rows), [], None
    for line in Path(args.data).read_text(encoding="utf-8").split("\n"):
        cells = line.split("\t")
        if cells[0].isdigit():
            if cells[0] == "1":
                at = iter(next(found)["words"])
            word = next(at)
            assert word["text"] == cells[1], (word, line)
            line = "\t".join([*cells[:6], str(word["head"]), word["label"], *cells[8:]])
        written.append(line)
    with tempfile.TemporaryDirectory() as scratch:
        system = Path(scratch) / "system.conllu"
        system.write_text("\n".join(written), encoding="utf-8")
        command = [sys.executable, Path(args.official) / "conll18_ud_eval.py", "-c", args.data, system]
        table = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    counts = {cells[0].strip(): [int(cell) for cell in cells[1:4]] for cells in (row.split("|") for row in table.splitlines()[2:])}
    f1 = lambda correct, gold, predicted: 200 * correct / (gold + predicted)
    same = [compare(name, ours[name], f1(*counts[name.upper()])) for name in ("las", "uas", "clas")]
    return [*same, holds(next(found, None) is None, f"{len(rows)} sentences, in the order of the file")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ner", nargs=2, metavar=("PREDICTIONS", "REPORT"))
    parser.add_argument("--qa", nargs=2, metavar=("PREDICTIONS", "REPORT"))
    parser.add_argument("--trees", nargs=2, metavar=("PREDICTIONS", "REPORT"))
    parser.add_argument("--squad", help="the file of --squad-predictions")
    parser.add_argument("--data", help="the file that was scored")
    parser.add_argument("--official", help="a folder with the official scripts")
    args = parser.parse_args()
    if not (args.ner or args.qa or args.trees) or (args.official and not args.data):
        parser.error("expected --ner, --qa or --trees, and --data with --official")
    if args.trees and not args.official:
        parser.error("expected --data and --official with --trees")
    same = []
    if args.ner:
        with contextlib.redirect_stderr(io.StringIO()):  # warnings on kinds without an entity
            same += ner(*args.ner)
    if args.qa:
        same += qa(args)
    if args.trees:
        same += trees(args)
    sys.exit(0 if all(same) else 1)


if __name__ == "__main__":
    main()
