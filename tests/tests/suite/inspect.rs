//! Guards looking into a package: what `inspect` and `diff` tell is what a
//! whole pass over the package finds, and a forged index is found out.

use airgap_tests::charts::{chart, index};
use airgap_tests::file_server::FileServer;
use airgap_tests::images::Image;
use airgap_tests::measure::bytes_read;
use airgap_tests::platform::Platform;
use airgap_tests::project::{Project, Run};
use airgap_tests::registry::Registry;
use serde_json::{Value, json};

fn inspected(project: &Project, package: &str) -> Value {
    let mut told = project.run(&["inspect", "--json", package]).success().json();
    for of_the_file in ["package", "size", "indexed"] {
        told.as_object_mut().expect("an object").remove(of_the_file).expect(of_the_file);
    }
    told
}

/// The place where the index begins: its first frame has a magic number of its
/// own.
fn index_at(package: &[u8]) -> usize {
    let magic = 0x184D_2A5D_u32.to_le_bytes();
    package.windows(12).rposition(|bytes| bytes[..4] == magic && bytes[8..] == *b"entr").expect("an index")
}

#[test]
fn the_index_tells_what_a_whole_pass_finds() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    project.build();
    let package = project.package();
    let name = package.file_name().unwrap().to_string_lossy().into_owned();
    let told = inspected(&project, &package.display().to_string());
    assert_eq!(told["name"], "platform");
    assert_eq!(told["images"].as_array().unwrap().len(), 5);
    assert_eq!(told["images"][0]["platforms"], json!(["linux/amd64"]));
    assert_eq!(told["charts"][0]["version"], "1.0.0");
    assert_eq!(told["plugins"][0]["step"], "manifests");
    let lone: u64 = told["images"].as_array().unwrap().iter().map(|image| image["own"].as_u64().unwrap()).sum();
    assert!(lone > 0);

    let bytes = std::fs::read(&package).unwrap();
    let without = &bytes[..index_at(&bytes)];
    project.write(&format!("elsewhere/{name}"), without);
    for beside in ["manifest.json", "intoto.json"].map(|end| format!("{name}.{end}")) {
        project.write(&format!("elsewhere/{beside}"), project.read(&format!("dist/{beside}")));
    }
    let run = project.run(&["inspect", "--json", &format!("elsewhere/{name}")]).success().json();
    assert_eq!(run["indexed"], false);
    assert_eq!(inspected(&project, &format!("elsewhere/{name}")), told);
    // One of Zarf's own, which has none.
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden/zarf-package-golden-amd64-1.2.3.tar.zst");
    project.run(&["inspect", golden]).success().prints(&["golden 1.2.3"]);
}

/// However large a package is, a look into it reads what describes the rest.
#[test]
fn a_look_reads_no_more_of_a_large_package() {
    let registry = Registry::start();
    let read = |size: usize| {
        registry.push("app:1", &Image::small(1, size));
        let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
        project.build();
        let package = project.package().display().to_string();
        assert!(std::fs::metadata(&package).unwrap().len() > size as u64);
        bytes_read(&mut project.command(&["inspect", &package]))
    };
    let (small, large) = (read(1_000_000), read(60_000_000));
    // A frame more or less lies on the way.
    assert!(large < small + (1 << 20) && large < 4 << 20, "{small} {large}");
}

#[test]
fn images_are_printed_for_pipes() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 1000));
    registry.push("team/web:2", &Image::small(2, 1000));
    let project = Project::new()
        .with_registry(&registry.host())
        .with_image(registry.reference("app:1"))
        .with_image(registry.reference("team/web:2"));
    project.build();
    let run = project.run(&["inspect", "images", &project.package().display().to_string()]).success();
    assert_eq!(run.stdout, format!("{}\n{}\n", registry.reference("app:1"), registry.reference("team/web:2")));
}

fn diff(project: &Project, old: &str, new: &str) -> Run {
    project.run(&["diff", old, new])
}

#[test]
fn a_difference_names_what_came_went_and_moved() {
    let registry = Registry::start();
    let files = FileServer::start();
    registry.push("app:1", &Image::small(1, 50_000));
    registry.push("app:2", &Image::small(2, 50_000));
    registry.push("gone:1", &Image::small(3, 50_000));
    let archive = chart("web", "1.0.0", &[("values.yaml", "a: 1\n")]);
    files.put("/charts/index.yaml", index(&[("web", "1.0.0", "web-1.0.0.tgz", &archive)]));
    files.put("/charts/web-1.0.0.tgz", archive);
    let project = |version: &str, images: &[&str], has_chart: bool| {
        let mut project = Project::new()
            .with_registry(&registry.host())
            .with_file_server(&files.host())
            .with_settings(|settings| settings["package"]["version"] = json!(version));
        for image in images {
            project = project.with_image(registry.reference(image));
        }
        if has_chart {
            let repo = files.url("/charts");
            project = project.with_chart(json!({"name": "web", "repo": repo, "version": "1.0.0", "namespace": "web"}));
        }
        project.build();
        project
    };
    let (old, new) = (project("1.0.0", &["app:1", "gone:1"], false), project("1.1.0", &["app:2"], true));
    let [old, new_path] = [&old, &new].map(|project| project.package().display().to_string());
    let name = |repository: &str| registry.reference(repository);
    diff(&new, &old, &new_path).code(1).prints(&[
        "~ package platform: 1.0.0 amd64 → 1.1.0 amd64",
        &format!("~ image {}: 1 → 2", name("app")),
        &format!("- image {} 1 (", name("gone")),
        "+ chart web 1.0.0 (",
        "are new",
    ]);
    let data = new.run(&["diff", "--json", &old, &new_path]).code(1).json();
    assert_eq!((&data["event"], &data["same"]), (&json!("compared"), &json!(false)));
    assert!(data["new_bytes"].as_u64().unwrap() > 50_000, "{data}");
    diff(&new, &old, &old).success().prints(&["no difference"]);
    diff(&new, &old, "nowhere.tar.zst").code(2).says(&["no package at `nowhere.tar.zst`"]);
    new.write("text.tar.zst", "no archive");
    diff(&new, &old, "text.tar.zst").code(4).says(&["text.tar.zst"]);
}

