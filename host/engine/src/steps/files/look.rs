//! What came in the place of a file, told from its first bytes and from what
//! its name promises. Decides without I/O, but for [`at`].
//!
//! A server that has no file often says so with status 200: nothing, a page, an
//! error as JSON or in words, the pointer of a file in Git LFS. Where no
//! checksum vouches for the bytes, such a thing in the place of a program or an
//! archive is refused; what is called `.html`, `.json` or `.txt` may be that. A
//! program for another system is refused whoever vouches for it, unless its
//! name says that it is one. What is in a file is shown to nobody: credentials
//! may have opened it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use model::json;

use base::error::{Error, Result};
use base::text;

/// Bytes that are looked at.
const HEAD: u64 = 64 << 10;
/// Bytes of an error in words, and of a pointer.
const SHORT: u64 = 1024;

/// What is wanted, as far as its content can tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedFile<'a> {
    /// In the package.
    pub(super) name: &'a str,
    /// Whether a program is to be taken out of it.
    pub(super) is_source: bool,
    /// Where it came from, for errors.
    pub(super) origin: &'a str,
    /// Of the package: `amd64`.
    pub(super) architecture: &'a str,
    /// Whether its publisher gave a checksum that it has.
    pub(super) is_vouched: bool,
}

/// What to do about it.
#[derive(Debug)]
enum Verdict {
    Fine,
    /// It may be meant so.
    Odd(String),
    Refused(Error),
}

/// Looks at a file. Returns what should be told about it.
///
/// # Errors
/// `invalid-input` for what can not be what is wanted.
pub(super) fn at(path: &Path, wanted: ExpectedFile<'_>) -> Result<Option<String>> {
    let failed = |error| Error::io("cannot read", path, error);
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).map_err(failed)?;
    match judge(&head, size, wanted) {
        Verdict::Fine => Ok(None),
        Verdict::Odd(why) => Ok(Some(why)),
        Verdict::Refused(error) => Err(error),
    }
}

fn judge(head: &[u8], size: u64, wanted: ExpectedFile<'_>) -> Verdict {
    let ExpectedFile { name, origin, .. } = wanted;
    let kind = if wanted.is_source { Kind::Archive(None) } else { Kind::of(name) };
    let noun = kind.noun();
    // Nothing at all runs nowhere, whoever vouches for it.
    if let Some(came) = instead(head, size, kind).filter(|_| !wanted.is_vouched || is_nothing(head, size)) {
        let error = Error::invalid(format!("{origin} gave {came} and no {noun}"));
        return Verdict::Refused(error.hint(format!(
            "it may be a login page, an error, or the address of a page about the file: correct `url`. What is really \
             that {}",
            if wanted.is_source { "is no archive" } else { "needs a name that says so, or a `checksum_url`" }
        )));
    }
    if let Some(other) =
        System::of(head).filter(|system| !system.runs_on(wanted.architecture) && !system.is_named_in(name))
    {
        let error = Error::invalid(format!(
            "{origin} gave a program for {other}, and the package is for linux/{}",
            wanted.architecture
        ));
        return Verdict::Refused(error.hint(format!(
            "correct `url`, where `{{{{arch}}}}` stands for the package's architecture; a program that is meant for \
             other machines has a name that says so, like `{}`",
            other.example(name)
        )));
    }
    let content = Format::of(head);
    match kind {
        Kind::Archive(Some(format)) if content != Some(format) => {
            let came =
                content.map_or_else(|| "something else".to_owned(), |content| format!("a {} file", content.name()));
            let message = format!("{origin} gave {came}, and `{name}` is the name of a {} file", format.name());
            if wanted.is_vouched {
                return Verdict::Odd(message);
            }
            Verdict::Refused(Error::invalid(message).hint("correct `url`, or give it the name of what it is"))
        }
        Kind::Program if !wanted.is_vouched => odd_program(head, wanted),
        _ => Verdict::Fine,
    }
}

