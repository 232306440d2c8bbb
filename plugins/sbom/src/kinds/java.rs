//! Java archives: what their manifest, the properties of Maven and their name
//! say, and the archives in them.

use serde_json::{Value, json};

use crate::content::{Content, Why};
use crate::found::{Kind, Package, Unread};
use crate::zip::{self, Budget, Member};

const MANIFEST: &str = "META-INF/MANIFEST.MF";
const PROPERTIES: &str = "pom.properties";
const LARGEST_MANIFEST: u64 = 4 << 20;
const LARGEST_PROPERTIES: u64 = 1 << 20;
/// Archives in archives.
const DEEPEST: usize = 8;
const ENDS: [&str; 13] =
    [".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".far", ".lpkg", ".rar", ".zap"];

/// Reads an archive and those in it. What could not be read goes into `unread`.
///
/// # Errors
/// Where it is no archive.
pub fn read(path: &str, content: &mut dyn Content, unread: &mut Vec<Unread>) -> Result<Vec<Package>, Why> {
    let mut walk = Walk { budget: Budget::default(), packages: Vec::new(), unread };
    let begun = walk.archive(path, "", content, 0);
    match begun {
        Err(why) if walk.packages.is_empty() => Err(why),
        Err(why) => {
            walk.unread.push(Unread { path: path.to_owned(), why });
            Ok(walk.packages)
        }
        Ok(()) => Ok(walk.packages),
    }
}

struct Walk<'a> {
    budget: Budget,
    packages: Vec<Package>,
    unread: &'a mut Vec<Unread>,
}

/// What one archive holds.
#[derive(Default)]
struct Held {
    manifests: Vec<Manifest>,
    /// With the folder that they lie in.
    properties: Vec<(String, Properties)>,
    /// Folders with a pom.xml.
    poms: Vec<String>,
}

impl Walk<'_> {
    fn archive(&mut self, path: &str, inside: &str, content: &mut dyn Content, depth: usize) -> Result<(), Why> {
        let mut held = Held::default();
        let before = self.packages.len();
        let mut budget = std::mem::take(&mut self.budget);
        let walked = zip::walk(content, &mut budget, &mut |budget, name, member| {
            self.member(path, inside, (name, depth), member, budget, &mut held)
        });
        self.budget = budget;
        let nested = self.packages.split_off(before);
        let name = inside.rsplit(['/', ':']).next().filter(|name| !name.is_empty()).unwrap_or(path);
        self.packages.extend(packages(
            &held,
            name.rsplit('/').next().unwrap_or(name),
            &format!("/{path}{inside}"),
            inside,
        ));
        self.packages.extend(nested);
        walked
    }

    fn member(
        &mut self,
        path: &str,
        inside: &str,
        (name, depth): (&str, usize),
        member: &mut Member<'_, '_>,
        budget: &mut Budget,
        held: &mut Held,
    ) -> Result<(), Why> {
        let lower = name.to_lowercase();
        if name.eq_ignore_ascii_case(MANIFEST) {
            held.manifests.push(Manifest::read(&member.text(LARGEST_MANIFEST, budget)?));
        } else if name.ends_with(PROPERTIES) {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            let properties = Properties::read(&member.text(LARGEST_PROPERTIES, budget)?);
            held.properties.extend(properties.map(|properties| (folder, properties)));
        } else if name.ends_with("/pom.xml") {
            held.poms.push(name.trim_end_matches("/pom.xml").to_owned());
        } else if ENDS.iter().any(|end| lower.ends_with(end)) {
            let nested = format!("{inside}:{name}");
            let unread = |why: Why| Unread { path: format!("{path}{nested}"), why };
            if depth >= DEEPEST {
                self.unread.push(unread(format!("archives are nested more than {DEEPEST} deep")));
                return Ok(());
            }
            std::mem::swap(&mut self.budget, budget);
            let read = member.content().and_then(|mut content| self.archive(path, &nested, &mut *content, depth + 1));
            std::mem::swap(&mut self.budget, budget);
            if let Err(why) = read {
                self.unread.push(unread(why));
            }
        }
        Ok(())
    }
}

