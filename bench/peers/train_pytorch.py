#!/usr/bin/env python3
"""A recipe of polyhead, trained by PyTorch and transformers on a CPU: the peer of compare.py's training.

    python bench/peers/train_pytorch.py tuned recipes/report.toml --set encoder.checkpoint=MINILM_DIR \\
        --set data.ner.train=train.txt --set data.qa.train=train-v1.1.json [--set KEY=VALUE ...] [--eval]

    tuned   the fastest PyTorch we know on a CPU: windows of like length in a batch, padded to the longest of it; SDPA; bf16 by
            autocast where the processor multiplies bf16 natively, else f32; fused AdamW
    seed    how a first version is often written: any windows in a batch, each padded to max_length; eager attention; f32

Both train what polyhead trains: one encoder, a head for each task (heads.py), their batches in turn, AdamW (no decay on
biases and LayerNorm), a learning rate that rises and falls linearly, that of heads times `head_rate`, gradients clipped. Settings are
read from the recipe, so that both sides have the same; a key that is needed and missing ends the script. Batches are drawn by a
generator of this script's own: it counts polyhead's steps and tokens, and does not repeat its batches.

The last line of the output is one JSON object: `steps`, `real_tokens` (padding is none), `padded_tokens` (with it), `wall_s`
(of the training loop alone), `loss` (by task, the mean of the last epoch), `precision`, and with --eval `scores` of the
validation data: of entities seqeval's F1, of questions the official exact match and F1 of SQuAD v1.1, of texts scikit-learn's accuracy and F1, of
relations, tags and trees what the official evaluations count (texts.py, treebank.py).

Needs torch and transformers, for --eval of entities seqeval and of texts scikit-learn too.
"""

import argparse
import inspect
import json
import os
import sys
import time
import tomllib
from collections import defaultdict
from itertools import chain, zip_longest
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from heads import head_of
from tasks import Ner, Qa, Window
from texts import Classify, Relation
from treebank import Parse, Tag

KINDS = {"ner": Ner, "qa": Qa, "classify": Classify, "tag": Tag, "relation": Relation, "parse": Parse}
EVALUATION_BATCH = 32
POOL = 50  # batches whose windows are sorted by length together


def read_recipe(file: Path, changes: list[str]) -> dict:
    """The recipe with `section.key=value` set; a value that is no TOML is a string."""
    recipe = tomllib.loads(file.read_text(encoding="utf-8"))
    for change in changes:
        name, _, value = change.partition("=")
        try:
            value = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            pass
        *sections, key = name.split(".")
        place = recipe
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return recipe


