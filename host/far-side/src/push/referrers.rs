//! What is carried about an image, sent behind it.
//!
//! A registry that knows the API of referrers finds a manifest by what it is
//! about. For one that does not, whoever pushes lists it under a tag that is made
//! of the digest (distribution-spec, "Referrers Tag Schema").

use bytes::Bytes;
use model::media_type::OCI_INDEX;
use serde_json::{Value, json};

use super::PushRun;
use crate::serve::Referrer;
use base::digest::Digest;
use base::error::{Error, Result};
use base::reference::Reference;
use model::oci::DEEPEST;

impl PushRun<'_> {
    /// Sends what is about `subject`, and lists it where the registry does not.
    /// It comes last, so a push that was stopped may have left it out.
    pub(super) async fn refer(&self, subject_at: &Reference, subject: Digest) -> Result<()> {
        let referrers = self.library.referring_to(subject);
        for referrer in referrers {
            let target = subject_at.at(referrer.digest);
            if !self.is_there(&target, referrer.digest).await? {
                Box::pin(self.manifest(&target, referrer.digest, DEEPEST)).await?;
            }
        }
        if referrers.is_empty() || self.network.lists_referrers(subject_at, subject, self.progress).await? {
            return Ok(());
        }
        self.list(subject_at, subject, referrers).await
    }

    async fn list(&self, subject_at: &Reference, subject: Digest, referrers: &[Referrer]) -> Result<()> {
        let tag = subject_at.tagged(&format!("sha256-{}", subject.hex()));
        let _alone = self.alone(&tag.to_string()).await;
        let listed = match self.network.held_manifest(&tag, self.progress).await? {
            Some(_) => Some(self.network.manifest(&tag, self.progress).await?.bytes),
            None => None,
        };
        let index = with(listed.as_deref(), referrers)
            .ok_or_else(|| Error::invalid(format!("`{tag}` lists what is about an image and is no index")))?;
        match index {
            Some(index) => {
                self.network.send_manifest(&tag, OCI_INDEX, Bytes::from(index.to_string()), self.progress).await
            }
            None => Ok(()),
        }
    }
}

/// An index with these as well, where it lacks one. None where it is none.
fn with(listed: Option<&[u8]>, referrers: &[Referrer]) -> Option<Option<Value>> {
    let mut index = match listed {
        None => json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }),
        Some(listed) => serde_json::from_slice(listed).ok()?,
    };
    let rows = index.get_mut("manifests")?.as_array_mut()?;
    let before = rows.len();
    for referrer in referrers {
        let row = json!(referrer);
        if !rows.iter().any(|known| known["digest"] == row["digest"]) {
            rows.push(row);
        }
    }
    let is_longer = rows.len() > before;
    Some(is_longer.then_some(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_list_of_referrers_keeps_what_is_in_it() {
        let referrer = |text: &str| Referrer {
            media_type: "m".into(),
            digest: Digest::of(text.as_bytes()),
            size: 1,
            artifact_type: Some("signature".into()),
            annotations: BTreeMap::new(),
        };
        let (one, two) = (referrer("one"), referrer("two"));
        let first = with(None, std::slice::from_ref(&one)).unwrap().unwrap();
        let both = with(Some(first.to_string().as_bytes()), &[one.clone(), two.clone()]).unwrap().unwrap();
        let digests: Vec<&Value> = both["manifests"].as_array().unwrap().iter().map(|row| &row["digest"]).collect();
        assert_eq!(digests, [&json!(one.digest), &json!(two.digest)]);
        assert_eq!(both["manifests"][0]["artifactType"], "signature");
        let text = both.to_string();
        assert_eq!(with(Some(text.as_bytes()), &[two]), Some(None), "nothing is sent twice");
        assert!(with(Some(b"{}"), std::slice::from_ref(&one)).is_none() && with(Some(b"x"), &[one]).is_none());
    }
}
