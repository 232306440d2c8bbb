//! What entries of the lock stand under: a type for each section, so that none
//! is taken for another, and the one place that writes a key or takes it apart.

use std::borrow::Borrow;
use std::fmt;

use model::{Chart, Repository};
use serde::{Deserialize, Serialize};

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// As the lock writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

key! {
    /// Of an image, for one platform: `nginx:1.27 linux/amd64`.
    ImageKey
}

key! {
    /// Of a chart: `https://charts.jetstack.io cert-manager v1.16.2`.
    ChartKey
}

key! {
    /// Of what an address gave: the URL, or `oci://` and the reference.
    FileKey
}

key! {
    /// Of a repository: `https://git.example.com/team/base.git main`.
    RepositoryKey
}

/// The platform of nodes of an architecture: `linux/amd64`.
pub(crate) fn platform(architecture: &str) -> String {
    format!("linux/{architecture}")
}

impl ImageKey {
    /// Of a reference as it is written, on nodes of this architecture.
    pub fn of(reference: &str, architecture: &str) -> Self {
        Self::new(reference, &platform(architecture))
    }

    /// Of a reference as it is written, and a platform.
    pub fn new(reference: &str, platform: &str) -> Self {
        Self(format!("{reference} {platform}"))
    }

    /// As it is written in the configuration: `nginx:1.27`.
    pub fn reference(&self) -> &str {
        first(&self.0)
    }

    /// `os/architecture[/variant]`; empty where a hand left it out.
    pub fn platform(&self) -> &str {
        behind_first(&self.0)
    }

    /// `amd64`; empty where the platform has none.
    pub fn architecture(&self) -> &str {
        self.platform().split('/').nth(1).unwrap_or_default()
    }
}

impl ChartKey {
    /// Of a chart as the configuration names it.
    pub fn of(chart: &Chart) -> Self {
        Self::new(&chart.repo, &chart.name, &chart.version)
    }

    /// Of repository, name, and version as it is written: `^1` as well.
    pub fn new(repo: &str, name: &str, version: &str) -> Self {
        Self(format!("{repo} {name} {version}"))
    }

    /// `cert-manager`.
    pub fn name(&self) -> &str {
        first(behind_first(&self.0))
    }

    /// As it is written, which may be a constraint: `>=1.0.0, <2`.
    pub fn version(&self) -> &str {
        behind_first(behind_first(&self.0))
    }
}

impl FileKey {
    /// Of an address as it is written.
    pub fn of(address: &str) -> Self {
        Self(address.to_owned())
    }
}

impl RepositoryKey {
    /// Of a repository as the configuration names it: the ref as written, the
    /// commit where it has none, else `HEAD`.
    pub fn of(repository: &Repository) -> Self {
        let reference = repository.reference.as_deref().filter(|reference| !reference.is_empty());
        let commit = repository.commit.as_deref().filter(|commit| !commit.is_empty() && *commit != "HEAD");
        Self::new(&repository.url, reference.or(commit).unwrap_or("HEAD"))
    }

    /// Of URL and ref.
    pub fn new(url: &str, reference: &str) -> Self {
        Self(format!("{url} {reference}"))
    }

    /// `https://git.example.com/team/base.git`.
    pub fn url(&self) -> &str {
        first(&self.0)
    }

    /// The ref as it is written: `main`; empty where a hand left it out.
    pub fn reference(&self) -> &str {
        behind_first(&self.0)
    }
}

fn first(text: &str) -> &str {
    text.split_once(' ').map_or(text, |(first, _)| first)
}

fn behind_first(text: &str) -> &str {
    text.split_once(' ').map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards each key against being written and read by two rules.
    #[test]
    fn what_a_key_is_made_of_comes_back() {
        let image = ImageKey::of("nginx:1.27@sha256:00", "amd64");
        assert_eq!(image.as_str(), "nginx:1.27@sha256:00 linux/amd64");
        let parts = (image.reference(), image.platform(), image.architecture());
        assert_eq!(parts, ("nginx:1.27@sha256:00", "linux/amd64", "amd64"));
        let chart = ChartKey::new("https://charts.example", "web", ">=1.0.0, <2");
        assert_eq!(chart.as_str(), "https://charts.example web >=1.0.0, <2");
        assert_eq!((chart.name(), chart.version()), ("web", ">=1.0.0, <2"));
        let mut repository =
            Repository { name: "r".into(), url: "https://h/r.git".into(), reference: None, commit: None };
        assert_eq!(RepositoryKey::of(&repository).as_str(), "https://h/r.git HEAD");
        repository.commit = Some("HEAD".into());
        assert_eq!(RepositoryKey::of(&repository).as_str(), "https://h/r.git HEAD");
        repository.commit = Some("0".repeat(40));
        assert_eq!(RepositoryKey::of(&repository).reference(), "0".repeat(40));
        repository.reference = Some("main".into());
        let key = RepositoryKey::of(&repository);
        assert_eq!((key.as_str(), key.url(), key.reference()), ("https://h/r.git main", "https://h/r.git", "main"));
        assert_eq!(FileKey::of("https://h/a b").as_str(), "https://h/a b");
    }
}
