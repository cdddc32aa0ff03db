"""Parity on real weights: polyhead against PyTorch on MiniLM and a few real sentences. Run by hand.

Compares the output of the embeddings and of every layer, NER and QA logits, both losses, every gradient and ten steps
of training (see fixtures/encoder_parity.py, whose definitions are used), with random heads of the usual initial size.
The error of a tensor is max|a - b| / max|b|; gradients that are zero in exact arithmetic are compared with the largest
gradient instead. Ends with status 1 if an error exceeds 1e-4 (or noise 1e-6).

Read the first of the ten steps rather than the last: AdamW divides by the size of a gradient, which magnifies rounding
in small ones, and each step builds on those before. On this batch the norms of PyTorch in f32 and in f64 depart from
each other by up to 5e-5 as well. The errors are therefore printed by step.

Run from the repository: python checks/parity_minilm.py --minilm DIR
DIR is the folder of an encoder in Hugging Face layout, of BERT or RoBERTa; sentence-transformers/all-MiniLM-L6-v2 is the one meant.
Needs torch, transformers, safetensors, tokenizers, and cargo (or --dump BIN, the built example dump_parity).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "fixtures"))
import encoder_parity  # noqa: E402

TOLERANCE = 1e-4
NOISE = 1e-6

# A question or None, a text, and the answer in it.
EXAMPLES = [
    ("Where was Ada Lovelace born?", "Ada Lovelace was born in London on 10 December 1815.", "London"),
    (None, "EU rejects German call to boycott British lamb.", "German"),
    (
        "Who designed the Analytical Engine?",
        "The Analytical Engine was a proposed mechanical general-purpose computer designed by the English mathematician "
        "and computer pioneer Charles Babbage. It was first described in 1837 as the successor to Babbage's difference "
        "engine, which was a design for a simpler mechanical calculator.",
        "Charles Babbage",
    ),
    (None, "In Zürich kostet ein Kaffee 5,80 Franken – 東京では安い。", "5"),
    (None, "Yes.", "Yes"),
]


def make_batch(folder, pad):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = []
    for question, text, answer in EXAMPLES:
        encoded = tokenizer.encode(text) if question is None else tokenizer.encode(question, text)
        first = text.index(answer)
        inside = [
            token
            for token, (start, end) in enumerate(encoded.offsets)
            if encoded.sequence_ids[token] == (question is not None) and start < first + len(answer) and end > first
        ]
        labels = torch.randint(0, encoder_parity.NER_CLASSES, (len(encoded.ids),))
        labels[torch.tensor(encoded.special_tokens_mask, dtype=torch.bool)] = encoder_parity.IGNORE
        rows.append((encoded.ids, encoded.type_ids, labels, inside[0], inside[-1]))
    lengths = [len(ids) for ids, *_ in rows]
    batch = {name: torch.zeros(len(rows), max(lengths), dtype=torch.int64) for name in ["padded_type_ids", "mask"]}
    batch["padded_ids"] = torch.full((len(rows), max(lengths)), pad, dtype=torch.int64)
    for row, (ids, types, *_) in enumerate(rows):
        batch["padded_ids"][row, : len(ids)] = torch.tensor(ids)
        batch["padded_type_ids"][row, : len(ids)] = torch.tensor(types)
        batch["mask"][row, : len(ids)] = 1
    real = batch["mask"].bool()
    batch["ids"] = batch["padded_ids"][real]
    batch["type_ids"] = batch["padded_type_ids"][real]
    batch["lengths"] = torch.tensor(lengths)
    batch["ner_labels"] = torch.cat([labels for _, _, labels, *_ in rows])
    batch["qa_start"] = torch.tensor([start for *_, start, _ in rows])
    batch["qa_end"] = torch.tensor([end for *_, end in rows])
    return batch


def reference(net, batch):
    """All that dump_parity writes, computed by PyTorch. Training comes last and changes the net."""
    found = {}
    with torch.no_grad():
        hidden, found["ner_logits"], found["qa_logits"] = net(batch)
        found |= {f"hidden.{level}": states for level, states in enumerate(hidden)}
        found |= {f"{task}_loss": loss(net, batch).reshape(1) for task, loss in encoder_parity.LOSSES.items()}
    for task in encoder_parity.LOSSES:
        found |= encoder_parity.gradients(net, batch, task)
    losses, norms = encoder_parity.train(net, batch)
    return found | {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms)}


def is_zero_in_theory(name, layers):
    """Softmax does not see what all its scores share: the key's bias; for QA what all tokens share."""
    shared = ["heads.qa.start.bias", "heads.qa.end.bias", f"encoder.layer.{layers - 1}.output.LayerNorm.bias"]
    return name.endswith(".attention.self.key.bias") or name in [f"grad.qa.{zero}" for zero in shared]


