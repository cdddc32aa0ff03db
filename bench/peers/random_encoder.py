#!/usr/bin/env python3
"""An encoder of base size (BERT's also of large) with random weights, as transformers makes it, for timings: what an encoder computes takes as long.

    python bench/peers/random_encoder.py FAMILY TOKENIZER_DIR OUT_DIR

The vocabulary is that of the tokenizer. Needs torch and transformers.
"""
import argparse
import shutil
from pathlib import Path

import torch
import transformers

BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
# By family: what its classes' names begin with, and what its configuration of base size has.
FAMILIES = {
    "bert": ("Bert", BASE),
    "bert-large": ("Bert", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}),
    "roberta": ("Roberta", BASE | {"max_position_embeddings": 514, "type_vocab_size": 1}),
    "distilbert": ("DistilBert", {}),
    "electra": ("Electra", BASE | {"embedding_size": 768}),
    "albert": ("Albert", BASE),
    "mpnet": ("MPNet", BASE | {"max_position_embeddings": 514, "pad_token_id": 1}),
    # DeBERTa-v3-base.
    "deberta-v2": (
        "DebertaV2",
        BASE
        | {
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": ("ModernBert", {"pad_token_id": 0, "bos_token_id": 101, "eos_token_id": 102, "cls_token_id": 101, "sep_token_id": 102}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.manual_seed(42)
    name, options = FAMILIES[args.family]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(args.tokenizer / "tokenizer.json"))
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), **options)
    getattr(transformers, f"{name}Model")(config).save_pretrained(args.out)
    for file in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(args.tokenizer / file, args.out / file)


if __name__ == "__main__":
    main()