/// A lock is what was resolved, a package what was made of it.
#[test]
fn a_package_is_compared_with_a_lock() {
    let platform = Platform::start();
    let project = platform.configure(Project::new());
    project.build();
    let (package, lock) = (project.package().display().to_string(), "config/airgap.lock");
    diff(&project, lock, &package).success().prints(&["no difference"]);
    diff(&project, &package, lock).success().prints(&["no difference"]);
    diff(&project, lock, lock).success().prints(&["no difference"]);
    // Each kind of entry: gone, and another one.
    let text = project.read(lock);
    let written: Value = serde_yaml::from_str(&text).unwrap();
    let first = |section: &str| written[section].as_object().unwrap().iter().next().unwrap();
    let (image, entry) = first("images");
    let manifest = entry["manifest"].as_str().unwrap();
    let repository = image.rsplit_once(' ').unwrap().0.rsplit_once(':').unwrap().0;
    let other = format!("sha256:{}", "0".repeat(64));
    project.write("moved.lock", text.replace(manifest, &other));
    let run = diff(&project, "moved.lock", &package).code(1);
    run.prints(&[&format!("~ image {repository}: "), "000000000000"]);
    let told = project.run(&["diff", "--json", "moved.lock", lock]).code(1).json();
    assert!(told["changes"].as_array().unwrap().iter().all(|change| change["kind"] == "image"), "{told}");
    for (section, kind) in [("charts", "chart"), ("files", "file"), ("repositories", "repository")] {
        let (key, _) = first(section);
        let mut less = written.clone();
        less[section].as_object_mut().unwrap().remove(key);
        project.write("less.lock", serde_yaml::to_string(&less).unwrap());
        diff(&project, "less.lock", &package).code(1).prints(&[&format!("+ {kind} ")]);
        diff(&project, &package, "less.lock").code(1).prints(&[&format!("- {kind} ")]);
    }
    project.write("broken.lock", "format: 3\nimages: [\n");
    diff(&project, "broken.lock", &package).code(3).says(&["broken.lock"]);
    // Without the list beside it nobody knows where things came from.
    let name = project.package().file_name().unwrap().to_string_lossy().into_owned();
    project.write(&format!("alone/{name}"), std::fs::read(project.package()).unwrap());
    diff(&project, lock, &format!("alone/{name}")).code(4).says(&["where its things came from", ".manifest.json"]);
}

/// Somebody who forges the index may want another list of images to be read
/// than the one that is deployed.
#[test]
fn a_forged_index_is_found_out() {
    let registry = Registry::start();
    registry.push("app:1", &Image::small(1, 50_000));
    let project = Project::new().with_registry(&registry.host()).with_image(registry.reference("app:1"));
    project.build();
    let bytes = std::fs::read(project.package()).unwrap();
    let at = index_at(&bytes);
    let (content, rest) = bytes.split_at(at);
    let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
    let (list, table) = rest[8..].split_at(length);
    let text = String::from_utf8(zstd::decode_all(&list[8..]).unwrap()).unwrap();
    assert_eq!(text.lines().next().unwrap().split(' ').count(), 4, "{text}");
    let forged = |text: &str| {
        let list = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let mut package = content.to_vec();
        package.extend(&rest[..4]);
        package.extend((list.len() as u32 + 8).to_le_bytes());
        package.extend(b"entries1");
        package.extend(list);
        package.extend(table);
        project.write("forged.tar.zst", package);
    };
    forged(&text);
    project.run(&["verify", "forged.tar.zst"]).success();
    let lines: Vec<&str> = text.lines().collect();
    let swapped = text.replacen("zarf.yaml", "other.yaml", 1);
    // The SBOM comes first, and its tar.
    let shorter = lines[2..].join("\n") + "\n";
    let twice = format!("{text}{}\n", lines[1]);
    let moved = text.replacen(lines[2], &lines[2].replacen(' ', "0 ", 1), 1);
    for text in [swapped, shorter, twice, moved] {
        forged(&text);
        project.run(&["verify", "forged.tar.zst"]).code(4).prints(&["index"]);
        let run = project.run(&["inspect", "forged.tar.zst"]);
        assert!(matches!(run.status.code(), Some(0 | 4)), "{run}");
    }
}