/// What is no program, and may be carried all the same.
fn odd_program(head: &[u8], wanted: ExpectedFile<'_>) -> Verdict {
    let ExpectedFile { name, origin, .. } = wanted;
    if let Some(format) = Format::of(head) {
        return Verdict::Odd(format!(
            "{origin} gave a {} file, which is carried as it is under the name `{name}`: `extract: true` takes the \
             program out of it",
            format.name()
        ));
    }
    let is_text = !head.contains(&0) && str::from_utf8(head).is_ok();
    if is_text && !head.starts_with(b"#!") {
        return Verdict::Odd(format!(
            "{origin} gave a text, which is carried as data under the name `{name}`: it is neither a program nor a \
             script that names its interpreter (`#!`)"
        ));
    }
    Verdict::Fine
}

fn is_nothing(head: &[u8], size: u64) -> bool {
    head.len() as u64 == size && head.iter().all(|byte| *byte == 0)
}

/// What came instead of a file of this kind, in words.
fn instead(head: &[u8], size: u64, kind: Kind) -> Option<String> {
    if size == 0 {
        return (kind != Kind::Text && kind != Kind::Page).then(|| "an empty file".to_owned());
    }
    // What is left of an empty archive, and of a disk that failed.
    if kind == Kind::Program && is_nothing(head, size) {
        return Some("nothing but zeros".to_owned());
    }
    if let Some(whole) = elf_size(head).filter(|whole| kind == Kind::Program && *whole > size) {
        return Some(format!("{size} of the {whole} bytes of a program"));
    }
    // A program or archive has no such beginning.
    if head.starts_with(b"#!") {
        return None;
    }
    let written = text::of(head);
    let written = written.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if written.starts_with("version https://git-lfs.github.com/spec/") && size <= SHORT {
        return Some("the pointer of a file that is kept in Git LFS".to_owned());
    }
    match markup(written) {
        Some(true) if kind != Kind::Page => return Some("a web page".to_owned()),
        Some(_) if !matches!(kind, Kind::Page | Kind::Text) => return Some("a page of markup".to_owned()),
        _ => {}
    }
    if matches!(kind, Kind::Page | Kind::Text) {
        return None;
    }
    if is_json(head, size, written) {
        return Some("JSON".to_owned());
    }
    error_in(written, size).map(|words| format!("the words `{words}`"))
}

/// How long a program for Linux is at least, by its table of segments.
fn elf_size(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"\x7fELF\x02\x01").filter(|_| head.len() >= 64)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let at = |start: usize, length: usize| Some(number(head.get(start..start.checked_add(length)?)?));
    let is_program = matches!(rest.get(10), Some(2 | 3));
    let (table, entry, count) = (at(32, 8)?, at(54, 2)?, at(56, 2)?);
    let ends = (0..count).map_while(|index| {
        let start = usize::try_from(table.checked_add(index * entry)?).ok()?;
        at(start.checked_add(8)?, 8)?.checked_add(at(start.checked_add(32)?, 8)?)
    });
    ends.chain([table.checked_add(entry * count)?]).max().filter(|_| is_program)
}

/// Whether a text is a page of HTML (true) or other markup (false), comments
/// in front of it passed over.
fn markup(mut text: &str) -> Option<bool> {
    while let Some(comment) = text.strip_prefix("<!--") {
        let Some((_, behind)) = comment.split_once("-->") else { return Some(false) };
        text = behind.trim_start();
    }
    let is_tag = |c: char| c.is_ascii_alphabetic() || c == '!' || c == '?';
    text.strip_prefix('<').filter(|rest| rest.starts_with(is_tag))?;
    let start: String = text.chars().take(20).collect::<String>().to_ascii_lowercase();
    let pages = ["<!doctype html", "<html", "<head", "<body", "<title", "<meta", "<script"];
    Some(pages.iter().any(|page| start.starts_with(page)))
}

/// A whole document, or the beginning of a long one.
fn is_json(head: &[u8], size: u64, written: &str) -> bool {
    if !written.starts_with(['{', '[']) {
        return false;
    }
    match json::read::<serde_json::Value>(written.as_bytes()) {
        Ok(_) => true,
        Err(error) => error.is_eof() && (head.len() as u64) < size,
    }
}

