//! Definitions in memory, composed.

use super::reader::{DEEPEST, MOST_IMPORTS};
use super::*;

#[derive(Default)]
struct Memory(BTreeMap<String, String>);

impl Files for Memory {
    fn look(&mut self, path: &str) -> Result<Found, String> {
        let folder = format!("{path}/");
        Ok(match self.0.get(path) {
            Some(text) => Found::Text(text.clone()),
            None if self.0.keys().any(|known| known.starts_with(&folder)) => Found::Directory,
            None => Found::Nothing,
        })
    }

    fn skeleton(&mut self, url: &str) -> Result<Option<Skeleton>, String> {
        Ok(self.0.get(url).map(|text| Skeleton { text: text.clone(), folder: "oci".to_owned() }))
    }
}

const HEAD: &str = "kind: ZarfPackageConfig\nmetadata: {name: x}\ncomponents:\n";
const BETA: &str = "apiVersion: zarf.dev/v1beta1\nkind: ZarfPackageConfig\nmetadata: {name: x}\ncomponents:\n";
const COMPONENT: &str = "apiVersion: zarf.dev/v1beta1\nkind: ZarfComponentConfig\nmetadata: {name: c}\n";

fn composed(files: &[(&str, &str)], flavor: &str, set: &[(&str, &str)]) -> Result<Composed, Vec<Refusal>> {
    let text = |text: &str| match text.starts_with('-') {
        true => format!("{HEAD}{text}"),
        false => text.to_owned(),
    };
    let mut memory = Memory(files.iter().map(|(path, of)| ((*path).to_owned(), text(of))).collect());
    compose("zarf.yaml", &choice(flavor, set), &mut memory)
}

fn choice(flavor: &str, set: &[(&str, &str)]) -> Choice {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Choice { architecture: "amd64".into(), is_pinned: true, flavor: flavor.into(), set }
}

fn refused(files: &[(&str, &str)]) -> Vec<Refusal> {
    composed(files, "", &[]).unwrap_err()
}

#[test]
fn a_component_is_laid_over_what_it_imports() {
    let root = "- name: web\n  required: true\n  import: {path: packages/web, name: base}\n  images: [mine:1]\n\
                \x20 charts: [{name: c, namespace: other, valuesFiles: [mine.yaml]}]\n  files: [{source: f, target: /f}]\n\
                - name: own\n";
    let web = format!(
        "{HEAD}- name: base\n  description: as it was\n  default: true\n  images: [base:1]\n\
         \x20 charts: [{{name: c, localPath: ../chart, namespace: n, valuesFiles: [v.yaml, 'https://h/v']}}]\n\
         \x20 manifests: [{{name: m, files: [m.yaml]}}]\n\
         - name: other\n  actions: {{onCreate: {{before: [{{cmd: x}}]}}}}\nvariables: [{{name: A, default: inner}}, {{name: B}}]\nvalues: {{files: [v.yaml]}}\n"
    );
    let root = format!("{HEAD}{root}variables: [{{name: A, default: outer}}]\nvalues: {{files: [./own.yaml]}}\n");
    let Composed { definition, schemas, .. } =
        composed(&[("zarf.yaml", &root), ("packages/web/zarf.yaml", &web)], "", &[]).unwrap();
    let web = &definition.components[0];
    assert_eq!(
        (web.name.as_str(), web.description.as_str(), web.default, web.required),
        ("web", "as it was", false, Some(true))
    );
    assert_eq!(web.images, ["base:1", "mine:1"]);
    assert_eq!((web.charts[0].local_path.as_str(), web.charts[0].namespace.as_str()), ("packages/chart", "other"));
    assert_eq!(web.charts[0].values_files, ["packages/web/v.yaml", "https://h/v", "mine.yaml"]);
    assert_eq!((web.manifests[0].files[0].as_str(), web.files[0].source.as_str()), ("packages/web/m.yaml", "f"));
    assert_eq!(definition.variables.len(), 2);
    assert_eq!(definition.variables[0]["default"], "outer");
    assert_eq!(definition.values.files, ["packages/web/v.yaml", "own.yaml"]);
    assert!(schemas.is_empty() && definition.components[1].name == "own");
    assert_eq!(definition.metadata.architecture, "amd64");
}

