#!/usr/bin/env bash
# rustc with the counters that libFuzzer follows, for the crates of the host
# and what it shares with the plugins.
set -euo pipefail
counters=()
case " $* " in
  *" --crate-name opencenter_airgap "* | *" --crate-name airgap_components "* | *" --crate-name airgap_image_finder "* | *" --crate-name airgap_chart_loader "* | *" --crate-name airgap_fuzz "*)
    counters=(-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=3
      -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table
      -C llvm-args=-sanitizer-coverage-trace-compares)
    ;;
esac
exec "$@" "${counters[@]}"
