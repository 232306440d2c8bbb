//! Charts in OCI registries: references, tags, and the layers of a chart's
//! manifest.

use model::media_type::{CHART_ARCHIVE, CHART_PROVENANCE};
use model::oci::Manifest;
use model::version::{Constraint, Version, compare};

/// The second is from before Helm had a type of its own.
const CHART_LAYERS: &[&str] = &[CHART_ARCHIVE, "application/tar+gzip"];

/// `oci://registry/repository[:tag]` without the scheme and the tag.
pub fn repository_of(url: &str) -> &str {
    let rest = url.strip_prefix("oci://").unwrap_or(url).trim_end_matches('/');
    match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => rest,
    }
}

/// The tag of `oci://registry/repository:tag`.
pub fn tag_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("oci://").unwrap_or(url);
    rest.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

/// Tags cannot hold the `+` of build metadata.
pub fn tag_for(version: &str) -> String {
    version.replace('+', "_")
}

/// The newest version among `tags` that fits, as the chart writes it.
pub fn newest(tags: &[String], constraint: &Constraint) -> Option<String> {
    let versions = tags.iter().filter_map(|tag| Version::parse(&tag.replace('_', "+")));
    versions.filter(|version| constraint.fits(version)).max_by(compare).map(|version| version.to_string())
}

/// The layers of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// `sha256:…`
    pub chart: String,
    /// Bytes of the archive, as the manifest says.
    pub chart_size: u64,
    /// `sha256:…` of the provenance file; None where the chart has none.
    pub provenance: Option<String>,
}

/// Reads a manifest.
///
/// # Errors
/// A fragment that says why this is no chart.
pub fn layers(bytes: &[u8]) -> Result<Layers, String> {
    let manifest: Manifest = model::json::read(bytes).map_err(|error| format!("it has no manifest: {error}"))?;
    let Some(chart) = manifest.layers().iter().find(|layer| CHART_LAYERS.contains(&layer.media_type.as_str())) else {
        let kind = if manifest.manifests().is_empty() { "an image or another artifact" } else { "an image index" };
        return Err(format!("it is {kind}, not a Helm chart"));
    };
    let provenance = manifest.layers().iter().find(|layer| layer.media_type == CHART_PROVENANCE);
    Ok(Layers {
        chart: chart.digest.clone(),
        chart_size: chart.size,
        provenance: provenance.map(|layer| layer.digest.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        assert_eq!(repository_of("oci://ghcr.io/org/charts/app:1.0.0"), "ghcr.io/org/charts/app");
        assert_eq!(repository_of("oci://localhost:5000/app"), "localhost:5000/app");
        assert_eq!(tag_of("oci://localhost:5000/app"), None);
        assert_eq!(tag_of("oci://localhost:5000/app:1_b"), Some("1_b"));
        assert_eq!(tag_for("1.0.0+b"), "1.0.0_b");
    }

    #[test]
    fn the_newest_tag_that_fits() {
        let tags: Vec<String> =
            ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc1", "latest", "sha256-ab.sig", "1.10.0_b"].map(Into::into).into();
        let newest = |text: &str| newest(&tags, &Constraint::parse(text).unwrap());
        assert_eq!(newest("1.x"), Some("1.10.0+b".into()));
        assert_eq!(newest(">=2.0.0-0"), Some("2.0.0-rc1".into()));
        assert_eq!(newest("3"), None);
    }

    /// As helm pushes it, and what is something else.
    #[test]
    fn layers_of_a_chart() {
        let manifest = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:c","size":1},
            "layers":[{"mediaType":"application/vnd.cncf.helm.chart.provenance.v1.prov","digest":"sha256:p","size":3},
            {"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":"sha256:t","size":7}]}"#;
        let expected = Layers { chart: "sha256:t".into(), chart_size: 7, provenance: Some("sha256:p".into()) };
        assert_eq!(layers(manifest.as_bytes()), Ok(expected));
        let image = r#"{"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:t"}]}"#;
        assert!(layers(image.as_bytes()).unwrap_err().contains("not a Helm chart"));
        assert!(layers(br#"{"manifests":[{"digest":"x"}]}"#).unwrap_err().contains("index"));
    }
}