#[test]
fn flavors_and_architectures_choose() {
    let text = "- name: a\n- name: b\n  only: {flavor: up}\n- name: b\n  only: {flavor: down}\n- name: c\n  only: {cluster: {architecture: arm64}}\n";
    for (flavor, expected) in [("", vec!["a"]), ("up", vec!["a", "b"]), ("down", vec!["a", "b"])] {
        let definition = composed(&[("zarf.yaml", text)], flavor, &[]).unwrap().definition;
        let names: Vec<&str> = definition.components.iter().map(|component| component.name.as_str()).collect();
        assert_eq!(names, expected, "{flavor}");
    }
}

#[test]
fn component_files_of_v1beta1_are_variants() {
    let root = format!(
        "{BETA}- name: web\n  import: {{local: [{{path: c/up.yaml}}, {{path: c/down.yaml}}]}}\n  images: [{{name: 'a:1'}}]\n"
    );
    let of = |flavor: &str, image: &str| {
        format!(
            "{COMPONENT}component:\n  selector: {{flavor: {flavor}}}\n  images: [{{name: '{image}'}}]\n  charts: [{{name: c, local: {{path: chart}}, namespace: n}}]\nvalues: {{files: [v.yaml]}}\n"
        )
    };
    let (up, down) = (of("up", "up:1"), of("down", "down:1"));
    let files = [("zarf.yaml", root.as_str()), ("c/up.yaml", up.as_str()), ("c/down.yaml", down.as_str())];
    let found = composed(&files, "down", &[]).unwrap();
    let component = &found.definition.components[0];
    assert_eq!(component.images, ["down:1", "a:1"]);
    assert_eq!(component.charts[0].local_path, "c/chart");
    assert_eq!(found.definition.values.files, ["c/v.yaml"]);
    assert_eq!(found.beta.unwrap().components[0].charts[0].local.as_ref().unwrap().path, "c/chart");
    let refused = composed(&files, "", &[]).unwrap_err();
    assert!(refused[0].message.contains("none of the files"), "{refused:?}");
}

#[test]
fn templates_need_a_value() {
    let text = "- name: a\n  images: ['x:###ZARF_PKG_TMPL_TAG###', 'y:###ZARF_PKG_TMPL_OTHER###']\n";
    let found = composed(&[("zarf.yaml", text)], "", &[("TAG", "1"), ("OTHER", "2")]).unwrap();
    assert_eq!(found.definition.components[0].images, ["x:1", "y:2"]);
    let refused = composed(&[("zarf.yaml", text)], "", &[("TAG", "1")]).unwrap_err();
    assert!(
        refused[0].message.contains("ZARF_PKG_TMPL_OTHER") && refused[0].hint.contains("--set OTHER="),
        "{refused:?}"
    );
}

