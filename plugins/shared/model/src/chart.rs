//! Where what belongs to a chart lies.

/// The provenance file that lies beside the archive at this address; a query
/// stays behind it, and a fragment is no part of what is asked for.
pub fn provenance_of(archive: &str) -> String {
    let archive = archive.split('#').next().unwrap_or_default();
    match archive.split_once('?') {
        Some((path, query)) => format!("{path}.prov?{query}"),
        None => format!("{archive}.prov"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provenance_file_lies_beside_its_archive() {
        assert_eq!(provenance_of("https://h/a.tgz"), "https://h/a.tgz.prov");
        assert_eq!(provenance_of("https://h/a.tgz#x"), "https://h/a.tgz.prov");
        assert_eq!(provenance_of("https://h/a.tgz?x=1?y"), "https://h/a.tgz.prov?x=1?y");
    }
}
