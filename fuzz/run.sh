#!/usr/bin/env bash
# Fuzzes each target in turn for so many seconds, or those that are named: fuzz/run.sh SECONDS [TARGET...]
#
# Stable Rust: libFuzzer's counters are options of the code generator, and no sanitizer is needed to see panics, hangs and
# large allocations. Inputs that reach new code gather in fuzz/grown/TARGET; what fails lies in fuzz/artifacts/TARGET.
# `fuzz/keep.sh` takes the smallest set of them over into fuzz/corpus/, which ordinary tests read.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(recipe conll texts words relations annotated squad jsonl parquet safetensors tokenizer config http_head http_body)

host=$(rustc -vV | sed -n 's/^host: //p')
passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
passes+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
# With --target, build scripts and macros are built without the counters, which only the targets can link.
RUSTFLAGS="$passes ${FUZZ_RUSTFLAGS:-}" cargo build --release --target "$host" "${targets[@]/#/--bin=}"
built=${CARGO_TARGET_DIR:-target}/$host/release

# An allocation that no input deserves fails, and so ends the target.
ulimit -v $((4 << 20))
failed=()
for target in "${targets[@]}"; do
    mkdir -p "grown/$target" "artifacts/$target"
    longest=$([ "$target" = safetensors ] && echo 65536 || echo 16384)
    log=artifacts/$target.log
    RAYON_NUM_THREADS=1 "$built/$target" "grown/$target" "corpus/$target" -max_total_time="$seconds" -max_len="$longest" -timeout=20 \
        -rss_limit_mb=2048 -use_value_profile=1 -print_final_stats=1 -artifact_prefix="artifacts/$target/" > "$log" 2>&1 || failed+=("$target")
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(grep -o 'cov: [0-9]* ft: [0-9]* corp: [0-9]*' "$log" | tail -1)
    echo "$target: ${executions:-?} executions, ${covered:-?}"
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}; see fuzz/artifacts/" >&2; exit 1; }
