//! What a build tells while it goes on. The build knows no terminal: whoever shows it implements [`Observer`].

use std::{sync::atomic::AtomicU64, time::Duration};

use serde::Serialize;

/// Identifies one activity of a build: a download, a root, a step, the assembly of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ActivityId(pub u64);

static NEXT: AtomicU64 = AtomicU64::new(1);

impl ActivityId {
    /// Makes an id that no other activity of this process has.
    pub fn fresh() -> Self {
        Self(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// The kinds of activity, as people see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// Resolving what the spec asks for into pins.
    Lock,
    /// Bringing the locked artifacts into the store.
    Fetch,
    /// Reading a source tree.
    Source,
    /// Unpacking and configuring the packages of a root.
    Root,
    /// Running a step of a stage.
    Step,
    /// Making layers, configuration and manifest.
    Assemble,
    /// Writing the image to where it was asked for.
    Export,
}

/// How an activity ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It was done now.
    Done,
    /// A verified result of an earlier build was used.
    Cached,
    /// It failed; the error says why.
    Failed,
}

/// Where a piece of a step's output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One thing that happened. Texts and bytes may come from foreign code: whoever shows them neutralises them.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// An activity began.
    Started {
        /// Its id, which its later events carry.
        id: ActivityId,
        /// What kind of thing it is.
        activity: Activity,
        /// What it is about: `build 2/5: make`.
        title: &'a str,
    },
    /// An activity got further.
    Progress {
        /// The activity.
        id: ActivityId,
        /// How much is done.
        done: u64,
        /// How much there is in all, where it is known.
        total: Option<u64>,
        /// What is counted: `bytes`, `packages`, `files`.
        unit: &'a str,
    },
    /// A step wrote something.
    Output {
        /// The step.
        id: ActivityId,
        /// Where it wrote.
        stream: Stream,
        /// What it wrote; not necessarily whole lines.
        #[serde(serialize_with = "lossy")]
        bytes: &'a [u8],
    },
    /// A step tried something and was not given it.
    Refused {
        /// The step.
        id: ActivityId,
        /// What it tried: `connect 93.184.216.34:443`.
        what: &'a str,
        /// The executable that tried.
        executable: &'a str,
        /// Its command line.
        command_line: &'a str,
    },
    /// A member of a workspace is affected by what changed since a revision.
    Affected {
        /// The member's folder.
        member: &'a str,
        /// Why: `services/shop/main.c changed since main (1f0c2d3e4a)`.
        reason: &'a str,
    },
    /// What comes now is about a member of a workspace, until the next one.
    Member {
        /// The member's folder.
        member: &'a str,
        /// Which one it is, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Something that the user should know, and that does not end the build.
    Warning {
        /// The warning, a sentence.
        message: &'a str,
    },
    /// An activity ended.
    Finished {
        /// The activity.
        id: ActivityId,
        /// How it ended.
        ending: Ending,
        /// How long it took.
        #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
        took: Duration,
    },
}

fn lossy<S: serde::Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

fn milliseconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// Is told what happens. Called from several threads at once.
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn event(&self, event: &Event<'_>);
}

/// An observer that looks away.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event<'_>) {}
}
