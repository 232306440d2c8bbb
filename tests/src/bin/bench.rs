//! `make bench`: what a build costs beside `skopeo copy` and `tar | zstd`, and
//! what the small things cost. Prints tables for the documents.
//!
//! `bench [rounds] [factor]`: rounds of the comparison (3), and how many times
//! the data is packaged to see whether memory grows with it (left out).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use airgap_tests::images::{Image, Layer, Packing, half_noise, layer, layer_of};
use airgap_tests::measure::{Cost, DiskWatch, cost, machine, median};
use airgap_tests::project::{self, Project};
use airgap_tests::registry::Registry;
use airgap_tests::tools::{DockerRegistry, Skopeo};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let factor = arguments.next().map(|text| text.parse()).transpose()?;
    println!("Machine: {}\n", machine());
    compare(rounds)?;
    small_things()?;
    many_images()?;
    if let Some(factor) = factor {
        growth(factor)?;
    }
    Ok(())
}

/// 24 images of 5 layers, on 4 shared stacks of 3.
const IMAGES: usize = 24;
const STACKS: usize = 4;
const STACK_LAYER: usize = 10 << 20;
const OWN_LAYER: usize = 4_400_000;

struct Workload {
    registry: DockerRegistry,
    names: Vec<String>,
    /// Bytes of all blobs, each once.
    payload: u64,
}

impl Workload {
    /// Fills a registry; `factor` times the data in as many images.
    fn new(skopeo: &Skopeo, factor: usize) -> Option<Self> {
        let registry = DockerRegistry::start()?;
        let make = |seed: usize, size: usize| {
            layer_of(&format!("data/{seed}"), &half_noise(seed as u64, size), Packing::Stored)
        };
        let stacks: Vec<Vec<Layer>> = (0..STACKS)
            .map(|stack| (0..3).map(|number| make(1_000 + stack * 10 + number, STACK_LAYER * factor)).collect())
            .collect();
        let mut payload: u64 = stacks.iter().flatten().map(|layer| layer.blob.size()).sum();
        let mut names = Vec::new();
        for number in 0..IMAGES {
            let own = [make(2_000 + number * 2, OWN_LAYER * factor), make(2_001 + number * 2, OWN_LAYER * factor)];
            payload += own.iter().map(|layer| layer.blob.size()).sum::<u64>();
            let image = Image::new(number as u64, &[&stacks[number % STACKS][..], &own[..]].concat());
            payload += image.config.size() + image.manifest.size();
            let name = registry.reference(&format!("bench/app{number}:1"));
            skopeo.push(&[], &image, &name);
            names.push(name);
        }
        Some(Self { registry, names, payload })
    }

    fn project(&self) -> Project {
        let project = Project::new().with_registry(&self.registry.host());
        let images: Vec<Value> = self.names.iter().map(|name| json!({ "image": name })).collect();
        project.write("config/components.yaml", json!({ "images": { "additional": images } }).to_string());
        project
    }
}

fn build(project: &Project) -> anyhow::Result<Cost> {
    settle();
    let cost = cost(&mut project.command(&["build", "--quiet"]));
    anyhow::ensure!(cost.status.success(), "the build failed: {}", project.run(&["status"]));
    Ok(cost)
}

/// What earlier runs left to be written must not slow this one down.
fn settle() {
    let _ = Command::new("sync").status();
}

/// Everything with skopeo, tar and zstd.
fn by_hand(skopeo: &Skopeo, workload: &Workload) -> anyhow::Result<Cost> {
    let folder = tempfile::tempdir()?;
    let layout = folder.path().join("layout");
    settle();
    let mut total = Cost { time: Duration::ZERO, memory: 0, status: Default::default() };
    let mut add = |part: Cost| {
        total.time += part.time;
        total.memory = total.memory.max(part.memory);
        anyhow::ensure!(part.status.success(), "a command failed");
        Ok(())
    };
    for name in &workload.names {
        let mut command = skopeo.command();
        command.args(["copy", "--quiet", "--src-tls-verify=false"]);
        command.args([format!("docker://{name}"), format!("oci:{}:{name}", layout.display())]);
        add(cost(&mut command))?;
    }
    let pack = format!(
        "tar -C '{}' -cf - . | zstd -q -3 -T2 -o '{}/package.tar.zst'",
        layout.display(),
        folder.path().display()
    );
    add(cost(Command::new("sh").args(["-c", &pack])))?;
    Ok(total)
}

