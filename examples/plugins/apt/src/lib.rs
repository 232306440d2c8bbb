//! Debian or Ubuntu packages with everything that they need, as a repository in the
//! package: what nodes without a network install from.
//!
//! Of each suite `InRelease` is fetched and its signature checked against the keyring
//! of the configuration; what it says of the indexes, and those of the packages, is
//! what everything else is held to. The packages that are wanted are [closed](closure)
//! over their dependencies, fetched some at a time, and each is marked, so that an
//! interrupted build goes on with the next one. `Packages` and `Release` make a
//! [repository] of the folder.

mod closure;
mod index;
mod relation;
mod release;
mod repository;
mod signature;
mod ubuntu;
mod version;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use sdk::fetch::{self, Request};
use sdk::{Context, Failures, Inputs, JsonSchema, Sink, Step, StepError, Summary, checkpoint, log};

use index::{Index, Package};
use release::Release;
use signature::Keyring;

/// What `configuration` of the step may hold.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Configuration {
    /// Where packages come from. Of a name the latest version of all is taken.
    mirrors: Vec<Mirror>,
    /// What is wanted: `chrony`, `chrony=4.3-2`.
    packages: Vec<String>,
    /// What the target has already: neither it nor what it alone needs is taken, and
    /// whatever depends on it is content with any version.
    #[serde(default)]
    exclude: Vec<String>,
    /// Told by the host.
    architecture: String,
}

/// A mirror of a distribution.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "sdk::schemars")]
struct Mirror {
    /// The folder that holds `dists` and `pool`.
    url: String,
    /// `bookworm`, `noble-updates`; `{{UBUNTU_CODENAME}}` is that of UBUNTU_VERSION in
    /// versions.env.
    suites: Vec<String>,
    /// `main` where it is missing.
    #[serde(default = "main_alone")]
    components: Vec<String>,
    /// Armored public keys, one of which signs each suite: the file that holds them,
    /// which `local` of the step names, or they themselves.
    keyring: String,
}

fn main_alone() -> Vec<String> {
    vec!["main".to_owned()]
}

struct Apt;

impl Step for Apt {
    type Configuration = Configuration;
    const NAME: &'static str = "apt";
    const SUMMARY: &'static str = "Makes a repository of Debian or Ubuntu packages with all that they need";

    fn run(cx: &Context, configuration: Configuration, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let pins = inputs.get("config")?.read_text_optional("versions.env")?.unwrap_or_default();
        let sources = sources(cx, &configuration, inputs, &pins, output)?;
        let index = read_all(&sources, &configuration.architecture, output)?;
        let chosen = chosen(&index, &configuration)?;
        let packages: Vec<&Package> = chosen.iter().map(|id| index.package(*id)).collect();
        let bytes = fetch_packages(&sources, &packages, output)?;
        write_lists(cx, &sources, &packages, &configuration.architecture, output)?;
        for source in &sources {
            output.remove(&source.path)?;
        }
        let count = packages.len() as u64;
        Ok(Summary::new(count, "packages").message(format!("{count} packages, {} MiB", bytes >> 20)))
    }
}

sdk::export_step!(Apt);

/// In the output: the folder that goes into the package.
const FOLDER: &str = "repository";
/// Bytes of an `InRelease`, and of an index as it is fetched and as it is read.
const LONGEST_RELEASE: u64 = 16 << 20;
const LONGEST_INDEX: u64 = 256 << 20;
const LONGEST_LIST: u64 = 2 << 30;
/// How many packages are asked for at once: as many as are lost to a kill.
const BATCH: usize = 16;

/// An index of one component of one suite, which lies in the output while the step
/// runs.
struct Source {
    mirror: String,
    label: String,
    path: String,
    is_compressed: bool,
}

/// Fetches what the configuration names: a signed release for each suite, and its
/// indexes.
fn sources(
    cx: &Context,
    configuration: &Configuration,
    inputs: &Inputs,
    pins: &str,
    output: &Sink,
) -> Result<Vec<Source>, StepError> {
    let mut sources = Vec::new();
    for mirror in &configuration.mirrors {
        let keyring = Keyring::parse(&keys(&mirror.keyring, inputs)?)
            .map_err(|why| refused("keyring", format!("`keyring` of {}: {why}", mirror.url)))?;
        for suite in &mirror.suites {
            let suite = ubuntu::filled_in(suite, pins).map_err(|why| refused("suite", why))?;
            let release = signed_release(cx, mirror, &suite, &keyring, output)?;
            for component in &mirror.components {
                let number = sources.len();
                sources.push(fetch_index(
                    mirror,
                    &suite,
                    component,
                    &configuration.architecture,
                    &release,
                    number,
                    output,
                )?);
            }
        }
    }
    Ok(sources)
}

/// The text of a keyring: what stands in the configuration, or in the file of that
/// name.
fn keys(keyring: &str, inputs: &Inputs) -> Result<String, StepError> {
    if keyring.contains("-----BEGIN") {
        return Ok(keyring.to_owned());
    }
    let tree = inputs.find(&format!("local:{keyring}")).ok_or_else(|| {
        let message = format!("`keyring` is `{keyring}`, which the step may not read");
        StepError::missing_input("keyring", message)
            .hint(format!("add `local: [{keyring}]` to the step in config/pipeline.yaml"))
    })?;
    tree.read_text(keyring.rsplit('/').next().unwrap_or(keyring))
}

fn refused(code: &str, message: String) -> StepError {
    StepError::invalid_input(code, message).hint("correct `configuration` of this step in config/pipeline.yaml")
}

