//! What an asker was given from an address. The network alone makes a [`Seen`], and a
//! desk alone a [`SeenChart`].

use base::digest::Digest;
use config::airgap_lock::LockedChart;
use entitlement::Asker;

/// That an address gave these bytes to this asker, and that they lie in the
/// store. Only a completed fetch makes one, now or in an earlier build that
/// left a receipt of it; so the lock enters and the store links nothing else
/// for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    asker: Asker,
    /// The key in airgap.lock: the URL, or `oci://` and the reference.
    address: String,
    digest: Digest,
    size: u64,
    /// The build in which it was fetched; None is the present one.
    build: Option<String>,
    /// The checksum file of the configuration that names this digest.
    checksum: Option<String>,
}

impl Seen {
    pub(crate) fn new(asker: &Asker, address: &str, digest: Digest, size: u64) -> Self {
        Self { asker: asker.clone(), address: address.to_owned(), digest, size, build: None, checksum: None }
    }

    /// The same, seen in an earlier build.
    pub(crate) fn in_build(self, build: Option<String>) -> Self {
        Self { build, ..self }
    }

    /// The same, which a checksum file named.
    pub(crate) fn checked_by(self, checksum: Option<String>) -> Self {
        Self { checksum, ..self }
    }

    /// Who was given it.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Where it came from: a URL, or `oci://` and a reference.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Of the content.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The build in which it was fetched; None where it is the present one.
    pub fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }

    /// The URL of the checksum file that named the digest; None where none did.
    pub fn checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }
}

/// A chart whose address the host saw give its archive. Only a desk makes one.
#[derive(Clone, Debug)]
pub struct SeenChart {
    key: String,
    chart: LockedChart,
}

impl SeenChart {
    pub(crate) fn new(key: String, chart: LockedChart) -> Self {
        Self { key, chart }
    }

    pub(crate) fn into_entry(self) -> (String, LockedChart) {
        (self.key, self.chart)
    }
}