/// What servers say, with status 200, where there is nothing.
fn error_in(written: &str, size: u64) -> Option<&'static str> {
    const WORDS: &[&str] = &[
        "not found",
        "forbidden",
        "access denied",
        "accessdenied",
        "permission denied",
        "unauthorized",
        "authentication required",
        "login required",
        "bad request",
        "bad gateway",
        "gateway timeout",
        "gateway time-out",
        "service unavailable",
        "temporarily unavailable",
        "internal server error",
        "too many requests",
        "rate limit",
        "moved permanently",
        "does not exist",
        "no such file",
        "error code",
    ];
    let line = written.lines().next().unwrap_or_default().to_ascii_lowercase();
    let said = WORDS.iter().find(|words| line.contains(**words));
    said.copied().filter(|_| size <= SHORT && !written.contains('\0'))
}

/// What a name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No ending, or one that says nothing: `kubectl`, `yq_linux_amd64`.
    Program,
    /// None where any kind of archive will do.
    Archive(Option<Format>),
    Text,
    /// Text that may be markup.
    Page,
}

impl Kind {
    fn of(name: &str) -> Self {
        const PAGES: &[&str] = &["html", "htm", "xhtml", "xml", "svg", "xsd", "xsl", "rss", "plist"];
        const TEXTS: &[&str] = &[
            "json",
            "jsonl",
            "yaml",
            "yml",
            "toml",
            "ini",
            "cfg",
            "conf",
            "config",
            "env",
            "properties",
            "txt",
            "md",
            "rst",
            "csv",
            "tsv",
            "log",
            "list",
            "repo",
            "rules",
            "service",
            "socket",
            "timer",
            "pem",
            "crt",
            "cer",
            "key",
            "pub",
            "asc",
            "sig",
            "gpg",
            "sha256",
            "sha512",
            "sha256sum",
            "md5",
            "sum",
            "sums",
            "tpl",
            "tmpl",
            "j2",
            "rego",
            "cue",
            "sql",
            "sh",
            "bash",
            "py",
            "pl",
            "rb",
            "js",
            "lua",
            "ps1",
            "bat",
            "cmd",
            "in",
        ];
        let name = name.to_ascii_lowercase();
        if let Some((_, format)) = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)) {
            return Self::Archive(Some(*format));
        }
        match name.rsplit_once('.') {
            Some((_, ending)) if PAGES.contains(&ending) => Self::Page,
            Some((_, ending)) if TEXTS.contains(&ending) => Self::Text,
            _ => Self::Program,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Archive(_) => "archive",
            Self::Text | Self::Page => "file",
        }
    }
}

/// Archives and compressed files, by how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Lz4,
    Zip,
    SevenZip,
    Tar,
    Deb,
    Rpm,
}

const ENDINGS: &[(&str, Format)] = &[
    (".gz", Format::Gzip),
    (".tgz", Format::Gzip),
    (".zst", Format::Zstd),
    (".tzst", Format::Zstd),
    (".xz", Format::Xz),
    (".txz", Format::Xz),
    (".bz2", Format::Bzip2),
    (".tbz2", Format::Bzip2),
    (".tbz", Format::Bzip2),
    (".lz4", Format::Lz4),
    (".zip", Format::Zip),
    (".jar", Format::Zip),
    (".war", Format::Zip),
    (".whl", Format::Zip),
    (".7z", Format::SevenZip),
    (".tar", Format::Tar),
    (".deb", Format::Deb),
    (".rpm", Format::Rpm),
];

