"""The peer of bench/compare.py trains what polyhead trains: the same losses, step by step. Run by hand.

Both begin with the same encoder and heads, in f32 without dropout, and every batch is all that a task has, so that no generator
has a say. Then the loss of each step depends on all that the steps before it did: windows, targets, losses, gradients, clipping,
learning rates, AdamW and its decay. The error is |a - b| / b, bound 1e-5. Ends with status 1 if a step is further off.

Run from the repository: python checks/peer_parity.py MODEL --data DATA_DIR
MODEL is a folder that `polyhead train` made of recipes/report.toml; DATA_DIR holds conll2003/train.txt and squad/train-v1.1.json.
Needs torch, transformers, safetensors, and cargo (or --polyhead BIN).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.utils import logging

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench/peers"))
import train_pytorch  # noqa: E402

logging.set_verbosity_error()  # else it lists the heads, which are loaded by hand
logging.disable_progress_bar()
BOUND = 1e-5
RECIPE = ROOT / "recipes/report.toml"


def without_dropout(model: Path, into: Path) -> Path:
    shutil.copytree(model, into)
    config = json.loads((into / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (into / "config.json").write_text(json.dumps(config))
    return into


def of_polyhead(args, changes: list[str], scratch: Path) -> list[float]:
    command = [args.polyhead] if args.polyhead else ["cargo", "run", "-q", "--release", "--bin", "polyhead", "--"]
    own = [*changes, f"output={scratch}", "name=run", "train.precision=f32"]
    pairs = [part for change in own for part in ("--set", change)]
    done = subprocess.run([*command, "train", RECIPE, "--json", "--quiet", *pairs], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, text=True)
    events = map(json.loads, done.stdout.splitlines())
    return [event["loss"] for event in events if event["event"] == "step"]


def of_peer(changes: list[str]) -> list[float]:
    recipe = train_pytorch.read_recipe(RECIPE, changes)
    tokenizer, tasks, windows = train_pytorch.prepare(recipe)
    model = train_pytorch.Multitask(recipe, tasks, "sdpa")
    saved = load_file(Path(recipe["encoder"]["checkpoint"]) / "model.safetensors")
    heads = {"ner": "heads.ner.{}", "qa": ["heads.qa.start.{}", "heads.qa.end.{}"]}
    with torch.no_grad():
        for part in ("weight", "bias"):
            getattr(model.heads["ner"][1], part).copy_(saved[heads["ner"].format(part)])
            getattr(model.heads["qa"][1], part).copy_(torch.cat([saved[name.format(part)] for name in heads["qa"]]))
    losses, loss_of = [], train_pytorch.loss_of

    def recorded(*arguments):
        loss = loss_of(*arguments)
        losses.append(loss.item())
        return loss

    train_pytorch.loss_of = recorded
    train_pytorch.train(model, recipe, windows, tokenizer.pad_token_id, tuned=True, bf16=False)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--polyhead", type=lambda path: Path(path).resolve(), help="the binary; cargo runs it if this is left out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = {"ner": args.data.resolve() / "conll2003/train.txt", "qa": args.data.resolve() / "squad/train-v1.1.json"}
        changes = [f"encoder.checkpoint={without_dropout(args.model, Path(scratch) / 'model')}", "train.epochs=5",
                   "train.learning_rate=2e-4", "train.weight_decay=0.1", "train.warmup=0.3", "train.order=random"]
        for task, file in data.items():
            changes += [f"data.{task}.train={file}", f"data.{task}.validation={file}", f"data.{task}.limit=12",
                        f"data.{task}.validation_limit=1", f"tasks.{task}.batch_size=64", f"tasks.{task}.dropout=0"]
        ours, theirs = of_polyhead(args, changes, Path(scratch)), of_peer(changes)
    errors = [abs(a - b) / b for a, b in zip(ours, theirs)]
    for step, (a, b, error) in enumerate(zip(ours, theirs, errors)):
        print(f"{'ok' if error <= BOUND else 'FAILED':6} step {step + 1:2}: {a:.6f} {b:.6f}  {error:.0e}")
    moved = ours[-1] < 0.9 * ours[1]
    print(f"{'ok' if moved else 'FAILED':6} training changed the loss of QA from {ours[1]:.4f} to {ours[-1]:.4f}")
    sys.exit(0 if len(ours) == len(theirs) == 10 and moved and max(errors) <= BOUND else 1)


if __name__ == "__main__":
    main()
