//! The conversions of the two forms, against definitions at random and against
//! what Zarf 0.84 itself wrote.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::zarf::documents::Documents;
use crate::zarf::to_text;

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,6}"
}

/// A text that may be absent.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), word()]
}

fn flag() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![Just(None), Just(Some(true))]
}

fn metadata() -> impl Strategy<Value = alpha::Metadata> {
    let texts = (word(), text(), text(), text(), text(), text());
    let rest =
        (btree_map("[a-z]{1,4}/[a-z]{1,4}", word(), 0..3), option::of(Just(false)), any::<bool>(), "[0-9a-f]{8}");
    (texts, rest).prop_map(
        |((name, description, version, url, authors, vendor), (annotations, allow, uncompressed, sum))| {
            alpha::Metadata {
                name,
                description,
                version,
                url,
                authors,
                vendor,
                annotations,
                allow_namespace_override: allow,
                uncompressed,
                aggregate_checksum: sum,
                ..alpha::Metadata::default()
            }
        },
    )
}

fn build() -> impl Strategy<Value = alpha::Build> {
    let requirement = (word(), word()).prop_map(|(version, reason)| alpha::VersionRequirement { version, reason });
    let lists = (vec(requirement, 0..3), vec(word(), 0..3), vec(word(), 0..3));
    (text(), text(), text(), any::<bool>(), any::<Option<bool>>(), lists).prop_map(
        |(terminal, user, flavor, differential, signed, (version_requirements, migrations, provenance_files))| {
            alpha::Build {
                terminal,
                user,
                flavor,
                differential,
                signed,
                version_requirements,
                migrations,
                provenance_files,
                architecture: "amd64".into(),
                ..alpha::Build::default()
            }
        },
    )
}

fn manifest() -> impl Strategy<Value = alpha::Manifest> {
    let kustomize = (vec(word(), 0..2), any::<bool>(), any::<bool>());
    (word(), text(), vec(word(), 0..3), kustomize, any::<bool>(), text(), flag()).prop_map(
        |(name, namespace, files, (kustomizations, directory, plugins), no_wait, server_side_apply, template)| {
            alpha::Manifest {
                name,
                namespace,
                files,
                kustomizations,
                kustomize_allow_any_directory: directory,
                enable_kustomize_plugins: plugins,
                no_wait,
                server_side_apply,
                template,
            }
        },
    )
}

/// Source, version, path within, name in the repository.
fn source() -> impl Strategy<Value = alpha::Chart> {
    let of = |url: &str, version: &str, git_path: &str, repo_name: &str| alpha::Chart {
        url: url.into(),
        version: version.into(),
        git_path: git_path.into(),
        repo_name: repo_name.into(),
        ..alpha::Chart::default()
    };
    prop_oneof![
        Just(alpha::Chart { local_path: "charts/x".into(), ..alpha::Chart::default() }),
        Just(of("https://charts.example.com/stable", "1.2.3", "", "")),
        Just(of("https://charts.example.com/stable", "1.2.3", "", "other")),
        Just(of("oci://ghcr.io/x/y", "1.2.3", "", "")),
        Just(of("https://example.com/x/y.git", "v1.2.3", "charts/y", "")),
        Just(of("https://example.com/x/y", "0123456789012345678901234567890123456789", "charts/y", "")),
        Just(of("https://example.com/x/y.git@refs/heads/main", "", "", "")),
        Just(of("https://example.com/x/y.git@refs/tags/v1", "", "charts", "")),
    ]
}

fn chart() -> impl Strategy<Value = alpha::Chart> {
    let values =
        vec(
            (word(), word(), vec(word(), 0..2)).prop_map(|(source_path, target_path, exclude_paths)| {
                alpha::ChartValue { source_path, target_path, exclude_paths }
            }),
            0..2,
        );
    let names = (word(), text(), text(), text());
    let files = (vec(word(), 0..3), vec(word(), 0..3));
    (source(), names, files, values, any::<bool>(), option::of(Just(false))).prop_map(
        |(source, (name, namespace, release_name, apply), (plain, templated), values, no_wait, schema_validation)| {
            alpha::Chart {
                name,
                namespace,
                release_name,
                server_side_apply: apply,
                values_files: plain,
                templated_values_files: templated,
                values,
                no_wait,
                schema_validation,
                ..source
            }
        },
    )
}

