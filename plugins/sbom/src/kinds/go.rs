//! Go binaries: the build information that the linker puts into them.
//!
//! It lies in the first writable segment, behind a magic at a multiple of 16
//! bytes. What comes before that segment is passed over, so that a binary of
//! 100 MiB costs what its data does.

use std::io::Read;

use memchr::memmem;
use serde_json::{Value, json};

use crate::content::{Content, Why};
use crate::found::{Kind, Package};

/// ELF, Mach-O and PE.
pub const BEGINNINGS: [&[u8]; 3] = [b"\x7fELF", b"\xcf\xfa\xed\xfe", b"MZ"];

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Sizes of a pointer, and all flags.
const POINTERS: [u8; 2] = [4, 8];
const FLAGS: std::ops::Range<u8> = 0..4;
/// Magic, size of a pointer, flags, padding.
const HEADER: usize = 32;
const INLINE: u8 = 2;
/// Both ends of the list of modules.
const FENCE: usize = 16;
/// Bytes of program headers, right behind the header of the file.
const HEAD: usize = 4096;
const WINDOW: usize = 256 << 10;
/// Bytes of a list of modules; kubernetes has 40 KiB.
const LARGEST_INFO: u64 = 4 << 20;
const DEVEL: &str = "(devel)";

/// What build information begins with, wherever it lies.
pub fn marks() -> Vec<Vec<u8>> {
    let pairs = POINTERS.into_iter().flat_map(|pointer| FLAGS.map(move |flags| [pointer, flags]));
    pairs.map(|pair| [MAGIC, &pair[..]].concat()).collect()
}

/// Reads a binary of which `front` is the front, from `at` on, where the first of the
/// [`marks`] lies. What it finds is what [`read`] finds: a mark before the segment
/// belongs to something that the binary carries.
///
/// # Errors
/// As [`read`].
pub fn read_mark(size: u64, front: &[u8], at: u64, content: &mut dyn Content) -> Result<Vec<Package>, Why> {
    let Some((begin, length)) = place(front, size) else { return Ok(Vec::new()) };
    let end = begin.saturating_add(length);
    let mut window = Window { content, bytes: Vec::new(), at };
    if at < begin {
        window.go_to(begin)?;
    }
    let found = window.find(end.saturating_sub(begin.max(at)))?;
    Ok(found.map(|info| packages(&info)).unwrap_or_default())
}

/// Reads a binary. Nothing comes of one that Go did not make.
///
/// # Errors
/// Where it is one of Go's and its information cannot be read.
pub fn read(size: u64, content: &mut dyn Content) -> Result<Vec<Package>, Why> {
    let mut head = Vec::new();
    content.take(HEAD as u64).read_to_end(&mut head).map_err(|error| error.to_string())?;
    if !BEGINNINGS.iter().any(|beginning| head.starts_with(beginning)) {
        return Ok(Vec::new());
    }
    let Some((begin, length)) = place(&head, size) else { return Ok(Vec::new()) };
    let mut window = Window { content, bytes: head, at: 0 };
    if begin > 0 {
        window.go_to(begin)?;
    }
    match window.find(length)? {
        Some(info) => Ok(packages(&info)),
        None => Ok(Vec::new()),
    }
}

/// Where build information may lie in a file of `size` bytes: begin and length.
fn place(head: &[u8], size: u64) -> Option<(u64, u64)> {
    let whole = (0, size);
    let (begin, length) = if head.starts_with(b"\x7fELF") { segment(head)? } else { whole };
    (length > 0 && begin < size).then_some((begin, length))
}

/// The first writable segment of an ELF file: its place and its length.
fn segment(head: &[u8]) -> Option<(u64, u64)> {
    let is_64 = *head.get(4)? == 2;
    let little = *head.get(5)? == 1;
    let number = |at: usize, width: usize| -> Option<u64> {
        let bytes = head.get(at..at + width)?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
    };
    let (table, width, count) = match is_64 {
        true => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        false => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
    };
    (0..count).find_map(|index| {
        let at = usize::try_from(table.checked_add(index.checked_mul(width)?)?).ok().filter(|at| *at < head.len())?;
        let (flags, offset, length) = match is_64 {
            true => (number(at + 4, 4)?, number(at + 8, 8)?, number(at + 32, 8)?),
            false => (number(at + 24, 4)?, number(at + 4, 4)?, number(at + 16, 4)?),
        };
        let is_data = number(at, 4)? == 1 && flags & 0b11 == 0b10;
        is_data.then_some((offset, length))
    })
}

