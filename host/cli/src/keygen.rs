//! `keygen`: makes a pair of keys.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::environment::Variables;
use super::signer;
use super::ui::Ui;
use base::error::{Class, Error, Result};
use base::exit_code::ExitCode;
use disk::fs;
use signing::PrivateKey;

/// Make a pair of keys to sign packages with: <PREFIX>.key and <PREFIX>.pub
///
/// The private key is encrypted with the password of COSIGN_PASSWORD or
/// --password-file, as cosign encrypts it; zarf and cosign read both files.
/// Files that are there are left alone.
#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// Where the files go, without .key and .pub
    #[arg(long, value_name = "PREFIX", default_value = "cosign")]
    output: PathBuf,

    /// A file whose first line is the password; COSIGN_PASSWORD without it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Generated {
    event: &'static str,
    private_key: String,
    public_key: String,
    /// What signatures call the key.
    hint: String,
}

pub(super) fn run(args: &KeygenArgs, ui: &Ui, variables: &Variables) -> Result<ExitCode> {
    let password = signer::password(args.password_file.as_deref(), variables)?;
    let [private, public] = ["key", "pub"].map(|end| PathBuf::from(format!("{}.{end}", args.output.display())));
    if let Some(there) = [&private, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let message = format!("there is a file `{}` already", there.display());
        return Err(Error::new(Class::Usage, message).hint("move it away, or choose other names with --output"));
    }
    let key = PrivateKey::generate()?;
    fs::create_private(&private, key.to_pem(&password)?.as_bytes())?;
    fs::write_new(&public, key.public().to_pem().as_bytes())?;
    let (private, public, hint) = (private.display().to_string(), public.display().to_string(), key.public().hint());
    ui.say(&format!("{private}  the private key: keep it, and its password, to yourself"));
    ui.say(&format!("{public}  the public key: give it to everybody who verifies"));
    ui.say(&format!("signatures call it {hint}"));
    ui.data(&Generated { event: "generated", private_key: private, public_key: public, hint });
    Ok(ExitCode::Done)
}
