#!/usr/bin/env bash
# Takes over from fuzz/grown/ into fuzz/corpus/ what reaches code that the corpus does not: fuzz/keep.sh [TARGET...], after run.sh
#
# Of each target the smallest inputs, as many as 20 kB hold: ordinary tests read them, and they are kept with the source.
set -euo pipefail
cd "$(dirname "$0")"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(recipe conll squad jsonl parquet safetensors tokenizer config http_head http_body)
built=${CARGO_TARGET_DIR:-target}/$(rustc -vV | sed -n 's/^host: //p')/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for target in "${targets[@]}"; do
    cp -r "corpus/$target" "$work/$target"
    RAYON_NUM_THREADS=1 "$built/$target" -merge=1 -timeout=20 "$work/$target" "grown/$target" > "$work/log" 2>&1 ||
        { tail -5 "$work/log" >&2; exit 1; }
    room=20000
    while read -r size name; do
        [ -e "corpus/$target/$name" ] && continue
        room=$((room - size))
        [ $room -ge 0 ] || break
        cp "$work/$target/$name" "corpus/$target/$name"
    done < <(find "$work/$target" -type f -printf '%s %f\n' | sort -n)
    echo "$target: $(find "corpus/$target" -type f | wc -l) inputs, $(du -cb "corpus/$target"/* | tail -1 | cut -f1) bytes"
done
