//! What is small on the way and large at its end: archives, answers,
//! pagination. The host works in the memory that it has, and says what it met.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use airgap_tests::charts::gzip;
use airgap_tests::file_server::FileServer;
use airgap_tests::http::{Request, Response, Server};
use airgap_tests::images::tar_of;
use airgap_tests::project::{Project, Run, Running};
use serde_json::json;

use crate::arena::Arena;
use crate::attack::Attack;

const MIB: usize = 1 << 20;
/// KiB of memory that a build may write to, bombs or not.
const MEMORY: u64 = 700_000;

/// A build with no more memory than that.
fn build_in_little_memory(project: &Project) -> Run {
    let inner = project.command(&["build"]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d {MEMORY} && exec \"$0\" \"$@\"")]);
    command.arg(inner.get_program()).args(inner.get_args()).env_clear().current_dir(project.root());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::spawn(&mut command, project.root()).finish_within(Duration::from_secs(60))
}

/// A tar whose one entry of this kind has so many bytes: the header of a name
/// or of attributes that a reader takes into memory.
fn long_header(kind: tar::EntryType, size: usize) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_path("././@LongLink").expect("a short name");
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, std::io::Read::take(std::io::repeat(b'x'), size as u64)).expect("a new archive");
    archive.into_inner().expect("a new archive")
}

/// 64 bytes that ask for a dictionary of 4 GiB.
const XZ: [u8; 64] = [
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01, 0x28, 0x00, 0x00,
    0x00, 0xe6, 0xa0, 0x11, 0xb3, 0xe0, 0x00, 0x63, 0x00, 0x06, 0x5d, 0x00, 0x3c, 0x6e, 0x9e, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x8f, 0x5d, 0x0e, 0x5e, 0x00, 0x01, 0x1e, 0x64, 0xb5, 0x2f, 0x18, 0xbe, 0x90, 0x42, 0x99, 0x0d, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
];

/// An xz stream of nothing.
const EMPTY_XZ: [u8; 32] = [
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x00, 0xff, 0x12, 0xd9, 0x41, 0x00, 0x00, 0x00, 0x00, 0x1c, 0xdf, 0x44,
    0x21, 0x06, 0x72, 0x9e, 0x7a, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x59, 0x5a,
];

/// A zstd frame that asks for a window of 2 GiB and holds nothing.
const ZSTD: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];

/// A zip whose list has so many entries, each a name and nothing else.
fn long_list(entries: usize) -> Vec<u8> {
    let mut entry = b"PK\x01\x02".to_vec();
    entry.extend([0; 24]);
    entry.extend([1, 0]);
    entry.extend([0; 16]);
    entry.push(b'x');
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend([0; 26]);
    let start = zip.len();
    zip.extend(entry.repeat(entries));
    let size = zip.len() - start;
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([0xff; 4]);
    zip.extend(u32::try_from(size).expect("a small list").to_le_bytes());
    zip.extend(u32::try_from(start).expect("a short beginning").to_le_bytes());
    zip.extend([0, 0]);
    zip
}

#[test]
fn no_archive_is_a_bomb() {
    let Some(arena) = Arena::enter() else { return };
    let zeros = vec![0_u8; 256 * MIB];
    let bombs = [
        ("zeros", gzip(&tar_of(&[("zeros", &zeros)]))),
        ("zstd zeros", zstd::encode_all(tar_of(&[("zeros", &zeros)]).as_slice(), 3).expect("memory")),
        ("a long name", gzip(&long_header(tar::EntryType::GNULongName, 600 * MIB))),
        ("attributes", gzip(&long_header(tar::EntryType::XHeader, 600 * MIB))),
        ("xz", XZ.to_vec()),
        ("a window", ZSTD.to_vec()),
        ("a long list", long_list(2_000_000)),
    ];
    drop(zeros);
    for (what, bomb) in bombs {
        let server = FileServer::start();
        let url = server.put("/charts/bomb", bomb);
        let ready = Attack::on(&arena, Project::new().with_file_server(&server.host()), &["manifests"], json!([]))
            .grants(json!({ "fetch": [server.url("/charts/")] }))
            .limit("scratch_mib", 16)
            .step("fetching", &json!({ "plugin": "attacker" }), &["manifests"])
            .acts(json!([{ "do": "fetch", "url": url }]))
            .step("attack", &json!({ "plugin": "attacker" }), &["fetching"])
            .acts(json!([{ "do": "unpack", "tree": "fetching", "path": "fetched-0", "entries": 100 }]))
            .ready();
        let run = build_in_little_memory(&ready.project);
        assert_eq!(run.status.code(), Some(1), "{what}: {run}");
        run.says(&["attack"]).never_says("panicked at host/");
    }
}

