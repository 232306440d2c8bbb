//! That this file is there makes `cargo test` build the binary, which the
//! suite in tests/ runs.

use std::process::Command;

#[test]
fn the_binary_says_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_opencenter-airgap")).arg("--version").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("opencenter-airgap {}\n", env!("CARGO_PKG_VERSION")));
}
