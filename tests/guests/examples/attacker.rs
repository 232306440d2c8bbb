//! Does whatever its configuration says: a list of acts, each of which is one
//! attempt to get more than was handed over. The attacks themselves stand in
//! `tests/tests/attacks`, so that a new one needs no new guest.
//!
//! What an act finds out is told in `told.txt` of the output. An act that is
//! refused ends the step with the host's own words, unless it stands in `try`:
//! then the words are told and the next act follows.

use std::any::Any;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, SystemTime};

use sdk::archive::{Archive, Compression, Item, Limits};
use sdk::fetch::Request;
use sdk::serde_json::{self, Value};
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};
use serde::Deserialize;

/// What the attacker is shown of a file.
const SHOWN: u64 = 1 << 20;

/// One thing to try. Wherever `{n}` stands in an act of `repeat`, the number of
/// the round is put; `{at}` in an address is `@`, which the host lets into no
/// configuration.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Act {
    // The order of things.
    Repeat {
        times: u64,
        acts: Value,
    },
    Try {
        acts: Vec<Act>,
    },
    Fail {
        code: String,
        message: String,
        hint: Option<String>,
    },

    // The guest itself.
    Trap,
    Spin,
    Recurse,
    Exit,
    Allocate {
        mib: usize,
    },
    Console {
        text: String,
    },
    Sleep {
        seconds: u64,
    },
    Surroundings,
    Connect {
        address: String,
    },
    Resolve {
        name: String,
    },
    Log {
        text: String,
    },
    Progress {
        text: String,
    },

    // Inputs.
    Spy,
    Entries {
        tree: String,
    },
    Read {
        tree: String,
        path: String,
    },
    HoldInputs {
        tree: String,
        path: String,
        count: u64,
    },
    Unpack {
        tree: String,
        path: String,
        entries: u32,
    },
    /// What was unpacked gets a second name in the output, and is dropped.
    LinkUnpacked {
        tree: String,
        path: String,
        from: String,
        to: String,
    },
    /// What was unpacked is packed, and unpacked again.
    PackUnpacked {
        tree: String,
        path: String,
        from: String,
        to: String,
        times: usize,
    },

    // The output.
    Write {
        path: String,
        text: String,
        #[serde(default = "one")]
        times: usize,
    },
    Stream {
        path: String,
        mib: u64,
    },
    HoldOutputs {
        count: u64,
    },
    Link {
        tree: String,
        from: String,
        to: String,
    },
    Pack {
        path: String,
        members: Vec<(String, u32)>,
    },
    PackMany {
        path: String,
        count: usize,
    },
    PackAgain {
        tree: String,
        from: String,
        path: String,
        times: usize,
    },
    Mark {
        key: String,
        path: String,
    },

    // The network.
    Fetch {
        url: Option<String>,
        blob: Option<String>,
        manifest: Option<String>,
        sha256: Option<String>,
        limit: Option<u64>,
        #[serde(default)]
        mutable: bool,
        /// In the output.
        path: Option<String>,
    },
    Tags {
        repository: String,
    },

    // Directories.
    Nest {
        path: String,
        depth: u64,
    },
    File {
        path: String,
        #[serde(default)]
        text: String,
        #[serde(default)]
        mib: usize,
    },
    Directory {
        path: String,
    },
    Lengthen {
        path: String,
        mib: u64,
    },
    SoftLink {
        target: String,
        path: String,
    },
    HardLink {
        from: String,
        to: String,
    },
    Rename {
        from: String,
        to: String,
    },
    ReadFile {
        path: String,
    },
    /// When it was written, and how many names it has.
    Look {
        path: String,
    },
    /// The names in a directory, in its order.
    List {
        path: String,
    },
    HoldFiles {
        path: String,
        count: u64,
    },
    /// A file that nobody sees any more, and that goes on growing.
    Unlinked {
        path: String,
        mib: usize,
    },
}

fn one() -> usize {
    1
}

struct Attacker;

impl Step for Attacker {
    type Configuration = Value;
    const NAME: &'static str = "attacker";
    const SUMMARY: &'static str = "Tries what its configuration says.";