/// Part of a file.
struct Window<'a> {
    content: &'a mut dyn Content,
    bytes: Vec<u8>,
    /// Of the first of the bytes in the file.
    at: u64,
}

/// What the linker wrote.
#[derive(Debug, Default, PartialEq, Eq)]
struct Info {
    version: String,
    modules: String,
}

impl Window<'_> {
    /// Begins anew at a later place of the file.
    fn go_to(&mut self, place: u64) -> Result<(), Why> {
        let end = self.at + self.bytes.len() as u64;
        if place < end {
            let passed = usize::try_from(place - self.at).unwrap_or(usize::MAX).min(self.bytes.len());
            self.bytes.drain(..passed);
        } else {
            self.bytes.clear();
            self.content.pass(place - end).map_err(|error| error.to_string())?;
        }
        self.at = place;
        Ok(())
    }

    /// Adds at most `length` bytes, and says whether there were any.
    fn grow(&mut self, length: usize) -> Result<bool, Why> {
        let read = (&mut *self.content).take(length as u64).read_to_end(&mut self.bytes);
        Ok(read.map_err(|error| error.to_string())? > 0)
    }

    /// Looks through `length` bytes from here on.
    fn find(&mut self, length: u64) -> Result<Option<Info>, Why> {
        let end = self.at.saturating_add(length);
        let finder = memmem::Finder::new(MAGIC);
        loop {
            let found = finder.find_iter(&self.bytes).find(|place| (self.at + *place as u64).is_multiple_of(16));
            if let Some(place) = found {
                return self.info(place).map(Some);
            }
            let kept = self.bytes.len().saturating_sub(HEADER) / 16 * 16;
            self.bytes.drain(..kept);
            self.at += kept as u64;
            if self.at + self.bytes.len() as u64 >= end || !self.grow(WINDOW)? {
                return Ok(None);
            }
        }
    }

    /// Reads what lies behind the magic at `place`.
    fn info(&mut self, place: usize) -> Result<Info, Why> {
        self.bytes.drain(..place);
        while self.bytes.len() < HEADER && self.grow(WINDOW)? {}
        let flags = self.bytes.get(MAGIC.len() + 1).copied().unwrap_or(0);
        if flags & INLINE == 0 {
            return Err("it was built by Go 1.17 or older, whose build information lies all over the file".to_owned());
        }
        let mut at = HEADER;
        let version = self.text(&mut at)?;
        let modules = self.text(&mut at)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let inside = modules.get(FENCE..modules.len().saturating_sub(FENCE)).unwrap_or_default();
        Ok(Info { version: text(&version), modules: text(inside) })
    }

    /// A length of seven bits in a byte, and so many bytes.
    fn text(&mut self, at: &mut usize) -> Result<Vec<u8>, Why> {
        let cut = || "its build information is cut".to_owned();
        let (mut length, mut shift) = (0u64, 0);
        loop {
            while self.bytes.len() <= *at && self.grow(WINDOW)? {}
            let byte = *self.bytes.get(*at).ok_or_else(cut)?;
            *at += 1;
            length |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 56 {
                return Err(cut());
            }
        }
        if length > LARGEST_INFO {
            return Err(format!("its build information has {length} bytes"));
        }
        let end = *at + usize::try_from(length).unwrap_or(usize::MAX);
        while self.bytes.len() < end && self.grow(WINDOW)? {}
        let text = self.bytes.get(*at..end).ok_or_else(cut)?.to_vec();
        *at = end;
        Ok(text)
    }
}

/// A module, and what took its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Module {
    path: String,
    version: String,
    sum: String,
    replaced: Option<Box<Module>>,
}

impl Module {
    fn of(fields: &str) -> Self {
        let mut fields = fields.split('\t').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        Self { path: next(), version: next(), sum: next(), replaced: None }
    }

