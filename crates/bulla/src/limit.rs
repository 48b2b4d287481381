//! Limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets as many files be open at once as this user may have. A root holds the folder of each of its packages, and a session begins with
/// 1,024, a limit for programs that wait by `select`, which Bulla is none of (getrlimit(2)). A step has limits of its own.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, what needs more says so.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
}
