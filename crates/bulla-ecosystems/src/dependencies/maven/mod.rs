//! Maven: what was observed of a project, and the repository that `mvn` finds (maven.apache.org/repository/layout.html).
//!
//! Nothing in a `pom.xml` pins anything: versions are inherited, managed and ranged, and plugins bring their own. So what Maven asked for
//! when a stage was observed is the lock ([`super::observe`]), by path, also what was not there. Each file is an artifact; a checksum
//! is made of its file. `mvn` is told by its global settings: all repositories are mirrored by the one on the loopback.

mod place;

use std::io::{self, Read};

use bulla_model::{CleanPath, Ecosystem};
use sha1::{Digest as _, Sha1};

use self::place::Coordinates;
pub(super) use self::place::asked;
use super::{
    Answer, ArtifactError, Bodies, Body, CACHE, Client, Files, LockFileError, Locked, Native, Observed, Repository,
    Request, Route, observe::Replay,
};

/// The most bytes of a `pom.xml`.
const MAX_POM: u64 = 16 << 20;
/// The most bytes of a file with a checksum.
pub const MAX_CHECKSUM: u64 = 4096;
/// Where Maven's settings are mounted.
const SETTINGS: &str = "run/bulla/maven/settings.xml";
/// What `mvn` reads before it looks at its arguments, in every version: they are the arguments of the script itself.
const RC: &str = "etc/mavenrc";

/// A project of Maven, and what was observed of it.
#[derive(Debug)]
pub struct Maven {
    replay: Replay,
    /// The project's file.
    pom: CleanPath,
}

impl Maven {
    /// Looks for the project's file, and takes what was observed. Nothing in it is read: Maven itself says what it means.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(files: &dyn Files, pom: &CleanPath, observed: &Observed) -> Result<Self, LockFileError> {
        let hint = "name the `pom.xml` of the project, or of its top where it has modules; of a project without Maven, take `maven` out";
        super::read_text(files, pom, MAX_POM, hint)?;
        Ok(Self::of(pom, observed))
    }

    fn of(pom: &CleanPath, observed: &Observed) -> Self {
        let named = |path: &str, _: Option<&str>| {
            let found = Coordinates::parse(path).ok();
            let package = found.as_ref().map_or_else(|| path.to_owned(), Coordinates::package);
            let version = found.map(|found| found.version.to_owned()).unwrap_or_default();
            (package, version, path.rsplit('/').next().unwrap_or_default().to_owned())
        };
        Self { replay: Replay::of(Ecosystem::Maven, observed, named), pom: pom.clone() }
    }
}

/// Gives the package URL of a file by its path; none for a document.
pub(super) fn purl(path: &str) -> Option<String> {
    Coordinates::parse(path).ok()?.purl()
}

/// Reads the SHA-1 that a file with a checksum has, in lower case: some have the name of the file beside it.
pub fn sha1_in(document: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let is_sum = |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    text.split(|c: char| c.is_whitespace() || c == '=').find(is_sum).map(str::to_ascii_lowercase)
}

/// Gives the SHA-1 of bytes, as files with checksums have it.
///
/// # Errors
/// When they cannot be read.
pub fn sha1_of(body: &mut dyn Read) -> io::Result<String> {
    let mut hasher = Sha1::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match body.read(&mut chunk)? {
            0 => break,
            count => hasher.update(chunk.get(..count).unwrap_or_default()),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives the media type that a file is given with.
pub fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("jar" | "war" | "ear") => "application/java-archive",
        Some("pom" | "xml") => "text/xml",
        Some("sha1") => "text/plain",
        _ => "application/octet-stream",
    }
}

impl Native for Maven {
    fn locked(&self) -> &Locked {
        &self.replay.locked
    }

    fn beside(&self) -> String {
        self.replay.beside()
    }

    fn repository(&self, bodies: &dyn Bodies, _base: &str) -> Result<Repository, ArtifactError> {
        let mut routes = Vec::new();
        for (at, path) in self.replay.given().enumerate() {
            let unreadable = |source| ArtifactError {
                artifact: path.to_owned(),
                what: "it cannot be read".to_owned(),
                source: Some(source),
            };
            let sum = bodies.open(at).and_then(|mut body| sha1_of(&mut *body)).map_err(unreadable)?;
            routes.push(found(path, media_type(path), Body::Artifact(at)));
            let (checksum, others) = place::checksums(path);
            routes.push(found(&checksum, media_type(&checksum), Body::Bytes(sum.into_bytes())));
            routes.extend(others.map(|path| not_there(&path)));
        }
        for path in self.replay.absent() {
            routes.push(not_there(path));
            routes.push(not_there(&place::checksums(path).0));
        }
        Ok(Repository { routes })
    }

