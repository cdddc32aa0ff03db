"""Does huggingface_hub accept the cache that polyhead wrote, and the test server that polyhead is tested with?

    python checks/hub_cache_check.py --cache ~/.cache/huggingface/hub --model sentence-transformers/all-MiniLM-L6-v2
    ... --endpoint http://127.0.0.1:PORT --fresh-cache DIR     also downloads from that server into DIR and compares

The first part runs offline (HF_HUB_OFFLINE=1). Needs huggingface_hub. `cargo test -p polyhead --test hub -- --ignored`
runs both parts.
"""

import argparse
import hashlib
import os
import subprocess
import sys

REQUIRED = ["config.json", "tokenizer.json", "model.safetensors"]
OPTIONAL = ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]

DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
cache, model, *names = sys.argv[1:]
for name in names:
    try:
        print(hf_hub_download(model, name, cache_dir=cache))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        print()
"""


def paths(cache: str, model: str, **environment: str) -> dict[str, str]:
    """The path of each file, as huggingface_hub gives it in a process of its own (it reads the environment once)."""
    command = [sys.executable, "-c", DOWNLOAD, cache, model, *REQUIRED, *OPTIONAL]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    found = dict(zip(REQUIRED + OPTIONAL, done.stdout.split("\n")))
    for name in REQUIRED:
        assert found[name], f"{name} was not found in {cache}"
    return {name: path for name, path in found.items() if path}


def digests(found: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(open(path, "rb").read()).hexdigest() for name, path in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("--fresh-cache")
    options = parser.parse_args()

    ours = digests(paths(options.cache, options.model, HF_HUB_OFFLINE="1"))
    for name, digest in ours.items():
        print(f"offline, from our cache: {name} {digest}")
    if options.endpoint:
        theirs = digests(paths(options.fresh_cache, options.model, HF_ENDPOINT=options.endpoint, NO_PROXY="127.0.0.1"))
        assert theirs == ours, f"expected {ours}, found {theirs}"
        print("downloaded by huggingface_hub from the same server: the same bytes")

        from huggingface_hub import scan_cache_dir

        for cache in (options.cache, options.fresh_cache):
            report = scan_cache_dir(cache)
            assert not report.warnings, report.warnings
        print("scan_cache_dir finds nothing to warn about")


if __name__ == "__main__":
    main()
