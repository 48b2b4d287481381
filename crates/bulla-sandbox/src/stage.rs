//! The stages of setting up a sandbox, in their order, each with what it means when it fails.

use std::fmt;

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What was being done when a sandbox could not be set up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Stage { $($(#[$doc])* $name,)* }

        impl Stage {
            const ALL: &[Self] = &[$(Self::$name,)*];

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

stages! {
    /// `clone3` with the namespaces.
    Namespaces = "making the namespaces",
    /// Descriptors of the new process.
    Descriptors = "arranging the descriptors",
    /// `/proc/self/uid_map` and its fellows.
    Identity = "mapping the user id",
    /// The emulator of another machine.
    Emulation = "registering the emulator",
    /// The loopback interface.
    Loopback = "bringing the loopback interface up",
    /// The socket of the name sink.
    Resolver = "listening for name look-ups",
    /// The socket on which the caller answers.
    Listen = "listening on the port of the request",
    /// The host name.
    Hostname = "setting the host name",
    /// Mount propagation.
    Propagation = "making mounts private",
    /// The overlay.
    Overlay = "mounting the overlay",
    /// The bind of a copied root.
    CopiedRoot = "mounting the copied root",
    /// The surroundings that are the same everywhere.
    FixedFiles = "mounting the fixed files",
    /// `/dev`.
    Dev = "mounting /dev",
    /// `/proc`.
    Proc = "mounting /proc",
    /// The request's binds.
    Binds = "binding a path into the root",
    /// The secrets of the request.
    Secrets = "mounting the secrets",
    /// `pivot_root`.
    Pivot = "changing the root",
    /// The working directory.
    WorkingDirectory = "entering the working directory",
    /// Limits, processors, umask, personality.
    Limits = "setting the resource limits",
    /// Capabilities and no_new_privs.
    Privileges = "dropping privileges",
    /// The filter of system calls.
    Filter = "installing the system call filter",
    /// The hand-over to the supervisor.
    Handover = "handing over to the supervisor",
    /// The fork of the command.
    Fork = "starting the command's process",
    /// `execve` of the command.
    Execute = "executing the command",
}

impl Stage {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Says whether isolation itself could not be had.
    pub(crate) const fn isolates(self) -> bool {
        matches!(
            self,
            Self::Namespaces | Self::Identity | Self::Loopback | Self::Pivot | Self::Privileges | Self::Filter
        )
    }

    /// Says what the errno means at this stage, where that is known.
    pub(crate) const fn hint(self, errno: i32) -> Option<&'static str> {
        match (self, errno) {
            (Self::Namespaces, libc::ENOSPC) => {
                Some("the number of user namespaces is used up: `sysctl user.max_user_namespaces`")
            }
            (Self::Emulation, libc::EPERM) => Some(
                "programs of another machine need Linux 6.7, whose binfmt_misc can be had without root; `bulla doctor` tells",
            ),
            (Self::Emulation, libc::ENODEV) => Some(
                "this kernel has no binfmt_misc (CONFIG_BINFMT_MISC); where it is a module: `sudo modprobe binfmt_misc`",
            ),
            (Self::Overlay, libc::EINVAL) => Some(
                "an upper directory cannot lie on an overlay or on a network file system: put the store on a local disk",
            ),
            (Self::Overlay | Self::CopiedRoot | Self::Binds, libc::EACCES) => Some(
                "the store must be reachable for the uid that the sandbox runs as: check the modes of the directories above it",
            ),
            (Self::Proc, libc::EPERM) => Some(
                "parts of this host's /proc are masked, as container engines do: run the container with `--security-opt systempaths=unconfined` (Kubernetes: `procMount: Unmasked`)",
            ),
            (Self::WorkingDirectory, libc::ENOENT) => Some("the working directory does not exist in the root"),
            _ => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_survives_the_wire() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_byte(*stage as u8), Some(*stage));
        }
        assert_eq!(Stage::from_byte(255), None);
    }
}
