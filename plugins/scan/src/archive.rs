//! Packed charts.

use chart_loader::archive::{File, STREAM_LIMIT, files};
use chart_loader::load;
use sha2::{Digest as _, Sha256};

use crate::chart;
use crate::report::Packed;
use crate::scanner::{Scanner, is_wanted};

/// Whether a file is a packed chart by its name. Helm passes over those with `_`
/// or `.` in front.
pub fn is_archive(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.to_ascii_lowercase().ends_with(".tgz") && !name.starts_with(['_', '.'])
}

/// Whether a file begins as one does, whatever it is called.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x1f\x8b")
}

/// Scans a packed chart; its files are shown below the archive's path.
pub fn scan(shown: &str, bytes: &[u8], scanner: &mut Scanner) {
    let mut room = STREAM_LIMIT;
    let wanted = |path: &str| load::is_needed(path) || is_wanted(path);
    let unpacked = files(bytes, &mut room, &wanted);
    let loaded = unpacked.and_then(|files| Ok((load::from_files(&files, &mut room)?, files)));
    match loaded {
        Ok((chart, files)) => {
            scanner.packed(Packed {
                file: shown.to_owned(),
                name: chart.name().to_owned(),
                version: chart.metadata.version.clone(),
                sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            });
            chart::scan(shown, &chart, scanner);
            beside(shown, &files, scanner);
        }
        Err(refusal) => scanner.skip(shown, &format!("Helm cannot load it: {refusal}")),
    }
}

/// The files of a chart that are no part of what it deploys by itself.
fn beside(shown: &str, found: &[File], scanner: &mut Scanner) {
    let mut sorted: Vec<&File> = found.iter().filter(|file| !chart::reads("", &file.path)).collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    for File { path, data } in sorted.into_iter().filter(|file| is_wanted(&file.path)) {
        let place = format!("{shown}/{path}");
        match str::from_utf8(data) {
            Ok(text) => scanner.file(&place, text),
            Err(_) => scanner.skip(&place, "not UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chart_loader::pack;

    fn packed(name: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
        let file = |(path, data): &(&str, &[u8])| File { path: (*path).to_owned(), data: data.to_vec() };
        pack::write(name, &files.iter().map(file).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_packed_chart_names_images_and_so_does_one_within() {
        let about =
            |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\nappVersion: 2.0.0\n").into_bytes();
        let inner = packed("sub", &[("Chart.yaml", &about("sub")), ("values.yaml", b"image: org/sub:2\n")]);
        let values = b"image: {repository: org/app, tag: v1}\n";
        let template = b"image: org/job:4\n---\nimage: org/{{ .Release.Name }}:1\n";
        let files: [(&str, &[u8]); 5] = [
            ("Chart.yaml", &about("app")),
            ("charts/sub-1.0.0.tgz", &inner),
            ("ci/values.yaml", b"image: org/ci:1\n"),
            ("templates/job.yaml", template),
            ("values.yaml", values),
        ];
        let mut scanner = Scanner::default();
        scan("c/app.tgz", &packed("app", &files), &mut scanner);
        scan("c/broken.tgz", &packed("app", &files[1..]), &mut scanner);
        let report = scanner.finish();
        let rows: Vec<(&str, &str)> = report.images.iter().map(|row| (row.image.as_str(), row.file.as_str())).collect();
        let expected = [
            ("org/app:v1", "c/app.tgz/values.yaml"),
            ("org/ci:1", "c/app.tgz/ci/values.yaml"),
            ("org/job:4", "c/app.tgz/templates/job.yaml"),
            ("org/sub:2", "c/app.tgz/charts/sub/values.yaml"),
        ];
        assert_eq!(rows, expected);
        let packed: Vec<_> =
            report.packed.iter().map(|it| (it.file.as_str(), it.name.as_str(), it.version.as_str())).collect();
        assert_eq!(packed, [("c/app.tgz", "app", "1.0.0")]);
        assert_eq!(report.packed[0].sha256.len(), 64);
        let unresolved = &report.unresolved[0];
        assert_eq!((unresolved.text.as_str(), unresolved.line), ("org/{{ .Release.Name }}:1", 3));
        assert_eq!(report.warnings, ["c/broken.tgz: Helm cannot load it: it has no `Chart.yaml`"]);
    }
}