impl Format {
    fn of(head: &[u8]) -> Option<Self> {
        let magic: &[(&[u8], Self)] = &[
            (b"\x1f\x8b", Self::Gzip),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"BZh", Self::Bzip2),
            (b"\x04\x22\x4d\x18", Self::Lz4),
            (b"PK\x03\x04", Self::Zip),
            (b"PK\x05\x06", Self::Zip),
            (b"7z\xbc\xaf\x27\x1c", Self::SevenZip),
            (b"!<arch>\ndebian", Self::Deb),
            (b"\xed\xab\xee\xdb", Self::Rpm),
        ];
        let found = magic.iter().find(|(start, _)| head.starts_with(start)).map(|(_, format)| *format);
        // zstd may begin with frames that are skipped.
        let skipped = || (head.get(1..4) == Some(b"\x2a\x4d\x18") && head[0] & 0xf0 == 0x50).then_some(Self::Zstd);
        found.or_else(skipped).or_else(|| is_tar(head).then_some(Self::Tar))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Zip => "zip",
            Self::SevenZip => "7z",
            Self::Tar => "tar",
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }
}

/// By the sum of its first header: old ones have no magic number.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else { return false };
    let digits = header[148..156].iter().map(|byte| char::from(*byte));
    let octal: String = digits.skip_while(|c| *c == ' ').take_while(|c| c.is_digit(8)).collect();
    let sum = |header: &[u8]| -> u32 {
        let blank = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
        header.iter().enumerate().map(|(at, byte)| u32::from(blank(at, *byte))).sum()
    };
    let is_end = header.iter().all(|byte| *byte == 0);
    is_end || u32::from_str_radix(&octal, 8).is_ok_and(|said| said == sum(header))
}

/// What a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Linux(Machine),
    Apple,
    Windows,
}

