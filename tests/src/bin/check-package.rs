//! Prints what Zarf would reject in the packages named on the command line;
//! exits with 1 where there is anything.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut bad = false;
    for argument in std::env::args_os().skip(1) {
        let path = Path::new(&argument);
        let violations = airgap_tests::checker::check(path);
        if violations.is_empty() {
            println!("{}: nothing that Zarf would reject", path.display());
        }
        for violation in &violations {
            println!("{}: {violation}", path.display());
        }
        bad |= !violations.is_empty();
    }
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
