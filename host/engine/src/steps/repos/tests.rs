//! With the real git over `file://`: what is packaged, when a clone is left
//! alone, and what is refused.

use std::process::Command;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::steps::test_support::edited;
use base::progress::Silent;
use disk::tree::TreeBuilder;

const REFUSED_PORT: &str = "http://127.0.0.1:1/x.git";

/// A server's repository, and a build folder beside it.
struct Lab {
    root: TempDir,
    lock: SharedLock,
    online: bool,
    progress: Progress,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            root: tempfile::tempdir().unwrap(),
            lock: SharedLock::default(),
            online: true,
            progress: Progress::silent("repos"),
        };
        fs::create_dir_all(&lab.path("origin")).unwrap();
        lab.git(&["init", "--quiet", "-b", "main", "."]);
        for step in 0..5 {
            lab.commit(&format!("file {step}\n").repeat(200 + step), &format!("commit {step}"));
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn url(&self) -> String {
        format!("file://{}", self.path("origin").display())
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.path("origin"), arguments)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path("origin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write_new(&path, text.as_bytes()).unwrap();
    }

    fn commit(&self, text: &str, message: &str) -> String {
        self.write("file", text);
        self.git(&["add", "-A"]);
        self.git(&["commit", "--quiet", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn repository(&self, reference: Option<&str>, commit: Option<&str>) -> Repository {
        Repository {
            name: "origin".into(),
            url: self.url(),
            reference: reference.map(Into::into),
            commit: commit.map(Into::into),
        }
    }

    async fn run(&self, build: &str, repositories: &[Repository]) -> Result<TreeBuilder> {
        let output = TreeBuilder::new(self.path(&format!("{build}-tree-{}", fastrand::u64(..))));
        let build = self.path(build);
        fs::create_dir_all(&build).unwrap();
        let network = NetworkSettings::default();
        let retries = RetrySettings { requests: 2, backoff: 0.01, ..RetrySettings::default() };
        let work = ReposRun {
            build: &build,
            online: self.online,
            network: &network,
            direct: Direct::default(),
            authorities: None,
            retries: &retries,
            lock: &self.lock,
            output: &output,
            journal: None,
            progress: &self.progress,
            exports: Vec::new(),
        };
        work.run(repositories).await.map(|_| output)
    }
}

fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@b"), ("GIT_AUTHOR_DATE", "1700000000 +0000")])
        .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@b"), ("GIT_COMMITTER_DATE", "1700000000 +0000")])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn paths(tree: &TreeBuilder) -> Vec<String> {
    tree.listing().artifacts.into_iter().map(|artifact| artifact.path).collect()
}

fn entries(tree: &TreeBuilder) -> Vec<RepositoryEntry> {
    serde_json::from_slice(&std::fs::read(tree.root().join("repos.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_branch_is_packaged_with_its_history_and_nothing_else() {
    let lab = Lab::new();
    let tree = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
    let entry = entries(&tree).remove(0);
    assert_eq!(entry.commit, lab.git(&["rev-parse", "main"]));
    assert_eq!(entry.zarf_reference, format!("{}@main", lab.url()));
    let inside: Vec<_> = paths(&tree)
        .iter()
        .filter_map(|p| p.strip_prefix(&format!("{}/.git/", entry.path)).map(str::to_owned))
        .collect();
    assert_eq!(inside.len(), 5, "{inside:?}");
    assert_eq!(inside[..2], ["HEAD", "config"]);
    assert!(inside[2].ends_with(".idx") && inside[3].ends_with(".pack") && inside[4] == "refs/heads/main");
    let git_dir = tree.root().join(&entry.path);
    assert_eq!(git_in(&git_dir, &["rev-list", "--count", "HEAD"]), "5");
    assert_eq!(git_in(&git_dir, &["remote", "get-url", "online-upstream"]), lab.url());
    git_in(&git_dir, &["fsck", "--strict", "--full"]);
    let locked = lab.lock.lock().repositories[&format!("{} main", lab.url())].clone();
    assert_eq!((locked.commit, locked.reference), (entry.commit, Some("refs/heads/main".to_owned())));
}

#[tokio::test]
async fn tags_commits_and_the_default_branch_are_packaged_as_zarf_names_them() {
    let lab = Lab::new();
    lab.git(&["tag", "-a", "v1", "-m", "one"]);
    let commit = lab.git(&["rev-parse", "HEAD~2"]);
    let tag = lab.run("build", &[lab.repository(Some("v1"), None)]).await.unwrap();
    let names = paths(&tag).join(" ");
    assert!(names.contains(".git/refs/tags/v1") && names.contains(".git/refs/heads/zarf-ref-v1"), "{names}");
    let folder = tag.root().join(&entries(&tag)[0].path);
    assert_eq!(git_in(&folder, &["cat-file", "-t", "refs/tags/v1"]), "tag");
    git_in(&folder, &["fsck", "--strict", "--full"]);

    let pinned = lab.run("build", &[lab.repository(None, Some(&commit))]).await.unwrap();
    let folder = pinned.root().join(&entries(&pinned)[0].path);
    assert_eq!(git_in(&folder, &["rev-parse", &format!("zarf-ref-{commit}")]), commit);
    assert_eq!(git_in(&folder, &["rev-list", "--count", "--all"]), "3");

    let default = lab.run("build", &[lab.repository(None, None)]).await.unwrap();
    assert_eq!(entries(&default)[0].zarf_reference, lab.url());
    assert!(paths(&default).join(" ").contains(".git/refs/heads/main"));
}

/// A clone that grew over weeks and a fresh one give the same package.
#[tokio::test]
async fn every_clone_of_a_commit_gives_the_same_bytes() {
    let mut lab = Lab::new();
    lab.run("grown", &[lab.repository(Some("main"), None)]).await.unwrap();
    lab.git(&["checkout", "--quiet", "-b", "side"]);
    for step in 0..20 {
        lab.write(&format!("dir/{step}"), &"line\n".repeat(step * 17));
        lab.commit(&format!("side {step}\n").repeat(100), "side");
    }
    lab.run("grown", &[lab.repository(Some("side"), None)]).await.unwrap();
    lab.git(&["checkout", "--quiet", "main"]);
    lab.git(&["merge", "--quiet", "--no-ff", "-m", "merge", "side"]);
    lab.lock = edited(&lab.lock, |lock| lock.repositories.clear());
    let grown = lab.run("grown", &[lab.repository(Some("main"), None)]).await.unwrap();
    lab.git(&["gc", "--quiet", "--aggressive"]);
    git_in(&lab.path("grown/origin"), &["repack", "-q", "-a", "-d", "-f", "--depth=3"]);
    fs::remove_dir_all(&lab.path("grown/origin/canonical")).unwrap();
    let repacked = lab.run("grown", &[lab.repository(Some("main"), None)]).await.unwrap();
    let fresh = lab.run("fresh", &[lab.repository(Some("main"), None)]).await.unwrap();
    assert_eq!(grown.listing(), fresh.listing());
    assert_eq!(repacked.listing(), fresh.listing());
}

#[tokio::test]
async fn a_branch_that_moved_keeps_the_lock_and_warns() {
    let lab = Lab::new();
    let first = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
    let moved = lab.commit("new\n", "new");
    let second = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
    assert_eq!(first.listing(), second.listing());
    let warnings = lab.progress.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains(&moved[..12]), "{warnings:?}");
    let fresh = lab.run("elsewhere", &[lab.repository(Some("main"), None)]).await.unwrap();
    assert_eq!(first.listing(), fresh.listing(), "the lock decides in a fresh clone too");
}

#[tokio::test]
async fn offline_only_the_clone_answers() {
    let mut lab = Lab::new();
    let commit = lab.git(&["rev-parse", "HEAD"]);
    lab.online = false;
    let error = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.items()[0].message.contains("origin"), "{:?}", error.items());
    lab.online = true;
    let online = lab.run("build", &[lab.repository(None, Some(&commit))]).await.unwrap();
    lab.online = false;
    fs::remove_dir_all(&lab.path("origin")).unwrap();
    let offline = lab.run("build", &[lab.repository(None, Some(&commit))]).await.unwrap();
    assert_eq!(online.listing(), offline.listing());
}

#[tokio::test]
async fn submodules_and_lfs_are_refused_by_name() {
    let lab = Lab::new();
    lab.write("assets/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    lab.write("assets/near.txt", &"version https://git-lfs.github.com/spec, in a text of that size\n".repeat(3));
    lab.commit("x", "attributes of LFS, and nothing in it");
    lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();

    let lab = Lab::new();
    lab.write("assets/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    // As it is stored: git-lfs need not be there.
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64));
    lab.write("assets/large.bin", &pointer);
    lab.commit("x", "lfs");
    let error = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap_err();
    assert!(error.items()[0].message.contains("assets/large.bin"), "{:?}", error.items());
    assert_eq!(error.class(), Class::InvalidInput);
    let lab = Lab::new();
    lab.git(&["submodule", "--quiet", "add", &lab.url(), "inner/module"]);
    lab.commit("x", "submodule");
    let error = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap_err();
    assert!(error.items()[0].message.contains("inner/module"), "{:?}", error.items());
}

/// kubespray has such a file, left over from submodules that it removed.
#[tokio::test]
async fn a_file_of_submodules_without_a_submodule_is_no_reason_to_refuse() {
    let lab = Lab::new();
    lab.write(".gitmodules", "[submodule \"gone\"]\n\tpath = gone\n\turl = https://example.com/gone.git\n");
    lab.commit("x", "leftover");
    lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
}

#[tokio::test]
async fn a_bad_repository_does_not_stop_the_others() {
    let lab = Lab::new();
    let named = |name: &str, url: String| Repository { name: name.into(), url, ..lab.repository(Some("main"), None) };
    let missing = named("missing", format!("file://{}", lab.path("nowhere").display()));
    let down = named("down", REFUSED_PORT.into());
    let error = lab.run("build", &[missing, lab.repository(Some("main"), None), down.clone()]).await.unwrap_err();
    let classes: Vec<_> = error.items().iter().map(|item| (item.item.as_str(), item.class)).collect();
    assert_eq!(classes, [("down", Class::Transient), ("missing", Class::NotFound)]);
    assert_eq!(error.class(), Class::NotFound, "{error}");
    assert!(lab.path("build/origin/canonical/pack.json").is_file());
    let error = lab.run("build", &[down]).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(lab.progress.counters().read().retries > 0);
}

#[tokio::test]
async fn what_a_killed_git_left_is_cleared_and_a_damaged_clone_is_made_anew() {
    let mut lab = Lab::new();
    let first = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
    let clone = lab.path("build/origin");
    for leftover in ["packed-refs.lock", "refs/pins/x.lock", "objects/pack/tmp_pack_1"] {
        fs::write_new(&clone.join(leftover), b"").unwrap();
    }
    lab.commit("more\n", "more");
    lab.lock = edited(&lab.lock, |lock| lock.repositories.clear());
    lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
    assert!(!clone.join("objects/pack/tmp_pack_1").exists());

    let packs = std::fs::read_dir(clone.join("objects/pack")).unwrap().flatten();
    for pack in packs.filter(|entry| entry.path().extension().is_some_and(|e| e == "pack")) {
        fs::set_mode(&pack.path(), 0o644).unwrap();
        fs::write_new(&pack.path(), b"PACK damaged").unwrap();
    }
    fs::remove_dir_all(&clone.join("canonical")).unwrap();
    lab.lock = edited(&lab.lock, |lock| lock.repositories.clear());
    lab.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let third = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
    assert_eq!(first.listing(), third.listing());
}

/// What a power loss leaves of a clone. `None` takes the file away; `*` stands
/// for the one file of its folder with that ending.
const LEFT_BY_A_POWER_LOSS: &[(&str, Option<&[u8]>)] = &[
    ("HEAD", Some(b"")),
    ("HEAD", None),
    ("HEAD", Some(&[0; 24])),
    ("config", Some(b"")),
    ("config", None),
    ("config", Some(&[0; 66])),
    ("refs/pins/*", Some(b"")),
    ("refs/pins/*", Some(&[0; 41])),
    ("packed-refs", Some(&[0; 100])),
    ("packed-refs", Some(b"garbage\n")),
    ("objects/pack/*.idx", Some(b"")),
    ("objects/pack/*.idx", None),
    ("canonical/pack.json", Some(b"")),
    ("canonical/*.pack", Some(b"")),
];

fn damage(clone: &Path, name: &str, content: Option<&[u8]>) {
    let mut path = clone.join(name);
    if let Some((folder, ending)) = name.split_once('*') {
        let entries = std::fs::read_dir(clone.join(folder)).unwrap().flatten().map(|entry| entry.path());
        path = entries.filter(|path| path.to_string_lossy().ends_with(ending)).min().unwrap();
    }
    fs::remove_file(&path).unwrap();
    if let Some(content) = content {
        fs::write_new(&path, content).unwrap();
    }
}

/// Without a network: the packs are whole, and with them everything.
#[tokio::test]
async fn a_clone_that_git_does_not_read_is_made_anew_from_what_it_holds() {
    for (name, content) in LEFT_BY_A_POWER_LOSS {
        let mut lab = Lab::new();
        let repositories = [lab.repository(Some("main"), None)];
        let first = lab.run("build", &repositories).await.unwrap();
        damage(&lab.path("build/origin"), name, *content);
        lab.online = false;
        let again = lab.run("build", &repositories).await;
        let again = again.unwrap_or_else(|error| panic!("{name} {content:?}: {:?}", error.items()));
        assert_eq!(first.listing(), again.listing(), "{name} {content:?}");
        assert!(!lab.path("build/.origin.tmp").exists(), "{name}");
    }
}

#[tokio::test]
async fn what_a_damaged_clone_lacks_is_fetched() {
    for (name, content) in [("objects/pack/*.pack", None), ("objects/pack/*.pack", Some(&b"PACK"[..]))] {
        let lab = Lab::new();
        let repositories = [lab.repository(Some("main"), None)];
        let first = lab.run("build", &repositories).await.unwrap();
        damage(&lab.path("build/origin"), name, content);
        fs::remove_dir_all(&lab.path("build/origin/canonical")).unwrap();
        assert_eq!(first.listing(), lab.run("build", &repositories).await.unwrap().listing(), "{name}");
    }
    // Not a file of it was durable.
    let lab = Lab::new();
    fs::create_dir_all(&lab.path("build/origin/refs")).unwrap();
    lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap();
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_left_alone() {
    for name in ["notes.txt", "refs/heads/main"] {
        let lab = Lab::new();
        let path = lab.path("build/origin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write_new(&path, b"mine").unwrap();
        let error = lab.run("build", &[lab.repository(Some("main"), None)]).await.unwrap_err();
        assert!(error.items()[0].message.contains("is in the way"), "{}", error.one_line());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}

#[tokio::test]
async fn the_same_repository_twice_is_refused() {
    let lab = Lab::new();
    let twin = Repository { name: "twin".into(), ..lab.repository(Some("main"), None) };
    let error = lab.run("build", &[lab.repository(Some("main"), None), twin]).await.unwrap_err();
    assert!(error.message().contains("twin"), "{error}");
}

/// git waits for a server that says nothing; the user does not.
#[tokio::test]
async fn a_stopped_build_stops_git() {
    let mut lab = Lab::new();
    let token = CancellationToken::new();
    lab.progress = Progress::new("repos", std::sync::Arc::new(Silent), token.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x.git", listener.local_addr().unwrap());
    let silent = Repository { url, ..lab.repository(Some("main"), None) };
    let repositories = [silent];
    let (result, _connection) = tokio::join!(lab.run("build", &repositories), async {
        let connection = listener.accept().await.unwrap();
        token.cancel();
        connection
    });
    assert_eq!(result.unwrap_err().class(), Class::Interrupted);
}

/// git calls a name that does not exist what it calls a name server that does
/// not answer; only the latter is worth another try.
#[tokio::test]
async fn a_host_that_does_not_exist_is_asked_once() {
    if !fetch::network::has_no_address("nobody.invalid").await {
        // Where no name server answers, nobody can tell.
        return;
    }
    let lab = Lab::new();
    let repository = Repository { url: "https://nobody.invalid/x.git".into(), ..lab.repository(Some("main"), None) };
    let error = lab.run("build", &[repository]).await.unwrap_err();
    let item = &error.items()[0];
    assert_eq!(item.class, Class::NotFound, "{item:?}");
    assert!(item.message.contains("there is no host of the name `nobody.invalid`"), "{item:?}");
    assert!(item.hint.as_ref().unwrap().contains("components.yaml"), "{item:?}");
}
