//! apt in a step: what `apt-get update` and `apt-get install` find there (wiki.debian.org/DebianRepository/Format).
//!
//! What they asked for when a stage was observed is the lock: the signed index of each suite as it was, the lists that it names, the packages
//! that these name ([`Archive`]). Bulla verified all of it by the keys that packages of Debian are verified by; apt does so again by those of
//! its root, since what it finds is what the archive signed. It finds sources of its own settings' kind, and no others meanwhile.

mod archive;
mod place;

use bulla_model::{CleanPath, Ecosystem, spec::Release};

pub use self::archive::{Archive, ArchiveError, Expected};
pub(super) use self::place::{asked, purl};
use super::{
    Answer, ArtifactError, Bodies, Body, CACHE, Client, Locked, Native, Observed, Repository, Request, Route,
    observe::Replay,
};

/// What apt reads after the settings that its packages bring.
const SETTINGS: &str = "etc/apt/apt.conf.d/zz-bulla";
/// The folder of the sources that it has meanwhile.
const SOURCES: &str = "run/bulla/apt";
/// What maintainer scripts ask whether a service may be started (people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt).
const POLICY: &str = "usr/sbin/policy-rc.d";
/// No: 101 is "action forbidden by policy".
const FORBIDS: &str = "#!/bin/sh\nexit 101\n";

/// What was observed of apt.
#[derive(Debug)]
pub struct Apt {
    replay: Replay,
    release: Release,
}

impl Apt {
    /// Takes what was observed.
    pub fn new(release: &Release, observed: &Observed) -> Self {
        let named = |path: &str, purl: Option<&str>| {
            let (name, version) = place::named(path, purl);
            (name, version, path.to_owned())
        };
        Self { replay: Replay::of(Ecosystem::Apt, observed, named), release: release.clone() }
    }
}

impl Native for Apt {
    fn locked(&self) -> &Locked {
        &self.replay.locked
    }

    fn beside(&self) -> String {
        self.replay.beside()
    }

    fn repository(&self, _bodies: &dyn Bodies, _base: &str) -> Result<Repository, ArtifactError> {
        let given = self.replay.given().enumerate().map(|(at, path)| route(path, 200, Body::Artifact(at)));
        let absent = self.replay.absent().iter().map(|path| route(path, 404, Body::Bytes(Vec::new())));
        Ok(Repository { routes: given.chain(absent).collect() })
    }

