//! libFuzzer over [`airgap_fuzz::check`]; `tests/fuzz/run.sh` builds and runs
//! it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| airgap_fuzz::check(input));