fn compare(rounds: usize) -> anyhow::Result<()> {
    let Some(skopeo) = Skopeo::find() else { return Ok(()) };
    let Some(workload) = Workload::new(&skopeo, 1) else { return Ok(()) };
    println!(
        "## {IMAGES} images of 5 layers, {} of blobs, from a local docker-registry\n",
        megabytes(workload.payload)
    );
    // Compiles the plugins into the shared cache.
    build(&workload.project())?;
    println!(
        "| round | skopeo + tar \\| zstd | opencenter-airgap | ratio | peak memory |\n| --- | --- | --- | --- | --- |"
    );
    let (mut theirs, mut ours, mut memory) = (Vec::new(), Vec::new(), 0);
    for round in 1..=rounds {
        let other = by_hand(&skopeo, &workload)?;
        let project = workload.project();
        let own = build(&project)?;
        println!(
            "| {round} | {} | {} | {:.2} | {} |",
            seconds(other.time),
            seconds(own.time),
            own.time.as_secs_f64() / other.time.as_secs_f64(),
            mebibytes(own.memory)
        );
        theirs.push(other.time);
        ours.push(own.time);
        memory = memory.max(own.memory);
    }
    let (theirs, ours) = (median(theirs), median(ours));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("| median | {} | {} | **{ratio:.2}** | {} |\n", seconds(theirs), seconds(ours), mebibytes(memory));

    let cold = workload.project().with_env("XDG_CACHE_HOME", temporary_cache()?.display().to_string());
    let cold_cost = build(&cold)?;
    let watched = workload.project();
    let watch = DiskWatch::start(watched.root());
    build(&watched)?;
    let disk = watch.stop();
    let metrics: Value = serde_json::from_str(&watched.read("build/metrics.json"))?;
    let package = std::fs::metadata(watched.package())?.len();
    println!("| | |\n| --- | --- |");
    println!(
        "| the same with a cold compilation cache | {}, {} |",
        seconds(cold_cost.time),
        mebibytes(cold_cost.memory)
    );
    println!("| bytes fetched | {} |", megabytes(sum(&metrics, "bytes_fetched")));
    println!("| requests | {} |", sum(&metrics, "requests"));
    println!("| package | {} |", megabytes(package));
    println!("| peak disk ÷ payload | {:.2} |", disk as f64 / workload.payload as f64);
    for step in metrics["steps"].as_array().into_iter().flatten() {
        println!("| step {} | {} ms |", step["id"].as_str().unwrap_or("?"), step["duration_ms"]);
    }
    if let Some(rate) = verify_rate(&watched, package) {
        println!("| verify | {rate:.2} GB/s |");
    }
    println!();
    Ok(())
}

fn temporary_cache() -> anyhow::Result<PathBuf> {
    let folder = project::target_folder().join("bench-cold-cache");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(folder)
}

/// None while the command does not succeed.
fn verify_rate(project: &Project, package: u64) -> Option<f64> {
    let path = project.package().display().to_string();
    let times: Vec<Cost> = (0..5).map(|_| cost(&mut project.command(&["verify", &path]))).collect();
    let all_good = times.iter().all(|cost| cost.status.success());
    let time = median(times.iter().map(|cost| cost.time).collect());
    all_good.then(|| package as f64 / 1e9 / time.as_secs_f64())
}

/// The sum of a counter over all steps.
fn sum(metrics: &Value, counter: &str) -> u64 {
    let steps = metrics["steps"].as_array().into_iter().flatten();
    steps.filter_map(|step| step["counts"][counter].as_u64()).sum()
}

fn small_things() -> anyhow::Result<()> {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 5_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    build(&project)?;
    let typical = |arguments: &[&str]| median((0..30).map(|_| cost(&mut project.command(arguments)).time).collect());
    println!("## Small things\n\n| | median of 30 |\n| --- | --- |");
    println!("| `build` with nothing to do | {} |", milliseconds(typical(&["build"])));
    println!("| `status` | {} |", milliseconds(typical(&["status"])));
    println!("| `--version` | {} |", milliseconds(typical(&["--version"])));
    let mut durations: Vec<(String, Vec<u64>)> = Vec::new();
    for _ in 0..5 {
        anyhow::ensure!(cost(&mut project.command(&["build", "--no-resume"])).status.success(), "a rebuild failed");
        let metrics: Value = serde_json::from_str(&project.read("build/metrics.json"))?;
        for step in metrics["steps"].as_array().into_iter().flatten() {
            let id = step["id"].as_str().unwrap_or("?").to_owned();
            let time = step["duration_ms"].as_u64().unwrap_or(0);
            match durations.iter_mut().find(|(other, _)| *other == id) {
                Some((_, times)) => times.push(time),
                None => durations.push((id, vec![time])),
            }
        }
    }
    for (id, mut times) in durations {
        times.sort_unstable();
        println!("| step {id}, one small image, warm cache | {} ms |", times[times.len() / 2]);
    }
    println!();
    Ok(())
}

/// Many images of 2 small layers, one of them shared by ten.
fn many_images() -> anyhow::Result<()> {
    println!("## Many images of 2 small layers\n");
    println!(
        "| images | time | peak memory | requests | manifests + distinct blobs |\n| --- | --- | --- | --- | --- |"
    );
    for count in [100_usize, 1_000] {
        let registry = Registry::start();
        let shared: Vec<Layer> = (0..count / 10).map(|seed| layer(seed as u64, 2_000)).collect();
        let mut images = Vec::new();
        for number in 0..count {
            let own = layer(1_000_000 + number as u64, 2_000);
            registry.push(&format!("app{number}:1"), &Image::new(number as u64, &[shared[number / 10].clone(), own]));
            images.push(json!({ "image": registry.reference(&format!("app{number}:1")) }));
        }
        let project = Project::new().with_registry(&registry.host());
        project.write("config/components.yaml", json!({ "images": { "additional": images } }).to_string());
        let cost = build(&project)?;
        let least = count + count + count + count / 10;
        let requests = registry.log().len();
        println!("| {count} | {} | {} | {requests} | {least} |", seconds(cost.time), mebibytes(cost.memory));
    }
    println!();
    Ok(())
}

/// Memory must not grow with the data.
fn growth(factor: usize) -> anyhow::Result<()> {
    let Some(skopeo) = Skopeo::find() else { return Ok(()) };
    let Some(workload) = Workload::new(&skopeo, factor) else { return Ok(()) };
    let cost = build(&workload.project())?;
    println!("## {factor} times the data: {}\n", megabytes(workload.payload));
    println!("| time | peak memory |\n| --- | --- |\n| {} | {} |\n", seconds(cost.time), mebibytes(cost.memory));
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