#[test]
fn what_cannot_be_composed_is_named() {
    let import = |path: &str| format!("- name: a\n  import: {{path: {path}}}\n");
    let cases: Vec<(Vec<(&str, String)>, &str)> = vec![
        (vec![("zarf.yaml", import("b")), ("b/zarf.yaml", import(".."))], "in a circle"),
        (vec![("zarf.yaml", import("."))], "in a circle"),
        (vec![("zarf.yaml", import("b"))], "is not there"),
        (vec![("zarf.yaml", import("../b"))], "leaves the folder"),
        (vec![("zarf.yaml", import("/b"))], "absolute"),
        (vec![("zarf.yaml", import("b")), ("b/zarf.yaml", "- name: c\n".into())], "no component of `b/zarf.yaml`"),
        (
            vec![("zarf.yaml", import("b")), ("b/zarf.yaml", "- name: a\n  only: {flavor: x}\n".into())],
            "not for `amd64`",
        ),
        (vec![("zarf.yaml", import("b")), ("b/zarf.yaml", "- name: a\n- name: a\n".into())], "has 2 of them"),
        (vec![("zarf.yaml", "- name: a\n  import: {url: 'oci://h.io/x'}\n".into())], "names no version"),
        (vec![("zarf.yaml", "- name: a\n  import: {url: 'oci://team/x:1'}\n".into())], "names no registry"),
        (vec![("zarf.yaml", "- name: a\n  import: {url: 'https://h.io/x:1'}\n".into())], "no address of a registry"),
        (vec![("zarf.yaml", "- name: a\n  import: {url: 'oci://h/x', path: b}\n".into())], "a `path` and a `url`"),
        (vec![("zarf.yaml", "- name: a\n  import: {path: '###ZARF_PKG_TMPL_X###'}\n".into())], "package template"),
        (vec![("zarf.yaml", "- name: a\n- name: a\n".into())], "two components are called `a`"),
        (vec![("zarf.yaml", "- name: a\n  imges: [x]\n".into())], "components[0].imges"),
        (vec![("zarf.yaml", "- name: a\n  only: {flavor: x}\n".into())], "no component is for"),
        (
            vec![("zarf.yaml", "kind: ZarfInitConfig\nmetadata: {name: x}\ncomponents: [{name: a}]\n".into())],
            "ZarfInitConfig",
        ),
        (vec![("zarf.yaml", "kind: x\n  y: [\n".into())], "cannot be read"),
        (
            vec![(
                "zarf.yaml",
                "kind: ZarfPackageConfig\nmetadata: {name: x, architecture: arm64}\ncomponents: [{name: a}]\n".into(),
            )],
            "`arm64`",
        ),
        (vec![("zarf.yaml", "- name: a\n  actions: {onCreate: {before: [{cmd: make}]}}\n".into())], "onCreate"),
        (vec![("zarf.yaml", "- name: a\n  manifests: [{name: m, kustomizations: [k]}]\n".into())], "kustomizations"),
        (
            vec![("zarf.yaml", "- name: a\n  dataInjections: [{source: x, target: {path: /y}}]\n".into())],
            "dataInjections",
        ),
        (vec![("zarf.yaml", "- name: a\n  scripts: {before: [x]}\n".into())], "scripts"),
        (vec![("zarf.yaml", format!("{BETA}- name: a\n  images: [{{name: x, source: daemon}}]\n"))], "daemon"),
        (
            vec![("zarf.yaml", format!("{BETA}- name: a\n  import: {{remote: [{{url: 'oci://h/x'}}]}}\n"))],
            "from a registry",
        ),
        (
            vec![
                ("zarf.yaml", format!("{BETA}- name: a\n  import: {{local: [{{path: c.yaml}}]}}\n")),
                ("c.yaml", format!("{COMPONENT}component: {{import: {{local: [{{path: c.yaml}}]}}}}\n")),
            ],
            "in a circle",
        ),
        (
            vec![
                ("zarf.yaml", format!("{BETA}- name: a\n  import: {{local: [{{path: c.yaml}}]}}\n")),
                ("c.yaml", format!("{BETA}- name: b\n")),
            ],
            "is no field that this version knows",
        ),
    ];
    for (files, word) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let refused = refused(&files);
        assert!(refused.iter().any(|one| one.message.contains(word)), "{word}: {refused:?}");
        assert!(refused.iter().all(|one| !one.hint.is_empty()));
    }
}