    /// What was built, by the name that it is known under.
    fn built(&self) -> (&str, &Self) {
        match self.replaced.as_deref() {
            Some(other) if other.path.starts_with(['.', '/']) => (&self.path, other),
            Some(other) => (&other.path, other),
            None => (&self.path, self),
        }
    }
}

/// The lines between the fences.
#[derive(Debug, Default)]
struct Lines {
    path: String,
    main: Module,
    modules: Vec<Module>,
    settings: Vec<(String, String)>,
}

impl Lines {
    fn read(text: &str) -> Self {
        let mut lines = Self::default();
        let mut is_main = false;
        for line in text.lines() {
            let (word, rest) = line.split_once('\t').unwrap_or((line, ""));
            match word {
                "path" => lines.path = rest.to_owned(),
                "mod" => {
                    lines.main = Module::of(rest);
                    is_main = true;
                }
                "dep" => {
                    lines.modules.push(Module::of(rest));
                    is_main = false;
                }
                "=>" => {
                    let replaced = Some(Box::new(Module::of(rest)));
                    let module = if is_main { Some(&mut lines.main) } else { lines.modules.last_mut() };
                    module.into_iter().for_each(|module| module.replaced = replaced.clone());
                }
                "build" => {
                    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
                    lines.settings.push((key.to_owned(), unquoted(value)));
                }
                _ => {}
            }
        }
        lines
    }

    fn setting(&self, key: &str) -> &str {
        self.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Where the linker names no main module it is the one that was built as
    /// it lay there, else what was built is called by its path.
    fn complete_main(&mut self) {
        let is_missing = self.main.path.is_empty() && !self.path.is_empty();
        if !is_missing && self.main.path != "command-line-arguments" {
            return;
        }
        let mut local = (0..self.modules.len()).filter(|index| self.modules[*index].version == DEVEL);
        self.main = match (local.next(), local.next()) {
            (Some(index), None) => self.modules.remove(index),
            _ => Module { path: self.path.clone(), version: DEVEL.to_owned(), ..Module::default() },
        };
    }

    /// The version of the main module where the linker knows none.
    fn main_version(&self) -> String {
        if let Some(version) = version_of_flags(self.setting("-ldflags"), &self.main.path) {
            return version;
        }
        let (revision, time) = (self.setting("vcs.revision"), self.setting("vcs.time"));
        if revision.is_empty() || time.is_empty() {
            return String::new();
        }
        let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
        format!("v0.0.0-{digits}-{}", revision.get(..12).unwrap_or(revision))
    }
}

/// A value that Go writes in quotes where it holds more than plain words.
fn unquoted(value: &str) -> String {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(inside) => inside.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => value.strip_prefix('`').and_then(|value| value.strip_suffix('`')).unwrap_or(value).to_owned(),
    }
}

/// `-X main.version=1.2.3`: a variable of the main module whose name ends in
/// version, ver or tag.
fn version_of_flags(flags: &str, main: &str) -> Option<String> {
    let words = flags.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'));
    let pairs = words.filter_map(|word| word.split_once('='));
    let is_ours = |variable: &str| {
        variable.starts_with("main.") || variable.strip_prefix(main).is_some_and(|rest| rest.starts_with('/'))
    };
    let mut named = pairs.filter(|(variable, _)| is_ours(variable)).filter_map(|(variable, value)| {
        let name = variable.rsplit('.').next().unwrap_or_default().to_lowercase();
        let value = value.rsplit('/').next().unwrap_or_default();
        let order = if name.ends_with("version") || name.ends_with("ver") { 0 } else { 1 };
        (order == 0 || name.ends_with("tag")).then(|| semver(value).map(|version| (order, version))).flatten()
    });
    let first = named.next()?;
    let best = std::iter::once(first).chain(named).min_by_key(|(order, _)| *order)?;
    Some(best.1)
}

/// `v1.2.3` or `1.2.3`, with what belongs to it.
fn semver(text: &str) -> Option<String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let end = bare.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))).unwrap_or(bare.len());
    let bare = &bare[..end];
    let mut parts = bare.splitn(3, '.');
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let numbers = parts.next().is_some_and(is_number) && parts.next().is_some_and(is_number);
    let last = parts.next()?;
    (numbers && last.starts_with(|c: char| c.is_ascii_digit())).then(|| format!("v{bare}"))
}

