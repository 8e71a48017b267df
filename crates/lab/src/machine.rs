//! A guest: QEMU with software emulation, its monitor, and the line on which the guest speaks.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::gate::Gate;
use crate::listener::{Keys, Listener};
use crate::media::Media;
use crate::outcome::Outcome;
use crate::qmp::Qmp;
use crate::tools;

/// QEMU has to open its sockets within this.
const START_MAX: Duration = Duration::from_secs(20);
/// A guest that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// One that is done stops within this.
const STOP_MAX: Duration = Duration::from_secs(180);

/// What a guest is started with.
pub(crate) struct Plan<'a> {
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// Of the kernel.
    pub(crate) options: &'a str,
    /// The disk of a whole system.
    pub(crate) disk: Option<&'a Path>,
    pub(crate) plugged: Plugged,
    /// Holds `media`; sockets and logs are made here.
    pub(crate) folder: &'a Path,
}

/// What is there when the guest starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugged {
    /// A stick, a card, a disc, and folders of the host.
    Media,
    Keyboard,
    KeyboardAndStick,
    Nothing,
}

/// A QEMU process; it ends with this value.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already, or nobody waits for what it would say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a guest to its end. The error says what went wrong with the laboratory itself.
pub(crate) fn run(plan: &Plan<'_>, gate: Option<&mut Gate>, outcome: &mut Outcome) -> Result<Keys> {
    let sockets = ["qmp.sock", "serial.sock"].map(|it| plan.folder.join(it));
    for socket in &sockets {
        let _ = std::fs::remove_file(socket);
    }
    let mut machine = start(plan, gate.as_deref())?;
    let serial = connect(&sockets[1], &mut machine)?;
    serial.set_read_timeout(Some(SILENCE_MAX))?;
    let mut listener = Listener {
        qmp: Qmp::over(connect(&sockets[0], &mut machine)?)?,
        outcome,
        log: File::create(plan.folder.join("guest.log"))?,
        begun: Instant::now(),
        part: "boot".to_owned(),
        keys: Keys::default(),
        gate,
        answers: serial.try_clone()?,
    };
    listener.listen(BufReader::new(serial))?;
    let keys = listener.keys;
    let end = Instant::now() + STOP_MAX;
    while machine.0.try_wait()?.is_none() {
        ensure!(Instant::now() < end, "the guest does not stop");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(keys)
}

fn start(plan: &Plan<'_>, gate: Option<&Gate>) -> Result<Machine> {
    let mut qemu = tools::command("qemu-system-x86_64");
    qemu.current_dir(plan.folder)
        .args(["-accel", "tcg", "-cpu", "qemu64,+rdrand"])
        .args(["-m", if plan.disk.is_some() { "640" } else { "384" }])
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        .arg("-kernel")
        .arg(plan.image)
        .arg("-initrd")
        .arg(plan.initramfs)
        .arg("-append")
        .arg(plan.options)
        .args(["-serial", "file:kernel.log"])
        .args([
            "-chardev",
            "socket,id=serial,path=serial.sock,server=on,wait=on",
        ])
        .args(["-serial", "chardev:serial"])
        .args(["-qmp", "unix:qmp.sock,server=on,wait=off"])
        .args(["-device", "qemu-xhci,id=xhci,p2=15,p3=15"])
        .args(["-netdev", "user,id=n0,restrict=on"])
        .args(["-chardev", "null,id=c0", "-audiodev", "none,id=snd0"]);
    for name in Media::images() {
        let mut node = format!("driver=file,node-name=d_{name},filename=media/{name}.img");
        if name.ends_with("disc") {
            node += ",read-only=on";
        }
        qemu.args(["-blockdev", &node]);
    }
    if let Some(disk) = plan.disk {
        let drive = format!("file={},format=raw,if=virtio", disk.display());
        qemu.args(["-drive", &drive]);
    }
    if let Some(gate) = gate {
        network(&mut qemu, gate);
    }
    match plan.plugged {
        Plugged::Media => media(&mut qemu),
        Plugged::Keyboard => keyboard(&mut qemu),
        Plugged::KeyboardAndStick => stick(keyboard(&mut qemu)),
        Plugged::Nothing => &mut qemu,
    };
    let errors = File::create(plan.folder.join("qemu.log"))?;
    qemu.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    Ok(Machine(qemu.spawn().context("cannot start QEMU")?))
}

/// A way to the host, and from the host to the terminal's tunnel.
fn network(qemu: &mut Command, gate: &Gate) {
    let forward = format!("hostfwd=tcp:127.0.0.1:{}-10.0.2.15:5432", gate.tunnel);
    qemu.args(["-netdev", &format!("user,id=host,{forward}")])
        .args(["-device", "virtio-net-pci,netdev=host"]);
}

fn keyboard(qemu: &mut Command) -> &mut Command {
    qemu.args(["-device", "usb-kbd,bus=xhci.0,id=kbd,port=1"])
}

fn stick(qemu: &mut Command) -> &mut Command {
    qemu.args([
        "-device",
        "usb-storage,bus=xhci.0,id=boot,port=2,drive=d_boot,serial=BOOT1",
    ])
}

fn media(qemu: &mut Command) -> &mut Command {
    stick(qemu)
        .args(["-device", "sdhci-pci", "-device", "sd-card,drive=d_card"])
        .args(["-device", "ich9-ahci,id=ahci"])
        .args(["-device", "ide-cd,bus=ahci.0,drive=d_built-in-disc"]);
    for name in ["share", "control-share"] {
        qemu.args([
            "-fsdev",
            &format!("local,id={name},path=media/{name},security_model=none"),
        ]);
        qemu.args([
            "-device",
            &format!("virtio-9p-pci,fsdev={name},mount_tag={name}"),
        ]);
    }
    qemu
}

/// Polls until QEMU listens.
fn connect(socket: &Path, machine: &mut Machine) -> Result<UnixStream> {
    let end = Instant::now() + START_MAX;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => {
                return Err(error).with_context(|| format!("cannot reach {}", socket.display()));
            }
            Err(_) => {}
        }
        if let Some(status) = machine.0.try_wait()? {
            bail!("QEMU ended with {status}; its words are in qemu.log");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
