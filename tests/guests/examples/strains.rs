//! Strains one limit of the host, named by `what`, as often as `times` says.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

use sdk::archive::{Archive, Compression, Item, Limits};
use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

const MIB: usize = 1 << 20;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "strains";
    const SUMMARY: &'static str = "Strains one limit of the host.";

    fn run(_: &Context, configuration: Value, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        let what = configuration["what"].as_str().unwrap_or_default();
        let times = configuration["times"].as_u64().unwrap_or(u64::MAX);
        let at = configuration["at"].as_str().unwrap_or("/work");
        let made = inputs.get("made")?;
        match what {
            // Bytes and files through directories.
            "grow" => grow(&format!("{at}/grown"), times)?,
            "rewrite" => (0..times).try_for_each(|_| grow(&format!("{at}/rewritten"), 1))?,
            "overwrite" => overwrite(&format!("{at}/overwritten"), times)?,
            "sparse" => File::create(format!("{at}/sparse"))?.set_len(times * MIB as u64)?,
            "hole" => {
                let mut file = File::create(format!("{at}/hole"))?;
                file.seek(SeekFrom::Start(times * MIB as u64))?;
                file.write_all(b"x")?;
            }
            "unlinked" => unlinked(at, times)?,
            "moved-open" => moved_open(times)?,
            "files" => (0..times).try_for_each(|n| fs::write(format!("{at}/{n}"), b""))?,
            "files-again" => (0..times).try_for_each(|_| {
                fs::write(format!("{at}/one"), b"x")?;
                fs::remove_file(format!("{at}/one"))
            })?,
            "folders" => (0..times).try_for_each(|n| fs::create_dir(format!("{at}/{n}")))?,
            "links" => {
                fs::write(format!("{at}/first"), b"x")?;
                (0..times).try_for_each(|n| fs::hard_link(format!("{at}/first"), format!("{at}/{n}")))?;
            }
            "deep" => deep(at, times)?,
            "move" => {
                fs::create_dir("/work/moved")?;
                grow("/work/moved/grown", times)?;
                fs::rename("/work/moved", "/out/moved")?;
            }
            "link-in" => fs::hard_link("/in/made/a", format!("{at}/a"))?,
            "link-into" => {
                fs::write("/work/a", b"x")?;
                fs::hard_link("/work/a", "/in/made/planted")?;
            }
            "honest" => return honest(times),
            // Descriptors.
            "open" => {
                let held: Vec<File> = (0..times)
                    .map(|n| OpenOptions::new().create(true).write(true).truncate(true).open(format!("{at}/{n}")))
                    .collect::<Result<_, _>>()?;
                return Ok(Summary::new(held.len() as u64, "files"));
            }
            "removed-folders" => {
                let mut held = Vec::new();
                for n in 0..times {
                    let path = format!("{at}/{n}");
                    fs::create_dir(&path)?;
                    held.push(File::open(&path)?);
                    fs::remove_dir(&path)?;
                }
            }
            "streams" => {
                let held = (0..times).map(|_| made.open("a")).collect::<Result<Vec<_>, _>>()?;
                return Ok(Summary::new(held.len() as u64, "streams"));
            }
            "writers" => {
                let held = (0..times).map(|n| output.create(&n.to_string(), false)).collect::<Result<Vec<_>, _>>()?;
                return Ok(Summary::new(held.len() as u64, "streams"));
            }
            "archives" => {
                let mut held = Vec::new();
                for n in 0..times {
                    let archive = Archive::create(output, &format!("{n}.tar"), Compression::Zstd);
                    archive.add(&[Item::bytes("a", 0o644, "a")])?;
                    held.push(archive);
                }
            }
            "layers" => {
                let mut held = Vec::new();
                for _ in 0..times {
                    let layer = sdk::layer::Layer::open(made, "archive.tar")?;
                    layer.select(&sdk::layer::Wanted {
                        ends: vec![],
                        below: vec![],
                        beginnings: vec![],
                        marks: vec![],
                    })?;
                    held.push(layer);
                }
                return Ok(Summary::new(held.len() as u64, "layers"));
            }
            "listings" => {
                for n in 0..1000 {
                    fs::write(format!("{at}/{n}"), b"")?;
                }
                let held = (0..times).map(|_| fs::read_dir(at)).collect::<Result<Vec<_>, _>>()?;
                return Ok(Summary::new(held.len() as u64, "listings"));
            }
            // Work of the host.
            "unpack" => {
                for _ in 0..times {
                    sdk::archive::unpack(made, "archive.tar", limits())?;
                }
            }
            "unpacked" => {
                let mut held = Vec::new();
                for _ in 0..times {
                    held.push(sdk::archive::unpack(made, "archive.tar", limits())?);
                }
            }
            "mark" => {
                output.write_text("a", "a")?;
                for n in 0..times {
                    sdk::checkpoint::mark(&format!("{}", n % 1000), &["a".to_owned()])?;
                }
            }
            "mark-and-remove" => {
                for n in 0..times {
                    output.write("a", &vec![n as u8; MIB], false)?;
                    sdk::checkpoint::mark(&n.to_string(), &["a".to_owned()])?;
                    output.remove("a")?;
                }
            }
            "entries" => {
                for _ in 0..times {
                    made.entries("")?;
                }
            }
            "read" => {
                for _ in 0..times {
                    made.read("large", u64::MAX)?;
                }
            }
            "pack" => {
                for n in 0..times {
                    let archive = Archive::create(output, &format!("{}.tar", n % 2), Compression::Zstd);
                    archive.add_tree(made, "")?;
                }
            }
            "sync" => {
                let mut file = File::create(format!("{at}/synced"))?;
                for _ in 0..times {
                    file.write_all(b"x")?;
                    file.sync_all()?;
                }
            }
            "close" => {
                for _ in 0..times {
                    drop(output.create("again", false)?);
                }
            }
            "nested" => {
                let items: Vec<Item<'_>> =
                    (0..times).map(|n| Item::bytes(format!("{n}{}", "/d".repeat(500)), 0o644, "")).collect();
                Archive::create(output, "nested.tar", Compression::None).add_nested("inner.tar", 0o644, &items)?;
            }
            // Names.
            "names" => {
                for name in configuration["names"].as_array().into_iter().flatten() {
                    output.write_text(name.as_str().unwrap_or_default(), "x")?;
                }
            }
            "names-in-out" => {
                for name in configuration["names"].as_array().into_iter().flatten() {
                    fs::write(format!("/out/{}", name.as_str().unwrap_or_default()), "x")?;
                }
            }
            other => return Err(StepError::invalid_input("what", format!("`{other}` is nothing to strain"))),
        }
        Ok(Summary::new(times, "times"))
    }
}

