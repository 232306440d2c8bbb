//! The key that signs, and its password: out of a file or the environment,
//! never off the command line, where everybody on the machine could read it.

use std::path::Path;
use std::sync::Arc;

use super::environment::{PASSWORD, Variables};
use base::error::{Class, Error, Result};
use config::Project;
use disk::fs;
use signing::key::LARGEST_FILE;
use signing::{Password, PrivateKey, PublicKey};

/// The password in the first line of a file, else that of the environment.
///
/// # Errors
/// `usage` where there is none; `local`.
pub(super) fn password(file: Option<&Path>, variables: &Variables) -> Result<Password> {
    if let Some(path) = file {
        return read(path, "password").map(Password::first_line);
    }
    variables.password.clone().ok_or_else(|| {
        Error::new(Class::Usage, "there is no password for the key").hint(format!(
            "set {PASSWORD} (it may be empty), or name a file whose first line it is: --password-file, or \
             `signing.password_file` in config/settings.yaml"
        ))
    })
}

/// The key that the settings name; None where they name none.
///
/// # Errors
/// `configuration` for what is no key or is not opened by the password.
pub(super) fn of_project(project: &Project, variables: &Variables) -> Result<Option<Arc<PrivateKey>>> {
    let signing = &project.settings.signing;
    let Some(key) = &signing.key else { return Ok(None) };
    let config = &project.layout.config;
    let file = signing.password_file.as_ref().map(|file| config.join(file));
    let key = password(file.as_deref(), variables)
        .and_then(|password| private(&config.join(key), &password))
        .map_err(|error| error.with_class(Class::Configuration).context("`signing` in config/settings.yaml"))?;
    Ok(Some(Arc::new(key)))
}

/// # Errors
/// `local`, `usage`; as [`PrivateKey::from_pem`].
pub(super) fn private(path: &Path, password: &Password) -> Result<PrivateKey> {
    PrivateKey::from_pem(&read(path, "private key")?, password)
        .map_err(|error| error.context(format!("`{}`", path.display())))
}

/// # Errors
/// `local`; `usage` for what is no public key, with what it is.
pub(super) fn public(path: &Path) -> Result<PublicKey> {
    PublicKey::from_pem(&read(path, "public key")?)
        .map_err(|error| error.context(format!("`{}`", path.display())).with_class(Class::Usage))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read_optional(path, LARGEST_FILE)?.ok_or_else(|| {
        Error::new(Class::Usage, format!("there is no {what} at `{}`", path.display()))
            .hint("name the file that holds it")
    })
}