    fn run(cx: &Context, configuration: Value, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let acts: Vec<Act> = serde_json::from_value(configuration["acts"].clone())?;
        let mut attack = Attack { cx, inputs, output, told: String::new(), held: Vec::new() };
        let result = attack.all(&acts);
        if !attack.told.is_empty() {
            output.write_text("told.txt", &attack.told)?;
        }
        result.map(|()| Summary::new(acts.len() as u64, "acts"))
    }
}

struct Attack<'a> {
    cx: &'a Context,
    inputs: &'a Inputs,
    output: &'a Sink,
    told: String,
    /// Handles that stay open to the end.
    held: Vec<Box<dyn Any>>,
}

impl Attack<'_> {
    fn all(&mut self, acts: &[Act]) -> Result<(), StepError> {
        acts.iter().try_for_each(|act| self.act(act))
    }

    fn act(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::Repeat { times, acts } => self.repeat(*times, acts),
            Act::Try { acts } => {
                for act in acts {
                    if let Err(error) = self.act(act) {
                        self.tell("refused", &words(&error));
                    }
                }
                Ok(())
            }
            Act::Fail { code, message, hint } => {
                let error = StepError::other(code, message.clone());
                Err(hint.iter().fold(error, |error, hint| error.hint(hint.clone())))
            }
            Act::Spy => self.spy(),
            Act::Entries { tree } => {
                let entries = self.inputs.get(tree)?.entries("")?;
                self.tell("entries", &entries.len().to_string());
                Ok(())
            }
            Act::Read { tree, path } => {
                let text = self.inputs.get(tree)?.read(path, SHOWN)?;
                self.tell(path, &String::from_utf8_lossy(&text));
                Ok(())
            }
            Act::HoldInputs { tree, path, count } => {
                let tree = self.inputs.get(tree)?;
                (0..*count).try_for_each(|_| tree.open(path).map(|stream| self.held.push(Box::new(stream))))
            }
            Act::Unpack { tree, path, entries } => {
                let limits = Limits { total: 1 << 40, entries: *entries };
                let tree = sdk::archive::unpack(self.inputs.get(tree)?, path, limits)?;
                for entry in tree.entries("")? {
                    self.tell("unpacked", &entry.path);
                }
                Ok(())
            }
            Act::Write { .. } | Act::Stream { .. } | Act::HoldOutputs { .. } | Act::Link { .. } | Act::Mark { .. } => {
                self.write(act)
            }
            Act::Pack { .. } | Act::PackMany { .. } | Act::PackAgain { .. } => self.pack(act),
            Act::LinkUnpacked { .. } | Act::PackUnpacked { .. } => self.unpacked(act),
            Act::Fetch { .. } | Act::Tags { .. } => self.fetch(act),
            Act::Nest { .. } | Act::File { .. } | Act::Directory { .. } | Act::Lengthen { .. } => self.grow(act),
            Act::SoftLink { .. } | Act::HardLink { .. } | Act::Rename { .. } => self.arrange(act),
            Act::ReadFile { .. }
            | Act::Look { .. }
            | Act::List { .. }
            | Act::HoldFiles { .. }
            | Act::Unlinked { .. } => self.open(act),
            _ => self.itself(act),
        }
    }

    fn repeat(&mut self, times: u64, acts: &Value) -> Result<(), StepError> {
        let text = acts.to_string();
        for round in 0..times {
            let acts: Vec<Act> = serde_json::from_str(&text.replace("{n}", &round.to_string()))?;
            self.all(&acts)?;
        }
        Ok(())
    }

    /// Everything that can be read of everything that was handed over.
    fn spy(&mut self) -> Result<(), StepError> {
        let names: Vec<String> = self.inputs.names().map(str::to_owned).collect();
        for name in names {
            self.tell("tree", &name);
            let tree = self.inputs.get(&name)?;
            for entry in tree.entries("")? {
                let text = tree.read(&entry.path, SHOWN).unwrap_or_default();
                self.tell(&format!("{name} {}", entry.path), &String::from_utf8_lossy(&text));
            }
        }
        Ok(())
    }

    fn write(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::Write { path, text, times } => {
                self.output.write(path, text.repeat(*times).as_bytes(), false)?;
            }
            Act::Stream { path, mib } => {
                let mut writer = self.output.writer(path, false)?;
                let chunk = vec![b'x'; 1 << 20];
                (0..*mib).try_for_each(|_| writer.write_all(&chunk))?;
            }
            Act::HoldOutputs { count } => {
                for number in 0..*count {
                    self.held.push(Box::new(self.output.create(&format!("held-{number}"), false)?));
                }
            }
            Act::Link { tree, from, to } => {
                self.output.link(self.inputs.get(tree)?, from, to)?;
            }
            Act::Mark { key, path } => sdk::checkpoint::mark(key, std::slice::from_ref(path))?,
            _ => {}
        }
        Ok(())
    }

    fn pack(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::Pack { path, members } => {
                let items = members.iter().map(|(path, mode)| Item::bytes(path.clone(), *mode, "packed"));
                self.packed(path, items.collect())?;
            }
            Act::PackMany { path, count } => {
                let items = (0..*count).map(|number| Item::bytes(format!("f{number}"), 0o644, "x"));
                self.packed(path, items.collect())?;
            }
            Act::PackAgain { tree, from, path, times } => {
                let tree = self.inputs.get(tree)?;
                let archive = Archive::create(self.output, path, Compression::None);
                for number in 0..*times {
                    archive.add(&[Item::file(format!("copy-{number}"), 0o644, tree, from.clone())])?;
                }
                archive.finish()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn unpacked(&mut self, act: &Act) -> Result<(), StepError> {
        let limits = || Limits { total: 1 << 40, entries: 100 };
        match act {
            Act::LinkUnpacked { tree, path, from, to } => {
                let tree = sdk::archive::unpack(self.inputs.get(tree)?, path, limits())?;
                self.output.link(&tree, from, to)?;
            }
            Act::PackUnpacked { tree, path, from, to, times } => {
                let archive = Archive::create(self.output, to, Compression::None);
                for number in 0..*times {
                    let tree = sdk::archive::unpack(self.inputs.get(tree)?, path, limits())?;
                    archive.add(&[Item::file(format!("copy-{number}"), 0o644, &tree, from.clone())])?;
                }
                archive.finish()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn packed(&self, path: &str, items: Vec<Item<'_>>) -> Result<(), StepError> {
        let archive = Archive::create(self.output, path, Compression::None);
        archive.add(&items)?;
        archive.finish()?;
        Ok(())
    }

    fn fetch(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::Fetch { url, blob, manifest, sha256, limit, mutable, path } => {
                let path = path.clone().unwrap_or_else(|| format!("fetched-{}", self.told.len()));
                let mut request = match (url, blob, manifest) {
                    (Some(url), _, _) => Request::url(url.replace("{at}", "@"), &path, "loot"),
                    (_, Some(blob), _) => Request::oci_blob(blob, &path, "loot"),
                    (_, _, manifest) => Request::oci_manifest(manifest.as_deref().unwrap_or_default(), &path, "loot"),
                };
                request.sha256.clone_from(sha256);
                request.limit = *limit;
                request.mutable = *mutable;
                let artifact = sdk::fetch::one(request, self.output)?;
                let text = self.output.read(&path, SHOWN).unwrap_or_default();
                self.tell(&format!("fetched {}", artifact.digest), &String::from_utf8_lossy(&text));
            }
            Act::Tags { repository } => {
                let tags = sdk::bindings::opencenter::airgap::fetch::list_tags(repository, 100)?;
                self.tell("tags", &tags.join(" "));
            }
            _ => {}
        }
        Ok(())
    }

    fn grow(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::Nest { path, depth } => nest(path, *depth)?,
            Act::File { path, text, mib } => {
                let mut file = fs::File::create(path)?;
                file.write_all(text.as_bytes())?;
                let chunk = vec![b'x'; 1 << 20];
                (0..*mib).try_for_each(|_| file.write_all(&chunk))?;
            }
            Act::Directory { path } => fs::create_dir_all(path)?,
            Act::Lengthen { path, mib } => fs::File::create(path)?.set_len(*mib << 20)?,
            _ => {}
        }
        Ok(())
    }

    fn arrange(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::SoftLink { target, path } => soft_link(target, path)?,
            Act::HardLink { from, to } => fs::hard_link(from, to)?,
            Act::Rename { from, to } => fs::rename(from, to)?,
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::ReadFile { path } => {
                let mut text = Vec::new();
                fs::File::open(path)?.take(SHOWN).read_to_end(&mut text)?;
                self.tell(path, &String::from_utf8_lossy(&text));
            }
            Act::Look { path } => {
                let written = fs::metadata(path)?.modified()?.duration_since(SystemTime::UNIX_EPOCH);
                let is_of_the_build = written.is_ok_and(|time| time == Duration::from_secs(self.cx.epoch));
                self.tell("written", if is_of_the_build { "at the build's time" } else { "at another time" });
            }
            Act::List { path } => {
                let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
                self.tell(path, &names.collect::<std::io::Result<Vec<_>>>()?.join(" "));
            }
            Act::HoldFiles { path, count } => {
                for _ in 0..*count {
                    self.held.push(Box::new(fs::File::open(path)?));
                }
            }
            Act::Unlinked { path, mib } => {
                let mut file = fs::File::create(path)?;
                fs::remove_file(path)?;
                let chunk = vec![b'x'; 1 << 20];
                (0..*mib).try_for_each(|_| file.write_all(&chunk))?;
                self.held.push(Box::new(file));
            }
            _ => {}
        }
        Ok(())
    }

    fn itself(&mut self, act: &Act) -> Result<(), StepError> {
        match act {
            Act::Trap => panic!("the attacker gives up"),
            Act::Spin => loop {
                std::hint::black_box(());
            },
            Act::Recurse => {
                self.tell("depth", &deeper(1).to_string());
            }
            Act::Exit => std::process::exit(0),
            Act::Allocate { mib } => self.held.push(Box::new(vec![1_u8; mib << 20])),
            Act::Console { text } => std::io::stdout().write_all(text.as_bytes())?,
            Act::Sleep { seconds } => std::thread::sleep(Duration::from_secs(*seconds)),
            Act::Surroundings => self.surroundings(),
            Act::Connect { address } => {
                TcpStream::connect(address)?;
                self.tell("connected", address);
            }
            Act::Resolve { name } => {
                let found: Vec<String> = name.to_socket_addrs()?.map(|address| address.to_string()).collect();
                self.tell("resolved", &found.join(" "));
            }
            Act::Log { text } => sdk::log::warn(text),
            Act::Progress { text } => sdk::progress(1, None, "acts", text)?,
            _ => {}
        }
        Ok(())
    }

    fn surroundings(&mut self) {
        let arguments: Vec<String> = std::env::args().collect();
        let variables: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.tell("arguments", &arguments.join(" "));
        self.tell("variables", &variables.join(" "));
        self.tell("clock", if now == self.cx.epoch { "stands still" } else { "runs" });
        self.tell("folder", if fs::read_dir("/").is_ok() { "there" } else { "none" });
    }

    fn tell(&mut self, what: &str, text: &str) {
        self.told.push_str(&format!("{what}: {text}\n"));
    }
}

/// A chain of folders that no path is long enough for: each round puts what is
/// there into a new one.
fn nest(path: &str, depth: u64) -> std::io::Result<()> {
    let above = format!("{path}-above");
    fs::create_dir(path)?;
    for _ in 1..depth {
        fs::create_dir(&above)?;
        fs::rename(path, format!("{above}/x"))?;
        fs::rename(&above, path)?;
    }
    Ok(())
}

#[allow(deprecated, reason = "the one way to make a symbolic link that every target has")]
fn soft_link(target: &str, path: &str) -> std::io::Result<()> {
    fs::soft_link(target, path)
}

#[allow(unconditional_recursion, reason = "what this act is")]
fn deeper(depth: u64) -> u64 {
    depth + std::hint::black_box(deeper(depth + 1))
}

fn words(error: &StepError) -> String {
    error.failure().map_or_else(|| "interrupted".to_owned(), |failure| format!("{} {}", failure.code, failure.message))
}

sdk::export_step!(Attacker);
