//! Guards that a folder is either whole or says that it is not, and that nothing
//! of anybody else is touched.

use std::path::{Path, PathBuf};

use super::*;
use base::carried::START;

struct Lab {
    root: tempfile::TempDir,
    layout: Layout,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let layout = Layout::new(at("config"), at("build"), at("dist"));
        fs::create_dir_all(&layout.dist).unwrap();
        Self { layout, root }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("disk/carry")
    }

    fn item(&self, name: &str, content: &[u8]) -> Item {
        let path = self.layout.dist.join(name);
        fs::write_new(&path, content).unwrap();
        let source = Source::File { path, digest: Digest::of(content), size: content.len() as u64 };
        Item { name: name.into(), source, executable: name == "zarf" }
    }

    fn fill(&self, items: &[Item]) -> Result<Filled> {
        fill(&self.folder(), &self.layout, items, false, &Progress::silent("carry"))
    }

    fn there(&self) -> Vec<String> {
        names(&self.folder()).unwrap()
    }
}

fn start() -> Item {
    Item { name: START.into(), source: Source::Text("read me\n".into()), executable: false }
}

fn large(seed: u8) -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8 ^ seed).collect()
}

#[test]
fn everything_is_there_with_a_list_and_a_second_time_nothing_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let items = [lab.item("p.tar.zst", &large(0)), start(), lab.item("zarf", b"\x7fELF")];
    let filled = lab.fill(&items).unwrap();
    assert_eq!((filled.files, filled.copied), (3, filled.bytes));
    assert_eq!(lab.there(), [SUMS, START, "p.tar.zst", "zarf"]);
    let list = std::fs::read_to_string(lab.folder().join(SUMS)).unwrap();
    assert_eq!(list.lines().count(), 3);
    let mode = |name: &str| lab.folder().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("zarf"), mode("p.tar.zst")), (0o755, 0o644));
    assert_eq!(lab.fill(&items).unwrap().copied, 0);
}

#[test]
fn a_newer_package_takes_the_place_of_the_older_one() {
    let lab = Lab::new();
    lab.fill(&[lab.item("old.tar.zst", b"old"), start()]).unwrap();
    lab.fill(&[lab.item("new.tar.zst", b"new"), start()]).unwrap();
    assert_eq!(lab.there(), [SUMS, START, "new.tar.zst"]);
}

/// Whatever a killed run left: the folder says so, and the next run goes on.
#[test]
fn a_stopped_copy_goes_on_where_it_was() {
    let lab = Lab::new();
    let (content, items) = (large(0), [lab.item("p.tar.zst", &large(0)), start()]);
    let list = text(&sums(&items).unwrap());
    fs::create_dir_all(&lab.folder()).unwrap();
    begin(&lab.folder(), &list, &BTreeSet::new()).unwrap();
    let part = lab.folder().join(partial("p.tar.zst"));
    for (left, written) in [
        (&content[..2_000_000], 3_000_000 - (1 << 20)),
        (&content[..], 0),
        (&large(1)[..], 3_000_000),
        (&[&content[..], b"too much"].concat()[..], 0),
    ] {
        fs::write_new(&part, left).unwrap();
        let filled = lab.fill(&items).unwrap();
        let of_start = if filled.copied == written { 0 } else { 8 };
        assert_eq!(filled.copied, written + of_start, "{} bytes were there", left.len());
        assert_eq!(std::fs::read(lab.folder().join("p.tar.zst")).unwrap(), content);
        assert!(!lab.there().contains(&UNFINISHED.to_owned()));
        begin(&lab.folder(), &list, &BTreeSet::new()).unwrap();
        fs::remove_file(&lab.folder().join("p.tar.zst")).unwrap();
    }
}

#[test]
fn what_is_of_others_is_named_and_left_alone() {
    let lab = Lab::new();
    fs::create_dir_all(&lab.folder()).unwrap();
    fs::write_new(&lab.folder().join("photo.jpg"), b"mine").unwrap();
    let error = lab.fill(&[start()]).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.message().contains("`photo.jpg`"), "{}", error.message());
    assert_eq!(lab.there(), ["photo.jpg"]);
}

#[test]
fn a_folder_of_the_project_is_none_to_carry() {
    let lab = Lab::new();
    for bad in ["dist", "dist/carry", ".", "build/x", "config"] {
        let error = check(&lab.root.path().join(bad), &lab.layout).unwrap_err();
        assert_eq!(error.class(), Class::Usage, "{bad}");
    }
    fs::write_new(&lab.root.path().join("file"), b"").unwrap();
    assert!(check(&lab.root.path().join("file"), &lab.layout).unwrap_err().message().contains("not a folder"));
    check(Path::new(&lab.folder()), &lab.layout).unwrap();
}

#[test]
fn a_source_that_changed_is_told_and_the_folder_says_that_it_is_not_complete() {
    let lab = Lab::new();
    let item = lab.item("p.tar.zst", b"as built");
    fs::write_new(&lab.layout.dist.join("p.tar.zst"), b"otherwise").unwrap();
    assert_eq!(lab.fill(&[item]).unwrap_err().class(), Class::Integrity);
    assert_eq!(lab.there(), [UNFINISHED]);
}

#[test]
fn names_that_are_one_on_some_disks_are_refused() {
    let lab = Lab::new();
    let error = lab.fill(&[lab.item("Zarf", b"1"), lab.item("zarf", b"2")]).unwrap_err();
    assert!(error.message().contains("`Zarf` and `zarf`"), "{}", error.message());
    let error = lab.fill(&[lab.item("a b", b"1")]).unwrap_err();
    assert!(error.message().contains("`a b` is no name"), "{}", error.message());
}

#[test]
fn one_process_fills_a_folder() {
    let lab = Lab::new();
    fs::create_dir_all(&lab.folder()).unwrap();
    let held = lock(&lab.folder()).unwrap();
    assert_eq!(lab.fill(&[start()]).unwrap_err().class(), Class::Held);
    drop(held);
    lab.fill(&[start()]).unwrap();
}
