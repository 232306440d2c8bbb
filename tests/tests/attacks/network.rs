//! The way out: addresses, redirects, names, credentials, sockets. What counts
//! is not what the plugin is told but what the servers have seen.

use airgap_tests::digest::sha256;
use airgap_tests::file_server::FileServer;
use airgap_tests::http::{Request, Response, Server};
use airgap_tests::images::Image;
use airgap_tests::project::Project;
use airgap_tests::registry::Registry;
use airgap_tests::tools;
use serde_json::{Value, json};

use crate::arena::{Arena, METADATA, SPECIAL};
use crate::attack::{Attack, SECRET};

/// The port of whatever answers everywhere in the arena.
const PORT: u16 = 8099;

fn fetch(url: &str) -> Value {
    json!({ "do": "fetch", "url": url })
}

fn attempts(acts: &[Value]) -> Value {
    json!([{ "do": "try", "acts": acts }, { "do": "write", "path": "x", "text": "x" }])
}

/// A server with a granted folder, `/charts/`, and a secret beside it.
fn served() -> FileServer {
    let server = FileServer::start();
    server.put("/charts/a", "granted");
    for path in [
        "/secret",
        "/charts-private/a",
        "/charts/..%2fsecret",
        "/charts/%2e%2e/secret",
        "/Charts/a",
        "/charts/../secret",
    ] {
        server.put(path, SECRET);
    }
    server
}

fn project(server: &FileServer) -> Project {
    Project::new().with_file_server(&server.host())
}

#[track_caller]
fn saw_only_charts(server: &FileServer) {
    let outside: Vec<String> =
        server.log().into_iter().map(|entry| entry.path).filter(|path| path != "/charts/a").collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn no_trick_of_an_address_leads_out_of_a_prefix() {
    let Some(arena) = Arena::enter() else { return };
    let server = served();
    let host = server.host();
    let port = host.rsplit(':').next().unwrap();
    let urls: Vec<String> = [
        "http://HOST/secret",
        "http://HOST/charts-private/a",
        "http://HOST/charts",
        "http://HOST/charts/../secret",
        "http://HOST/charts/./../secret",
        "http://HOST/charts/..%2fsecret",
        "http://HOST/charts/%2e%2e/secret",
        "http://HOST/charts/%2e%2e%2fsecret",
        "http://HOST/charts/..%5csecret",
        "http://HOST/charts/..\\secret",
        "http://HOST\\charts\\a",
        "http://HOST/charts/%252e%252e%252fsecret",
        "http://HOST/charts/..;/secret",
        "http://HOST//charts/a",
        "http://HOST/Charts/a",
        "http://HOST/charts/%00",
        "http://HOST/charts/..%c0%afsecret",
        "http://user{at}HOST/charts/a",
        "http://user:password{at}HOST/charts/a",
        "http://HOST{at}evil.test/charts/a",
        "http://HOST:80/charts/a",
        "https://HOST/charts/a",
        "ftp://HOST/charts/a",
        "file:///etc/hosts",
        "data:text/plain,x",
        "gopher://HOST/charts/a",
        "//HOST/charts/a",
        "http:///charts/a",
        "http://127.0.0.1.:PORT/charts/a",
        "http://127.1:PORT/secret",
        "http://2130706433:PORT/secret",
        "http://0x7f.0.0.1:PORT/secret",
        "http://0177.0.0.1:PORT/secret",
        "http://[::ffff:127.0.0.1]:PORT/charts/a",
        "http://localhost:PORT/charts/a",
        "http://127.0.0.2:PORT/charts/a",
        "http://127.0.0.1%2f{at}evil.test/charts/a",
        "http://127.0.0.1\u{3002}evil.test/charts/a",
    ]
    .iter()
    .map(|url| url.replace("HOST", &host).replace("PORT", port))
    .collect();
    let acts: Vec<Value> = urls.iter().map(|url| fetch(url)).collect();
    let attack = Attack::on(&arena, project(&server), &["manifests"], attempts(&acts));
    let built = attack.grants(json!({ "fetch": [server.url("/charts/")] })).build().done().keeps(SECRET);
    saw_only_charts(&server);
    built.all_refused(urls.len());
}

/// What is refused for the first address is refused for every hop.
#[test]
fn no_trick_of_a_redirect_leads_out_of_a_prefix() {
    let Some(arena) = Arena::enter() else { return };
    let tricks = [
        "/secret",
        "../secret",
        "/charts/../secret",
        "/charts/..%2fsecret",
        "/charts/%2e%2e/secret",
        "/charts/%2e%2e%2fsecret",
        "/charts/..%5csecret",
        "/charts/..\\secret",
        "/charts/%252e%252e%252fsecret",
        "//evil.test/charts/a",
        "http://user@HOST/charts/a",
        "http://user:password@HOST/charts/a",
        "http://HOST@evil.test/charts/a",
        "file:///etc/hosts",
        "ftp://HOST/charts/a",
        "http://169.254.169.254:8099/latest/meta-data",
        "http://[::ffff:169.254.169.254]:8099/latest/meta-data",
    ];
    let everywhere = everywhere();
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(move |request: &Request| match request.path.strip_prefix("/charts/to-") {
            Some(number) => {
                let host = request.header("host").unwrap_or_default();
                let trick = number.parse().ok().and_then(|number: usize| tricks.get(number)).unwrap_or(&"/secret");
                Response::new(status, "").with("location", trick.replace("HOST", host))
            }
            None => Response::new(200, SECRET),
        });
        let acts: Vec<Value> =
            (0..tricks.len()).map(|number| fetch(&server.url(&format!("/charts/to-{number}")))).collect();
        let project = Project::new().with_file_server(&server.host()).with_file_server(&format!("{METADATA}:{PORT}"));
        let built = Attack::on(&arena, project, &["manifests"], attempts(&acts))
            .grants(json!({ "fetch": [server.url("/charts/")] }))
            .build()
            .done()
            .keeps(SECRET);
        let outside: Vec<String> =
            server.log().into_iter().map(|entry| entry.path).filter(|path| !path.starts_with("/charts/to-")).collect();
        assert!(outside.is_empty(), "{status} led to {outside:?}");
        assert!(everywhere.log().is_empty(), "{status}: {}", everywhere.render_log());
        built.all_refused(tricks.len());
    }
}