fn packages(info: &Info) -> Vec<Package> {
    let mut lines = Lines::read(&info.modules);
    lines.complete_main();
    let (compiler, experiments) = compiler(&info.version);
    let architecture = lines.setting("GOARCH").to_owned();
    let mut packages = Vec::new();
    let mut main = lines.main.clone();
    if main.version == DEVEL {
        main.version = lines.main_version();
    }
    let metadata = |module: &Module, settings: &[(String, String)]| {
        let mut metadata = json!({
            "goCompiledVersion": compiler, "architecture": architecture, "mainModule": main.path,
        });
        if !module.sum.is_empty() {
            metadata["h1Digest"] = module.sum.as_str().into();
        }
        if !settings.is_empty() {
            let pairs = settings.iter().map(|(key, value)| json!({"key": key, "value": value}));
            metadata["goBuildSettings"] = pairs.collect();
        }
        if !experiments.is_empty() {
            metadata["goExperiments"] = experiments.iter().copied().map(Value::from).collect();
        }
        metadata
    };
    if !main.path.is_empty() {
        let (name, built) = main.built();
        packages.push(Package::new(Kind::GoModule, name, version(built), metadata(built, &lines.settings)));
    }
    for module in lines.modules.iter().filter(|module| **module != lines.main) {
        let (name, built) = module.built();
        packages.push(Package::new(Kind::GoModule, name, version(built), metadata(built, &[])));
    }
    packages.retain(|package| !package.name.is_empty());
    if compiler.starts_with("go") {
        let metadata = json!({"goCompiledVersion": compiler, "architecture": ""});
        let library = Package::new(Kind::GoModule, "stdlib", compiler, metadata);
        packages.push(library.licensed(["BSD-3-Clause".to_owned()]));
    }
    packages
}

fn version(module: &Module) -> &str {
    if module.version == DEVEL { "" } else { &module.version }
}

