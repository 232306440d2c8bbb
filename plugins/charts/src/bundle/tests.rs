//! The whole way against a host in memory: what is fetched, what the rows
//! say, what a failure lists, what a second attempt skips.

use std::cell::RefCell;
use std::io::Read;

use chart_loader::directory::joined;
use image_finder::yaml;
use sdk::fetch::{FetchError, Source};

use super::*;
use crate::local::tests::{Memory, packed};

/// A host whose servers are maps.
#[derive(Default)]
struct Lab {
    /// By URL or OCI reference.
    served: BTreeMap<String, Vec<u8>>,
    tags: BTreeMap<String, Vec<String>>,
    local: BTreeMap<String, Memory>,
    output: RefCell<BTreeMap<String, Vec<u8>>>,
    marks: RefCell<BTreeMap<String, Vec<String>>>,
    fetched: RefCell<Vec<String>>,
    /// Fetches that fail for a while.
    down: RefCell<BTreeSet<String>>,
    /// What nobody may see, by how it begins.
    private: Vec<String>,
}

fn failed(kind: FetchErrorKind, message: &str) -> FetchError {
    FetchError { kind, message: message.to_owned(), hint: None }
}

fn artifact(path: &str, content: &[u8]) -> Artifact {
    use sha2::Digest;
    let hex: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Artifact { path: path.to_owned(), digest: format!("sha256:{hex}"), size: content.len() as u64, executable: false }
}

impl Lab {
    fn serve_chart(&mut self, url: &str, name: &str, version: &str, values: &str) -> String {
        let about = format!("apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: 1.0.0\n");
        let bytes = packed(name, &[("Chart.yaml", &about), ("values.yaml", values), ("templates/pod.yaml", POD)]);
        let digest = artifact("", &bytes).digest;
        self.served.insert(url.to_owned(), bytes);
        digest.trim_start_matches("sha256:").to_owned()
    }

    fn serve(&mut self, url: &str, text: &str) {
        self.served.insert(url.to_owned(), text.as_bytes().to_vec());
    }

    fn run(&self, charts: &[Chart], lock: &str) -> Result<Vec<ChartEntry>, StepError> {
        let lock = yaml::parse(lock).unwrap();
        run(self, &Job { charts, lock: &lock }).map(|(entries, _)| entries)
    }

    fn search(&self, charts: &[Chart]) -> Searched {
        run(self, &Job { charts, lock: &Node::empty() }).unwrap().1.remove(0)
    }

    fn paths(&self) -> Vec<String> {
        self.output.borrow().keys().cloned().collect()
    }
}

impl Host for Lab {
    fn fetch(&self, requests: &[Request]) -> Result<Vec<Result<Artifact, FetchError>>, StepError> {
        let one = |request: &Request| {
            let (Source::Url(address) | Source::OciBlob(address) | Source::OciManifest(address)) = &request.source;
            self.fetched.borrow_mut().push(address.clone());
            if self.down.borrow().contains(address) {
                return Err(failed(FetchErrorKind::Transient, "503"));
            }
            if self.private.iter().any(|start| address.starts_with(start)) {
                return Err(failed(FetchErrorKind::Auth, "403"));
            }
            let content = self.served.get(address).ok_or_else(|| failed(FetchErrorKind::NotFound, "404"))?;
            let artifact = artifact(&request.path, content);
            let expected = request.sha256.as_ref().map(|digest| digest.trim_start_matches("sha256:"));
            if expected.is_some_and(|expected| !artifact.digest.ends_with(expected)) {
                return Err(failed(FetchErrorKind::Integrity, "another digest"));
            }
            self.output.borrow_mut().insert(request.path.clone(), content.clone());
            Ok(artifact)
        };
        Ok(requests.iter().map(one).collect())
    }

    fn tags(&self, repository: &str, _: u32) -> Result<Vec<String>, FetchError> {
        self.tags.get(repository).cloned().ok_or_else(|| failed(FetchErrorKind::NotFound, "no such repository"))
    }

