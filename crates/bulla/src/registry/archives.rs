//! Where what apt asks for in steps is: in the archive of its suite, as packages that a stage starts from are.

use bulla_net::{NetError, Reach, Url};

use super::{Found, PackageRegistries, Registry, apt::Apt};
use crate::{error::Result, session::Session};

/// The archives, as this user on this machine has them.
#[derive(Debug, Clone)]
pub(crate) struct AptRegistries(Registry);

impl AptRegistries {
    /// Reads the configuration and apt's settings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        Ok(Self(Registry::new(&session.config()?.debian, Apt::read(session)?)))
    }

    /// Gives where suites are.
    pub(crate) const fn registry(&self) -> &Registry {
        &self.0
    }
}

/// Splits a path into the suite and what lies in its archive.
fn parts(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

impl PackageRegistries for AptRegistries {
    fn has(&self, suite: &str) -> bool {
        self.0.suite(suite).is_ok()
    }

    fn find(&self, _package: &str, path: &str) -> Result<Vec<Found>> {
        let (suite, inside) = parts(path);
        let inside = inside.replace('%', "%25");
        let found = |mirror: &Url| -> Result<Found> {
            let url = mirror.beneath(&inside).map_err(NetError::from)?;
            Ok(Found { url, reach: Reach::Configured, login: None, else_next: true })
        };
        self.0.suite(suite)?.mirrors.iter().map(found).collect()
    }

    fn moved_on(&self, path: &str) -> Option<Vec<String>> {
        let (suite, inside) = parts(path);
        let index = inside.starts_with("dists/");
        Some(vec![
            match index {
                true => format!("an archive keeps its newest index alone: that of {suite} is another one than when the stage was observed"),
                false => format!("an archive drops packages that have a newer version: that of {suite} has moved on since the stage was observed"),
            },
            "observe again by `bulla lock --observe` for what there is now".to_owned(),
            "a remote store and a bundle keep what was observed, and so does a mirror of all earlier states (a snapshot) under `[registry.debian]`".to_owned(),
        ])
    }
}