/// The package that an archive is, and those that were put into it.
fn packages(held: &Held, name: &str, place: &str, inside: &str) -> Vec<Package> {
    // One without a manifest, or with two, is a library of no kind.
    let [manifest] = held.manifests.as_slice() else { return Vec::new() };
    if manifest.get("Weave-Classes").is_some() {
        return Vec::new();
    }
    let file = FileName::of(name);
    let mut properties: Vec<&(String, Properties)> = held.properties.iter().collect();
    properties.sort_by(|a, b| a.0.cmp(&b.0));
    let main = main(&file, &properties, &held.poms);
    let own = |own: &Properties| main.is_some_and(|main| main == own);
    let artifact = main.map_or_else(|| manifest.name(&file), |main| main.artifact.clone());
    let version = main.map_or_else(|| manifest.version(&file), |main| main.version.clone());
    let mut archive = Package::new(kind_of(name, main), artifact, version, json!({"virtualPath": place}));
    archive.metadata["manifest"] = manifest.value();
    inside.clone_into(&mut archive.inside);
    archive.group = main.map_or_else(|| manifest.group(), |main| main.group.clone());
    let mut others = Vec::new();
    for (_, properties) in properties {
        // What has the name of the archive is the archive.
        if own(properties) || properties.artifact == archive.name {
            archive.name.clone_from(&properties.artifact);
            archive.version.clone_from(&properties.version);
            archive.group.clone_from(&properties.group);
            archive.metadata["pomProperties"] = properties.value();
            continue;
        }
        let suffix = format!(":{}:{}", properties.group, properties.artifact);
        let metadata = json!({"virtualPath": format!("{place}{suffix}"), "pomProperties": properties.value()});
        let mut package = Package::new(properties.kind(), &properties.artifact, &properties.version, metadata);
        package.inside = format!("{inside}{suffix}");
        package.group.clone_from(&properties.group);
        others.push(package);
    }
    let license = ["Bundle-License", "Plugin-License-Name"].iter().find_map(|key| manifest.get(key));
    archive = archive.licensed(license.map(str::to_owned));
    std::iter::once(archive).filter(|archive| !archive.name.is_empty()).chain(others).collect()
}

/// The properties that describe the archive itself.
fn main<'a>(file: &FileName, properties: &[&'a (String, Properties)], poms: &[String]) -> Option<&'a Properties> {
    let has_exact = properties.iter().any(|(_, properties)| properties.artifact == file.name);
    let fits = |properties: &Properties| match has_exact {
        true => properties.artifact == file.name,
        false => properties.artifact.starts_with(&file.name) || file.name.ends_with(&properties.artifact),
    };
    let fitting = || properties.iter().filter(|(_, properties)| !file.name.is_empty() && fits(properties));
    let with_pom = fitting().find(|(folder, _)| poms.contains(folder));
    with_pom.or_else(|| fitting().next()).map(|(_, properties)| properties)
}

fn kind_of(name: &str, main: Option<&Properties>) -> Kind {
    let lower = name.to_lowercase();
    match lower.ends_with(".jpi") || lower.ends_with(".hpi") {
        true => Kind::JenkinsPlugin,
        false => main.map_or(Kind::JavaArchive, Properties::kind),
    }
}

/// META-INF/MANIFEST.MF: sections of keys and values, the first is the main one.
#[derive(Default)]
struct Manifest(Vec<Vec<(String, String)>>);

impl Manifest {
    fn read(text: &str) -> Self {
        let mut sections: Vec<Vec<(String, String)>> = Vec::new();
        let mut goes_on = false;
        for line in text.lines() {
            if line.is_empty() {
                goes_on = false;
            } else if let Some(rest) = line.strip_prefix(' ') {
                let last = sections.last_mut().and_then(|section| section.last_mut()).filter(|_| goes_on);
                last.into_iter().for_each(|(_, value)| value.push_str(rest.trim()));
            } else if let Some((key, value)) = line.split_once(':').filter(|(key, _)| !key.trim().is_empty()) {
                if !goes_on {
                    sections.push(Vec::new());
                }
                let pair = (key.trim().to_owned(), value.trim().to_owned());
                sections.last_mut().into_iter().for_each(|section| section.push(pair.clone()));
                goes_on = true;
            }
        }
        Self(sections)
    }

