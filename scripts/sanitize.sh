#!/bin/bash
# Runs the tests under AddressSanitizer (with leaks) and ThreadSanitizer, and then some of the
# end-to-end tests with a binary that is built alike. SANITIZERS=thread runs one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
# The backtracer would hold up each report for minutes.
export SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=detect_leaks=1
export LSAN_OPTIONS=suppressions=$PWD/scripts/leaks.supp:print_suppressions=0
export TSAN_OPTIONS=halt_on_error=0

for sanitizer in ${SANITIZERS:-address thread}; do
    scratch=.build-$sanitizer
    swift build --build-tests --sanitize="$sanitizer" --scratch-path "$scratch"
    swift test --skip-build --sanitize="$sanitizer" --scratch-path "$scratch" --parallel
    # A report makes the binary's exit status, which every end-to-end test looks at, not 0. Limits
    # refill while a slow binary answers: the test of their figures is left to the ordinary run.
    SLUICE=$PWD/$scratch/debug/sluice .venv/bin/python -m pytest -q Tests/EndToEnd/test_sdk.py \
        Tests/EndToEnd/test_endings.py Tests/EndToEnd/test_hostile_text.py \
        -k "not limits_are_announced"
done
