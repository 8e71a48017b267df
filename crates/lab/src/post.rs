//! `cargo xtask lab post`: everything is prepared, the guests run one after the other, and what
//! they left on media is compared outside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::archive::Archive;
use crate::gate::Gate;
use crate::kernel::Kernel;
use crate::listener::Keys;
use crate::machine::{self, Plan, Plugged};
use crate::media::Media;
use crate::outcome::Outcome;
use crate::parts::{BOOT, Base, FUNCTIONS, GUESTS, Guest, INIT, Part, SABOTAGES};
use crate::sabotage::Sabotage;
use crate::system::{self, System};
use crate::{program, tools};

/// The agent's program is smaller.
const PROGRAM_MIB_MAX: f64 = 5.0;

/// The check that fails where a guest stops before it is done.
const UNFINISHED: &str = ": the guest runs to its end";

/// Guests that run at a time, where there are as many processors.
const LANES: usize = 2;

/// Keys with the agent may take so much longer than without: the spread of two equal measurements
/// under emulation.
const KEY_RATIO_MAX: f64 = 1.25;

/// How to run it.
#[derive(Args)]
pub(crate) struct Options {
    /// Writes checks and numbers as a list of {name, value, unit, target, ok}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs only this part
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Leaves this part out
    #[arg(long, value_name = "PART")]
    skip: Option<String>,
    /// Spoils the agent; the run has to end with exit status 1
    #[arg(long, value_name = "NAME")]
    sabotage: Option<Sabotage>,
    /// Keeps the folder with logs and media, also when all is well
    #[arg(long)]
    keep: bool,
}

/// Runs the laboratory; whether everything was as it has to be.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let guests = chosen(options.only.as_deref(), options.skip.as_deref())?;
    tools::ensure()?;
    let cache = program::folder()?.join("lab");
    std::fs::create_dir_all(&cache)?;
    let kernel = Kernel::get(&cache)?;
    let mut outcome = Outcome::default();
    let mut files = files(&kernel, &cache, &mut outcome)?;
    println!("prepared in {:.1} s", begun.elapsed().as_secs_f64());
    let run = cache.join("run");
    if let Some(sabotage) = options.sabotage {
        sabotage.spoil(&mut files);
    }
    let mut work: Vec<Work<'_>> = guests
        .into_iter()
        .map(|(guest, parts)| Work::Guest(guest, parts))
        .collect();
    if options.sabotage.is_none() && options.only.is_none() {
        work.extend(SABOTAGES.map(|(sabotage, part)| Work::Spoiled(sabotage, part)));
    }
    // What is measured is measured alone.
    let (alone, beside): (Vec<_>, Vec<_>) = work.into_iter().partition(Work::is_alone);
    let ran = |work: &Work<'_>| -> Result<Outcome> {
        let mut outcome = Outcome::held();
        match work {
            Work::Guest(guest, parts) => {
                let folder = run.join(guest.name);
                run_guest(&kernel, &files, guest, parts, &folder, &mut outcome)?;
            }
            Work::Spoiled(sabotage, part) => {
                spoiled(&kernel, &files, *sabotage, part, &run, &mut outcome)?;
            }
        }
        Ok(outcome)
    };
    side_by_side(&beside, &ran, &mut outcome)?;
    for work in &alone {
        outcome.take(ran(work)?);
    }
    finish(options, &cache, &outcome, begun)
}

/// What has guests of its own.
enum Work<'a> {
    Guest(&'static Guest, Vec<&'a Part>),
    Spoiled(Sabotage, &'static str),
}

impl Work<'_> {
    fn is_alone(&self) -> bool {
        matches!(self, Self::Guest(guest, _) if guest.name == "speed")
    }
}

/// Does the work in its order, two at a time: an emulated processor takes one. What each says comes when
/// it has ended.
fn side_by_side<'a>(
    work: &[Work<'a>],
    ran: &(impl Fn(&Work<'a>) -> Result<Outcome> + Sync),
    outcome: &mut Outcome,
) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let (sender, results) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..cores.min(LANES) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                while let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more where one before it could not run.
                    if sender.send(ran(work)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        results
            .into_iter()
            .try_for_each(|result| result.map(|it| outcome.take(it)))
    })
}