#[test]
fn no_second_header_and_no_refresh_leads_out() {
    let Some(arena) = Arena::enter() else { return };
    let server = Server::start(|request: &Request| match request.path.as_str() {
        "/charts/twice" => Response::new(302, "").with("location", "/charts/a").with("location", "/secret"),
        "/charts/first" => Response::new(302, "").with("location", "/secret").with("location", "/charts/a"),
        "/charts/refresh" => Response::new(200, "x").with("refresh", "0; url=/secret"),
        "/charts/content" => Response::new(200, "x").with("content-location", "/secret"),
        "/charts/link" => Response::new(200, "x").with("link", "</secret>; rel=\"next\""),
        "/charts/none" => Response::new(302, ""),
        "/charts/loop" => Response::new(302, "").with("location", "/charts/loop"),
        "/charts/a" => Response::new(200, "granted"),
        _ => Response::new(200, SECRET),
    });
    let acts: Vec<Value> = ["twice", "first", "refresh", "content", "link", "none", "loop"]
        .iter()
        .map(|name| fetch(&server.url(&format!("/charts/{name}"))))
        .collect();
    Attack::on(&arena, Project::new().with_file_server(&server.host()), &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [server.url("/charts/")] }))
        .build()
        .done()
        .keeps(SECRET);
    assert!(server.requests("GET", "/secret").is_empty(), "{}", server.render_log());
    assert!(server.requests("GET", "/charts/loop").len() < 50, "{}", server.render_log());
}

/// Two granted servers that send each other's visitors on.
#[test]
fn no_chain_of_granted_hosts_leads_out() {
    let Some(arena) = Arena::enter() else { return };
    let second = Server::start(|request: &Request| match request.path.as_str() {
        "/files/honest" => Response::new(200, "granted"),
        "/files/back" => Response::new(302, "").with("location", request.header("x-back").unwrap_or("/secret")),
        "/files/inside" => Response::new(302, "").with("location", format!("http://{METADATA}:{PORT}/latest")),
        _ => Response::new(200, SECRET),
    });
    let there = second.url("");
    let first = Server::start(move |request: &Request| match request.path.strip_prefix("/charts/") {
        Some(name) if !name.is_empty() => Response::new(302, "").with("location", format!("{there}/files/{name}")),
        _ => Response::new(200, SECRET),
    });
    let everywhere = everywhere();
    let project = Project::new().with_file_server(&first.host()).with_file_server(&second.host());
    let acts: Vec<Value> =
        ["back", "inside"].iter().map(|name| fetch(&first.url(&format!("/charts/{name}")))).collect();
    let honest = fetch(&first.url("/charts/honest"));
    let acts = json!([honest, { "do": "try", "acts": acts }, { "do": "write", "path": "x", "text": "x" }]);
    Attack::on(&arena, project, &["manifests"], acts)
        .grants(json!({ "fetch": [first.url("/charts/"), second.url("/files/")] }))
        .build()
        .done()
        .keeps(SECRET)
        .all_refused(2);
    assert_eq!(second.requests("GET", "/files/").len(), 3, "{}", second.render_log());
    assert!(second.requests("GET", "/secret").is_empty(), "{}", second.render_log());
    assert!(everywhere.log().is_empty(), "{}", everywhere.render_log());
}

