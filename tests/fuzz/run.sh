#!/usr/bin/env bash
# Fuzzes what guests return, from the corpus: AIRGAP_FUZZ_SECONDS (120) seconds
# on two processes, from AIRGAP_FUZZ_SEED (another one each time). An input that fails is written to the corpus, where `make
# test` replays it from then on.
#
# Only our own crates are compiled with the counters of libFuzzer: the wrapper
# of the workspace adds the flags, and what they depend on stays as it is (with
# the features of the whole workspace, as everything else is built).
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${AIRGAP_FUZZ_SECONDS:-120}
target=${CARGO_TARGET_DIR:-$PWD/target}

if ! command -v c++ >/dev/null; then
  echo "SKIPPED: fuzzing needs a C++ compiler (as root, \`apt-get install g++\`)" >&2
  [ "${CI:-}" != true ]
  exit
fi

RUSTC_WORKSPACE_WRAPPER=$PWD/tests/fuzz/counted.sh \
  "${CARGO:-cargo}" build --release --workspace --locked --features airgap-fuzz/libfuzzer --bin fuzz

# Kept by content: the new inputs go to target/, those that fail to the corpus.
# A process alone with its seed does the same again.
seed=${AIRGAP_FUZZ_SEED:-$RANDOM}
echo "fuzzing for $seconds s; AIRGAP_FUZZ_SEED=$seed tries the same inputs"
processes=()
for nth in 1 2; do
  found=$target/fuzz-corpus/$nth
  mkdir -p "$found"
  "$target/release/fuzz" "$found" tests/fuzz/corpus -seed="$seed$nth" -max_total_time="$seconds" -timeout=5 \
    -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len=65536 -artifact_prefix=tests/fuzz/corpus/ -print_final_stats=1 \
    2>"$found.log" &
  processes+=($!)
done
failed=0
for process in "${processes[@]}"; do
  wait "$process" || failed=1
done
for nth in 1 2; do
  grep -v '^#[0-9]' "$target/fuzz-corpus/$nth.log" || true
done
exit "$failed"