/// Runs one part with a spoiled agent: it has to be red.
fn spoiled(
    kernel: &Kernel,
    files: &[(String, Vec<u8>)],
    sabotage: Sabotage,
    part: &str,
    run: &Path,
    outcome: &mut Outcome,
) -> Result<()> {
    outcome.print(&format!("== {part}, with the agent spoiled: {sabotage:?}"));
    let mut files = files.to_vec();
    sabotage.spoil(&mut files);
    let mut red = Outcome::quiet();
    for (guest, parts) in chosen(Some(part), None)? {
        let folder = run.join(format!("{sabotage:?}"));
        run_guest(kernel, &files, guest, &parts, &folder, &mut red)?;
    }
    let failed: Vec<&str> = red.failed().collect();
    outcome.check(
        format!("sabotage/{sabotage:?} turns `{part}` red"),
        // That a guest did not end shows nothing.
        failed.iter().any(|it| !it.ends_with(UNFINISHED)),
        &format!(
            "{} of {} failed: {}",
            failed.len(),
            red.lines.len(),
            failed.join("; ")
        ),
    );
    Ok(())
}

fn finish(options: &Options, cache: &Path, outcome: &Outcome, begun: Instant) -> Result<bool> {
    let (passed, failed) = outcome.count();
    if let Some(file) = &options.json {
        outcome.write(file)?;
    }
    let run = cache.join("run");
    if failed > 0 || options.keep {
        println!("logs and media are in {}", run.display());
    } else {
        std::fs::remove_dir_all(run)?;
    }
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

/// The guests that have the wanted part, and which of their parts run.
fn chosen(
    only: Option<&str>,
    skip: Option<&str>,
) -> Result<Vec<(&'static Guest, Vec<&'static Part>)>> {
    let wanted = |part: &Part| only.is_none_or(|it| it == part.name) && skip != Some(part.name);
    let found: Vec<_> = GUESTS
        .iter()
        .map(|guest| {
            let parts: Vec<&Part> = guest.parts.iter().filter(|it| wanted(it)).collect();
            (guest, parts)
        })
        .filter(|(_, parts)| !parts.is_empty())
        .collect();
    if found.is_empty() {
        let names: Vec<&str> = GUESTS
            .iter()
            .flat_map(|guest| guest.parts.iter().map(|it| it.name))
            .collect();
        bail!("there is no such part; there are {}", names.join(", "));
    }
    Ok(found)
}

/// What all guests have in their first file system, as files by their paths.
fn files(kernel: &Kernel, cache: &Path, outcome: &mut Outcome) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = vec![
        ("init".to_owned(), INIT.as_bytes().to_vec()),
        ("functions.sh".to_owned(), FUNCTIONS.as_bytes().to_vec()),
    ];
    let mut add = |path: String, from: &Path| -> Result<()> {
        let bytes =
            std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        files.push((path, bytes));
        Ok(())
    };
    let busybox = tools::find("busybox").context("busybox is gone")?;
    add("bin/busybox".to_owned(), &busybox)?;
    let guest = program::build("lab", "lab-guest", "release")?;
    add("bin/lab-guest".to_owned(), &guest)?;
    let agent = program::build("post", "sekisho-post", "post")?;
    let size = std::fs::metadata(&agent)?.len() as f64 / f64::from(1 << 20);
    outcome.below(
        "the agent's program".to_owned(),
        size,
        "MiB",
        PROGRAM_MIB_MAX,
    );
    add("bin/sekisho-post".to_owned(), &agent)?;
    add(
        "usr/lib/sekisho-post/guard.bpf.o".to_owned(),
        &program::guard(cache)?,
    )?;
    let mut order = String::new();
    for module in kernel.at_start()? {
        add(format!("modules/{}.ko", module.name), &module.file)?;
        order += &format!("{}\n", module.name);
    }
    let mut orders = Vec::new();
    for (name, modules) in kernel.later()? {
        let mut order = String::new();
        for module in modules {
            add(format!("modules/{}.ko", module.name), &module.file)?;
            order += &format!("{}\n", module.name);
        }
        orders.push((format!("modules/{name}.order"), order.into_bytes()));
    }
    files.extend(orders);
    let outside = tools::output(Command::new(guest).arg("yardstick"))?;
    files.push(("etc/yardstick".to_owned(), outside));
    files.push(("modules/order".to_owned(), order.into_bytes()));
    Ok(files)
}