    fn client(&self, base: &str) -> Client {
        let settings = format!(
            "<settings>
  <localRepository>/{}/maven</localRepository>
  <interactiveMode>false</interactiveMode>
  <mirrors>
    <mirror>
      <id>bulla</id>
      <mirrorOf>*</mirrorOf>
      <url>{base}/maven</url>
    </mirror>
  </mirrors>
</settings>
",
            CACHE.trim_start_matches('/')
        );
        let rc = format!("set -- --global-settings /{SETTINGS} \"$@\"\n");
        let clean = |path: &str| CleanPath::parse(path).expect("a clean path");
        Client {
            files: [(clean(SETTINGS), settings.into_bytes()), (clean(RC), rc.into_bytes())].into(),
            ..Client::default()
        }
    }

    fn diagnose(&self, request: &Request) -> Option<String> {
        let asked = asked(&request.path).ok()?;
        Some(self.replay.unknown("Maven", &asked.path, &format!("{} or a step has", self.pom)))
    }
}

fn found(path: &str, content_type: &str, body: Body) -> Route {
    route(path, Answer { status: 200, content_type: content_type.to_owned(), body })
}

fn not_there(path: &str) -> Route {
    let body = Body::Bytes(Vec::new());
    route(path, Answer { status: 404, content_type: "text/plain".to_owned(), body })
}

fn route(path: &str, answer: Answer) -> Route {
    Route { path: format!("/maven/{path}"), accept: None, answer }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bulla_model::{
        Digest,
        lock::{AnswerPin, Verified},
    };

    use super::*;
    use crate::dependencies::ReadSeek;

    struct One(&'static [u8]);

    impl Bodies for One {
        fn open(&self, _: usize) -> io::Result<Box<dyn ReadSeek + '_>> {
            Ok(Box::new(Cursor::new(self.0)))
        }
    }

    fn maven() -> Maven {
        let given = AnswerPin::Given { size: 3, digest: Digest::of("jar"), purl: None, verified: Verified::Checksum };
        let answers = [("a/b/1/b-1.jar".to_owned(), given), ("a/c/1/c-1.pom".to_owned(), AnswerPin::Absent)].into();
        Maven::of(&CleanPath::parse("pom.xml").expect("a path"), &Observed { stage: "build".to_owned(), answers })
    }

    #[test]
    fn what_was_observed_is_served_with_its_checksums() {
        let repository = maven().repository(&One(b"jar"), "").expect("a repository");
        let all: Vec<_> = repository.routes.iter().map(|one| (one.path.as_str(), one.answer.status)).collect();
        assert_eq!(
            all,
            [
                ("/maven/a/b/1/b-1.jar", 200),
                ("/maven/a/b/1/b-1.jar.sha1", 200),
                ("/maven/a/b/1/b-1.jar.md5", 404),
                ("/maven/a/b/1/b-1.jar.sha256", 404),
                ("/maven/a/b/1/b-1.jar.sha512", 404),
                ("/maven/a/c/1/c-1.pom", 404),
                ("/maven/a/c/1/c-1.pom.sha1", 404),
            ]
        );
        let sum = b"dea59d578e1a88a7d27df6ca2b6dee48e62c7adc".len();
        let Body::Bytes(bytes) = &repository.routes[1].answer.body else { panic!("a document") };
        assert_eq!(bytes.len(), sum);
        let artifact = &maven().replay.locked.artifacts[0];
        assert_eq!(artifact.purl(Ecosystem::Maven), "pkg:maven/a/b@1?type=jar");
    }

    #[test]
    fn what_was_not_observed_is_explained() {
        let request = |path: &str| Request { method: "GET".to_owned(), path: path.to_owned() };
        let told = maven().diagnose(&request("/maven/a/b/2/b-2.jar")).expect("it is explained");
        assert!(told.contains("a/b/2/b-2.jar") && told.contains("`bulla lock --observe build`"), "{told}");
        assert_eq!(maven().diagnose(&request("/npm/left-pad")), None);
    }

    #[test]
    fn checksums_are_read_as_they_are_written() {
        let sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(sha1_of(&mut io::empty()).expect("read"), sum);
        for text in
            [sum.to_owned(), sum.to_uppercase() + "\n", format!("{sum}  b-1.jar\n"), format!("SHA1(b-1.jar)= {sum}")]
        {
            assert_eq!(sha1_in(text.as_bytes()).as_deref(), Some(sum), "{text}");
        }
        for bad in [&b""[..], b"\xff", b"<html>404</html>", &sum.as_bytes()[1..]] {
            assert_eq!(sha1_in(bad), None);
        }
    }
}
