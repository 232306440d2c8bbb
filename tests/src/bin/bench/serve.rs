//! `serve` out of the package, beside docker-registry on its unpacked storage:
//! 64 clients who pull at once, taking turns.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use airgap_tests::measure::{high_water_mark_of, median};
use airgap_tests::serving::Serving;
use anyhow::Context;
use serde_json::Value;

use crate::run::{build, settle};
use crate::table::{Table, Target, Unit};
use crate::workload::{IMAGES, Workload};

const CLIENTS: usize = 64;
const MEMORY: f64 = 64.0 * 1024.0 * 1024.0;

pub(crate) fn measure(table: &mut Table, rounds: usize) -> anyhow::Result<()> {
    let Some(workload) = Workload::new(1) else { return Ok(()) };
    table.begin(&format!("{CLIENTS} clients who pull {IMAGES} images at once, out of one package"));
    let project = workload.project();
    build(&project)?;
    let begun = Instant::now();
    let serving = Serving::start(&project, &[&project.package().display().to_string()]);
    table.tell("from the start to the first answer", Unit::Milliseconds, begun.elapsed().as_secs_f64());
    let blobs: Vec<Vec<String>> = (0..IMAGES).map(|number| blobs(&serving, number)).collect();
    settle();
    let (bytes, first) = pull(&serving.host, &blobs)?;
    table.tell("the first time, digests included", Unit::GigabytesPerSecond, bytes as f64 / first.as_secs_f64());
    // So that both have everything in memory.
    pull(&workload.host(), &blobs)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(pull(&serving.host, &blobs)?.1);
        theirs.push(pull(&workload.host(), &blobs)?.1);
    }
    let speed = |times: Vec<Duration>| bytes as f64 / median(times).as_secs_f64();
    let (ours, theirs) = (speed(ours), speed(theirs));
    table.tell("docker-registry, median", Unit::GigabytesPerSecond, theirs);
    table.tell("`serve`, median", Unit::GigabytesPerSecond, ours);
    table.row("`serve` ÷ docker-registry", Unit::Times, Target::AtLeast(1.0), ours / theirs);
    table.row("peak memory", Unit::Mebibytes, Target::AtMost(MEMORY), high_water_mark_of(serving.id()) as f64);
    table.tell("docker-registry, peak memory", Unit::Mebibytes, high_water_mark_of(workload.registry_id()) as f64);
    Ok(())
}

/// Paths of what an image consists of.
fn blobs(serving: &Serving, number: usize) -> Vec<String> {
    let name = format!("/v2/bench/app{number}");
    let manifest = serving.get(&format!("{name}/manifests/1")).json();
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let digests = layers.chain([&manifest["config"]]).filter_map(|blob: &Value| blob["digest"].as_str());
    digests.map(|digest| format!("{name}/blobs/{digest}")).collect()
}

/// Each client pulls an image, over one connection. Gives all bytes, and how
/// long it took until the last one had all.
fn pull(host: &str, images: &[Vec<String>]) -> anyhow::Result<(u64, Duration)> {
    let begun = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || pull_image(host, &images[client % images.len()]))).collect();
        clients.into_iter().map(|client| client.join().expect("a client reports")).sum::<anyhow::Result<u64>>()
    })?;
    Ok((bytes, begun.elapsed()))
}

fn pull_image(host: &str, blobs: &[String]) -> anyhow::Result<u64> {
    let mut stream = BufReader::with_capacity(256 << 10, TcpStream::connect(host)?);
    let mut all = 0;
    for blob in blobs {
        write!(stream.get_mut(), "GET {blob} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let mut length = None;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(number) = lower.strip_prefix("content-length:") {
                length = Some(number.trim().parse::<u64>()?);
            }
        }
        let length = length.context("an answer has a length")?;
        let mut left = stream.by_ref().take(length);
        all += std::io::copy(&mut left, &mut std::io::sink())?;
        anyhow::ensure!(left.limit() == 0, "the answer to {blob} is cut");
    }
    Ok(all)
}