/// A mirror stands for the granted address, and for nothing else on its host
/// or elsewhere.
#[test]
fn no_mirror_leads_out_of_a_grant() {
    let Some(arena) = Arena::enter() else { return };
    let mirror = Server::start(|request: &Request| match request.path.as_str() {
        "/upstream/charts/honest" => Response::new(200, "granted"),
        "/upstream/charts/beside" => Response::new(302, "").with("location", "/other/secret"),
        "/upstream/charts/above" => Response::new(302, "").with("location", "/upstream/charts/..%2f..%2fsecret"),
        "/upstream/charts/inside" => Response::new(302, "").with("location", format!("http://{METADATA}:{PORT}/x")),
        _ => Response::new(200, SECRET),
    });
    let everywhere = everywhere();
    let upstream = "http://upstream.arena.test/charts/";
    let project = Project::new().with_file_server(&mirror.host()).with_settings(|all| {
        all["network"]["url_mirrors"] = json!({ "http://upstream.arena.test/": mirror.url("/upstream/") });
    });
    let acts: Vec<Value> =
        ["beside", "above", "inside"].iter().map(|name| fetch(&format!("{upstream}{name}"))).collect();
    let acts = json!([
        fetch(&format!("{upstream}honest")),
        { "do": "try", "acts": acts },
        { "do": "write", "path": "x", "text": "x" },
    ]);
    Attack::on(&arena, project, &["manifests"], acts)
        .grants(json!({ "fetch": [upstream] }))
        .build()
        .done()
        .keeps(SECRET)
        .all_refused(3);
    assert!(mirror.log().iter().all(|entry| entry.path.starts_with("/upstream/charts/")), "{}", mirror.render_log());
    assert!(everywhere.log().is_empty(), "{}", everywhere.render_log());
}

/// A registry sends blobs where it likes, and lists of tags go on where it
/// says.
#[test]
fn no_registry_leads_out_of_its_grant() {
    let Some(arena) = Arena::enter() else { return };
    let elsewhere = Server::start(|_: &Request| Response::new(200, SECRET));
    let cdn = elsewhere.url("/cdn/blob");
    let registry = Server::start(move |request: &Request| match request.path_alone() {
        "/v2/team/app/tags/list" => Response::json(200, &json!({ "name": "team/app", "tags": ["1"] }))
            .with("link", "</v2/secret/app/tags/list?n=1>; rel=\"next\""),
        path if path.starts_with("/v2/team/app/blobs/") => Response::new(307, "").with("location", cdn.clone()),
        path if path.starts_with("/v2/team/app/manifests/") => {
            Response::new(307, "").with("location", "/v2/secret/app/manifests/1")
        }
        _ => Response::new(200, SECRET),
    });
    let repository = format!("{}/team/app", registry.host());
    let acts = [
        json!({ "do": "tags", "repository": repository }),
        json!({ "do": "fetch", "blob": format!("{repository}@sha256:{}", sha256(SECRET.as_bytes())) }),
        json!({ "do": "fetch", "manifest": format!("{repository}:1") }),
    ];
    let project = Project::new().with_registry(&registry.host()).with_file_server(&elsewhere.host());
    Attack::on(&arena, project, &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [format!("{}/team/", registry.host())] }))
        .build()
        .done()
        .keeps(SECRET)
        .all_refused(acts.len());
    assert!(elsewhere.log().is_empty(), "{}", elsewhere.render_log());
    let outside: Vec<_> = registry.log().into_iter().filter(|entry| entry.path.starts_with("/v2/secret/")).collect();
    assert!(outside.is_empty(), "{}", registry.render_log());
}

