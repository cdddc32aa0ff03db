"""Recomputes the scores of `polyhead eval` from the file of --predictions alone, with seqeval and the official SQuAD scripts.

  polyhead eval MODEL --task ner --data dev.conll --predictions ner.jsonl --json > ner.json
  polyhead eval MODEL --task qa --data dev.json --predictions qa.jsonl --squad-predictions squad.json --json > qa.json
  python checks/predictions_check.py --ner ner.jsonl ner.json
  python checks/predictions_check.py --qa qa.jsonl qa.json [--squad squad.json --data dev.json] [--official DIR]

`--official DIR` names a folder with evaluate-v1.1.py and evaluate-v2.0.py (see fixtures/README.md), which are then run on
`--data` and `--squad`; without it, the rules are those of `squad_metrics` of transformers 4, which are those of v2.0.
Needs seqeval for --ner, transformers 4 for --qa without --official (5 has no `squad_metrics`). Exits with 1 if a score differs by more than 1e-6.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

FAR = 1e-6


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def compare(name, ours, theirs):
    same = abs(ours - theirs) <= FAR
    print(f"{'same' if same else 'DIFFERENT':9}  {name:24}  {ours:.6f}  {theirs:.6f}")
    return same


def ner(predictions, report):
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    rows = lines(predictions)
    gold, found = [row["gold_tags"] for row in rows], [row["tags"] for row in rows]
    ours = json.loads(Path(report).read_text())["score"]["values"]
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


def qa_by_transformers(predictions, report):
    from transformers.data.metrics.squad_metrics import compute_exact, compute_f1, normalize_answer

    rows = lines(predictions)
    ours = json.loads(Path(report).read_text())["score"]["values"]
    exact, f1, totals = {}, {}, {"has_answer": [], "no_answer": []}
    for row in rows:
        golds = [gold for gold in row["gold_answers"] if normalize_answer(gold)] or [""]
        exact[row["id"]] = max(compute_exact(gold, row["answer"]) for gold in golds)
        f1[row["id"]] = max(compute_f1(gold, row["answer"]) for gold in golds)
        totals["has_answer" if row["gold_answers"] else "no_answer"].append(row["id"])
    mean = lambda scores, ids: 100 * sum(scores[id] for id in ids) / max(len(ids), 1)
    everything = [row["id"] for row in rows]
    same = [
        compare("exact_match", ours["exact_match"], mean(exact, everything)),
        compare("f1", ours["f1"], mean(f1, everything)),
    ]
    if "has_answer_f1" in ours:
        for name, ids in totals.items():
            same.append(compare(f"{name}_exact_match", ours[f"{name}_exact_match"], mean(exact, ids)))
            same.append(compare(f"{name}_f1", ours[f"{name}_f1"], mean(f1, ids)))
    return same


def qa_by_the_official_script(args, report):
    ours = json.loads(Path(report).read_text())["score"]["values"]
    v2 = "has_answer_f1" in ours
    script = Path(args.official) / ("evaluate-v2.0.py" if v2 else "evaluate-v1.1.py")
    call = [sys.executable, str(script), args.data, args.squad]
    ran = subprocess.run(call, check=True, capture_output=True, text=True)
    theirs = json.loads(ran.stdout)
    names = {"exact_match": "exact", "f1": "f1", "has_answer_f1": "HasAns_f1", "no_answer_f1": "NoAns_f1",
             "has_answer_exact_match": "HasAns_exact", "no_answer_exact_match": "NoAns_exact"} if v2 else {
             "exact_match": "exact_match", "f1": "f1"}
    return [compare(f"{ours_} (official)", ours[ours_], theirs[name]) for ours_, name in names.items() if name in theirs]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ner", nargs=2, metavar=("PREDICTIONS", "REPORT"))
    parser.add_argument("--qa", nargs=2, metavar=("PREDICTIONS", "REPORT"))
    parser.add_argument("--squad", help="the file of --squad-predictions")
    parser.add_argument("--data", help="the SQuAD file that was scored")
    parser.add_argument("--official", help="a folder with the official scripts")
    args = parser.parse_args()
    same = []
    if args.ner:
        with contextlib.redirect_stderr(io.StringIO()):  # warnings on kinds without an entity
            same += ner(*args.ner)
    if args.qa:
        same += qa_by_the_official_script(args, args.qa[1]) if args.official else qa_by_transformers(*args.qa)
    if args.squad and args.qa:
        official = json.loads(Path(args.squad).read_text(encoding="utf-8"))
        same.append(official == {row["id"]: row["answer"] for row in lines(args.qa[0])})
    sys.exit(0 if same and all(same) else 1)


if __name__ == "__main__":
    main()
