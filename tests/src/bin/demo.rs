//! `make demo`: packages a small platform from servers on loopback and shows
//! what came out. The project stays in target/demo.

use std::fs::File;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use airgap_tests::checker;
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project};

fn main() -> ExitCode {
    let folder = project::target_folder().parent().expect("target/ has profiles").join("demo");
    match demo(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(folder: &Path) -> anyhow::Result<()> {
    let platform = Platform::start();
    let project = platform.configure(Project::in_folder(folder)?);
    println!("registry   http://{}", platform.registry.host());
    println!("files      http://{}", platform.files.host());
    if let Some(git) = &platform.git {
        println!("git        http://{}", git.host());
    }
    println!("project    {}\n\n$ opencenter-airgap build", folder.display());

    let status = project.command(&["build"]).stdout(Stdio::inherit()).stderr(Stdio::inherit()).status()?;
    anyhow::ensure!(status.success(), "the build failed with {status}");

    let package = project.package();
    println!("\n{} ({} bytes)", package.display(), std::fs::metadata(&package)?.len());
    list(&package)?;
    let violations = checker::check(&package);
    violations.iter().for_each(|violation| eprintln!("{violation}"));
    anyhow::ensure!(violations.is_empty(), "Zarf would not accept the package");
    println!("An independent reader with the rules of Zarf's loader accepts the package.");

    println!("\n$ opencenter-airgap status");
    let status = project.command(&["status"]).stdout(Stdio::inherit()).stderr(Stdio::inherit()).status()?;
    anyhow::ensure!(status.success(), "status failed with {status}");
    println!(
        "\nRequests: {} to the registry, {} for files.",
        platform.registry.log().len(),
        platform.files.log().len()
    );
    Ok(())
}

/// Prints the entries of the package with their sizes.
fn list(package: &Path) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(File::open(package)?)?);
    for entry in archive.entries()? {
        let entry = entry?;
        println!("{:>12}  {}", entry.size(), entry.path()?.display());
    }
    Ok(())
}