/// Answers at every address of the arena.
fn everywhere() -> Server {
    Server::start_on(&format!("[::]:{PORT}"), |_: &Request| Response::new(200, SECRET))
}

/// A name below a granted `*.` that leads inside.
#[test]
fn no_name_of_a_granted_domain_leads_to_a_special_address() {
    let Some(arena) = Arena::enter() else { return };
    let server = everywhere();
    let mut project = Project::new();
    let mut acts = Vec::new();
    for address in SPECIAL {
        let host = format!("{}:{PORT}", arena.name_of(address));
        project = project.with_file_server(&host);
        acts.push(fetch(&format!("http://{host}/x")));
    }
    let built = Attack::on(&arena, project, &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [format!("http://*.arena.test:{PORT}/")] }))
        .build()
        .done()
        .keeps(SECRET);
    assert!(server.log().is_empty(), "{}\n{}", built.told(), server.render_log());
    built.all_refused(SPECIAL.len());
}

/// The arena really leads there: a host that the user granted by its name may
/// be private.
#[test]
fn a_private_host_is_reached_when_it_is_granted_by_name() {
    let Some(arena) = Arena::enter() else { return };
    let server = everywhere();
    let host = format!("{}:{PORT}", arena.name_of("10.0.0.1"));
    let project = Project::new().with_file_server(&host);
    let acts = json!([fetch(&format!("http://{host}/x"))]);
    let attack = Attack::on(&arena, project, &["manifests"], acts);
    attack.grants(json!({ "fetch": [format!("http://{host}/")] })).build().done();
    assert_eq!(server.log().len(), 1, "{}", server.render_log());
}

/// Not even by its name.
#[test]
fn the_metadata_of_a_cloud_is_reached_by_no_grant() {
    let Some(arena) = Arena::enter() else { return };
    let server = everywhere();
    let named = format!("{}:{PORT}", arena.name_of(METADATA));
    let literal = format!("{METADATA}:{PORT}");
    let project = Project::new().with_file_server(&named).with_file_server(&literal);
    let urls = [format!("http://{named}/latest"), format!("http://{literal}/latest")];
    let acts: Vec<Value> = urls.iter().map(|url| fetch(url)).collect();
    let grants = json!({ "fetch": [format!("http://{named}/"), format!("http://{literal}/")] });
    Attack::on(&arena, project, &["manifests"], attempts(&acts)).grants(grants).build().done().all_refused(2);
    assert!(server.log().is_empty(), "{}", server.render_log());
}

/// A prefix of a registry is one of whole names.
#[test]
fn no_neighbour_of_a_granted_repository_is_asked() {
    let Some(arena) = Arena::enter() else { return };
    let registry = Registry::start();
    registry.push("team/app:1", &Image::small(1, 1_000));
    registry.push("teammates/app:1", &Image::small(2, 1_000));
    registry.push("secret/app:1", &Image::small(3, 1_000));
    let manifest = |name: &str| json!({ "do": "fetch", "manifest": registry.reference(name) });
    let acts = [
        manifest("teammates/app:1"),
        manifest("team/../secret/app:1"),
        manifest("team/%2e%2e/secret/app:1"),
        manifest("secret/app:1"),
        manifest("team/app:../../../secret/app/manifests/1"),
        manifest("team/app:1?x=/../../secret"),
        json!({ "do": "tags", "repository": registry.reference("secret/app") }),
        json!({ "do": "tags", "repository": registry.reference("team/../secret/app") }),
        json!({ "do": "fetch", "blob": registry.reference(&format!("secret/app@sha256:{}", "0".repeat(64))) }),
    ];
    Attack::on(&arena, Project::new().with_registry(&registry.host()), &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [format!("{}/team/", registry.host())] }))
        .build()
        .done()
        .all_refused(acts.len());
    let outside: Vec<_> = registry.log().into_iter().filter(|entry| !entry.path.starts_with("/v2/team/app/")).collect();
    assert!(outside.iter().all(|entry| entry.path == "/v2/"), "{}", registry.render_log());
}

