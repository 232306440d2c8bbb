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

/// What a definition at random may say. The strategies name every field, so
/// that one that the types gain is tried as well.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// What both forms can say, in one spelling.
    Both,
    /// Anything, in any spelling.
    Anything,
}

impl Says {
    /// A field that v1beta1 has no form for: seldom there, so that what is lost
    /// is one field more often than several.
    fn alpha_only<T>(self, values: impl Strategy<Value = T> + 'static) -> BoxedStrategy<T>
    where
        T: Clone + Default + std::fmt::Debug + 'static,
    {
        match self {
            Self::Both => Just(T::default()).boxed(),
            Self::Anything => prop_oneof![60 => Just(T::default()), 1 => values].boxed(),
        }
    }

    /// A flag that says nothing but `said`; the other value is what absence
    /// means.
    fn flag(self, said: bool) -> BoxedStrategy<Option<bool>> {
        match self {
            Self::Both => option::of(Just(said)).boxed(),
            Self::Anything => any::<Option<bool>>().boxed(),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    word().prop_map(|name| Value::Mapping([("name".into(), name.into())].into_iter().collect()))
}

fn metadata(says: Says) -> impl Strategy<Value = alpha::Metadata> {
    let names = (word(), text(), text(), text());
    let about = (text(), text(), text(), text(), text(), text());
    let mut annotations = btree_map("[a-z]{1,4}/[a-z]{1,4}", word(), 0..3).boxed();
    if matches!(says, Says::Anything) {
        let taken = Just("metadata.url".to_owned());
        annotations = prop_oneof![9 => annotations, 1 => btree_map(taken, word(), 1..2)].boxed();
    }
    let flags = (any::<bool>(), says.alpha_only(Just(true)), says.flag(false));
    (names, about, annotations, flags, "[0-9a-f]{8}").prop_map(
        |(
            (name, description, version, architecture),
            (url, image, authors, documentation, source, vendor),
            annotations,
            (uncompressed, yolo, allow_namespace_override),
            aggregate_checksum,
        )| alpha::Metadata {
            name,
            description,
            version,
            url,
            image,
            uncompressed,
            architecture,
            yolo,
            authors,
            documentation,
            source,
            vendor,
            aggregate_checksum,
            annotations,
            allow_namespace_override,
        },
    )
}

fn build(says: Says) -> impl Strategy<Value = alpha::Build> {
    let requirement = (word(), word()).prop_map(|(version, reason)| alpha::VersionRequirement { version, reason });
    let texts = (text(), text(), text(), text(), text(), text(), text());
    let lists = (vec(requirement, 0..3), vec(word(), 0..3), vec(word(), 0..3), btree_map(word(), word(), 0..2));
    let missing = says.alpha_only(vec(word(), 1..2));
    (texts, any::<bool>(), any::<Option<bool>>(), lists, missing).prop_map(
        |(
            (terminal, user, architecture, timestamp, version, flavor, differential_package_version),
            differential,
            signed,
            (version_requirements, migrations, provenance_files, registry_overrides),
            differential_missing,
        )| alpha::Build {
            terminal,
            user,
            architecture,
            timestamp,
            version,
            migrations,
            registry_overrides,
            differential,
            differential_package_version,
            differential_missing,
            flavor,
            signed,
            version_requirements,
            provenance_files,
        },
    )
}

fn manifest(says: Says) -> impl Strategy<Value = alpha::Manifest> {
    let kustomize = (vec(word(), 0..2), any::<bool>(), any::<bool>());
    (word(), text(), vec(word(), 0..3), kustomize, any::<bool>(), text(), says.flag(true)).prop_map(
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

/// `url`, `version`, `gitPath`, `repoName` and `localPath` of a chart.
fn source(says: Says) -> BoxedStrategy<[String; 5]> {
    let of = |fields: [&str; 5]| Just(fields.map(str::to_owned));
    let both = prop_oneof![
        of(["", "", "", "", "charts/x"]),
        of(["https://charts.example.com/stable", "1.2.3", "", "", ""]),
        of(["https://charts.example.com/stable", "1.2.3", "", "other", ""]),
        of(["oci://ghcr.io/x/y", "1.2.3", "", "", ""]),
        of(["https://example.com/x/y.git", "v1.2.3", "charts/y", "", ""]),
        of(["https://example.com/x/y", "0123456789012345678901234567890123456789", "charts/y", "", ""]),
        of(["https://example.com/x/y.git@refs/heads/main", "", "", "", ""]),
        of(["https://example.com/x/y.git@refs/tags/v1", "", "charts", "", ""]),
    ];
    match says {
        Says::Both => both.boxed(),
        Says::Anything => {
            let any = [text(), text(), text(), text()].map(Strategy::boxed);
            let any = (prop_oneof![text(), Just("https://example.com/x/y.git@v1".to_owned())], any);
            let any = any.prop_map(|(url, [version, path, name, local])| [url, version, path, name, local]);
            prop_oneof![19 => both, 1 => any].boxed()
        }
    }
}

fn chart(says: Says) -> impl Strategy<Value = alpha::Chart> {
    let value = (word(), word(), vec(word(), 0..2)).prop_map(|(source_path, target_path, exclude_paths)| {
        alpha::ChartValue { source_path, target_path, exclude_paths }
    });
    let names = (word(), text(), text(), text());
    let files = (vec(word(), 0..3), vec(word(), 0..3), vec(value, 0..2));
    let variables = says.alpha_only(vec(self::value(), 1..2));
    (source(says), names, files, variables, any::<bool>(), says.flag(false)).prop_map(
        |(
            [url, version, git_path, repo_name, local_path],
            (name, namespace, release_name, server_side_apply),
            (values_files, templated_values_files, values),
            variables,
            no_wait,
            schema_validation,
        )| alpha::Chart {
            name,
            version,
            url,
            repo_name,
            git_path,
            local_path,
            namespace,
            release_name,
            no_wait,
            values_files,
            templated_values_files,
            variables,
            values,
            schema_validation,
            server_side_apply,
        },
    )
}

fn file(says: Says) -> impl Strategy<Value = alpha::File> {
    (word(), text(), word(), any::<bool>(), vec(word(), 0..2), text(), says.flag(true)).prop_map(
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

fn wait(says: Says) -> impl Strategy<Value = alpha::Wait> {
    let condition = match says {
        Says::Both => word().boxed(),
        Says::Anything => text().boxed(),
    };
    let cluster = (word(), word(), text(), condition)
        .prop_map(|(kind, name, namespace, condition)| alpha::WaitCluster { kind, name, namespace, condition });
    let network =
        (word(), word(), 0..600).prop_map(|(protocol, address, code)| alpha::WaitNetwork { protocol, address, code });
    (option::of(cluster), option::of(network)).prop_map(|(cluster, network)| alpha::Wait { cluster, network })
}

fn shell() -> impl Strategy<Value = alpha::Shell> {
    (text(), text(), text()).prop_map(|(windows, linux, darwin)| alpha::Shell { windows, linux, darwin })
}

fn action(says: Says) -> impl Strategy<Value = alpha::Action> {
    let set = (word(), says.alpha_only(value().prop_map(Some)), text());
    let set = set.prop_map(|(key, value, kind)| alpha::SetValue { key, value, kind });
    let numbers = (any::<Option<bool>>(), any::<Option<i32>>(), any::<Option<i32>>());
    let rest = (option::of(word()), vec(word(), 0..2), text(), option::of(shell()), vec(set, 0..2), text());
    let variables = (says.alpha_only(word()), says.alpha_only(vec(value(), 1..2)));
    (numbers, rest, variables, option::of(wait(says)), says.flag(true)).prop_map(
        |(
            (mute, max_total_seconds, max_retries),
            (dir, env, cmd, shell, set_values, description),
            (set_variable, set_variables),
            wait,
            template,
        )| alpha::Action {
            mute,
            max_total_seconds,
            max_retries,
            dir,
            env,
            cmd,
            shell,
            set_variable,
            set_variables,
            set_values,
            description,
            wait,
            template,
        },
    )
}

fn actions(says: Says) -> impl Strategy<Value = alpha::Actions> {
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
    let list = || vec(action(says), 0..2);
    let set = (defaults, list(), says.alpha_only(list()), list(), list());
    let set = set.prop_map(|(defaults, before, after, on_success, on_failure)| alpha::ActionSet {
        defaults,
        before,
        after,
        on_success,
        on_failure,
    });
    let set = set.boxed();
    (set.clone(), set.clone(), set).prop_map(|(on_create, on_deploy, on_remove)| alpha::Actions {
        on_create,
        on_deploy,
        on_remove,
    })
}

/// At most one of the keys, and with `name` where nothing has to come back.
fn import(says: Says) -> impl Strategy<Value = Option<Value>> {
    let of = |keys: &'static [&'static str]| {
        word().prop_map(move |word| {
            let fields = keys.iter().map(|key| (Value::from(*key), Value::from(word.as_str())));
            Value::Mapping(fields.collect())
        })
    };
    let both = option::weighted(0.1, prop_oneof![of(&["path"]), of(&["url"])]);
    let more = says.alpha_only(prop_oneof![of(&["name", "path"]), of(&["path", "url"])].prop_map(Some));
    (both, more).prop_map(|(both, more)| more.or(both))
}

fn repository(says: Says) -> impl Strategy<Value = String> {
    let of = |url: &str| Just(url.to_owned());
    let both = prop_oneof![
        of("https://example.com/a/b.git"),
        of("https://example.com/a/b.git@v1"),
        of("https://example.com/a/b@refs/tags/v1"),
        of("ssh://git@example.com/a/b@refs/heads/x/y"),
        Just(format!("https://example.com/a/b.git@{}", "a".repeat(40))),
    ];
    let other = says.alpha_only(of("https://example.com/a/b@+v1"));
    (both, other).prop_map(|(both, other)| if other.is_empty() { both } else { other })
}

fn component(says: Says) -> impl Strategy<Value = alpha::Component> {
    let archive = (word(), vec(word(), 0..2)).prop_map(|(path, images)| alpha::ImageArchive { path, images });
    let distros = says.alpha_only(vec(word(), 1..2));
    let only = (text(), text(), distros, text()).prop_map(|(local_os, architecture, distros, flavor)| alpha::Only {
        local_os,
        cluster: alpha::OnlyCluster { architecture, distros },
        flavor,
    });
    let target = (text(), text(), text(), word())
        .prop_map(|(namespace, selector, container, path)| alpha::DataTarget { namespace, selector, container, path });
    let injection = (word(), target, any::<bool>()).prop_map(|(source, target, compress)| alpha::DataInjection {
        source,
        target,
        compress,
    });
    let check = (word(), word(), word(), word()).prop_map(|(api_version, kind, namespace, name)| alpha::HealthCheck {
        api_version,
        kind,
        namespace,
        name,
    });
    let texts = (word(), text(), says.flag(true), vec(word(), 0..3), vec(repository(says), 0..3), vec(word(), 0..2));
    let lists = (vec(manifest(says), 0..2), vec(chart(says), 0..2), vec(file(says), 0..2), vec(archive, 0..2));
    let alone = (
        says.alpha_only(Just(true)),
        says.alpha_only(word()),
        says.alpha_only(vec(injection, 1..2)),
        says.alpha_only(value().prop_map(Some)),
        says.alpha_only(vec(check, 1..2)),
    );
    (texts, lists, only, import(says), actions(says), alone).prop_map(
        |(
            (name, description, required, images, repos, state_access),
            (manifests, charts, files, image_archives),
            only,
            import,
            actions,
            (default, group, data_injections, scripts, health_checks),
        )| alpha::Component {
            name,
            description,
            default,
            required,
            only,
            group,
            import,
            manifests,
            charts,
            data_injections,
            files,
            images,
            image_archives,
            repos,
            scripts,
            actions,
            health_checks,
            state_access,
        },
    )
}

fn definition(says: Says) -> impl Strategy<Value = alpha::Definition> {
    let values = (vec(word(), 0..2), text()).prop_map(|(files, schema)| alpha::Values { files, schema });
    let alone = (says.alpha_only(vec(value(), 1..2)), says.alpha_only(vec(value(), 1..2)));
    (metadata(says), build(says), vec(component(says), 0..3), values, btree_map(word(), word(), 0..2), alone).prop_map(
        |(metadata, build, components, values, documentation, (constants, variables))| alpha::Definition {
            api_version: crate::zarf::API_VERSION.into(),
            kind: crate::zarf::KIND.into(),
            metadata,
            build,
            components,
            constants,
            variables,
            values,
            documentation,
        },
    )
}

/// The one spelling in which a definition comes back.
fn in_one_spelling(mut definition: alpha::Definition) -> alpha::Definition {
    let only = |flag: &mut Option<bool>, said: bool| *flag = flag.filter(|flag| *flag == said);
    only(&mut definition.metadata.allow_namespace_override, false);
    if let Some(url) = definition.metadata.annotations.remove("metadata.url") {
        definition.metadata.url = url;
    }
    for component in &mut definition.components {
        only(&mut component.required, true);
        component.manifests.iter_mut().for_each(|manifest| only(&mut manifest.template, true));
        component.charts.iter_mut().for_each(|chart| only(&mut chart.schema_validation, false));
        for chart in component.charts.iter_mut().filter(|chart| chart.version.is_empty()) {
            if let Some((url, tag)) = chart.url.split_once("@v") {
                (chart.version, chart.url) = (format!("v{tag}"), url.to_owned());
            }
        }
        component.files.iter_mut().for_each(|file| only(&mut file.template, true));
        let alpha::Actions { on_create, on_deploy, on_remove } = &mut component.actions;
        for set in [on_create, on_deploy, on_remove] {
            let after = std::mem::take(&mut set.after);
            set.on_success.splice(..0, after);
            let all = set.before.iter_mut().chain(&mut set.on_success).chain(&mut set.on_failure);
            for action in all {
                only(&mut action.template, true);
                let cluster = action.wait.as_mut().and_then(|wait| wait.cluster.as_mut());
                if let Some(cluster) = cluster.filter(|cluster| cluster.condition.is_empty()) {
                    "exists".clone_into(&mut cluster.condition);
                }
            }
        }
    }
    definition
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// There and back, through the text as well.
    #[test]
    fn what_both_forms_can_say_comes_back(definition in definition(Says::Both)) {
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

    /// Whatever a definition says comes back, or is reported on the way.
    #[test]
    fn what_does_not_come_back_is_reported(definition in definition(Says::Anything)) {
        let (beta, mut lost) = to_beta(&definition);
        let (back, lost_again) = to_alpha(&beta);
        lost.extend(lost_again);
        prop_assert!(!lost.is_empty() || back == in_one_spelling(definition.clone()), "{back:#?}");
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