/// Decoders that read on and on, and have nothing to give.
#[test]
fn no_stream_of_nothing_outlasts_its_limit() {
    let Some(arena) = Arena::enter() else { return };
    let one = gzip(b"");
    let empty = |mib: u32| one.repeat(mib as usize * MIB / one.len());
    // What a decoder takes for a MiB of it here, at the least: there must be so
    // much that it would take much longer than it may.
    let started = Instant::now();
    let mut nothing = Vec::new();
    flate2::read::MultiGzDecoder::new(empty(50).as_slice()).read_to_end(&mut nothing).expect("it is whole");
    let each = started.elapsed() / 50;
    let mib = (4_000 / (each.as_millis().max(1))).clamp(100, 600) as u32;
    let (empty, whole) = (empty(mib), each * mib);
    let server = FileServer::start();
    let url = server.put("/charts/nothing", empty);
    let ready = Attack::on(&arena, Project::new().with_file_server(&server.host()), &["manifests"], json!([]))
        .grants(json!({ "fetch": [server.url("/charts/")] }))
        .limit("host_limit", 1)
        .step("fetching", &json!({ "plugin": "attacker" }), &["manifests"])
        .acts(json!([{ "do": "fetch", "url": url }]))
        .step("attack", &json!({ "plugin": "attacker" }), &["fetching"])
        .acts(json!([{ "do": "unpack", "tree": "fetching", "path": "fetched-0", "entries": 100 }]))
        .ready();
    ready.project.run(&["build", "--step", "fetching"]).success();
    let run = ready.project.run(&["build"]).code(1).says(&["attack", "plugins.host_limit"]);
    assert!(run.time < Duration::from_secs(1) + whole / 2, "{whole:?} of nothing took {run}");
}