/// What is chosen and means nothing here is told, with what there is.
#[test]
fn what_nothing_uses_is_told() {
    let text = "- name: a\n  images: ['x:###ZARF_PKG_TMPL_TAG###']\n- name: b\n  only: {flavor: up}\n";
    let all = |flavor: &str, set: &[(&str, &str)]| composed(&[("zarf.yaml", text)], flavor, set).unwrap();
    let unused = |flavor: &str, set: &[(&str, &str)]| all(flavor, set).unused(&choice(flavor, set));
    assert_eq!(unused("up", &[("TAG", "1")]), Vec::<String>::new());
    assert_eq!(unused("", &[("TAG", "1")]), Vec::<String>::new());
    let both = unused("upp", &[("TAG", "1"), ("OTHER", "2")]);
    let expected = [
        "no component of `zarf.yaml` is of the flavor `upp`: it has `up`",
        "no package template of `zarf.yaml` is called `OTHER`, which is set: it has `TAG`",
    ];
    assert_eq!(both, expected);
    // A section of components.yaml uses it as well as the definition does.
    let added = serde_yaml::from_str::<Value>("{name: c, images: ['y:###ZARF_PKG_TMPL_OTHER###']}").unwrap();
    let chosen = choice("", &[("TAG", "1"), ("OTHER", "2")]);
    let section = compose_components("components.yaml", &[added], &chosen, &mut Memory(BTreeMap::new())).unwrap();
    assert_eq!(section.unused(&chosen), Vec::<String>::new(), "it need not use what is chosen");
    let mut whole = all("", &[("TAG", "1"), ("OTHER", "2")]);
    whole.extend(section).unwrap();
    assert_eq!(whole.unused(&chosen), Vec::<String>::new());
}

/// What Zarf's schema refuses, at its place.
#[test]
fn what_zarf_does_not_take_is_refused_at_its_place() {
    for (text, place, word) in [
        ("- name: a\n  images:\n", "components[0].images", "is empty"),
        ("- name: a\n  description: null\n", "components[0].description", "unit value"),
        ("- name: a\n  import: ~\n", "components[0].import", "is empty"),
        ("- name: a\n- name: b\n  required: yes\n", "components[1].required", "\"yes\""),
        ("- name: a\n  images: [1.5]\n", "components[0].images[0]", "1.5"),
        ("- name: a\n  images: [x:1, {a: b}]\n", "components[0].images[1]", "map"),
        ("- name: a\nvariables: [{name: A, default: 8080}]\n", "variables[0].default", "in quotes"),
        ("- name: a\nconstants: [{name: A, value: true}]\n", "constants[0].value", "in quotes"),
        (
            "- name: a\n  actions: {onDeploy: {before: [{cmd: x, maxRetries: '3'}]}}\n",
            "components[0].actions.onDeploy.before[0].maxRetries",
            "\"3\"",
        ),
    ] {
        let refused = refused(&[("zarf.yaml", text)]);
        let found = refused.iter().find(|one| one.path.to_string() == place);
        assert!(found.is_some_and(|one| one.message.contains(word)), "{place}: {refused:?}");
    }
    let marked = format!("\u{feff}{HEAD}- name: a\n");
    assert!(refused(&[("zarf.yaml", &marked)])[0].message.contains("byte order mark"));
    let text = "- name: a\n  x-own:\n  actions: {onDeploy: {before: [{cmd: x, maxRetries: 3.0}]}}\n";
    let found = composed(&[("zarf.yaml", text)], "", &[]).unwrap();
    assert_eq!(found.definition.components[0].actions.on_deploy.before[0].max_retries, Some(3));
}

const SKELETON: &str = "kind: ZarfPackageConfig\nmetadata: {name: s, architecture: skeleton}\nbuild: {architecture: skeleton, new: thing}\n";

