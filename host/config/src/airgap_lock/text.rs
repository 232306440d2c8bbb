//! airgap.lock as it is written: sorted, one line per fact, made for review.

use std::collections::BTreeMap;

use model::yaml_text::{flow_scalar, scalar};

use super::{AirgapLock, LockedBlob, LockedFile, LockedImage, LockedReferrer, Sections};

impl AirgapLock {
    /// The file's text: sorted, one line per fact, the same for equal locks.
    pub fn to_text(&self) -> String {
        let mut text = String::from(HEADER);
        text.push_str(&format!("format: {}\n", self.format));
        if let Some(time) = self.resolved_at {
            text.push_str(&format!("resolved_at: {}\n", model::yaml_text::quoted(&time.to_string())));
        }
        section(&mut text, "images", &self.images, image_text);
        section(&mut text, "charts", &self.charts, |chart, text| {
            text.push_str(&format!("    version: {}\n", scalar(&chart.version)));
            text.push_str(&format!("    url: {}\n", scalar(&chart.url)));
            text.push_str(&format!("    digest: {}\n", chart.digest));
            if let Some(by) = &chart.by {
                text.push_str(&format!("    by: {by}\n"));
            }
            build_text(chart.build.as_deref(), "    ", text);
        });
        section(&mut text, "files", &self.files, |file, text| file_text(file, "    ", text));
        section(&mut text, "repositories", &self.repositories, |repository, text| {
            text.push_str(&format!("    commit: {}\n", model::yaml_text::quoted(&repository.commit)));
            if let Some(reference) = &repository.reference {
                text.push_str(&format!("    ref: {}\n", scalar(reference)));
            }
            if let Some(tag) = &repository.tag {
                text.push_str(&format!("    tag: {}\n", model::yaml_text::quoted(tag)));
            }
            build_text(repository.build.as_deref(), "    ", text);
        });
        sections(&mut text, "core", &self.core);
        sections(&mut text, "plugins", &self.plugins);
        text
    }
}

pub(super) const HEADER: &str = "\
# What every reference of components.yaml resolved to, and when. Written by
# `opencenter-airgap build` at first sight and by `opencenter-airgap update`
# ever after. Commit it: the same lock gives the same package.
";

fn section<K: AsRef<str>, T>(text: &mut String, name: &str, entries: &BTreeMap<K, T>, body: impl Fn(&T, &mut String)) {
    if entries.is_empty() {
        return;
    }
    text.push_str(&format!("\n{name}:\n"));
    for (key, entry) in entries {
        key_text(key.as_ref(), "  ", text);
        body(entry, text);
    }
}

/// What plugins fetched, one level deeper.
fn sections(text: &mut String, name: &str, sections: &Sections) {
    section(text, name, sections, |files, text| {
        for (address, file) in files {
            key_text(address.as_str(), "    ", text);
            file_text(file, "      ", text);
        }
    });
}

fn key_text(key: &str, indent: &str, text: &mut String) {
    let key = scalar(key);
    // YAML keys beyond 1,024 characters need the long form.
    if key.len() > 1000 {
        text.push_str(&format!("{indent}? {key}\n{indent}:\n"));
    } else {
        text.push_str(&format!("{indent}{key}:\n"));
    }
}

fn file_text(file: &LockedFile, indent: &str, text: &mut String) {
    text.push_str(&format!("{indent}sha256: {}\n{indent}size: {}\n", file.sha256, file.size));
    if let Some(checksum) = &file.checksum {
        text.push_str(&format!("{indent}checksum: {}\n", scalar(checksum)));
    }
    build_text(file.build.as_deref(), indent, text);
}

fn build_text(build: Option<&str>, indent: &str, text: &mut String) {
    if let Some(build) = build {
        text.push_str(&format!("{indent}build: {}\n", model::yaml_text::quoted(build)));
    }
}

fn image_text(image: &LockedImage, text: &mut String) {
    if let Some(index) = &image.index {
        text.push_str(&format!("    index: {index}\n"));
    }
    text.push_str(&format!("    manifest: {}\n", image.manifest));
    text.push_str(&format!("    media_type: {}\n", scalar(&image.media_type)));
    text.push_str(&format!("    size: {}\n", image.size));
    text.push_str(&format!("    config: {}\n", blob(&image.config)));
    if !image.layers.is_empty() {
        text.push_str("    layers:\n");
    }
    for layer in &image.layers {
        text.push_str(&format!("      - {}\n", blob(layer)));
    }
    referrers_text(image.referrers.as_deref(), text);
    if let Some(found_in) = &image.found_in {
        text.push_str(&format!("    found_in: {}\n", scalar(found_in)));
    }
    build_text(image.build.as_deref(), "    ", text);
}

fn referrers_text(referrers: Option<&[LockedReferrer]>, text: &mut String) {
    let Some(referrers) = referrers else { return };
    text.push_str(if referrers.is_empty() { "    referrers: []\n" } else { "    referrers:\n" });
    for LockedReferrer { tag, manifest, media_type, size, blobs } in referrers {
        text.push_str(&format!("      - manifest: {manifest}\n"));
        if let Some(tag) = tag {
            text.push_str(&format!("        tag: {}\n", scalar(tag)));
        }
        text.push_str(&format!("        media_type: {}\n", scalar(media_type)));
        text.push_str(&format!("        size: {size}\n"));
        text.push_str(if blobs.is_empty() { "        blobs: []\n" } else { "        blobs:\n" });
        blobs.iter().for_each(|one| text.push_str(&format!("          - {}\n", blob(one))));
    }
}

fn blob(blob: &LockedBlob) -> String {
    format!("{{digest: {}, size: {}}}", flow_scalar(&blob.digest.to_string()), blob.size)
}
