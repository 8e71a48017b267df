//! `cargo xtask deb`: the Debian package of the terminal agent, by `dpkg-deb`; with `--check` it is
//! installed, removed and purged in a folder by the real `dpkg`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command's output

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The agent has to stay small: the promise of the README.
const PROGRAM_BYTES_MAX: u64 = 5_000_000;
/// What the package holds: a file of `crates/post/packaging`, its place, its mode.
const FILES: [(&str, &str, u32); 8] = [
    (
        "sekisho-post.service",
        "lib/systemd/system/sekisho-post.service",
        0o644,
    ),
    (
        "initramfs/hook",
        "usr/share/initramfs-tools/hooks/sekisho-post",
        0o755,
    ),
    (
        "initramfs/init-top",
        "usr/share/initramfs-tools/scripts/init-top/sekisho-post",
        0o755,
    ),
    (
        "initramfs/init-bottom",
        "usr/share/initramfs-tools/scripts/init-bottom/sekisho-post",
        0o755,
    ),
    ("early.toml", "usr/share/sekisho-post/early.toml", 0o644),
    ("grub.cfg", "etc/default/grub.d/sekisho-post.cfg", 0o644),
    ("agent.toml", "etc/sekisho-post/agent.toml", 0o644),
    ("policy.toml", "etc/sekisho-post/policy.toml", 0o644),
];
const PROGRAM: &str = "usr/sbin/sekisho-post";
const GUARD: &str = "usr/lib/sekisho-post/guard.bpf.o";

/// Builds the package; with `check` also tries it.
pub(crate) fn run(check: bool) -> ExitCode {
    match build().and_then(|deb| {
        println!("{}", deb.display());
        if check { tried(&deb) } else { Ok(()) }
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<PathBuf> {
    let target = target();
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--profile",
            "post",
            "--target",
            TARGET,
            "-p",
            "post",
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    ran(&mut cargo)?;
    let folder = target.join("deb");
    let tree = folder.join("tree");
    let _ = fs::remove_dir_all(&tree);
    let packaging = Path::new("crates/post/packaging");
    for (from, to, mode) in FILES {
        place(&fs::read(packaging.join(from))?, &tree.join(to), mode)?;
    }
    let program = fs::read(target.join(TARGET).join("post/sekisho-post"))?;
    ensure!(
        program.len() as u64 <= PROGRAM_BYTES_MAX,
        "sekisho-post has {} bytes; at most {PROGRAM_BYTES_MAX} are promised",
        program.len()
    );
    place(&program, &tree.join(PROGRAM), 0o755)?;
    guard(&tree.join(GUARD))?;
    let control = tree.join("DEBIAN");
    for script in ["postinst", "prerm", "postrm"] {
        let text = fs::read(packaging.join("debian").join(script))?;
        place(&text, &control.join(script), 0o755)?;
    }
    let conffiles: String = FILES
        .iter()
        .filter(|(_, to, _)| to.starts_with("etc/"))
        .map(|(_, to, _)| format!("/{to}\n"))
        .collect();
    place(conffiles.as_bytes(), &control.join("conffiles"), 0o644)?;
    let version = env!("CARGO_PKG_VERSION");
    place(
        control_text(version).as_bytes(),
        &control.join("control"),
        0o644,
    )?;
    let deb = folder.join(format!("sekisho-post_{version}_amd64.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "--build"])
        .args([&tree, &deb]);
    ran(&mut dpkg)?;
    Ok(deb)
}

fn control_text(version: &str) -> String {
    format!(
        "Package: sekisho-post\n\
         Version: {version}\n\
         Section: admin\n\
         Priority: optional\n\
         Architecture: amd64\n\
         Maintainer: Sekisho <post@sekisho.invalid>\n\
         Suggests: initramfs-tools\n\
         Description: keeps storage off a terminal, in the kernel\n \
         Refuses foreign USB storage, telephones, network and serial adapters; makes\n \
         foreign disks, cards and discs read-only; reports every attempt to the gate.\n \
         What it closed stays closed while it is stopped, killed or replaced.\n"
    )
}

/// Compiles the guard, for every kernel (CO-RE).
fn guard(to: &Path) -> Result<()> {
    let folder = to.parent().context("a path with a folder")?;
    fs::create_dir_all(folder)?;
    let clang = ["clang", "clang-14", "clang-16", "clang-19"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())
        .context("no clang; apt-get install clang libbpf-dev")?;
    let mut compile = Command::new(clang);
    compile
        .args(["-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86"])
        .args(["-I/usr/include/x86_64-linux-gnu", "-Wall", "-Werror", "-c"])
        .args(["crates/post/bpf/guard.bpf.c", "-o"])
        .arg(to);
    ran(&mut compile)
}

/// Installs, removes and purges the package below a folder.
fn tried(deb: &Path) -> Result<()> {
    let root = tempfile_folder()?;
    for folder in [
        "var/lib/dpkg/updates",
        "var/lib/dpkg/info",
        "var/lib/sekisho-post",
    ] {
        fs::create_dir_all(root.join(folder))?;
    }
    for file in ["status", "available"] {
        fs::write(root.join("var/lib/dpkg").join(file), "")?;
    }
    let dpkg = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("dpkg")
            .arg(format!("--root={}", root.display()))
            .args([
                "--force-script-chrootless",
                "--force-not-root",
                "--force-depends",
            ])
            .args(arguments)
            .output()
            .context("cannot run dpkg")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "dpkg {arguments:?}: {text}");
        Ok(text)
    };
    let says = |text: &str, what: &str| {
        ensure!(text.contains(what), "expected `{what}` in: {text}");
        Ok(())
    };
    let path = deb.display().to_string();
    says(&dpkg(&["-i", &path])?, "nothing is closed yet")?;
    for (_, to, _) in FILES {
        ensure!(root.join(to).is_file(), "{to} was not installed");
    }
    let mut version = Command::new(root.join(PROGRAM));
    says(
        &output(version.arg("--version"))?,
        env!("CARGO_PKG_VERSION"),
    )?;
    ensure!(
        !enabled(&root),
        "the service was enabled without an enrolment"
    );
    // What a person changed stays over an upgrade and a removal.
    let changed = root.join("etc/sekisho-post/policy.toml");
    fs::write(&changed, "version = 1\n# changed\n")?;
    fs::write(root.join("var/lib/sekisho-post/enrolled.json"), "{}")?;
    dpkg(&["-i", "--force-confold", &path])?;
    ensure!(
        fs::read_to_string(&changed)?.contains("changed"),
        "a conffile was replaced"
    );
    says(&dpkg(&["-r", "sekisho-post"])?, "stays pinned")?;
    ensure!(!root.join(PROGRAM).exists(), "the program is still there");
    ensure!(changed.exists(), "removal took a conffile away");
    dpkg(&["-P", "sekisho-post"])?;
    ensure!(!changed.exists(), "purging left a conffile");
    ensure!(
        !root.join("var/lib/sekisho-post").exists(),
        "purging left the terminal's key"
    );
    fs::remove_dir_all(&root)?;
    println!("installed, upgraded, removed and purged");
    Ok(())
}

fn enabled(root: &Path) -> bool {
    root.join("etc/systemd/system/sysinit.target.wants/sekisho-post.service")
        .exists()
}

fn tempfile_folder() -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("sekisho-deb-{}", std::process::id()));
    fs::create_dir_all(&path)?;
    Ok(path)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

fn place(bytes: &[u8], to: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(to.parent().context("a path with a folder")?)?;
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn ran(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

fn output(command: &mut Command) -> Result<String> {
    let name = format!("{:?}", command.get_program());
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