fn file() -> impl Strategy<Value = alpha::File> {
    (word(), text(), word(), any::<bool>(), vec(word(), 0..2), text(), flag()).prop_map(
        |(source, shasum, target, executable, symlinks, extract_path, template)| alpha::File {
            source,
            shasum,
            target,
            executable,
            symlinks,
            extract_path,
            template,
        },
    )
}

fn wait() -> impl Strategy<Value = alpha::Wait> {
    let cluster = (word(), word(), text(), word()).prop_map(|(kind, name, namespace, condition)| alpha::WaitCluster {
        kind,
        name,
        namespace,
        condition,
    });
    let network =
        (word(), word(), 0..600).prop_map(|(protocol, address, code)| alpha::WaitNetwork { protocol, address, code });
    (option::of(cluster), option::of(network)).prop_map(|(cluster, network)| alpha::Wait { cluster, network })
}

fn shell() -> impl Strategy<Value = alpha::Shell> {
    (text(), text(), text()).prop_map(|(windows, linux, darwin)| alpha::Shell { windows, linux, darwin })
}

fn action() -> impl Strategy<Value = alpha::Action> {
    let set = (word(), text()).prop_map(|(key, kind)| alpha::SetValue { key, value: None, kind });
    let numbers = (any::<Option<bool>>(), any::<Option<i32>>(), any::<Option<i32>>());
    let rest = (option::of(word()), vec(word(), 0..2), text(), option::of(shell()), vec(set, 0..2), text());
    (numbers, rest, option::of(wait()), flag()).prop_map(
        |((mute, max_total_seconds, max_retries), (dir, env, cmd, shell, set_values, description), wait, template)| {
            alpha::Action {
                mute,
                max_total_seconds,
                max_retries,
                dir,
                env,
                cmd,
                shell,
                set_values,
                description,
                wait,
                template,
                ..alpha::Action::default()
            }
        },
    )
}

fn actions() -> impl Strategy<Value = alpha::Actions> {
    let defaults = (any::<bool>(), 0..9_i32, 0..9_i32, text(), vec(word(), 0..2), shell()).prop_map(
        |(mute, max_total_seconds, max_retries, dir, env, shell)| alpha::ActionDefaults {
            mute,
            max_total_seconds,
            max_retries,
            dir,
            env,
            shell,
        },
    );
    let list = || vec(action(), 0..2);
    let set = (defaults, list(), list(), list()).prop_map(|(defaults, before, on_success, on_failure)| {
        alpha::ActionSet { defaults, before, after: Vec::new(), on_success, on_failure }
    });
    let set = set.boxed();
    (set.clone(), set.clone(), set).prop_map(|(on_create, on_deploy, on_remove)| alpha::Actions {
        on_create,
        on_deploy,
        on_remove,
    })
}

fn component() -> impl Strategy<Value = alpha::Component> {
    let archive = (word(), vec(word(), 0..2)).prop_map(|(path, images)| alpha::ImageArchive { path, images });
    let repos = prop_oneof![
        Just("https://example.com/a/b.git".to_owned()),
        Just("https://example.com/a/b.git@v1".to_owned()),
        Just("https://example.com/a/b@refs/tags/v1".to_owned()),
        Just("ssh://git@example.com/a/b@refs/heads/x/y".to_owned()),
        Just(format!("https://example.com/a/b.git@{}", "a".repeat(40))),
    ];
    let only = (text(), text(), text()).prop_map(|(local_os, architecture, flavor)| alpha::Only {
        local_os,
        cluster: alpha::OnlyCluster { architecture, distros: Vec::new() },
        flavor,
    });
    let lists = (vec(manifest(), 0..2), vec(chart(), 0..2), vec(file(), 0..2), vec(archive, 0..2));
    let texts = (word(), text(), flag(), vec(word(), 0..3), vec(repos, 0..3), vec(word(), 0..2));
    (texts, lists, only, actions()).prop_map(
        |(
            (name, description, required, images, repos, state_access),
            (manifests, charts, files, image_archives),
            only,
            actions,
        )| {
            alpha::Component {
                name,
                description,
                required,
                images,
                repos,
                state_access,
                manifests,
                charts,
                files,
                image_archives,
                only,
                actions,
                ..alpha::Component::default()
            }
        },
    )
}

