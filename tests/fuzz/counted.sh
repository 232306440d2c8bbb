#!/usr/bin/env bash
# rustc with the counters that libFuzzer follows, for the crates of the host
# and what it shares with the plugins.
set -euo pipefail
counters=()
name=$(sed -n 's/.* --crate-name \([a-z_]*\) .*/\1/p' <<<" $* ")
case $name in
  base | disk | archive | config | entitlement | far_side | airgap_model | airgap_image_finder | airgap_chart_loader | airgap_fuzz)
    counters=(-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=3
      -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table
      -C llvm-args=-sanitizer-coverage-trace-compares)
    ;;
esac
exec "$@" "${counters[@]}"
