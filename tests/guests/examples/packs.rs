//! Packs its input with checksums at the end.

use sdk::serde_json::Value;
use sdk::{Context, Inputs, Sink, Step, StepError, Summary};

struct Guest;

impl Step for Guest {
    type Configuration = Value;
    const NAME: &'static str = "packs";
    const SUMMARY: &'static str = "Packs its input with checksums at the end.";

    fn run(_: &Context, _: Value, inputs: &Inputs, output: &Sink) -> Result<Summary, StepError> {
        use sdk::archive::{Archive, Compression, Item};
        let made = inputs.get("made")?;
        let abandoned = Archive::create(output, "abandoned.tar", Compression::None);
        abandoned.add(&[Item::bytes("x", 0o644, "x")])?;
        drop(abandoned);
        let archive = Archive::create(output, "out.tar.zst", Compression::Zstd);
        let mut added = archive.add_tree(made, "made")?;
        added.push(archive.add_nested(
            "nested.tar",
            0o644,
            &[Item::file("f", 0o755, made, "a"), Item::directory("d", 0o755)],
        )?);
        let checksums: String = added.iter().map(|added| format!("{} {}\n", added.sha256, added.path)).collect();
        archive.add(&[Item::bytes("checksums.txt", 0o644, checksums)])?;
        let artifact = archive.finish()?;
        Ok(Summary::new(added.len() as u64, "entries").message(artifact.digest))
    }
}

sdk::export_step!(Guest);
