//! Guards what the other tests stand on: the images, charts and repositories
//! made here are real to other people's programs.

use airgap_tests::git_server::{GitServer, git};
use airgap_tests::images::{Dialect, Image, Packing, Platform, layer, layer_of};
use airgap_tests::tools::{self, DockerRegistry, Skopeo};

#[test]
fn skopeo_and_a_real_registry_take_the_images() {
    let (Some(registry), Some(skopeo)) = (DockerRegistry::start(), Skopeo::find()) else { return };
    let images = [
        Image::new(1, &[layer(1, 10_000), layer_of("text", &[b'x'; 5_000], Packing::Stored)]),
        Image::build(2, &[layer(2, 10_000)], Dialect::Docker, Platform::amd64()),
        Image::new(3, &[layer_of("plain", b"plain", Packing::Plain)]),
        Image::new(4, &[]),
    ];
    for (number, image) in images.iter().enumerate() {
        let name = registry.reference(&format!("app{number}:1"));
        skopeo.push(&["--preserve-digests"], image, &name);
        assert_eq!(skopeo.raw_manifest(&format!("docker://{name}")).as_bytes(), &image.manifest.bytes[..]);
    }
}

#[test]
fn skopeo_pulls_from_the_registry_in_memory() {
    use airgap_tests::registry::{Auth, Options, Redirects, Registry, TokenAuth};
    let Some(skopeo) = Skopeo::find() else { return };
    let options = Options {
        auth: Auth::Token(TokenAuth { claimed_seconds: Some(60), ..TokenAuth::default() }),
        redirects: Some(Redirects::default()),
        ..Options::default()
    };
    let registry = Registry::with(options);
    let image = Image::small(1, 10_000);
    registry.push("team/app:1", &image);
    let folder = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", folder.path().display());
    skopeo.copy(&[], &format!("docker://{}", registry.reference("team/app:1")), &to);
    assert_eq!(std::fs::read(folder.path().join(image.layers[0].hex())).unwrap(), image.layers[0].bytes[..]);
}

#[test]
fn git_clones_from_the_git_server() {
    let Some(server) = GitServer::start() else { return };
    let repository = server.create("flux");
    repository.commit("a", "1");
    let head = repository.commit("b/c", "2");
    let folder = tempfile::tempdir().unwrap();
    tools::run(git().args(["clone", "--quiet", &server.clone_url("flux")]).arg(folder.path()));
    assert_eq!(tools::run(git().current_dir(folder.path()).args(["rev-parse", "HEAD"])).trim(), head);
}