fn run_guest(
    kernel: &Kernel,
    files: &[(String, Vec<u8>)],
    guest: &Guest,
    parts: &[&Part],
    folder: &Path,
    outcome: &mut Outcome,
) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let media = Media::make(&folder.join("media"))?;
    let mut gate = match guest.base {
        Base::Bare => None,
        Base::Gate | Base::System { .. } => Some(Gate::start(
            guest.name,
            &program::gate()?,
            &program::build("post", "sekisho-post", "post")?,
        )?),
    };
    let ran = match guest.base {
        Base::System { starts } => whole(
            kernel,
            files,
            (parts, starts),
            folder,
            gate.as_mut(),
            outcome,
        ),
        Base::Bare | Base::Gate => bare(kernel, files, parts, &media, gate.as_mut(), outcome),
    };
    match ran {
        Ok(keys) => judge_keys(&keys, outcome),
        Err(error) => outcome.check(
            format!("{}{UNFINISHED}", guest.name),
            false,
            &format!("{error:#}"),
        ),
    }
    let controls = guest.controls && parts.iter().any(|it| it.name == "controls");
    media.judge(guest.name, (controls, guest.base == Base::Gate), outcome)
}

/// A guest whose first file system is all that it has.
fn bare(
    kernel: &Kernel,
    files: &[(String, Vec<u8>)],
    parts: &[&Part],
    media: &Media,
    gate: Option<&mut Gate>,
    outcome: &mut Outcome,
) -> Result<Keys> {
    let mut archive = Archive::default();
    for name in [
        "proc",
        "sys",
        "dev",
        "tmp",
        "run",
        "mnt",
        "etc/sekisho-post",
    ] {
        archive.folder(name);
    }
    for (path, bytes) in files {
        archive.file(path, bytes);
    }
    let mut order = String::new();
    for part in parts {
        archive.file(&format!("parts/{}.sh", part.name), part.script.as_bytes());
        order += &format!("{}\n", part.name);
    }
    archive.file("parts/order", order.as_bytes());
    let phone = media.folder().join("phone").display().to_string();
    archive.file("etc/phone", phone.as_bytes());
    if let Some(gate) = &gate {
        archive.file("etc/gate", gate.settings().as_bytes());
        archive.file("etc/token.key", &gate.token_key()?);
    }
    let folder = media.folder().parent().context("media in a folder")?;
    let initramfs = folder.join("initramfs");
    std::fs::write(&initramfs, archive.finish())?;
    let plan = Plan {
        image: &kernel.image,
        initramfs: &initramfs,
        options: system::OPTIONS,
        disk: None,
        plugged: if gate.is_some() {
            Plugged::Nothing
        } else {
            Plugged::Media
        },
        folder,
    };
    machine::run(&plan, gate, outcome)
}

/// A guest that is a whole system: it starts with what it made for that itself.
fn whole(
    kernel: &Kernel,
    files: &[(String, Vec<u8>)],
    (parts, starts): (&[&Part], u32),
    folder: &Path,
    mut gate: Option<&mut Gate>,
    outcome: &mut Outcome,
) -> Result<Keys> {
    let cache = program::folder()?.join("lab");
    let system = System::make(&cache, kernel, folder)?;
    let [part] = parts else {
        bail!("a whole system has one part");
    };
    system.put("boot.sh", BOOT.as_bytes())?;
    system.put("part", part.name.as_bytes())?;
    system.put("part.sh", part.script.as_bytes())?;
    system.put("agent.deb", &std::fs::read(program::package()?)?)?;
    for (path, name) in [
        ("functions.sh", "functions.sh"),
        ("bin/lab-guest", "lab-guest"),
    ] {
        let found = files.iter().find(|(it, _)| it == path);
        system.put(name, &found.context("a guest has it")?.1)?;
    }
    if let Some(gate) = &gate {
        system.put("gate", gate.settings().as_bytes())?;
    }
    for start in 1..=starts {
        let boot = system.boot(start == 1)?;
        let plan = Plan {
            image: &kernel.image,
            initramfs: &boot.initramfs,
            options: &boot.options,
            disk: Some(&boot.disk),
            plugged: match start {
                1 => Plugged::Keyboard,
                _ => Plugged::KeyboardAndStick,
            },
            folder,
        };
        machine::run(&plan, gate.as_deref_mut(), outcome)?;
    }
    Ok(Keys::default())
}

/// Keys that reached the guest with the agent took no longer than those without.
fn judge_keys(keys: &Keys, outcome: &mut Outcome) {
    let median = |label: &str| {
        let mut took = keys.took.get(label)?.clone();
        took.sort_by(f64::total_cmp);
        took.get(took.len() / 2).copied()
    };
    let (Some(without), Some(with)) = (median("without"), median("with")) else {
        return;
    };
    outcome.print(&format!(
        "     a key takes {without:.2} ms without the agent and {with:.2} ms with it (medians)"
    ));
    let name = "speed/a key with the agent, of one without".to_owned();
    outcome.below(name, with / without, "ratio", KEY_RATIO_MAX);
}
