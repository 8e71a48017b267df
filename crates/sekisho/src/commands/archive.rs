//! `sekisho ledger archive`: the compressed segments of the write-ahead log.

use anyhow::{Result, bail};
use clap::Args;
use ledger::archive::{self, Survey};
use serde_json::json;

use super::{Look, output};
use crate::folder::Folder;

/// What to do with the archive.
#[derive(Args)]
pub struct ArchiveGiven {
    #[command(flatten)]
    look: Look,
    /// Read every file again, and compare it with its record.
    #[arg(long)]
    verify: bool,
}

/// Does it.
pub fn run(given: &ArchiveGiven) -> Result<()> {
    let folder = given.look.at.folder()?;
    if !given.verify {
        return status(&folder, given.look.json);
    }
    let done = archive::verify(&folder.ledger(), &mut |_| {})?;
    if given.look.json {
        let problems: Vec<_> = done
            .problems
            .iter()
            .map(|(segment, what)| json!({"segment": segment, "what": what}))
            .collect();
        output::json(&json!({"sound": done.sound, "bytes": done.bytes, "problems": problems}))?;
    } else {
        for (segment, what) in &done.problems {
            output::line(format!("segment {segment}: {what}"))?;
        }
        output::line(format!(
            "{} ({} bytes): each is what its record says.",
            output::count(done.sound, "archived segment", "archived segments"),
            done.bytes
        ))?;
    }
    let Some((segment, first)) = done.problems.first() else {
        return Ok(());
    };
    bail!(
        "{} of the archive cannot be read, the first: segment {segment}: {first}; put the files back from a copy",
        output::count(done.problems.len() as u64, "segment", "segments")
    );
}

/// How many segments there are, and where.
pub fn status(folder: &Folder, as_json: bool) -> Result<()> {
    let Survey {
        hot,
        hot_bytes,
        archived,
        archived_bytes,
    } = archive::survey(&folder.ledger())?;
    if as_json {
        return output::json(&json!({
            "segments": {"hot": hot, "hot_bytes": hot_bytes,
                         "archived": archived, "archived_bytes": archived_bytes},
        }));
    }
    output::line(format!(
        "Segments: {hot} in the write-ahead log ({hot_bytes} bytes), {archived} in the archive \
         ({archived_bytes} bytes)."
    ))
}