    /// A value of the main section.
    fn get(&self, key: &str) -> Option<&str> {
        value_of(self.0.first()?, key)
    }

    /// The first value that is not empty, of any section.
    fn anywhere(&self, key: &str) -> Option<&str> {
        self.0.iter().filter_map(|section| value_of(section, key)).find(|value| !value.is_empty())
    }

    fn name(&self, file: &FileName) -> String {
        self.name_of_bundle().or_else(|| file.artifact()).unwrap_or_else(|| {
            let keys = ["Name", "Bundle-Name", "Short-Name", "Extension-Name", "Implementation-Title"];
            keys.iter().find_map(|key| self.get(key).filter(|name| !name.is_empty())).unwrap_or_default().to_owned()
        })
    }

    /// Maven's plugin for bundles calls them by group and artifact.
    fn name_of_bundle(&self) -> Option<String> {
        let is_made_by = self.get("Created-By")?.contains("Apache Maven Bundle Plugin");
        let name = self.get("Bundle-SymbolicName").filter(|name| is_made_by && !name.is_empty())?;
        (self.get("Implementation-Vendor-Id") != Some(name)).then(|| name.rsplit('.').next().map(str::to_owned))?
    }

    fn version(&self, file: &FileName) -> String {
        let keys = ["Implementation-Version", "Specification-Version", "Plugin-Version", "Bundle-Version"];
        match file.version.is_empty() {
            false => file.version.clone(),
            true => keys.iter().find_map(|key| self.anywhere(key)).unwrap_or_default().to_owned(),
        }
    }

    /// Who published it, where a field looks like a domain read backwards.
    fn group(&self) -> String {
        const FIRST: [&str; 8] = [
            "Group-Id",
            "Bundle-SymbolicName",
            "Extension-Name",
            "Specification-Vendor",
            "Implementation-Vendor",
            "Implementation-Vendor-Id",
            "Implementation-Title",
            "Bundle-Activator",
        ];
        const SECOND: [&str; 3] = ["Automatic-Module-Name", "Main-Class", "Package"];
        const DOMAINS: [&str; 10] = ["com.", "org.", "net.", "io.", "be.", "de.", "edu.", "gov.", "info.", "dev."];
        let of = |keys: &[&str]| {
            let values = keys.iter().flat_map(|key| self.0.iter().filter_map(|section| value_of(section, key)));
            let groups = values.filter(|value| DOMAINS.iter().any(|domain| value.starts_with(domain)));
            groups.map(|group| group.split([';', '#']).next().unwrap_or_default().trim()).min().map(str::to_owned)
        };
        of(&FIRST).or_else(|| of(&SECOND)).unwrap_or_default()
    }

    fn value(&self) -> Value {
        let pairs = |section: &Vec<(String, String)>| -> Value {
            section.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        let mut value = json!({"main": self.0.first().map(pairs).unwrap_or_default()});
        // What is said of single classes is not of the package.
        let sections: Vec<Value> = self.0.iter().skip(1).take(20).map(pairs).collect();
        if !sections.is_empty() {
            value["sections"] = sections.into();
        }
        value
    }
}

fn value_of<'a>(section: &'a [(String, String)], key: &str) -> Option<&'a str> {
    section.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// pom.properties of a Maven artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Properties {
    group: String,
    artifact: String,
    version: String,
}

