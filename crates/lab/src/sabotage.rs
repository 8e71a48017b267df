//! Agents that are spoiled on purpose, from outside: the program is the one that is shipped, and
//! something keeps one of its doings from the kernel. A run with one of them has to be red.

use clap::ValueEnum;

/// How the agent is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// Another program says that it refuses, and authorises everything
    AllowAll,
    /// The parameter that new controllers inherit stays open
    NoParameter,
    /// The agent cannot set read-only flags
    NoBlock,
    /// The guard is not loaded
    NoGuard,
    /// The agent does not hear what comes
    Deaf,
}

/// Where the real program is while a spoiled one has its place.
const REAL: &str = "usr/lib/real/sekisho-post";
const PLACE: &str = "bin/sekisho-post";

const ALLOW_ALL: &str = r#"#!/bin/sh
echo '{"event":"guard","programs":9,"taken_over":true}'
echo '{"event":"ready"}'
while :; do
	for file in /sys/module/usbcore/parameters/authorized_default /sys/bus/usb/devices/usb*/*authorized_default; do
		echo 1 >"$file"
	done
	for device in /sys/bus/usb/devices/[0-9]*; do
		[ "$(cat "$device/authorized" 2>/dev/null)" = 0 ] && echo 1 >"$device/authorized"
		for kind in storage phone network vendor switched; do
			echo "{\"event\":\"attached\",\"device\":\"${device##*/}\",\"kinds\":[\"$kind\"],\"outcome\":\"refuse\"}"
		done
	done
	usleep 100000
done
"#;

/// The real program in a mount namespace of its own, after a command.
fn within(command: &str) -> String {
    format!("#!/bin/sh\nexec unshare -m sh -c '{command}; exec /{REAL} \"$@\"' sh \"$@\"\n")
}

impl Sabotage {
    /// The files of a guest in which the agent is spoiled, from the files of one in which it is not.
    pub(crate) fn spoil(self, files: &mut Vec<(String, Vec<u8>)>) {
        let script = match self {
            Self::AllowAll => ALLOW_ALL.to_owned(),
            Self::NoParameter => within(
                "echo 0 >/tmp/parameter; \
                 mount --bind /tmp/parameter /sys/module/usbcore/parameters/authorized_default",
            ),
            Self::NoBlock => within("mount -t tmpfs none /dev"),
            Self::NoGuard => within("mount -t tmpfs none /usr/lib/sekisho-post"),
            // Whatever it opens later, its events were read by nobody: it stands still.
            Self::Deaf => {
                "#!/bin/sh\n/usr/lib/real/sekisho-post \"$@\" &\nsleep 3\nkill -STOP $!\nwait\n"
                    .to_owned()
            }
        };
        for (path, _) in files.iter_mut() {
            if path == PLACE {
                REAL.clone_into(path);
            }
        }
        files.push((PLACE.to_owned(), script.into_bytes()));
    }
}