/// `go1.22.3 X:boringcrypto`: the compiler, and what it was told to try.
fn compiler(version: &str) -> (&str, Vec<&str>) {
    let (compiler, rest) = version.split_once(' ').unwrap_or((version, ""));
    let experiments = rest.split(' ').filter_map(|word| word.strip_prefix("X:")).flat_map(|list| list.split(','));
    (compiler, experiments.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &str = "path\texample.com/tool/cmd\nmod\texample.com/tool\t(devel)\t\ndep\tgolang.org/x/net\tv0.1.0\th1:a=\n\
        dep\tother.org/y\tv1.0.0\t\n=>\tfork.org/y\tv1.0.1\th1:b=\ndep\tlocal.org/z\tv0.0.0\t\n=>\t./z\t(devel)\t\n\
        build\t-ldflags=\"-X main.version=1.4.2 -X main.tag=v9.9.9\"\nbuild\tGOARCH=arm64\nbuild\tvcs.revision=0123456789abcdef\n\
        build\tvcs.time=2024-05-06T07:08:09Z\n";

    fn varint(bytes: &mut Vec<u8>, text: &[u8]) {
        let mut length = text.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(text);
    }

    fn binary(version: &str, modules: &str, flags: u8) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 2;
        let program = |kind: u32, flags: u32, offset: u64, length: u64| {
            let numbers = [offset, 0, 0, length, length, 16];
            [&kind.to_le_bytes()[..], &flags.to_le_bytes()]
                .concat()
                .into_iter()
                .chain(numbers.into_iter().flat_map(u64::to_le_bytes))
        };
        bytes.extend(program(1, 5, 0, 0x1000));
        bytes.extend(program(1, 6, 600_000, 400_000));
        bytes.resize(600_000 + 300_000, 0x41);
        bytes.extend(MAGIC);
        bytes.extend([8, flags]);
        bytes.resize(bytes.len() + HEADER - MAGIC.len() - 2, 0);
        varint(&mut bytes, version.as_bytes());
        varint(&mut bytes, &[&[0x30; 16], modules.as_bytes(), &[0x31; 16]].concat());
        bytes.resize(1_000_000, 0);
        bytes
    }

    fn found(bytes: &[u8]) -> Vec<(String, String)> {
        let packages = read(bytes.len() as u64, &mut &*bytes).unwrap();
        packages.into_iter().map(|package| (package.name, package.version)).collect()
    }

    #[test]
    fn modules_are_those_that_were_built_and_the_library_is_one() {
        let packages = found(&binary("go1.22.3 X:loopvar", MODULES, INLINE));
        let expected = [
            ("example.com/tool", "v1.4.2"),
            ("golang.org/x/net", "v0.1.0"),
            ("fork.org/y", "v1.0.1"),
            ("local.org/z", ""),
            ("stdlib", "go1.22.3"),
        ];
        assert_eq!(packages, expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
        let unmarked = MODULES.replace("-X main.version=1.4.2 -X main.tag=v9.9.9", "-s");
        assert_eq!(found(&binary("go1.22.3", &unmarked, INLINE))[0].1, "v0.0.0-20240506070809-0123456789ab");
    }

    /// Guards that it does not matter who looks for the mark: what a binary carries in
    /// its read-only part is not what it was made of.
    #[test]
    fn a_marked_binary_is_read_as_any_other() {
        let other = binary("go1.20", "path\tcmd/carried\nmod\texample.com/carried\tv0.1.0\t\n", INLINE);
        let mut carries = binary("go1.22.3", MODULES, INLINE);
        carries[400_000..400_200].copy_from_slice(&other[900_000..900_200]);
        let plain: Vec<u8> = [&b"\x7fELF"[..], &[0; 12], &other[900_000..900_200]].concat();
        for bytes in [binary("go1.22.3", MODULES, INLINE), carries, plain, other] {
            let at = memmem::find_iter(&bytes, MAGIC).find(|at| at.is_multiple_of(16)).unwrap();
            let size = bytes.len() as u64;
            let front = &bytes[..bytes.len().min(HEAD).min(at)];
            let marked = read_mark(size, front, at as u64, &mut &bytes[at..]).unwrap();
            assert_eq!(marked, read(size, &mut &*bytes).unwrap());
        }
    }

    #[test]
    fn a_main_module_that_is_not_named_is_found() {
        let modules = "path\tcommand-line-arguments\ndep\texample.com/a\t(devel)\t\ndep\tx.org/b\tv1.0.0\t\n";
        assert_eq!(found(&binary("go1.20", modules, INLINE))[0].0, "example.com/a");
        assert_eq!(found(&binary("go1.20", "path\tcmd/x\n", INLINE))[0], ("cmd/x".to_owned(), String::new()));
    }

    #[test]
    fn what_go_did_not_make_is_nothing_and_what_is_cut_is_no_panic() {
        for bytes in [&b"\x7fELF"[..], b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01 short"] {
            assert_eq!(found(bytes), []);
        }
        let whole = binary("go1.22.3", MODULES, INLINE);
        for at in [10, 64, 100, 4096, 600_000, 900_010, 900_040, 900_100] {
            let _ = read(at as u64, &mut &whole[..at]);
        }
        let mut hostile = whole.clone();
        hostile[32..40].fill(0xff);
        hostile[54..58].fill(0xff);
        assert_eq!(found(&hostile), []);
        let old = binary("go1.17", MODULES, 0);
        assert!(read(old.len() as u64, &mut old.as_slice()).unwrap_err().contains("Go 1.17 or older"));
    }

    #[test]
    fn versions_come_out_of_flags() {
        for (flags, version) in [
            ("-X main.version=1.4.2", Some("v1.4.2")),
            ("-s -w -X 'example.com/tool/pkg.gitVersion=v1.2.3-rc.1+abc'", Some("v1.2.3-rc.1")),
            ("-X main.tag=v2.0.0 -X main.appVersion=3.0.0", Some("v3.0.0")),
            ("-X other.com/x.Version=1.0.0", None),
            ("-X main.version=dev", None),
            ("", None),
        ] {
            assert_eq!(version_of_flags(flags, "example.com/tool").as_deref(), version, "{flags}");
        }
    }
}
