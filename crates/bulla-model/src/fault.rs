//! Whose fault an error is. Every error of the libraries says so, and the command line turns it into an exit code.

/// What an error is about, and so who can mend it. The exit codes are documented in `docs/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A step of the build, or a test stage, failed: the project's own commands.
    Step,
    /// The spec, the lock or an option is wrong, or asks for what does not exist.
    Spec,
    /// The host, its kernel, disk, network or configuration does not give what is needed.
    Environment,
    /// Bytes are not what a digest, signature or receipt says they are.
    Integrity,
    /// Something tried to get out of the sandbox, or isolation cannot be had; a secret would stay behind.
    Hermeticity,
    /// A rule that the user set forbids it (`--locked`, `on-refusal: fail`).
    Policy,
    /// The user stopped it.
    Interrupted,
    /// A mistake in Bulla itself.
    Internal,
}

impl Kind {
    /// Gives the exit code of the process.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Step => 1,
            Self::Spec => 3,
            Self::Environment => 4,
            Self::Integrity => 5,
            Self::Hermeticity => 6,
            Self::Policy => 7,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }
}

/// What every error of the libraries can say of itself, beside its message and its source.
pub trait Fault: std::error::Error {
    /// Says whose fault it is.
    fn kind(&self) -> Kind;

    /// Says what the user can do about it, one sentence each; written where the knowledge is.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
