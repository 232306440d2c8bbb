//! `make chaos`: servers that fail in every way they can, to try builds by
//! hand. Runs until it is stopped.

use std::time::Duration;

use airgap_tests::fault::{Fault, On};
use airgap_tests::http::Server;
use airgap_tests::platform::Platform;
use airgap_tests::project::{self, Project};

fn main() -> anyhow::Result<()> {
    let folder = project::target_folder().parent().expect("target/ has profiles").join("chaos");
    let platform = Platform::start();
    for server in [&*platform.registry, &*platform.files] {
        spoil(server);
    }
    let project = platform.configure(Project::in_folder(&folder)?);
    println!("Every few requests one fails, each time in another way. Try, as often as you like:\n");
    println!("  cd {}", project.root().display());
    println!("  {} build", project::binary().display());
    println!("\nkill it, interrupt it, look at `status`. Every request is shown here; Ctrl-C stops the servers.\n");
    let mut shown = (0, 0);
    loop {
        show("registry", &platform.registry, &mut shown.0);
        show("files   ", &platform.files, &mut shown.1);
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn show(name: &str, server: &Server, shown: &mut usize) {
    let log = server.log();
    for entry in log.iter().skip(*shown).take_while(|entry| entry.ended.is_some()) {
        let range = entry.header("range").unwrap_or("");
        println!("{name} {} {} {range} -> {} with {} bytes", entry.method, entry.path, entry.status, entry.sent);
        *shown += 1;
    }
}

/// Rules whose turns come at different, mostly prime distances.
fn spoil(server: &Server) {
    server.perhaps(On::any().every(5), Fault::html(503));
    server.perhaps(On::get("/").every(7), Fault::Cut { after: 50_000 });
    server.perhaps(On::get("/").every(11), Fault::too_many(Some("1")));
    server.perhaps(On::get("/").every(13), Fault::Reset { after: 10_000 });
    server.perhaps(On::get("/").with_range().every(2), Fault::IgnoreRange);
    server.perhaps(On::get("/").with_range().every(3), Fault::RangeFrom(1));
    server.perhaps(On::get("/").every(17), Fault::Close);
    server.perhaps(On::get("/").every(19), Fault::Damage { at: 100 });
    server.perhaps(On::get("/").every(23), Fault::Stall { after: 1_000, time: Duration::from_secs(5) });
    server.perhaps(On::get("/").without_range().every(31), Fault::CutWithoutLength { after: 20_000 });
    server.perhaps(On::get("/").every(29), Fault::Slow { bytes_per_second: 200_000 });
}
