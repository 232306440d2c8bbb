//! Guards that whatever a plugin leaves behind is removed: folders in folders,
//! by a process with few descriptors and a small stack.

use std::path::Path;

use airgap_tests::file_server::FileServer;
use airgap_tests::platform::program;
use airgap_tests::project::{Project, Running, binary};

/// Folders in one path, which may have 4,096 bytes.
const PIECE: usize = 1900;

/// `pieces` times so many folders, each in the one before.
fn nest(at: &Path, pieces: usize) {
    std::fs::create_dir_all(at).unwrap();
    let below = vec!["d"; PIECE].join("/");
    for number in 0..pieces {
        let next = at.join(format!("n{number}"));
        std::fs::create_dir_all(next.join(&below)).unwrap();
        if let Some(previous) = number.checked_sub(1) {
            std::fs::rename(at.join(format!("n{previous}")), next.join(&below).join("n")).unwrap();
        }
    }
}

/// Runs the binary with so many descriptors and KiB of stack.
fn confined(project: &Project, descriptors: u32, stack: u32, arguments: &[&str]) -> Running {
    let mut command = project.command_of(Path::new("/bin/sh"), &[]);
    let script = format!("ulimit -n {descriptors} && ulimit -s {stack} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(binary()).args(arguments);
    Running::spawn(&mut command, project.root())
}

#[test]
fn what_is_nested_far_deeper_than_a_path_is_long_is_removed() {
    let files = FileServer::start();
    let url = files.put("/tool", program("tool", 1, 1000));
    let project = Project::new().with_file_server(&files.host()).with_tool("tool", &url, None);
    project.build();
    // 28,500 folders in each other: where a killed step leaves them.
    nest(&project.path("build/staging/files/directories/work"), 15);
    confined(&project, 256, 1024, &["build"]).finish().success();
    assert!(!project.exists("build/staging/files"), "recovery removes what a step left");
    nest(&project.path("build/staging/guest/directories/work"), 15);
    confined(&project, 64, 512, &["clean"]).finish().success();
    assert!(!project.exists("build"));
}