fn signed_release(
    cx: &Context,
    mirror: &Mirror,
    suite: &str,
    keyring: &Keyring,
    output: &Sink,
) -> Result<Release, StepError> {
    let url = format!("{}/dists/{suite}/InRelease", mirror.url.trim_end_matches('/'));
    let path = "lists/InRelease";
    fetch::one(Request::url(&url, path, format!("InRelease of {suite}")).limit(LONGEST_RELEASE), output)?;
    let message = String::from_utf8(output.read(path, LONGEST_RELEASE)?)?;
    output.remove(path)?;
    let told = |why: String| StepError::other("integrity", format!("{url}: {why}"));
    let text = keyring.signed(&message, cx.epoch).map_err(told)?;
    let release = Release::parse(&text);
    release.check(suite, cx.epoch).map_err(told)?;
    Ok(release)
}

fn fetch_index(
    mirror: &Mirror,
    suite: &str,
    component: &str,
    architecture: &str,
    release: &Release,
    number: usize,
    output: &Sink,
) -> Result<Source, StepError> {
    let label = format!("index of {suite}/{component}");
    let Some((place, digest, size, is_compressed)) = release.index(component, architecture) else {
        let message =
            format!("{} has no Packages or Packages.gz of {suite}/{component} for {architecture}", mirror.url);
        return Err(refused("component", message));
    };
    if size > LONGEST_INDEX {
        return Err(StepError::other("too-large", format!("the {label} has {size} bytes")));
    }
    let url = format!("{}/dists/{suite}/{place}", mirror.url.trim_end_matches('/'));
    let path = format!("lists/{number}");
    fetch::one(Request::url(url, &path, &label).sha256(digest).limit(size), output)?;
    Ok(Source { mirror: mirror.url.trim_end_matches('/').to_owned(), label, path, is_compressed })
}

impl Source {
    fn reader(&self, output: &Sink) -> Result<Box<dyn BufRead>, StepError> {
        let raw = BufReader::with_capacity(64 << 10, output.reader(&self.path)?);
        let plain: Box<dyn Read> = if self.is_compressed { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        Ok(Box::new(BufReader::with_capacity(64 << 10, plain.take(LONGEST_LIST))))
    }
}

fn read_all(sources: &[Source], architecture: &str, output: &Sink) -> Result<Index, StepError> {
    let mut index = Index::default();
    for (number, source) in sources.iter().enumerate() {
        sdk::progress(number as u64, Some(sources.len() as u64), "indexes", &source.label)?;
        index
            .read(source.reader(output)?, number, architecture)
            .map_err(|why| StepError::other("integrity", format!("{}: {why}", source.label)))?;
    }
    Ok(index)
}

fn chosen(index: &Index, configuration: &Configuration) -> Result<Vec<usize>, StepError> {
    let closure = closure::closure(index, &configuration.packages, &configuration.exclude, &configuration.architecture);
    for conflict in closure.conflicts(index) {
        log::warn(conflict);
    }
    let mut failures = Failures::default();
    for (name, why) in &closure.failures {
        failures.add(
            format!("package {name}"),
            StepError::other("not-found", why.as_str())
                .hint("name another version, suite or component, or `exclude` what the target has"),
        );
    }
    failures.into_result(configuration.packages.len().max(closure.failures.len()), "packages")?;
    Ok(closure.packages().collect())
}

/// Fetches what earlier attempts did not mark, and marks it. Returns the bytes of
/// all.
fn fetch_packages(sources: &[Source], packages: &[&Package], output: &Sink) -> Result<u64, StepError> {
    let done = checkpoint::done();
    let mut names = BTreeMap::new();
    let mut failures = Failures::default();
    let mut missing = Vec::new();
    for package in packages {
        let name = repository::file_name(&package.filename).map_err(|why| StepError::other("integrity", why))?;
        if let Some(other) = names.insert(name, &package.name) {
            return Err(StepError::other(
                "integrity",
                format!("`{}` and `{other}` are both called {name}", package.name),
            ));
        }
        if done.binary_search(&key(package)).is_err() {
            missing.push((*package, format!("{FOLDER}/{name}")));
        }
    }
    let count = packages.len();
    for (number, batch) in missing.chunks(BATCH).enumerate() {
        let finished = count - missing.len() + number * BATCH;
        sdk::progress(finished as u64, Some(count as u64), "packages", &batch[0].0.name)?;
        let requests: Vec<Request> =
            batch.iter().map(|(package, path)| request(&sources[package.source], package, path)).collect();
        for ((package, path), result) in batch.iter().zip(fetch::all(&requests, output)?) {
            match result {
                Ok(_) => checkpoint::mark(&key(package), std::slice::from_ref(path))?,
                Err(error) => failures.add(format!("package {}", package.name), error.into()),
            }
        }
    }
    failures.into_result(count, "packages")?;
    Ok(packages.iter().map(|package| package.size).sum())
}

fn key(package: &Package) -> String {
    format!("{} {}", package.filename, package.sha256)
}

fn request(source: &Source, package: &Package, path: &str) -> Request {
    let url = format!("{}/{}", source.mirror, package.filename);
    Request::url(url, path, format!("package {}", package.name)).sha256(&*package.sha256).limit(package.size)
}

fn write_lists(
    cx: &Context,
    sources: &[Source],
    packages: &[&Package],
    architecture: &str,
    output: &Sink,
) -> Result<(), StepError> {
    let mut list = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let mut wanted: Vec<usize> =
            packages.iter().filter(|package| package.source == number).map(|package| package.stanza).collect();
        wanted.sort_unstable();
        let copied: io::Result<()> = repository::copy(source.reader(output)?, &wanted, &mut list);
        copied.map_err(|error| StepError::other("integrity", format!("{}: {error}", source.label)))?;
    }
    output.write(&format!("{FOLDER}/Packages"), &list, false)?;
    output.write_text(&format!("{FOLDER}/Release"), &repository::release(&list, architecture, cx.epoch))?;
    Ok(())
}