/// A processor: as the package, and as people call it.
type Machine = (&'static str, &'static [&'static str]);

const MACHINES: &[(u16, Machine)] = &[
    (62, ("amd64", &["amd64", "x86_64", "x86-64", "x64"])),
    (183, ("arm64", &["arm64", "aarch64"])),
    (3, ("386", &["386", "i686", "i586", "x86", "32"])),
    (40, ("arm", &["arm"])),
    (243, ("riscv64", &["riscv"])),
    (21, ("ppc64le", &["ppc64"])),
    (22, ("s390x", &["s390x"])),
    (258, ("loong64", &["loong"])),
    (8, ("mips", &["mips"])),
];

impl System {
    fn of(head: &[u8]) -> Option<Self> {
        Self::elf(head).or_else(|| Self::mach(head)).or_else(|| Self::pe(head))
    }

    /// Programs and libraries; objects, firmware and the code of unknown
    /// processors are data.
    fn elf(head: &[u8]) -> Option<Self> {
        let rest = head.strip_prefix(b"\x7fELF").filter(|rest| rest.len() >= 16)?;
        let number = |at: usize| {
            let pair = [rest[at], rest[at + 1]];
            if rest[1] == 2 { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let (kind, machine) = (number(12), number(14));
        let known = MACHINES.iter().find(|(number, _)| *number == machine);
        known.filter(|_| matches!(kind, 2 | 3)).map(|(_, machine)| Self::Linux(*machine))
    }

    fn mach(head: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
        match word(0)? {
            0xfeed_face | 0xfeed_facf | 0xcefa_edfe | 0xcffa_edfe => Some(Self::Apple),
            // Java's classes begin so as well, with a larger number behind.
            0xcafe_babe if word(4)? < 30 => Some(Self::Apple),
            _ => None,
        }
    }

    /// What firmware starts has this format too, Linux among it.
    fn pe(head: &[u8]) -> Option<Self> {
        let offset = u32::from_le_bytes(head.strip_prefix(b"MZ")?.get(58..62)?.try_into().ok()?);
        let header = head.get(usize::try_from(offset).ok()?..)?.strip_prefix(b"PE\0\0")?;
        let subsystem = u16::from_le_bytes(header.get(88..90)?.try_into().ok()?);
        (!(10..=13).contains(&subsystem)).then_some(Self::Windows)
    }

    /// An architecture that is not known here is not judged.
    fn runs_on(self, architecture: &str) -> bool {
        if !MACHINES.iter().any(|(_, (name, _))| *name == architecture) {
            return true;
        }
        match self {
            Self::Linux((name, _)) => {
                name == architecture || matches!((name, architecture), ("386", "amd64") | ("arm", "arm64"))
            }
            Self::Apple | Self::Windows => false,
        }
    }

    /// Whether a file's name says that it is for this system.
    fn is_named_in(self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let words: &[&str] = match self {
            Self::Linux((_, words)) => words,
            Self::Apple => &["darwin", "macos", "osx", "apple"],
            Self::Windows => &[".exe", ".dll", ".msi", "windows", "win32", "win64"],
        };
        words.iter().any(|word| name.contains(word))
    }

    fn example(self, name: &str) -> String {
        let bare = name.split('.').next().unwrap_or_default();
        match self {
            Self::Linux((machine, _)) => format!("{bare}-{machine}"),
            Self::Apple => format!("{bare}-darwin"),
            Self::Windows => format!("{bare}.exe"),
        }
    }
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Linux((machine, _)) => write!(f, "linux/{machine}"),
            Self::Apple => f.write_str("macOS"),
            Self::Windows => f.write_str("Windows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> ExpectedFile<'_> {
        ExpectedFile { name, is_source: false, origin: "https://h.example/x", architecture: "amd64", is_vouched: false }
    }

    fn elf(machine: u16) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(16, 0);
        head.extend(2u16.to_le_bytes());
        head.extend(machine.to_le_bytes());
        head.resize(64, 0);
        head
    }

    fn pe(subsystem: u16) -> Vec<u8> {
        let mut head = b"MZ".to_vec();
        head.resize(60, 0);
        head.extend(64u32.to_le_bytes());
        head.extend(b"PE\0\0");
        head.resize(64 + 4 + 88, 0);
        head.extend(subsystem.to_le_bytes());
        head
    }

    fn of(content: &[u8], wanted: ExpectedFile<'_>) -> Verdict {
        judge(content, content.len() as u64, wanted)
    }

    #[track_caller]
    fn refused(content: &[u8], wanted: ExpectedFile<'_>, why: &str) {
        match of(content, wanted) {
            Verdict::Refused(error) => {
                assert!(error.message().contains(why) && error.hint_text().is_some(), "{}: {error:?}", wanted.name);
            }
            other => panic!("{} {:?}: {other:?}", wanted.name, String::from_utf8_lossy(content)),
        }
    }

    /// What servers give with status 200 where there is no file.
    #[test]
    fn what_is_no_program_is_refused_in_its_place() {
        let utf16: Vec<u8> = "\u{feff}<html>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (content, why) in [
            (&b""[..], "an empty file and no program"),
            (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
            (b"\n  <!-- a --><!-- b -->\n<HTML lang=en>", "a web page"),
            (b"\xef\xbb\xbf<html>", "a web page"),
            (&utf16, "a web page"),
            (b"<!-- no end", "a page of markup"),
            (b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", "a page of markup"),
            (b"{\"message\": \"Not Found\"}", "gave JSON and no"),
            (b" [\n{}]\n", "gave JSON"),
            (b"404: Not Found", "the words `not found`"),
            (b"404 page not found\n", "the words `not found`"),
            (b"error code: 1020", "the words `error code`"),
            (b"Access denied\n", "the words `access denied`"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS"),
        ] {
            refused(content, wanted("kubectl"), why);
            refused(content, wanted("kubectl-v1.34.3"), why);
            refused(content, wanted("containerd.tar.gz"), why.split(" and no").next().unwrap());
            refused(content, ExpectedFile { is_source: true, ..wanted("helm") }, why.split(" and no").next().unwrap());
            // Whoever publishes a checksum of it means it.
            let vouched = ExpectedFile { is_vouched: true, ..wanted("kubectl") };
            assert_eq!(matches!(of(content, vouched), Verdict::Refused(_)), content.is_empty());
        }
        refused(b"<html>", wanted("notes.txt"), "web page and no file");
        refused(b"version https://git-lfs.github.com/spec/v1\n", wanted("values.yaml"), "Git LFS");
    }

    #[test]
    fn honest_files_are_taken() {
        let long = format!("{{\"a\": [{}", "1,".repeat(100));
        for (content, name) in [
            (&b"#!/bin/sh\necho '<html>' 404 not found\n"[..], "install"),
            (b"#!/usr/bin/env node\n{}", "tool"),
            (&elf(62), "kubectl"),
            (&elf(3), "old-tool"),
            (&elf(247), "probe.o"),
            (b"<html>", "index.html"),
            (b"<svg>", "logo.svg"),
            (b"{}", "config.json"),
            (b"[1]", "data.yaml"),
            (b"not found", "words.txt"),
            (b"", "empty.conf"),
            (b"\x1f\x8b\x08", "a.tar.gz"),
            (b"\x50\x2a\x4d\x18", "a.tar.zst"),
            (b"PK\x03\x04", "a.zip"),
            (&pe(10), "shim"),
            (&pe(3), "kubectl.exe"),
            (b"\xca\xfe\xba\xbe\0\0\0\x34", "Main"),
            (b"\0\0\0 no text", "firmware"),
        ] {
            assert!(matches!(of(content, wanted(name)), Verdict::Fine), "{name}: {:?}", of(content, wanted(name)));
        }
        for (content, name) in [
            (&b"export A=1\n"[..], "profile"),
            (b"{ echo a; }\n", "snippet"),
            (long.as_bytes(), "torn"),
            (b"\x1f\x8b\x08", "helm"),
        ] {
            assert!(matches!(of(content, wanted(name)), Verdict::Odd(_)), "{name}: {:?}", of(content, wanted(name)));
        }
        // The first segment begins behind the headers and is as long as it may be.
        let mut cut = elf(62);
        cut[32..34].copy_from_slice(&[64, 0]);
        cut[54..58].copy_from_slice(&[56, 0, 1, 0]);
        cut.resize(64 + 56, 0);
        cut[64 + 8] = 120;
        cut[64 + 32] = 10;
        refused(&cut, wanted("kubectl"), "gave 120 of the 130 bytes of a program and no program");
        cut.resize(130, 1);
        assert!(matches!(of(&cut, wanted("kubectl")), Verdict::Fine));
        refused(&cut[..100], wanted("kubectl"), "100 of the 120 bytes");
        for is_vouched in [false, true] {
            refused(&[0; 10_240], ExpectedFile { is_vouched, ..wanted("kubectl") }, "nothing but zeros");
        }
        let tar = airgap_tests::images::tar_of(&[("a", b"b")]);
        assert!(matches!(of(&tar, wanted("a.tar")), Verdict::Fine));
        assert!(matches!(of(&[0; 1024], wanted("none.tar")), Verdict::Fine));
        refused(&tar, wanted("a.tar.gz"), "gave a tar file, and `a.tar.gz` is the name of a gzip file");
        refused(b"rubbish", wanted("a.zip"), "something else");
    }

    #[test]
    fn a_program_for_another_system_needs_a_name_that_says_so() {
        let vouched = |name| ExpectedFile { is_vouched: true, ..wanted(name) };
        for (content, said, named) in [
            (elf(183), "linux/arm64", "kubectl-arm64"),
            (elf(183), "linux/arm64", "kubectl_aarch64"),
            (elf(40), "linux/arm", "agent-armv7"),
            (b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec(), "macOS", "kubectl-darwin"),
            (b"\xca\xfe\xba\xbe\0\0\0\x02".to_vec(), "macOS", "kubectl-macos"),
            (pe(3), "Windows", "kubectl.exe"),
        ] {
            refused(&content, wanted("kubectl"), said);
            refused(&content, vouched("kubectl"), said);
            assert!(matches!(of(&content, wanted(named)), Verdict::Fine), "{named}");
        }
        let on = |architecture| ExpectedFile { architecture, ..wanted("kubectl") };
        refused(&elf(62), on("arm64"), "linux/amd64");
        assert!(matches!(of(&elf(40), on("arm64")), Verdict::Fine));
        assert!(matches!(of(&elf(62), on("sparc")), Verdict::Fine), "an architecture that is not known");
    }
}