fn limits() -> Limits {
    Limits { total: u64::MAX, entries: u32::MAX }
}

fn grow(path: &str, mib: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let piece = vec![7; MIB];
    (0..mib).try_for_each(|_| file.write_all(&piece))
}

fn overwrite(path: &str, times: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let piece = vec![7; MIB];
    for _ in 0..times {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&piece)?;
    }
    Ok(())
}

/// A file that no walk sees any more.
fn unlinked(at: &str, mib: u64) -> std::io::Result<()> {
    let path = format!("{at}/unlinked");
    let mut file = File::create(&path)?;
    fs::remove_file(&path)?;
    let piece = vec![7; MIB];
    (0..mib).try_for_each(|_| file.write_all(&piece))
}

/// Written in /work while its name lies in /out.
fn moved_open(mib: u64) -> std::io::Result<()> {
    let mut file = File::create("/work/moved")?;
    fs::rename("/work/moved", "/out/moved")?;
    let piece = vec![7; MIB];
    (0..mib).try_for_each(|_| file.write_all(&piece))
}

fn deep(at: &str, depth: u64) -> std::io::Result<()> {
    let mut path = at.to_owned();
    for _ in 0..depth {
        path.push_str("/d");
        fs::create_dir(&path)?;
    }
    Ok(())
}

/// What an ordinary tool does: one large file and many small ones.
fn honest(files: u64) -> Result<Summary, StepError> {
    grow("/work/large", 1024)?;
    let mut read = 0;
    let mut buffer = vec![0; MIB];
    let mut file = File::open("/work/large")?;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => read += count,
        }
    }
    for n in 0..files {
        fs::write(format!("/work/{n}"), b"small")?;
    }
    for n in 0..files {
        read += fs::read(format!("/work/{n}"))?.len();
    }
    Ok(Summary::new(read as u64, "bytes"))
}

sdk::export_step!(Guest);