    fn client(&self, base: &str) -> Client {
        // The index is the one that was pinned, however old it is by now: its dates were compared when it was observed, and are in the lock.
        // A step has one user, and what is only a note of when something ran would make each run's result another one.
        let settings = format!(
            r#"Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "/{SOURCES}";
Dir::Cache "{CACHE}/apt/";
Dir::Log "{CACHE}/apt/";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "0";
Acquire::http::Proxy "DIRECT";
APT::Sandbox::User "root";
Dpkg::Use-Pty "false";
Dpkg::Options:: "--log=/dev/null";
Dpkg::Options:: "--force-unsafe-io";
Dpkg::Post-Invoke:: "rm -f /var/log/alternatives.log /var/cache/ldconfig/aux-cache";
"#
        );
        let stanza = |suite: &String| {
            let components = self.release.components.join(" ");
            format!("Types: deb\nURIs: {base}/apt/{suite}\nSuites: {suite}\nComponents: {components}\n")
        };
        let sources: Vec<String> = self.release.suites.iter().map(stanza).collect();
        let clean = |path: &str| CleanPath::parse(path).expect("a clean path");
        Client {
            // Who asks questions finds nobody.
            env: [("DEBIAN_FRONTEND", "noninteractive"), ("DEBCONF_NONINTERACTIVE_SEEN", "true")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            files: [
                (clean(SETTINGS), settings.into_bytes()),
                (clean(&format!("{SOURCES}/bulla.sources")), sources.join("\n").into_bytes()),
            ]
            .into(),
            programs: [(clean(POLICY), FORBIDS.as_bytes().to_vec())].into(),
        }
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        let asked = asked(&request.path).ok()?;
        Some(self.replay.unknown("apt", &asked.path, "a step or the packages that the stage starts from have"))
    }
}

fn route(path: &str, status: u16, body: Body) -> Route {
    let answer = Answer { status, content_type: "application/octet-stream".to_owned(), body };
    Route { path: format!("/apt/{path}"), accept: None, answer }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bulla_model::{
        Digest,
        lock::{AnswerPin, Verified},
    };

    use super::*;
    use crate::dependencies::ReadSeek;

    struct Nothing;

    impl Bodies for Nothing {
        fn open(&self, _: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn apt() -> Apt {
        let release = Release {
            codename: "trixie".to_owned(),
            suites: vec!["trixie".to_owned(), "trixie-security".to_owned()],
            components: vec!["main".to_owned(), "contrib".to_owned()],
        };
        let given = |purl: Option<&str>| AnswerPin::Given {
            size: 3,
            digest: Digest::of("x"),
            purl: purl.map(str::to_owned),
            verified: Verified::SignedDigest,
        };
        let answers = [
            (
                "trixie/pool/main/g/g++/libg++_2%3a1.0~rc1_amd64.deb".to_owned(),
                given(Some("pkg:deb/debian/libg%2B%2B@2:1.0~rc1?arch=amd64")),
            ),
            ("trixie/dists/trixie/InRelease".to_owned(), given(None)),
            ("trixie/dists/trixie/main/binary-amd64/Packages.xz".to_owned(), AnswerPin::Absent),
        ];
        Apt::new(&release, &Observed { stage: "build".to_owned(), answers: answers.into() })
    }

    #[test]
    fn what_was_observed_is_served_as_it_was() {
        let repository = apt().repository(&Nothing, "").expect("a repository");
        let all: Vec<_> = repository.routes.iter().map(|one| (one.path.as_str(), one.answer.status)).collect();
        assert_eq!(
            all,
            [
                ("/apt/trixie/dists/trixie/InRelease", 200),
                ("/apt/trixie/pool/main/g/g++/libg++_2%3a1.0~rc1_amd64.deb", 200),
                ("/apt/trixie/dists/trixie/main/binary-amd64/Packages.xz", 404),
            ]
        );
        let artifacts = &apt().replay.locked.artifacts;
        assert_eq!((artifacts[0].name.as_str(), artifacts[0].version.as_str()), ("the index of", "trixie"));
        assert_eq!((artifacts[1].name.as_str(), artifacts[1].version.as_str()), ("libg++", "2:1.0~rc1"));
        assert_eq!(artifacts[1].purl(Ecosystem::Apt), "pkg:deb/debian/libg%2B%2B@2:1.0~rc1?arch=amd64");
    }

    #[test]
    fn apt_finds_the_suites_of_the_release_and_no_others() {
        let client = apt().client("http://127.0.0.1:8417");
        let text = |path: &str| {
            let path = CleanPath::parse(path).expect("a path");
            String::from_utf8(client.files[&path].clone()).expect("text")
        };
        assert_eq!(
            text("run/bulla/apt/bulla.sources"),
            "Types: deb\nURIs: http://127.0.0.1:8417/apt/trixie\nSuites: trixie\nComponents: main contrib\n\n\
             Types: deb\nURIs: http://127.0.0.1:8417/apt/trixie-security\nSuites: trixie-security\nComponents: main contrib\n"
        );
        let settings = text("etc/apt/apt.conf.d/zz-bulla");
        assert!(settings.contains("Dir::Etc::sourcelist \"/dev/null\""), "{settings}");
        // Who signed is never left unchecked.
        for word in ["AllowUnauthenticated", "AllowInsecure", "trusted", "Trusted"] {
            assert!(!settings.contains(word) && !text("run/bulla/apt/bulla.sources").contains(word), "{word}");
        }
    }

    #[test]
    fn what_was_not_observed_is_explained() {
        let request = |path: &str| Request { method: "GET".to_owned(), path: path.to_owned() };
        let told =
            apt().diagnose(&request("/apt/trixie/pool/main/z/zlib/zlib1g_1_amd64.deb")).expect("it is explained");
        assert!(told.contains("zlib1g_1_amd64.deb") && told.contains("`bulla lock --observe build`"), "{told}");
        assert_eq!(apt().diagnose(&request("/npm/left-pad")), None);
    }
}
