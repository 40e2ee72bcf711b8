#!/bin/bash
# Runs each fuzz target (or those that are named) for FUZZ_SECONDS, FUZZ_JOBS at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
jobs=${FUZZ_JOBS:-2}
scratch=.build-fuzz
driver=$scratch/release/FuzzDriver
# The backtracer would hold up each crash for minutes.
export SWIFT_BACKTRACE=enable=no SLUICE_FUZZ=1

swift build -c release --product FuzzDriver --scratch-path $scratch --sanitize=address \
    -Xswiftc -sanitize=fuzzer

run() {
    local target=$1 found=Fuzz/Findings/$1 grown=$scratch/corpus/$1 log=$scratch/$1.log
    mkdir -p "$found" "$grown"
    # libFuzzer ends by itself; the kill is for an input that hangs beyond its own alarm.
    if ! FUZZ_TARGET=$target timeout -s KILL $((seconds + 120)) nice -n 10 "$driver" \
        "$grown" "Fuzz/Corpus/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/" >"$log" 2>&1; then
        echo "$target: FOUND something, see $log; play it again with:"
        for input in "$found"/*; do
            echo "  SWIFT_BACKTRACE=enable=no FUZZ_TARGET=$target $driver $input"
        done
        return 1
    fi
    local coverage speed
    coverage=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)
    speed=$(grep -E 'average_exec_per_sec' "$log" | grep -oE '[0-9]+' || true)
    echo "$target: nothing found; ${coverage:-no coverage}, ${speed:-?} runs a second"
}

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for folder in Fuzz/Corpus/*; do targets+=("$(basename "$folder")"); done
fi
export -f run
export seconds scratch driver
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'run {}'