prop_compose! {
    fn definition()(
        metadata in metadata(),
        build in build(),
        components in vec(component(), 0..3),
        files in vec(word(), 0..2),
        schema in text(),
        documentation in btree_map(word(), word(), 0..2),
    ) -> alpha::Definition {
        alpha::Definition {
            api_version: crate::zarf::API_VERSION.into(),
            kind: crate::zarf::KIND.into(),
            metadata,
            build,
            components,
            values: alpha::Values { files, schema },
            documentation,
            ..alpha::Definition::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// There and back, through the text as well.
    #[test]
    fn what_both_forms_can_say_comes_back(definition in definition()) {
        let (beta, lost) = to_beta(&definition);
        prop_assert_eq!(lost, []);
        let text = to_text(&beta).unwrap();
        let read: beta::Definition = serde_yaml::from_str(&text).unwrap();
        prop_assert_eq!(&read, &beta);
        let (back, lost) = to_alpha(&read);
        prop_assert_eq!(lost, []);
        prop_assert_eq!(&back, &definition);
        let text = to_text(&back).unwrap();
        prop_assert_eq!(serde_yaml::from_str::<alpha::Definition>(&text).unwrap(), definition);
    }
}

fn lost(component: &str) -> Vec<String> {
    let text = format!("kind: ZarfPackageConfig\nmetadata: {{name: x}}\ncomponents:\n- name: a\n  {component}\n");
    let definition: alpha::Definition = serde_yaml::from_str(&text).unwrap();
    to_beta(&definition).1.into_iter().map(|loss| loss.field).collect()
}

/// A field without a form in v1beta1 is never dropped in silence.
#[test]
fn every_field_that_v1beta1_lacks_is_reported() {
    for (component, field) in [
        ("default: true", "default"),
        ("group: g", "group"),
        ("only: {cluster: {distros: [k3s]}}", "only.cluster.distros"),
        ("import: {name: n, path: p}", "import.name"),
        ("dataInjections: [{source: s, target: {path: p}}]", "dataInjections"),
        ("scripts: {before: [x]}", "scripts"),
        ("charts: [{name: c, localPath: p, version: '1'}]", "charts.c.version"),
        ("charts: [{name: c, localPath: p, variables: [{name: V}]}]", "charts.c.variables"),
        ("charts: [{name: c, localPath: p, gitPath: q}]", "charts.c.gitPath"),
        ("charts: [{name: c, url: 'oci://h/c', version: '1', repoName: r}]", "charts.c.repoName"),
        ("charts: [{name: c, url: 'https://h/c', version: '1', localPath: p}]", "charts.c.localPath"),
        ("charts: [{name: c, url: 'https://h/a/c.git@v1', version: '2'}]", "charts.c.version"),
        ("repos: ['https://h/a/b@+v1']", "repos"),
        ("actions: {onDeploy: {before: [{cmd: c, setVariable: V}]}}", "actions.onDeploy.setVariable"),
        ("actions: {onRemove: {after: [{cmd: c, setVariables: [{name: V}]}]}}", "actions.onRemove.setVariables"),
        ("actions: {onDeploy: {before: [{setValues: [{key: k, value: 1}]}]}}", "actions.onDeploy.setValues.value"),
        ("actions: {onDeploy: {before: [{cmd: 'x ###ZARF_REGISTRY###'}]}}", "actions.onDeploy.before.0.cmd"),
    ] {
        assert_eq!(lost(component), [format!("components.a.{field}")], "{component}");
    }
    assert_eq!(lost("required: false"), [""; 0]);
    let text = "kind: x\nmetadata: {name: x, yolo: true, url: u, annotations: {metadata.url: v}}\nbuild: {differentialMissing: [x]}\n\
                variables: [{name: V}]\nconstants: [{name: C, value: c}]\n";
    let fields: Vec<String> =
        to_beta(&serde_yaml::from_str(text).unwrap()).1.into_iter().map(|loss| loss.field).collect();
    assert_eq!(fields, ["constants", "variables", "metadata.yolo", "metadata.url", "build.differentialMissing"]);
}

#[test]
fn every_field_that_v1alpha1_lacks_is_reported() {
    let text = "apiVersion: zarf.dev/v1beta1\nkind: x\nmetadata: {name: x}\nbuild: {differential: {from: '1'}}\ncomponents:\n\
                - name: a\n  service: {name: registry}\n  images: [{name: i, source: daemon}]\n  import: {local: [{path: p}, {path: q}]}\n\
                \x20 charts: [{name: c, oci: {url: 'oci://h/c', ref: {digest: 'sha256:00'}}, valuesFiles: [{path: t, enableTemplating: true}, {path: u}]}]\n\
                \x20 actions: {onDeploy: {onSuccess: [{wait: {cluster: {kind: k, name: n}}}]}}\n";
    let (converted, lost) = to_alpha(&serde_yaml::from_str(text).unwrap());
    let fields: Vec<&str> = lost.iter().map(|loss| loss.field.trim_start_matches("components.a.")).collect();
    let expected = [
        "build.differential",
        "service",
        "images",
        "import",
        "charts.c.valuesFiles",
        "charts.c.oci.ref.digest",
        "actions.onDeploy.wait.cluster",
    ];
    let sorted = |mut list: Vec<&str>| {
        list.sort_unstable();
        list.join(" ")
    };
    assert_eq!(sorted(fields), sorted(expected.to_vec()));
    assert_eq!(converted.components[0].charts[0].url, "oci://h/c@sha256:00");
}

/// Health checks become waits for readiness, and what waited for existence
/// goes on doing so.
#[test]
fn health_checks_become_actions_behind_the_others() {
    let text = "kind: x\nmetadata: {name: x}\ncomponents:\n- name: a\n  healthChecks: [{apiVersion: apps/v1, kind: Deployment, name: d, namespace: n}, {apiVersion: v1, kind: Pod, name: p, namespace: n}]\n\
                \x20 actions: {onDeploy: {after: [{cmd: first}], onSuccess: [{wait: {cluster: {kind: Pod, name: q}}}]}}\n";
    let (beta, lost) = to_beta(&serde_yaml::from_str(text).unwrap());
    assert_eq!(lost, []);
    let actions = &beta.components[0].actions.on_deploy.on_success;
    assert_eq!(actions[0].cmd, "first");
    let waits: Vec<(String, String)> = actions[1..]
        .iter()
        .map(|action| action.wait.clone().unwrap().cluster.unwrap())
        .map(|cluster| (cluster.kind, cluster.condition))
        .collect();
    let expected = [("Pod", "exists"), ("Deployment.v1.apps", ""), ("Pod", "")];
    assert_eq!(waits, expected.map(|(kind, condition)| (kind.to_owned(), condition.to_owned())));
}

/// zarf.yaml of a package that Zarf 0.84 made of a definition in v1beta1.
const GOLDEN: &str = include_str!("golden-beta.yaml");

#[test]
fn both_documents_of_zarf_itself_are_the_same_definition() {
    let documents = Documents::parse(GOLDEN).unwrap();
    assert!(documents.alpha_first);
    let alpha: alpha::Definition = serde_yaml::from_value(documents.alpha.unwrap()).unwrap();
    let beta: beta::Definition = serde_yaml::from_value(documents.beta.unwrap()).unwrap();
    assert_eq!(to_beta(&alpha), (beta.clone(), Vec::new()));
    let (back, lost) = to_alpha(&beta);
    assert_eq!(lost, []);
    // Zarf says the default.
    let mut expected = alpha;
    assert_eq!(expected.metadata.allow_namespace_override.take(), Some(true));
    assert_eq!(back, expected);
}