impl Properties {
    /// None without a name and a version.
    fn read(text: &str) -> Option<Self> {
        let pairs = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let pairs: Vec<(&str, &str)> = pairs.filter_map(|line| line.split_once(['=', ':'])).collect();
        let get = |key: &str| {
            let found = pairs.iter().rev().find(|(name, _)| name.trim() == key);
            found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let properties = Self { group: get("groupId"), artifact: get("artifactId"), version: get("version") };
        (!properties.artifact.is_empty() && !properties.version.is_empty()).then_some(properties)
    }

    fn kind(&self) -> Kind {
        const JENKINS: [&str; 5] = [
            "io.jenkins.plugins",
            "org.jenkins.plugins",
            "org.jenkins-ci.plugins",
            "io.jenkins-ci.plugins",
            "com.cloudbees.jenkins.plugins",
        ];
        match JENKINS.iter().any(|group| self.group.starts_with(group)) {
            true => Kind::JenkinsPlugin,
            false => Kind::JavaArchive,
        }
    }

    fn value(&self) -> Value {
        let Self { group, artifact, version } = self;
        let path = format!("META-INF/maven/{group}/{artifact}/{PROPERTIES}");
        json!({"path": path, "name": "", "groupId": group, "artifactId": artifact, "version": version})
    }
}

/// `spring-core-5.3.2.jar`: a name and a version.
#[derive(Debug, Default, PartialEq, Eq)]
struct FileName {
    name: String,
    version: String,
}

impl FileName {
    fn of(name: &str) -> Self {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let (found, version) = match stem.match_indices('-').find(|(at, _)| is_version(&stem[at + 1..])) {
            Some((at, _)) => (&stem[..at], &stem[at + 1..]),
            None => (stem, ""),
        };
        let is_name = found.trim_end_matches('-').split('-').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
        });
        if !is_name {
            return Self::default();
        }
        if version.is_empty()
            && let Some((at, _)) = found.match_indices(['.', '_', '-']).find(|(at, _)| is_version(&found[at + 1..]))
        {
            return Self { name: found[..at].to_owned(), version: found[at + 1..].to_owned() };
        }
        Self { name: found.to_owned(), version: version.to_owned() }
    }

    /// The part of a name with dots that is no group.
    fn artifact(&self) -> Option<String> {
        let is_word = |part: &str| part.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'));
        let name = &self.name;
        let is_plain = !name.contains('.') || name.starts_with("org.eclipse.") || !name.split('.').all(is_word);
        let artifact = if is_plain { name } else { name.rsplit('.').next().unwrap_or(name) };
        (!artifact.is_empty()).then(|| artifact.to_owned())
    }
}