    fn read(&self, path: &str, _: u64) -> Result<Vec<u8>, StepError> {
        let gone = || StepError::missing_input("gone", path);
        self.output.borrow().get(path).cloned().ok_or_else(gone)
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, StepError> {
        Ok(Box::new(std::io::Cursor::new(self.read(path, u64::MAX)?)))
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<Artifact, StepError> {
        self.output.borrow_mut().insert(path.to_owned(), content.to_vec());
        Ok(artifact(path, content))
    }

    fn remove(&self, path: &str) -> Result<(), StepError> {
        self.output.borrow_mut().remove(path);
        Ok(())
    }

    fn local(&self, path: &str) -> Option<Box<dyn Files + '_>> {
        let wanted = joined("", path);
        let tree = self.local.iter().find(|(name, _)| joined("", name) == wanted)?.1.clone();
        Some(Box::new(tree))
    }

    fn done(&self) -> Vec<String> {
        self.marks.borrow().keys().cloned().collect()
    }

    fn mark(&self, key: &str, paths: &[String]) -> Result<(), StepError> {
        assert!(paths.iter().all(|path| self.output.borrow().contains_key(path)), "{paths:?}");
        self.marks.borrow_mut().insert(key.to_owned(), paths.to_vec());
        Ok(())
    }

    fn info(&self, _: &str) {}

    fn warn(&self, _: &str) {}

    fn progress(&self, _: u64, _: u64, _: &str) -> Result<(), StepError> {
        Ok(())
    }
}

fn chart(name: &str, repo: &str, version: &str) -> Chart {
    let (repo, version) = (repo.into(), version.into());
    Chart { name: name.into(), repo, version, namespace: None, values: Vec::new(), deploy: true }
}

fn message(error: &StepError) -> String {
    error.failure().unwrap().message.clone()
}

/// A repository with `app` 1.0.0 and 1.1.0, whose archives lie on another
/// host.
fn lab() -> Lab {
    let mut lab = Lab::default();
    let digest = lab.serve_chart("https://cdn.example/app-1.1.0.tgz", "app", "1.1.0", "image: {repository: org/app}\n");
    lab.serve_chart("https://h/charts/app-1.0.0.tgz", "app", "1.0.0", "");
    let index = format!(
        "entries:\n  app:\n  - version: 1.1.0\n    digest: {digest}\n    urls: [\"https://down.example/app.tgz\", \"https://cdn.example/app-1.1.0.tgz\"]\n  - version: 1.0.0\n    urls: [app-1.0.0.tgz]\n"
    );
    lab.serve("https://h/charts/index.yaml", &index);
    lab
}

#[test]
fn a_chart_comes_from_the_first_address_that_has_it() {
    let mut lab = lab();
    lab.serve("https://cdn.example/app-1.1.0.tgz.prov", "signed");
    lab.local.insert("values/app.yaml".into(), Memory::of(&[("app.yaml", "image: {tag: v7}\n")]));
    let wanted = Chart { values: vec!["./values/app.yaml".into()], ..chart("app", "https://h/charts", "^1.0") };
    let entry = lab.run(&[wanted], "").unwrap().remove(0);
    assert_eq!((entry.version.as_str(), entry.requested.as_str()), ("1.1.0", "^1.0"));
    assert_eq!(entry.url, "https://cdn.example/app-1.1.0.tgz");
    assert_eq!(entry.images, ["org/app:v7"]);
    assert_eq!(entry.namespace, "app");
    assert_eq!(lab.paths(), ["charts/app-1.1.0.tgz", "charts/app-1.1.0.tgz.prov", "values/app-1.1.0-0"]);
}

#[test]
fn the_lock_answers_without_an_index() {
    let lab = lab();
    let open = lab.run(&[chart("app", "https://h/charts", "1.x")], "").unwrap().remove(0);
    let lock = format!(
        "charts:\n  \"https://h/charts app 1.x\":\n    version: {}\n    url: {}\n    digest: sha256:{}\n",
        open.version, open.url, open.sha256
    );
    lab.fetched.borrow_mut().clear();
    let locked = lab.run(&[chart("app", "https://h/charts", "1.x")], &lock).unwrap().remove(0);
    assert_eq!(locked, open);
    lab.marks.borrow_mut().clear();
    let again = lab.run(&[chart("app", "https://h/charts", "1.x")], &lock).unwrap().remove(0);
    assert_eq!(again, open);
    assert!(!lab.fetched.borrow().iter().any(|address| address.ends_with("index.yaml")), "{:?}", lab.fetched);
}

#[test]
fn a_registry_serves_exact_versions_and_constraints() {
    let mut lab = Lab::default();
    let digest = lab.serve_chart("blob", "app", "1.2.0+b", "");
    let blob = lab.served.remove("blob").unwrap();
    lab.served.insert(format!("ghcr.io/org/charts/app@sha256:{digest}"), blob);
    let manifest = format!(
        r#"{{"layers":[{{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":"sha256:{digest}","size":9}}]}}"#
    );
    lab.serve("ghcr.io/org/charts/app:1.2.0_b", &manifest);
    lab.tags.insert("ghcr.io/org/charts/app".into(), ["1.1.0", "1.2.0_b", "latest"].map(Into::into).into());
    for version in ["1.2.0+b", "^1.0"] {
        let wanted = chart("app", "oci://ghcr.io/org/charts", version);
        let entry = lab.run(std::slice::from_ref(&wanted), "").unwrap().remove(0);
        assert_eq!((entry.version.as_str(), entry.url.as_str()), ("1.2.0+b", "oci://ghcr.io/org/charts/app:1.2.0_b"));
        let lock = format!(
            "charts: {{\"{}\": {{version: 1.2.0+b, url: \"{}\", digest: {digest}}}}}",
            wanted.lock_key(),
            entry.url
        );
        lab.marks.borrow_mut().clear();
        lab.fetched.borrow_mut().clear();
        assert_eq!(lab.run(&[wanted], &lock).unwrap()[0], entry);
        assert_eq!(lab.fetched.borrow().len(), 1, "{:?}", lab.fetched);
    }
    // `repo` that is the chart itself, and an index that points here.
    lab.serve(
        "https://h/index.yaml",
        "entries: {app: [{version: 1.2.0+b, urls: [\"oci://ghcr.io/org/charts/app:1.2.0_b\"]}]}",
    );
    for repo in ["oci://ghcr.io/org/charts/app", "https://h"] {
        lab.marks.borrow_mut().clear();
        assert_eq!(lab.run(&[chart("app", repo, "1.2.0+b")], "").unwrap()[0].version, "1.2.0+b");
    }
    let error = message(&lab.run(&[chart("app", "oci://ghcr.io/org/charts", "9")], "").unwrap_err());
    assert!(error.contains("no version `9`") && error.contains("1.2.0+b, 1.1.0"), "{error}");
}

/// A chart of a registry with its provenance, and the digest of its archive.
fn signed() -> (Lab, String) {
    let mut lab = Lab::default();
    let digest = lab.serve_chart("blob", "app", "1.2.0", "");
    let blob = lab.served.remove("blob").unwrap();
    let provenance = artifact("", b"signed").digest;
    lab.served.insert(format!("ghcr.io/org/app@sha256:{digest}"), blob);
    lab.serve(&format!("ghcr.io/org/app@{provenance}"), "signed");
    let manifest = format!(
        r#"{{"layers":[{{"mediaType":"application/vnd.cncf.helm.chart.provenance.v1.prov","digest":"{provenance}"}},
        {{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":"sha256:{digest}"}}]}}"#
    );
    lab.serve("ghcr.io/org/app:1.2.0", &manifest);
    (lab, digest)
}

/// The same lock gives the same package, with or without provenance.
#[test]
fn provenance_is_carried_if_it_was_there_when_the_chart_was_locked() {
    let (mut lab, _) = signed();
    let digest = lab.serve_chart("https://h/web-2.0.0.tgz", "web", "2.0.0", "");
    lab.serve("https://h/web-2.0.0.tgz.prov", "signed too");
    lab.serve("https://h/index.yaml", "entries: {web: [{version: 2.0.0, urls: [web-2.0.0.tgz]}]}");
    let charts = [chart("app", "oci://ghcr.io/org", "1.2.0"), chart("web", "https://h", "2.0.0")];
    let open = lab.run(&charts, "").unwrap();
    let signed = ["charts/app-1.2.0.tgz.prov", "charts/web-2.0.0.tgz.prov"];
    assert_eq!(open.iter().map(|entry| entry.provenance.as_deref().unwrap()).collect::<Vec<_>>(), signed);

    let lock = format!(
        "charts:\n  \"{}\": {{version: 1.2.0, url: \"{}\", digest: {}}}\n  \"{}\": {{version: 2.0.0, url: \"{}\", digest: {digest}}}\n",
        charts[0].lock_key(),
        open[0].url,
        open[0].sha256,
        charts[1].lock_key(),
        open[1].url
    );
    let files = "files: {\"oci://ghcr.io/org/app:1.2.0\": {}, \"https://h/web-2.0.0.tgz.prov\": {}}\n";
    let with_files = format!("{lock}{files}");
    for (lock, expected) in [(&with_files, signed.map(Some)), (&lock, [None, None])] {
        lab.marks.borrow_mut().clear();
        let locked = lab.run(&charts, lock).unwrap();
        assert_eq!(locked.iter().map(|entry| entry.provenance.as_deref()).collect::<Vec<_>>(), expected, "{lock}");
    }
    lab.served.retain(|_, content| content != b"signed too");
    lab.marks.borrow_mut().clear();
    let error = message(&lab.run(&charts, &with_files).unwrap_err());
    assert!(error.contains("provenance of chart web") && error.contains("1 of 2"), "{error}");
}

#[test]
fn an_index_and_the_registry_it_points_to_must_agree() {
    let (mut lab, digest) = signed();
    let index = |digest: &str| {
        format!("entries: {{app: [{{version: 1.2.0, digest: \"{digest}\", urls: [\"oci://ghcr.io/org/app:1.2.0\"]}}]}}")
    };
    for (listed, agrees) in [(digest.clone(), true), (digest.to_uppercase(), true), ("0".repeat(64), false)] {
        lab.marks.borrow_mut().clear();
        lab.serve("https://h/index.yaml", &index(&listed));
        let result = lab.run(&[chart("app", "https://h", "1.2.0")], "");
        assert_eq!(result.is_ok(), agrees, "{listed}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.failure().unwrap().code, "integrity");
            assert!(message(&error).contains(&listed) && message(&error).contains(&digest), "{error:?}");
        }
    }
}

/// GitHub and Docker Hub answer 401 or 403 for what does not exist.
#[test]
fn a_registry_that_refuses_what_is_not_there_is_asked_for_the_chart_itself() {
    let (mut lab, _) = signed();
    lab.private = vec!["ghcr.io/org/app/app".into()];
    let entry = lab.run(&[chart("app", "oci://ghcr.io/org/app", "1.2.0")], "").unwrap().remove(0);
    assert_eq!(entry.url, "oci://ghcr.io/org/app:1.2.0");
    lab.private = vec!["ghcr.io/".into()];
    let error = lab.run(&[chart("app", "oci://ghcr.io/org/app", "1.3.0")], "").unwrap_err();
    assert_eq!(error.failure().unwrap().code, "auth", "what is refused everywhere is refused");
}

#[test]
fn all_bad_charts_are_listed_with_what_is_there() {
    let mut lab = lab();
    lab.serve("https://h/charts/bad-1.tgz", "<html>");
    let index = String::from_utf8(lab.served["https://h/charts/index.yaml"].clone()).unwrap();
    lab.serve("https://h/charts/index.yaml", &format!("{index}  bad:\n  - version: 1.0.0\n    urls: [bad-1.tgz]\n"));
    lab.serve("https://login.example/index.yaml", "<html>Sign in</html>");
    let charts = [
        chart("app", "https://h/charts", "9.x"),
        chart("aps", "https://h/charts", "1"),
        chart("bad", "https://h/charts", "1.0.0"),
        chart("app", "https://login.example", "1"),
        chart("app", "https://nowhere.example", "1"),
        chart("app", "https://h/charts", "1.1.0"),
    ];
    let error = lab.run(&charts, "").unwrap_err();
    let text = message(&error);
    for word in [
        "5 of 6 charts failed",
        "newest: 1.1.0, 1.0.0",
        "nearest: app",
        "gzipped tar",
        "no `entries`",
        "index of https://nowhere.example",
        "\n  correct `version` of the chart in components.yaml\n",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("chart app 9.x: chart app 9.x"), "{text}");
    assert!(error.failure().is_some_and(|failure| failure.hint.as_deref() == Some(MEND)));
    assert!(matches!(error, StepError::Other(_)));
    assert_eq!(lab.marks.borrow().len(), 1, "the good one is kept");
    assert!(!lab.paths().contains(&"charts/bad-1.0.0.tgz".to_owned()));
}

#[test]
fn a_second_attempt_goes_on_with_the_rest() {
    let lab = lab();
    let charts = [chart("app", "https://h/charts", "1.1.0"), chart("app", "https://h/charts", "1.0.0")];
    lab.down.borrow_mut().insert("https://h/charts/app-1.0.0.tgz".into());
    assert!(matches!(lab.run(&charts, ""), Err(StepError::Transient(_))));
    lab.down.borrow_mut().clear();
    lab.fetched.borrow_mut().clear();
    assert_eq!(lab.run(&charts, "").unwrap().len(), 2);
    assert!(!lab.fetched.borrow().iter().any(|address| address.contains("1.1.0")), "{:?}", lab.fetched);
    assert!(!lab.paths().iter().any(|path| path.starts_with(WORK)), "{:?}", lab.paths());
}

#[test]
fn a_wrong_digest_or_another_chart_is_refused() {
    let mut lab = lab();
    lab.serve_chart("https://cdn.example/app-1.1.0.tgz", "app", "1.1.0", "changed: 1\n");
    let error = lab.run(&[chart("app", "https://h/charts", "1.1.0")], "").unwrap_err();
    assert!(message(&error).contains("another digest"), "{error:?}");
    lab.serve_chart("https://h/charts/app-1.0.0.tgz", "other", "1.0.0", "");
    let error = lab.run(&[chart("app", "https://h/charts", "1.0.0")], "").unwrap_err();
    assert!(message(&error).contains("holds the chart `other`"), "{error:?}");
    lab.serve_chart("https://h/charts/app-1.0.0.tgz", "app", "1.0.1", "");
    let error = lab.run(&[chart("app", "https://h/charts", "1.0.0")], "").unwrap_err();
    assert!(message(&error).contains("version 1.0.1"), "{error:?}");
}

#[test]
fn a_local_directory_becomes_an_archive() {
    let mut lab = Lab::default();
    lab.local.insert(
        "./charts/site".into(),
        Memory::of(&[("Chart.yaml", "name: site\nversion: 0.3.0\n"), ("values.yaml", "image: nginx:1.27\n")]),
    );
    let entry = lab.run(&[chart("site", "./charts/site", "0.3.0")], "").unwrap().remove(0);
    assert_eq!((entry.path.as_str(), entry.url.as_str()), ("charts/site-0.3.0.tgz", "./charts/site"));
    let error = lab.run(&[chart("site", "./charts/site", "2.0.0")], "").unwrap_err();
    assert!(message(&error).contains("is version 0.3.0"), "{error:?}");
    let error = lab.run(&[chart("gone", "./charts/gone", "1.0.0")], "").unwrap_err();
    assert!(message(&error).contains("`./charts/gone` is not there"), "{error:?}");
}

/// A pod of the image in the values, with appVersion as Helm's own example has it.
const POD: &str = "{{ if .Values.image }}\nimage: \"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\"\n{{ end }}\n";

/// Guards what is told of images: each that nobody knows, with file and line.
#[test]
fn an_image_that_nobody_knows_is_found_with_its_place() {
    let mut lab = Lab::default();
    lab.serve_chart(
        "https://h/app-1.0.0.tgz",
        "app",
        "1.0.0",
        "sidecar: {image: org/side}\nb:\n  image: {repository: org/b, tag: 1.10}\n",
    );
    lab.serve("https://h/index.yaml", "entries: {app: [{version: 1.0.0, urls: [app-1.0.0.tgz]}]}");
    let charts = [chart("app", "https://h", "1.0.0")];
    let searched = lab.search(&charts);
    assert_eq!(searched.images, [""; 0], "a reference without a tag is none that a package could hold");
    let unknown = searched.unknown.iter().map(|one| format!("{} {}: {}", one.place, one.text, one.why));
    assert_eq!(
        unknown.collect::<Vec<_>>(),
        [
            "values.yaml:1 org/side: it has neither tag nor digest",
            "values.yaml:3 org/b:1.10: without quotes it is a number, which Helm prints as `1.1`",
        ]
    );
    let values = "sidecar: {image: \"org/side:7\"}\nb: {image: {tag: \"1.10\"}}\n";
    lab.local.insert("v.yaml".into(), Memory::of(&[("v.yaml", values)]));
    lab.marks.borrow_mut().clear();
    let known = [Chart { values: vec!["v.yaml".into()], ..charts[0].clone() }];
    let searched = lab.search(&known);
    assert!(searched.unknown.is_empty() && searched.images == ["org/side:7", "org/b:1.10"], "{searched:?}");
    // Zarf fills its variables in at the deployment.
    lab.local.insert(
        "v.yaml".into(),
        Memory::of(&[("v.yaml", "sidecar: {image: \"org/side:7\"}\nb: {image: {tag: ###ZARF_VAR_TAG###\n}}\n")]),
    );
    lab.marks.borrow_mut().clear();
    assert_eq!(lab.search(&known).unknown[0].text, "org/b:$(ZARF_VAR_TAG)");
}

#[test]
fn a_bad_values_file_and_a_twin_are_refused() {
    let mut lab = lab();
    for (file, text) in [("v.yaml", "a: [\n"), ("list.yaml", "- a\n"), ("word.yaml", "a\n"), ("none.yaml", "null\n")] {
        lab.local.insert(file.into(), Memory::of(&[(file, text)]));
    }
    let with = |file: &str| Chart { values: vec![file.into()], ..chart("app", "https://h/charts", "1.1.0") };
    let refused = [
        ("v.yaml", "not YAML: line"),
        ("gone.yaml", "is not there"),
        ("list.yaml", "is not a mapping"),
        ("word.yaml", "is not a mapping"),
    ];
    for (file, word) in refused {
        let error = message(&lab.run(&[with(file)], "").unwrap_err());
        assert!(error.contains(word) && error.contains(file), "{error}");
    }
    lab.run(&[with("none.yaml")], "").unwrap();
    let twins = [chart("app", "https://h/charts", "1.1.0"), chart("app", "https://h/charts", "^1")];
    assert!(message(&lab.run(&twins, "").unwrap_err()).contains("listed twice"));
}
