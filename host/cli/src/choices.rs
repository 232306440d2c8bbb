//! What the command line chooses of a package definition: its flavor, and the
//! values of its templates.

use std::collections::BTreeMap;

use clap::Args;

use base::error::{Class, Error, Result};
use config::Choices;

#[derive(Args, Debug, Default)]
pub(super) struct ChoiceArgs {
    /// Take the components of this flavor of the package definition
    #[arg(long, value_name = "NAME")]
    flavor: Option<String>,

    /// Give a package template of the definition its value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ChoiceArgs {
    /// # Errors
    /// `usage` for what is no `KEY=VALUE`.
    pub(super) fn choices(&self) -> Result<Choices> {
        let mut set = BTreeMap::new();
        for written in &self.set {
            let (key, value) = written.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                Error::new(Class::Usage, format!("`--set {written}` gives no value")).hint("write `--set KEY=VALUE`")
            })?;
            // As Zarf does: templates are written in capitals.
            set.insert(key.to_uppercase(), value.to_owned());
        }
        Ok(Choices { flavor: self.flavor.clone(), set, ..Choices::default() })
    }
}