def native_bf16() -> bool:
    """Whether the processor has instructions that multiply bf16: without, bf16 is many times slower than f32."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def prepare(recipe: dict):
    """The tokenizer, and by task its code and its windows of training data."""
    tokenizer = AutoTokenizer.from_pretrained(recipe["encoder"]["checkpoint"])
    settings, data = recipe["tasks"].items(), recipe["data"]
    tasks = {name: KINDS[task["kind"]](task, data[name], tokenizer) for name, task in settings}
    windows = {
        name: [window for number, example in enumerate(task.examples("train")) for window in task.windows(number, example)]
        for name, task in tasks.items()
    }
    return tokenizer, tasks, windows


# The model


def takes(function, name: str) -> bool:
    return name in inspect.signature(function).parameters


class Multitask(torch.nn.Module):
    """One encoder, and a head for each task."""

    def __init__(self, recipe: dict, tasks: dict, attention: str):
        super().__init__()
        checkpoint = recipe["encoder"]["checkpoint"]
        kind = AutoModel._model_mapping[type(AutoConfig.from_pretrained(checkpoint))]
        # Not every family has a pooler, or SDPA.
        load = {"add_pooling_layer": False} if takes(kind.__init__, "add_pooling_layer") else {}
        attention = attention if getattr(kind, "_supports_sdpa", False) else "eager"
        self.encoder = kind.from_pretrained(checkpoint, attn_implementation=attention, dtype=torch.float32, **load)
        # RoBERTa has a table of one type, whatever the tokenizer says.
        one = getattr(self.encoder.config, "type_vocab_size", 2) < 2
        self.takes_types = takes(kind.forward, "token_type_ids") and not one
        self.heads = torch.nn.ModuleDict()
        for name, task in tasks.items():
            settings = recipe["tasks"][name]
            self.heads[name] = head_of(settings["kind"], settings, task, self.encoder.config.hidden_size)

    def forward(self, task: str, windows: list[Window], ids, types, mask):
        """[windows, tokens] each; the outputs of the head."""
        mask = None if mask.all() else mask  # attention without a mask is faster
        types = {"token_type_ids": types} if self.takes_types else {}
        hidden = self.encoder(input_ids=ids, attention_mask=mask, **types).last_hidden_state
        return self.heads[task](hidden, windows)


def padded(windows: list[Window], length: int, pad: int) -> tuple[torch.Tensor, ...]:
    """ids, types and mask, [windows, length]"""
    ids = torch.full((len(windows), length), pad)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, window in enumerate(windows):
        count = len(window.ids)
        ids[row, :count] = torch.tensor(window.ids)
        types[row, :count] = torch.tensor(window.types)
        mask[row, :count] = 1
    return ids, types, mask


# Training


def batches(windows: list[Window], size: int, by_length: bool, chance: torch.Generator) -> list[list[Window]]:
    """All windows of an epoch, each once: any with any, or pools of batches sorted by length and the batches mixed."""
    order = torch.randperm(len(windows), generator=chance).tolist()
    if by_length:
        pools = [order[at : at + POOL * size] for at in range(0, len(order), POOL * size)]
        order = list(chain.from_iterable(sorted(pool, key=lambda at: len(windows[at].ids)) for pool in pools))
    made = [[windows[at] for at in order[start : start + size]] for start in range(0, len(order), size)]
    return [made[at] for at in torch.randperm(len(made), generator=chance).tolist()] if by_length else made


def in_turn(of_tasks: dict[str, list]) -> list[tuple[str, list[Window]]]:
    """A batch of each task in turn; a task whose batches are used up is passed over."""
    rounds = zip_longest(*([(task, batch) for batch in found] for task, found in of_tasks.items()))
    return [step for steps in rounds for step in steps if step]


def optimizer_of(model: Multitask, train: dict, fused: bool) -> torch.optim.AdamW:
    groups = defaultdict(list)
    for name, parameter in model.named_parameters():
        # Vectors that are added like a bias are one.
        is_bias = parameter.ndim == 1 or name.endswith("relation_head")
        groups[is_bias, name.startswith("heads.")].append(parameter)
    rate = train["learning_rate"]
    made = [
        {"params": found, "weight_decay": 0.0 if is_bias else train["weight_decay"],
         "lr": rate * train.get("head_rate", 1.0) if of_head else rate}
        for (is_bias, of_head), found in groups.items()
    ]
    return torch.optim.AdamW(made, lr=rate, fused=fused)


def rate(step: int, steps: int, warmup: int) -> float:
    """The share of the learning rate, steps counted from 0: docs/adr/0002 says why the first is not 0."""
    return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)


def train(model: Multitask, recipe: dict, windows: dict[str, list[Window]], pad: int, tuned: bool, bf16: bool) -> dict:
    settings, tasks = recipe["train"], recipe["tasks"]
    size = {task: tasks[task]["batch_size"] for task in windows}
    per_epoch = sum(-(-len(found) // size[task]) for task, found in windows.items())
    steps = per_epoch * settings["epochs"]
    warmup = int(steps * settings["warmup"])
    optimizer = optimizer_of(model, settings, fused=tuned)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, warmup))
    chance = torch.Generator().manual_seed(recipe["seed"])
    real = with_padding = taken = 0
    losses = {}
    model.train()
    began = time.perf_counter()
    for epoch in range(settings["epochs"]):
        losses = defaultdict(list)
        drawn = {task: batches(found, size[task], tuned, chance) for task, found in windows.items()}
        for task, batch in in_turn(drawn):
            longest = max(len(window.ids) for window in batch) if tuned else tasks[task]["max_length"]
            ids, types, mask = padded(batch, longest, pad)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs = model(task, batch, ids, types, mask)
            loss = model.heads[task].loss(outputs, mask, batch)
            (loss * tasks[task]["loss_weight"]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings["max_grad_norm"])
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()  # to none: a head without a batch in a step is not updated in it
            losses[task].append(loss.item())
            real, with_padding, taken = real + sum(len(window.ids) for window in batch), with_padding + ids.numel(), taken + 1
            if taken % 50 == 0:
                print(f"step {taken} of {steps}, {task} {losses[task][-1]:.3f}", file=sys.stderr, flush=True)
        print(f"epoch {epoch + 1} of {settings['epochs']}", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    means = {task: sum(found) / len(found) for task, found in losses.items()}
    return {"steps": taken, "real_tokens": real, "padded_tokens": with_padding, "wall_s": seconds, "loss": means}


# Evaluation


@torch.inference_mode()
def evaluate(model: Multitask, name: str, task, pad: int, bf16: bool) -> dict:
    model.eval()
    examples = task.examples("validation")
    windows = [task.windows(number, example) for number, example in enumerate(examples)]
    rows = [[None] * len(of_one) for of_one in windows]
    places = [(number, at) for number, of_one in enumerate(windows) for at in range(len(of_one))]
    places.sort(key=lambda place: len(windows[place[0]][place[1]].ids))
    for start in range(0, len(places), EVALUATION_BATCH):
        part = places[start : start + EVALUATION_BATCH]
        batch = [windows[number][at] for number, at in part]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = model(name, batch, *padded(batch, len(batch[-1].ids), pad))
        for (number, at), found in zip(part, model.heads[name].rows(outputs, batch)):
            rows[number][at] = found
    return task.scores(examples, windows, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["tuned", "seed"])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE", help="over the recipe")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(all cores: %(default)s)")
    parser.add_argument("--precision", choices=["auto", "f32", "bf16"], default="auto", help="of `tuned` (%(default)s)")
    parser.add_argument("--eval", action="store_true", help="also scores the validation data")
    args = parser.parse_args()
    if args.mode == "seed" and args.precision == "bf16":
        parser.error("seed is f32")
    tuned = args.mode == "tuned"
    bf16 = tuned and (native_bf16() if args.precision == "auto" else args.precision == "bf16")
    recipe = read_recipe(args.recipe, args.changes)

    logging.set_verbosity_error()  # else it lists the pooler, which no head of ours reads
    logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    torch.manual_seed(recipe["seed"])
    tokenizer, tasks, windows = prepare(recipe)
    model = Multitask(recipe, tasks, "sdpa" if tuned else "eager")
    pad = tokenizer.pad_token_id
    found = {"mode": args.mode, "precision": "bf16" if bf16 else "f32", "threads": args.threads, "torch": torch.__version__}
    found |= train(model, recipe, windows, pad, tuned, bf16)
    if args.eval:
        found["scores"] = {name: evaluate(model, name, task, pad, bf16) for name, task in tasks.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