def compare(want, found, layers):
    """Prints the worst errors by kind; returns whether all are within the bounds."""
    if want.keys() != found.keys():
        print("different tensors:", sorted(want.keys() ^ found.keys()))
        return False
    worst = {}
    for name, tensor in want.items():
        task = name.split(".")[1] if name.startswith("grad.") else None
        far = (found[name] - tensor).abs().max().item()
        kind = f"gradients, {task}" if task else name.split(".")[0]
        scale, bound = tensor.abs().max().item(), TOLERANCE
        if task and is_zero_in_theory(name, layers):
            kind, bound = f"zero in theory, {task}", NOISE
            far = max(found[name].abs().max().item(), scale)
            scale = max(other.abs().max().item() for key, other in want.items() if key.startswith(f"grad.{task}."))
        error = far / max(scale, 1e-38)
        if error >= worst.get(kind, (-1.0,))[0]:
            worst[kind] = (error, bound, name)
    for kind, (error, bound, name) in worst.items():
        print(f"{'ok' if error <= bound else 'FAILED':6} {kind:22} {error:.2e} (bound {bound:.0e})  worst: {name}")
    for name in ["losses", "grad_norms"]:
        errors = ((found[name] - want[name]).abs() / want[name].abs()).tolist()
        print(f"       {name} by step: {' '.join(f'{error:.0e}' for error in errors)}")
    return all(error <= bound for error, bound, _ in worst.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--dump", type=Path, help="the built example dump_parity; cargo runs it if this is left out")
    args = parser.parse_args()
    torch.manual_seed(20240613)
    torch.set_num_threads(1)

    net = encoder_parity.Net(AutoModel.from_pretrained(args.minilm, attn_implementation="eager", dtype=torch.float32))
    with torch.no_grad():
        for head in [net.ner, net.qa_start, net.qa_end]:
            head.weight.normal_(std=0.02)
            head.bias.normal_(std=0.02)
    net.eval()
    batch = make_batch(args.minilm, net.encoder.config.pad_token_id)
    names = ["ids", "type_ids", "lengths", "ner_labels", "qa_start", "qa_end"]
    inputs = {name: batch[name].contiguous() for name in names}
    inputs |= {name: p.detach().clone() for name, p in net.fixture_parameters() if name.startswith("heads.")}
    print(f"{len(batch['lengths'])} sequences of {batch['lengths'].tolist()} tokens")
    want = reference(net, batch)

    command = [str(args.dump)] if args.dump else ["cargo", "run", "--release", "-p", "polyhead", "--example", "dump_parity", "--"]
    with tempfile.TemporaryDirectory() as scratch:
        files = [str(Path(scratch) / name) for name in ["inputs.safetensors", "outputs.safetensors"]]
        save_file(inputs, files[0])
        subprocess.run([*command, str(args.minilm.resolve()), *files], check=True, cwd=ROOT)
        found = load_file(files[1])
    sys.exit(0 if compare(want, found, net.encoder.config.num_hidden_layers) else 1)


if __name__ == "__main__":
    main()