/// A registry that names its token service decides whom the host asks next.
#[test]
fn no_token_service_leads_inside() {
    let Some(arena) = Arena::enter() else { return };
    let inside = everywhere();
    for realm in [
        format!("http://{METADATA}:{PORT}/token"),
        format!("http://{}:{PORT}/token", arena.name_of("10.0.0.1")),
        format!("http://{}:{PORT}/token", arena.name_of("192.0.0.192")),
        format!("http://[fec0::1]:{PORT}/token"),
        format!("http://10.0.0.1@{METADATA}:{PORT}/token"),
        format!("http://user:password@{}:{PORT}/token", arena.name_of("10.0.0.1")),
        format!("http://127.0.0.1\\@{METADATA}:{PORT}/token"),
        "file:///etc/hosts".to_owned(),
    ] {
        let server = Server::start(move |_: &Request| {
            Response::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\",service=\"x\""))
        });
        let acts = [json!({ "do": "fetch", "manifest": format!("{}/team/app:1", server.host()) })];
        Attack::on(&arena, Project::new().with_registry(&server.host()), &["manifests"], attempts(&acts))
            .grants(json!({ "fetch": [format!("{}/team/", server.host())] }))
            .build()
            .done()
            .all_refused(1);
    }
    assert!(inside.log().is_empty(), "{}", inside.render_log());
}

/// The user's password goes where the user said, and nowhere else.
#[test]
fn no_credentials_are_used_without_their_grant() {
    let Some(arena) = Arena::enter() else { return };
    let server = FileServer::start_closed();
    server.put("/charts/a", SECRET);
    let project = project(&server);
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    let netrc = format!("machine 127.0.0.1 login {} password {}\n", tools::USER, tools::PASSWORD.replace(' ', "_"));
    project.write("home/.netrc", netrc);
    let acts = [fetch(&server.url("/charts/a"))];
    Attack::on(&arena, project, &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [server.url("/charts/")] }))
        .build()
        .done()
        .keeps(SECRET)
        .all_refused(1);
    assert!(server.log().iter().all(|entry| entry.header("authorization").is_none()), "{}", server.render_log());
}

#[test]
fn no_credentials_follow_a_redirect() {
    let Some(arena) = Arena::enter() else { return };
    let thief = Server::start(|_: &Request| Response::new(200, "thanks"));
    let to = thief.url("/charts/a");
    let server = Server::start(move |request: &Request| {
        request
            .refusal(tools::USER, tools::PASSWORD)
            .unwrap_or_else(|| Response::new(302, "").with("location", to.clone()))
    });
    let project = Project::new().with_file_server(&server.host()).with_file_server(&thief.host());
    project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
    let acts = [fetch(&server.url("/charts/a"))];
    Attack::on(&arena, project, &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [server.url("/charts/"), thief.url("/charts/")], "credentials": [server.host()] }))
        .build()
        .done();
    assert!(thief.log().iter().all(|entry| entry.header("authorization").is_none()), "{}", thief.render_log());
}

/// What a server says to a plugin must not decide where the user's password
/// goes when the host asks that server.
#[test]
fn no_answer_to_a_plugin_sends_a_password_elsewhere() {
    let Some(arena) = Arena::enter() else { return };
    for challenge in ["Bearer", "Basic"] {
        let thief = Server::start(|_: &Request| Response::new(200, json!({ "token": SECRET }).to_string()));
        let says = match challenge {
            "Bearer" => format!("Bearer realm=\"{}\",service=\"x\"", thief.url("/token")),
            _ => "Basic realm=\"x\"".to_owned(),
        };
        let server = Server::start(move |request: &Request| match request.path.starts_with("/evil/") {
            true => Response::new(401, "").with("www-authenticate", says.clone()),
            false => Response::new(200, "#!/bin/sh\n"),
        });
        let project = Project::new().with_file_server(&server.host()).with_file_server(&thief.host()).with_tool(
            "tool",
            &server.url("/tool"),
            None,
        );
        project.write("home/.docker/config.json", tools::docker_config(&server.host(), tools::PASSWORD));
        Attack::on(&arena, project, &["manifests"], attempts(&[fetch(&server.url("/evil/x"))]))
            .grants(json!({ "fetch": [server.url("/evil/")] }))
            .step("files", &json!({ "host": "files" }), &["manifests", "attack"])
            .build()
            .done()
            .keeps(SECRET);
        assert!(thief.log().is_empty(), "{}", thief.render_log());
        let log = server.log();
        assert!(log.iter().any(|entry| entry.path == "/tool"), "{}", server.render_log());
        assert!(log.iter().all(|entry| entry.header("authorization").is_none()), "{}", server.render_log());
    }
}

