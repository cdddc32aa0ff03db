"""Folders of PEFT between polyhead and PEFT, both ways. Run by hand with a model folder that was trained with LoRA.

1. `polyhead export MODEL --task TASK --adapter DIR --base BASE` of each NER and QA task, and of each classifier: PeftModel loads DIR on the encoder of
   BASE in the class of transformers for the task, nothing missing or left over, and gives polyhead's logits.
2. PEFT trains further what it loaded, a step of AdamW on everything that it trains, and saves it; polyhead imports that folder, and gives PEFT's
   logits; all of them together as one model, too.

Errors are max|a - b| / max|b|, bound 1e-4. Ends with status 1 if anything differs.

Run from the repository: python checks/peft_roundtrip.py MODEL
Needs torch, transformers, peft, safetensors, and cargo (or --polyhead BIN and --dump BIN, the built example dump_logits).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer

import transformers_roundtrip as plain


def pairs(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = [tokenizer(question, context, return_token_type_ids=True) for question, context in plain.PAIRS]
    return [(torch.tensor(one["input_ids"]), torch.tensor(one["token_type_ids"])) for one in encoded]


def loaded(folder, base, kind, labels):
    """The task in PEFT, to be trained further."""
    net = plain.CLASSES[kind].from_pretrained(base, num_labels=labels)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        net = PeftModel.from_pretrained(net, folder, is_trainable=True)
    missing = [str(one.message) for one in said if "missing" in str(one.message) or "unexpected" in str(one.message).lower()]
    plain.report(not missing, f"{folder.name}: PEFT misses {missing or 'nothing'}")
    return net.eval()


def logits(net, rows, kind):
    # PeftModelForQuestionAnswering drops token types; the model inside takes them.
    return torch.cat(plain.run(net.base_model, rows, plain.logits_of(kind)))


def step(net, rows, kind):
    optimizer = torch.optim.AdamW([parameter for parameter in net.parameters() if parameter.requires_grad], lr=1e-2)
    known = getattr(net.config, "type_vocab_size", 0) > 1
    for ids, types in rows:
        out = net.base_model(input_ids=ids[None], **({"token_type_ids": types[None]} if known else {}))
        all_logits = [out.start_logits, out.end_logits] if kind == "qa" else [out.logits]
        sum(one.square().mean() for one in all_logits).backward()
    optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a folder that `polyhead train` made with LoRA: RUN/best")
    parser.add_argument("--polyhead", help="the polyhead binary; cargo runs it if this is left out")
    parser.add_argument("--dump", help="the built example dump_logits; cargo runs it if this is left out")
    args = parser.parse_args()
    polyhead = [args.polyhead] if args.polyhead else ["cargo", "run", "-q", "--release", "--"]
    torch.manual_seed(0)
    rows = pairs(args.model)
    ours = plain.dump(args, args.model, rows)
    tasks = json.loads((args.model / "config.json").read_text())["polyhead"]["tasks"]
    # A classifier without the pooler is refused, as it has no form there.
    has_class = [task["kind"] in plain.CLASSES and (task["kind"] != "classify" or task["config"].get("pooler")) for task in tasks]
    tasks = [(task["name"], task["kind"], task["config"].get("labels", [])) for task, known in zip(tasks, has_class) if known]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        base, together, wanted = scratch / "base", [], {}
        for name, kind, labels in tasks:
            folder, again = scratch / name, scratch / f"{name}-again"
            command = [*polyhead, "export", args.model, "--task", name, "--adapter", folder, "--base", base]
            subprocess.run([str(part) for part in command], check=True, cwd=plain.ROOT)
            net = loaded(folder, base, kind, len(labels) or 2)
            plain.compare(logits(net, rows, kind), ours[f"logits.{name}"], f"{name}: logits in PEFT")
            step(net, rows, kind)
            wanted[name] = logits(net, rows, kind)
            net.save_pretrained(again)
            more = [f"{name}={again}"] + (["--labels", f"{name}={','.join(labels)}"] if labels else [])
            imported = scratch / f"{name}-imported"
            command = [*polyhead, "import", *more, "--to", imported]
            subprocess.run([str(part) for part in command], check=True, cwd=plain.ROOT)
            found = plain.dump(args, imported, rows)[f"logits.{name}"]
            plain.compare(found, wanted[name], f"{name}: logits of what PEFT saved")
            together.append(more)
        imported = scratch / "together"
        command = [*polyhead, "import", *[part for more in together for part in more], "--to", imported]
        subprocess.run([str(part) for part in command], check=True, cwd=plain.ROOT)
        found = plain.dump(args, imported, rows)
        for name, want in wanted.items():
            plain.compare(found[f"logits.{name}"], want, f"{name}: the same beside the others")
    sys.exit(1 if plain.failed else 0)


if __name__ == "__main__":
    main()
