#!/usr/bin/env bash
# Takes over from fuzz/grown/ into fuzz/corpus/ what reaches code that the corpus does not: fuzz/keep.sh [TARGET...], after run.sh
#
# Of each target up to 40 inputs of at most 2 kB: ordinary tests read them, and they are kept with the source.
set -euo pipefail
cd "$(dirname "$0")"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(recipe conll texts words relations annotated squad jsonl parquet safetensors tokenizer config http_head http_body)
built=${CARGO_TARGET_DIR:-target}/$(rustc -vV | sed -n 's/^host: //p')/release
most=40
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for target in "${targets[@]}"; do
    cp -r "corpus/$target" "$work/$target"
    RAYON_NUM_THREADS=1 "$built/$target" -merge=1 -timeout=20 "$work/$target" "grown/$target" > "$work/log" 2>&1 ||
        { tail -5 "$work/log" >&2; exit 1; }
    mapfile -t new < <(cd "$work/$target" && find . -type f -size -2k -printf '%s %f\n' | sort -n | cut -d' ' -f2 |
        grep -vxFf <(ls "$OLDPWD/corpus/$target"))
    # Evenly from the smallest to the largest.
    for ((at = 0; at < most && at < ${#new[@]}; at++)); do
        name=${new[$((at * ${#new[@]} / (${#new[@]} < most ? ${#new[@]} : most)))]}
        cp "$work/$target/$name" "corpus/$target/$name"
    done
    echo "$target: $(find "corpus/$target" -type f | wc -l) inputs, $(du -cb "corpus/$target"/* | tail -1 | cut -f1) bytes"
done
