"""huggingface_hub beside `polyhead push`, on a server that speaks the Hub's protocol.

`cargo test -p polyhead --test hub -- --ignored` starts that server, pushes FOLDER to OURS and runs this script, which pushes the same folder to
THEIRS with huggingface_hub, and reads OURS back with it: the same files. The test then compares what the server has of both.

    python checks/hub_push_check.py --folder FOLDER --ours owner/name --theirs owner/name      HF_ENDPOINT names the server
    python checks/hub_push_check.py --card MODEL      the scores that huggingface_hub reads in a model card

Needs huggingface_hub. Ends with status 1 if anything differs.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_DISABLE_XET"] = "1"

from huggingface_hub import HfApi, ModelCard, hf_hub_download  # noqa: E402 (it reads the environment once)


def push_and_read(folder: Path, ours: str, theirs: str) -> None:
    api = HfApi(token="hf_write")
    api.create_repo(theirs, private=True)
    api.upload_folder(repo_id=theirs, folder_path=folder, commit_message="the first")
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != "ignored.txt")
    found = sorted(file.rfilename for file in api.model_info(ours, revision="main").siblings)
    assert found == names, f"expected {names}, found {found}"
    for name in names:
        assert Path(hf_hub_download(ours, name)).read_bytes() == (folder / name).read_bytes(), name
    print(f"ok     {ours}: {len(names)} files")


def card(model: Path) -> None:
    """Every score of the card is one of `config.json`, to the digits that it gives."""
    data = ModelCard.load(model / "README.md").data
    scores = json.loads((model / "config.json").read_text(encoding="utf-8"))["polyhead"]["scores"]
    assert data.eval_results, "no scores"
    for result in data.eval_results:
        known = scores[result.task_name][result.metric_name]
        assert abs(known - result.metric_value) <= 0.005001, f"{result.metric_name}: {known}, in the card {result.metric_value}"
    print(f"ok     {data.model_name}: {len(data.eval_results)} scores of {len({result.task_name for result in data.eval_results})} tasks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ours")
    parser.add_argument("--theirs")
    parser.add_argument("--card", type=Path, metavar="MODEL")
    args = parser.parse_args()
    if args.card:
        card(args.card)
    elif args.folder and args.ours and args.theirs:
        push_and_read(args.folder, args.ours, args.theirs)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