/// What a registry holds is laid under as what a path leads to is, with its
/// files in a folder of their own.
#[test]
fn a_skeleton_is_laid_under_what_imports_of_it() {
    let url = "oci://h.io/team/s:1";
    let root = format!(
        "- name: web\n  import: {{path: packages/web}}\n- name: far\n  import: {{url: '{url}'}}\n  images: [mine:1]\n"
    );
    let web =
        format!("- name: web\n  import: {{url: '{url}', name: base}}\n  files: [{{source: own, target: /own}}]\n");
    let skeleton = format!(
        "{SKELETON}components:\n- name: base\n  files: [{{source: files/0/f, target: /f}}, {{source: 'https://h/x', target: /x}}]\n\
         \x20 charts: [{{name: c, localPath: charts/c-0, namespace: n, valuesFiles: [values/c-0]}}]\n- name: far\n  images: [far:1]\nvariables: [{{name: A}}]\n"
    );
    let mut files = vec![("zarf.yaml", root.as_str()), ("packages/web/zarf.yaml", &web), (url, &skeleton)];
    let found = composed(&files, "", &[]).unwrap();
    assert_eq!((found.skeletons, found.unfetched), (vec![url.to_owned()], vec![]));
    let [web, far] = &found.definition.components[..] else { panic!("two components") };
    let sources: Vec<&str> = web.files.iter().map(|file| file.source.as_str()).collect();
    assert_eq!(sources, ["oci/base/files/0/f", "https://h/x", "packages/web/own"]);
    assert_eq!(
        (web.charts[0].local_path.as_str(), &web.charts[0].values_files[..]),
        ("oci/base/charts/c-0", &["oci/base/values/c-0".to_owned()][..])
    );
    assert_eq!(
        (&far.images[..], found.definition.variables.len()),
        (&["far:1".to_owned(), "mine:1".to_owned()][..], 1)
    );
    // Before it is fetched its place is held, and it is known what lacks.
    files.pop();
    let found = composed(&files, "", &[]).unwrap();
    assert_eq!((found.unfetched, found.definition.components.len()), (vec![url.to_owned()], 2));
}

#[test]
fn a_skeleton_that_is_none_or_reaches_out_is_refused() {
    let root = "- name: web\n  import: {url: 'oci://h.io/s:1'}\n";
    for (text, word) in [
        (
            "kind: ZarfPackageConfig\nmetadata: {name: s, architecture: amd64}\ncomponents: [{name: web}]\n".to_owned(),
            "no skeleton",
        ),
        (format!("{SKELETON}components: [{{name: other}}]\n"), "no component of `oci://h.io/s:1`"),
        (
            format!("{SKELETON}components: [{{name: web, only: {{cluster: {{architecture: arm64}}}}}}]\n"),
            "not for `amd64`",
        ),
        (format!("{SKELETON}components: [{{name: web, import: {{url: 'oci://h.io/s:1'}}}}]\n"), "imports another"),
        (format!("{SKELETON}components: [{{name: web}}]\nvalues: {{files: [a]}}\n"), "`values`"),
        (
            format!("{SKELETON}components: [{{name: web, files: [{{source: ../../../config/x, target: x}}]}}]\n"),
            "leads out",
        ),
        (format!("{SKELETON}components: [{{name: web, charts: [{{name: c, localPath: /etc}}]}}]\n"), "leads out"),
        (
            format!(
                "{SKELETON}components: [{{name: web, charts: [{{name: c, localPath: a, valuesFiles: ['a/../..']}}]}}]\n"
            ),
            "leads out",
        ),
        (format!("{SKELETON}components: [{{name: web, manifests: [{{name: m, files: ['..\\x']}}]}}]\n"), "leads out"),
        (
            format!("{SKELETON}components: [{{name: web, actions: {{onCreate: {{before: [{{cmd: x}}]}}}}}}]\n"),
            "onCreate",
        ),
        (format!("{SKELETON}components: [{{name: web, imgs: [x]}}]\n"), "no field"),
        ("kind: [".to_owned(), "cannot be read"),
    ] {
        let refused = refused(&[("zarf.yaml", root), ("oci://h.io/s:1", &text)]);
        assert!(refused.iter().any(|one| one.message.contains(word)), "{word}: {refused:?}");
    }
}

#[test]
fn imports_do_not_grow_without_end() {
    let component = |number: usize| format!("- name: a{number}\n  import: {{path: b, name: b}}\n");
    let text: String = (0..=MOST_IMPORTS).map(component).collect();
    let refused = refused(&[("zarf.yaml", text.as_str()), ("b/zarf.yaml", "- name: b\n")]);
    assert!(refused[0].message.contains("more than 1000"), "{refused:?}");
    let chain =
        |level: usize| (format!("l{level}/zarf.yaml"), format!("- name: a\n  import: {{path: ../l{}}}\n", level + 1));
    let mut files: Vec<(String, String)> = (0..=DEEPEST).map(chain).collect();
    files.push(("zarf.yaml".into(), "- name: a\n  import: {path: l0}\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert!(self::refused(&files)[0].message.contains("too deep"));
}
