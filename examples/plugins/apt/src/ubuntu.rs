//! `UBUNTU_VERSION` of versions.env, as the name that mirrors have for it.

/// What stands for the codename in a suite.
pub const PLACEHOLDER: &str = "{{UBUNTU_CODENAME}}";

const CODENAMES: [(&str, &str); 4] =
    [("20.04", "focal"), ("22.04", "jammy"), ("24.04", "noble"), ("26.04", "resolute")];

/// `suite` with the codename in it; `pins` is the text of versions.env.
///
/// # Errors
/// Where versions.env has no such pin, or one of another release.
pub fn filled_in(suite: &str, pins: &str) -> Result<String, String> {
    if !suite.contains(PLACEHOLDER) {
        return Ok(suite.to_owned());
    }
    let pin = pins.lines().find_map(|line| line.trim().strip_prefix("UBUNTU_VERSION="));
    let version = pin.map(|value| value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']));
    let version = version.ok_or("config/versions.env has no UBUNTU_VERSION")?;
    let known = CODENAMES.iter().find(|(known, _)| version == *known || version.starts_with(&format!("{known}.")));
    let (_, codename) = known.ok_or_else(|| {
        let all: Vec<&str> = CODENAMES.iter().map(|(known, _)| *known).collect();
        format!(
            "UBUNTU_VERSION is {version}, whose codename is not known (known are {}): write the suite itself",
            all.join(", ")
        )
    })?;
    Ok(suite.replace(PLACEHOLDER, codename))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_becomes_a_suite() {
        let pins = "# pins\nKUBERNETES_VERSION=\"1.33.5\"\nUBUNTU_VERSION=\"24.04\" # LTS\n";
        assert_eq!(filled_in("{{UBUNTU_CODENAME}}-updates", pins).unwrap(), "noble-updates");
        assert_eq!(filled_in("{{UBUNTU_CODENAME}}", "UBUNTU_VERSION=22.04.5").unwrap(), "jammy");
        assert_eq!(filled_in("bookworm", "").unwrap(), "bookworm");
        assert!(filled_in(PLACEHOLDER, "UBUNTU_VERSION=4.10").is_err() && filled_in(PLACEHOLDER, "").is_err());
    }
}