/// `1.2.3`, `build17`, `r3`, `rc1`.
fn is_version(text: &str) -> bool {
    let lower = text.to_lowercase();
    let is_number = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit());
    let starts = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    starts(&lower)
        || lower.strip_prefix("build").is_some_and(starts)
        || lower.strip_prefix("rc").or_else(|| lower.strip_prefix('r')).is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::testing::{ZipMember, archive};

    fn found(path: &str, bytes: &[u8]) -> (Vec<(String, String, String)>, Vec<Unread>) {
        let mut unread = Vec::new();
        let packages = read(path, &mut &*bytes, &mut unread).unwrap_or_default();
        let named = packages.into_iter().map(|package| (package.group, package.name, package.version));
        (named.collect(), unread)
    }

    fn named(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
    }

    const PLAIN: &str = "Manifest-Version: 1.0\nImplementation-Version: 9\n";

    fn maven(group: &str, artifact: &str, version: &str) -> (String, String) {
        let path = format!("META-INF/maven/{group}/{artifact}/pom.properties");
        (path, format!("#made\ngroupId={group}\nartifactId={artifact}\nversion={version}\n"))
    }

    #[test]
    fn an_archive_is_named_by_maven_then_by_its_file_then_by_its_manifest() {
        let (path, text) = maven("org.x", "spring-core", "5.3.1");
        let (other, shaded) = maven("com.y", "shaded", "1.0");
        let jar = archive(&[
            ZipMember::deflated(MANIFEST, PLAIN),
            ZipMember::deflated(&path, &text),
            ZipMember::deflated(&other, &shaded),
        ]);
        let (packages, unread) = found("app/spring-core-5.3.2.jar", &jar);
        assert_eq!(packages, named(&[("org.x", "spring-core", "5.3.1"), ("com.y", "shaded", "1.0")]));
        assert_eq!(unread, []);
        let plain = archive(&[ZipMember::deflated(MANIFEST, PLAIN)]);
        assert_eq!(found("a/log4j-1.2-api-2.17.jar", &plain).0, named(&[("", "log4j", "1.2-api-2.17")]));
        assert_eq!(found("a/tool.jar", &plain).0, named(&[("", "tool", "9")]));
        assert_eq!(found("a/none.jar", &archive(&[ZipMember::stored("x.class", "x")])).0, []);
    }

    #[test]
    fn archives_in_archives_are_read_however_they_are_packed() {
        let inner = archive(&[ZipMember::deflated(MANIFEST, PLAIN)]);
        for pack in [ZipMember::stored_bytes, ZipMember::deflated_bytes, ZipMember::streamed_bytes] {
            let war = archive(&[
                ZipMember::streamed_bytes("WEB-INF/big.bin", &[7; 100_000]),
                pack("WEB-INF/lib/guava-31.1.jar", &inner),
                ZipMember::deflated(MANIFEST, PLAIN),
            ]);
            let (packages, unread) = found("app/site-2.0.war", &war);
            assert_eq!(unread, []);
            assert_eq!(packages, named(&[("", "site", "2.0"), ("", "guava", "31.1")]));
        }
    }

    #[test]
    fn nesting_and_bombs_are_bounded_and_said() {
        let mut deep = archive(&[ZipMember::deflated(MANIFEST, PLAIN)]);
        for level in 0..20 {
            deep = archive(&[
                ZipMember::deflated(MANIFEST, PLAIN),
                ZipMember::deflated_bytes(&format!("l{level}-1.jar"), &deep),
            ]);
        }
        let (packages, unread) = found("deep-1.jar", &deep);
        assert_eq!(packages.len(), DEEPEST + 1);
        assert!(unread[0].why.contains("nested more than 8 deep"), "{unread:?}");
        let bomb =
            archive(&[ZipMember::deflated(MANIFEST, PLAIN), ZipMember::deflated_bytes("b-1.jar", &vec![0; 3 << 20])]);
        let (packages, unread) = found("a-1.jar", &bomb);
        assert_eq!((packages.len(), unread.len()), (1, 1), "{unread:?}");
    }

    #[test]
    fn what_is_cut_is_said_and_never_a_panic() {
        let (path, text) = maven("g", "a", "1");
        let jar = archive(&[ZipMember::deflated(MANIFEST, PLAIN), ZipMember::streamed(&path, &text)]);
        for at in 0..jar.len() {
            let _ = found("a-1.jar", &jar[..at]);
        }
        assert!(read("a.jar", &mut b"no archive".as_slice(), &mut Vec::new()).unwrap_err().contains("no zip"));
    }

    #[test]
    fn files_are_named_as_their_makers_do() {
        for (file, name, version) in [
            ("spring-core-5.3.2.jar", "spring-core", "5.3.2"),
            ("jackson_core_2.9.jar", "jackson_core", "2.9"),
            ("org.eclipse.osgi_3.15.0.v2019.jar", "org.eclipse.osgi", "3.15.0.v2019"),
            ("tool.jar", "tool", ""),
            ("x-rc1.jar", "x", "rc1"),
            ("x-build17-final.jar", "x", "build17-final"),
            ("2fast.jar", "", ""),
        ] {
            let expected = FileName { name: name.into(), version: version.into() };
            assert_eq!(FileName::of(file), expected, "{file}");
        }
        assert_eq!(FileName::of("com.acme.tool-1.jar").artifact().as_deref(), Some("tool"));
        assert_eq!(FileName::of("org.eclipse.a-1.jar").artifact().as_deref(), Some("org.eclipse.a"));
    }
}