#[test]
fn no_grant_no_request() {
    let Some(arena) = Arena::enter() else { return };
    let server = served();
    let acts = [
        fetch(&server.url("/charts/a")),
        json!({ "do": "fetch", "manifest": format!("{}/team/app:1", server.host()) }),
        json!({ "do": "tags", "repository": format!("{}/team/app", server.host()) }),
    ];
    Attack::on(&arena, project(&server), &["manifests"], attempts(&acts)).build().done().all_refused(3);
    assert!(server.log().is_empty(), "{}", server.render_log());
}

/// And nothing of it is kept: a plugin does not fill the disk with what it
/// refuses.
#[test]
fn nothing_is_kept_of_what_is_refused() {
    let Some(arena) = Arena::enter() else { return };
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(1 << 20));
    let content = large.clone();
    let server = Server::start(move |_: &Request| Response::new(200, content.clone()));
    let digest = sha256(large.as_bytes());
    let acts: Vec<Value> = (0..20)
        .map(|tag| json!({ "do": "fetch", "manifest": format!("{}/team/app:{tag}", server.host()), "limit": 9, "mutable": true }))
        .chain([
            json!({ "do": "fetch", "blob": format!("{}/team/app@sha256:{digest}", server.host()), "limit": 9 }),
            json!({ "do": "fetch", "url": server.url("/charts/a"), "limit": 9 }),
        ])
        .collect();
    let project = Project::new().with_registry(&server.host()).with_file_server(&server.host());
    let built = Attack::on(&arena, project, &["manifests"], attempts(&acts))
        .grants(json!({ "fetch": [format!("{}/team/", server.host()), server.url("/charts/")] }))
        .build()
        .done()
        .all_refused(acts.len());
    let kept = airgap_tests::measure::disk_use(&built.project.path("build/store"));
    assert!(kept < 1 << 20, "{kept} bytes");
}

/// More is sent than the plugin allowed, or than anybody allows.
#[test]
fn no_answer_is_larger_than_its_limit() {
    let Some(arena) = Arena::enter() else { return };
    let server = Server::start(|_: &Request| Response::new(200, vec![b'x'; 32 << 20]));
    let acts = json!([{ "do": "fetch", "url": server.url("/charts/a"), "limit": 1024 }]);
    Attack::on(&arena, Project::new().with_file_server(&server.host()), &["manifests"], acts)
        .grants(json!({ "fetch": [server.url("/charts/")] }))
        .build()
        .refused(&["attack"]);
}

/// A proxy looks names up by itself, so what this machine finds for them is
/// looked at before it is asked.
#[test]
fn no_proxy_is_asked_for_an_address_that_is_out_of_reach() {
    let Some(arena) = Arena::enter() else { return };
    let proxy = Server::start(|_: &Request| Response::new(200, SECRET));
    let behind = |hosts: &[String]| {
        let project = hosts.iter().fold(Project::new(), |project, host| project.with_file_server(host));
        project.with_settings(|settings| settings["network"]["proxy"] = json!(proxy.url("")))
    };
    let domain = format!("http://*.arena.test:{PORT}/");
    let named: Vec<String> = SPECIAL.iter().map(|address| format!("{}:{PORT}", arena.name_of(address))).collect();
    let literal = format!("{METADATA}:{PORT}");
    for (hosts, grant) in [(named, domain.clone()), (vec![literal.clone()], format!("http://{literal}/"))] {
        let acts: Vec<Value> = hosts.iter().map(|host| fetch(&format!("http://{host}/x"))).collect();
        let attack = Attack::on(&arena, behind(&hosts), &["manifests"], attempts(&acts));
        let built = attack.grants(json!({ "fetch": [grant] })).build().done().keeps(SECRET);
        assert!(proxy.log().is_empty(), "{}\n{}", built.told(), proxy.render_log());
        built.all_refused(hosts.len());
    }
    // The limit of it: a name that only the proxy knows is the proxy's to judge.
    let host = format!("nowhere-else.arena.test:{PORT}");
    let acts = json!([fetch(&format!("http://{host}/x"))]);
    let attack = Attack::on(&arena, behind(&[host]), &["manifests"], acts);
    attack.grants(json!({ "fetch": [domain] })).build().done();
    assert_eq!(proxy.log().len(), 1, "{}", proxy.render_log());
}