/// Waits until the process has computed for so long; whether it still runs.
fn has_computed(running: &mut Running, most: Duration) -> bool {
    // Of the kernel's report, on every Linux.
    const TICKS: u128 = 100;
    let stat = format!("/proc/{}/stat", running.id());
    while running.is_running() {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        // utime and stime, behind the name, which is in brackets.
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let used: u128 = fields.filter_map(|field| field.parse::<u128>().ok()).sum();
        if used * 1000 / TICKS >= most.as_millis() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// What may pass from the signal to the end, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(600);

/// Nor who interrupts it, and not the limit of the step.
#[test]
fn no_stream_of_nothing_outlasts_an_interruption() {
    let Some(arena) = Arena::enter() else { return };
    let endless = |bytes: &[u8]| bytes.repeat(100 * MIB / bytes.len());
    let mut window = ZSTD.to_vec();
    window[5] = 0x88;
    let server = FileServer::start();
    for (what, stream) in [("gzip", endless(&gzip(b""))), ("xz", endless(&EMPTY_XZ)), ("zstd", endless(&window))] {
        let url = server.put(&format!("/charts/{what}"), stream);
        // One after the other, so that there is something to interrupt on a machine
        // that is through one of them in half a second.
        let unpack = json!({ "do": "unpack", "tree": "fetching", "path": "fetched-0", "entries": 100 });
        let again_and_again = vec![unpack; 100];
        let attack = |limit| {
            Attack::on(&arena, Project::new().with_file_server(&server.host()), &["manifests"], json!([]))
                .grants(json!({ "fetch": [server.url("/charts/")] }))
                .limit("step_limit", limit)
                .step("fetching", &json!({ "plugin": "attacker" }), &["manifests"])
                .acts(json!([{ "do": "fetch", "url": url }]))
                .step("attack", &json!({ "plugin": "attacker" }), &["fetching"])
                .acts(json!(again_and_again))
                .ready()
                .project
        };
        let project = attack(60);
        project.run(&["build", "--step", "fetching"]).success();
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let mut running = project.start(&["build"]);
            assert!(has_computed(&mut running, Duration::from_millis(400)), "{what}: over before {signal}");
            let sent = Instant::now();
            running.signal(signal);
            let run = running.finish().code(code);
            assert!(sent.elapsed() < AT_ONCE, "{what}: {:?} after {signal}: {run}", sent.elapsed());
        }
        let project = attack(1);
        project.run(&["build", "--step", "fetching"]).success();
        let run = project.run(&["build"]).code(1).says(&["plugins.step_limit"]);
        assert!(run.time < Duration::from_secs(1) + 2 * AT_ONCE, "{what}: {run}");
    }
}

/// A registry that never comes to an end.
#[test]
fn no_registry_answers_without_end() {
    let Some(arena) = Arena::enter() else { return };
    let server = Server::start(|request: &Request| {
        let next = "</v2/team/app/tags/list?n=1000&last=x>; rel=\"next\"";
        match request.path.as_str() {
            "/v2/team/app/tags/list" => {
                Response::json(200, &json!({ "name": "team/app", "tags": [] })).with("link", next)
            }
            path if path.starts_with("/v2/team/large/") => Response::new(200, vec![b' '; 200 * MIB])
                .with("content-type", "application/vnd.oci.image.manifest.v1+json"),
            "/v2/team/locked/manifests/1" => {
                Response::new(401, vec![b'x'; 200 * MIB]).with("www-authenticate", "Basic realm=\"x\"")
            }
            _ => Response::new(404, ""),
        }
    });
    let reference = |name: &str| format!("{}/team/{name}", server.host());
    let acts = json!([{ "do": "try", "acts": [
        { "do": "tags", "repository": reference("app") },
        { "do": "tags", "repository": reference("large") },
        { "do": "fetch", "manifest": reference("large:1") },
        { "do": "fetch", "manifest": reference("locked:1") },
    ]}, { "do": "write", "path": "x", "text": "x" }]);
    let project = Project::new().with_registry(&server.host());
    let ready = Attack::on(&arena, project, &["manifests"], acts)
        .grants(json!({ "fetch": [format!("{}/team/", server.host())] }))
        .ready();
    let run = build_in_little_memory(&ready.project);
    run.clone().success().never_says("panicked at host/");
    assert!(server.requests("GET", "/tags/list").len() < 2_000, "pagination has no end: {run}");
    assert!(server.bytes_sent() < 300 * MIB as u64, "{} bytes were taken: {run}", server.bytes_sent());
}

/// Headers without end.
#[test]
fn no_header_is_read_without_end() {
    let Some(arena) = Arena::enter() else { return };
    let server = Server::start(|_: &Request| {
        let many = (0..20_000).map(|number| (format!("x-{number}"), "y".repeat(1_000)));
        Response { headers: many.collect(), ..Response::new(200, "x") }
    });
    let acts = json!([{ "do": "fetch", "url": server.url("/charts/a") }]);
    let project = Project::new().with_file_server(&server.host());
    let ready =
        Attack::on(&arena, project, &["manifests"], acts).grants(json!({ "fetch": [server.url("/charts/")] })).ready();
    let run = build_in_little_memory(&ready.project);
    assert!(matches!(run.status.code(), Some(1 | 75)), "{run}");
}
