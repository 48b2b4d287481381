//! The logins that Docker and Podman keep: their files (`config.json`, containers-auth.json(5)), and the helpers that these
//! name (`docker-credential-NAME get`). Podman's are also for parts of a registry: the longest name that a repository begins
//! with counts.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bulla_model::oci;
use bulla_net::{
    Secret, SinkError,
    oci::{Login, Logins},
};
use serde::Deserialize;

use crate::environment::Environment;

/// The most bytes of a file of logins.
const MAX_FILE: u64 = 4 << 20;
/// The most bytes of a helper's answer.
const MAX_ANSWER: u64 = 256 * 1024;
/// How long a helper may take: it may ask for a finger on a key.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks for logins in the files of Docker and Podman.
#[derive(Debug)]
pub(crate) struct DockerLogins {
    files: Vec<PathBuf>,
}

/// What cannot be used of these files and helpers.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("reading the logins in {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is not a file of logins", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("the login for {host} in {} is not the Base64 of `NAME:PASSWORD`", path.display())]
    Auth { path: PathBuf, host: String },
    #[error("`{name}` is not a name of a credential helper")]
    HelperName { name: String },
    #[error("running the credential helper {program}")]
    Helper { program: String, source: std::io::Error },
    #[error("the credential helper {program} failed: {message}")]
    Failed { program: String, message: String },
    #[error("the credential helper {program} did not answer within {} seconds", PATIENCE.as_secs())]
    Slow { program: String },
    #[error("the credential helper {program} did not answer as one does")]
    Answer { program: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What a helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl DockerLogins {
    /// Takes the files that this environment names, the first first: what a variable names, then what Podman keeps, then what
    /// Docker keeps.
    pub(crate) fn new(environment: &Environment) -> Self {
        Self { files: environment.login_files() }
    }

    fn look(&self, host: &str, repository: &str) -> Result<Option<Login>, LoginError> {
        for path in &self.files {
            let Some(file) = read(path)? else { continue };
            if let Some(login) = of_file(path, &file, host, repository)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

impl Logins for DockerLogins {
    fn login(&self, host: &str, repository: &str) -> Result<Option<Login>, SinkError> {
        Ok(self.look(host, repository)?)
    }
}

fn read(path: &Path) -> Result<Option<File>, LoginError> {
    let fail = |source| LoginError::File { path: path.to_owned(), source };
    let mut text = Vec::new();
    match fs_err::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fail)?,
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| LoginError::Json { path: path.to_owned(), source })
}

fn of_file(path: &Path, file: &File, host: &str, repository: &str) -> Result<Option<Login>, LoginError> {
    let entry = |place: &str| file.auths.iter().find(|(key, _)| is_of(key, place));
    // Helpers know whole registries, some of them by a whole URL.
    if let Some((key, name)) = file.cred_helpers.iter().find(|(key, _)| is_of(key, host)) {
        return ask(name, key);
    }
    let whole = format!("{host}/{repository}");
    let mut place = Some(whole.as_str());
    while let Some(name) = place {
        if let Some((_, entry)) = entry(name)
            && let Some(login) = of_entry(path, entry, host)?
        {
            return Ok(Some(login));
        }
        place = name.rsplit_once('/').map(|(above, _)| above);
    }
    match file.creds_store.as_str() {
        "" => Ok(None),
        name => ask(name, entry(host).map_or(host, |(key, _)| key)),
    }
}

/// Says whether a key of a file stands for a registry, `HOST[:PORT]`, or a part of one, `HOST[:PORT]/NAMESPACE[/REPOSITORY]`. A
/// URL, and what older clients wrote (`HOST/v1/`), stand for the whole registry.
fn is_of(key: &str, place: &str) -> bool {
    let host = oci::registry_host(key);
    let is_url = key.starts_with("https://") || key.starts_with("http://");
    let part = if is_url { "" } else { key.strip_prefix(host).unwrap_or_default().trim_matches('/') };
    let part = if matches!(part, "v1" | "v2") { "" } else { part };
    let (of_host, of_part) = place.split_once('/').unwrap_or((place, ""));
    host.eq_ignore_ascii_case(of_host) && part == of_part
}

/// Reads an entry; an empty one only says that the store has the login.
fn of_entry(path: &Path, entry: &Entry, host: &str) -> Result<Option<Login>, LoginError> {
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Login::Identity(Secret::new(&entry.identitytoken))));
    }
    if !entry.auth.is_empty() {
        let bad = || LoginError::Auth { path: path.to_owned(), host: host.to_owned() };
        let text = from_base64(&entry.auth).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
        let (name, password) = text.split_once(':').ok_or_else(bad)?;
        // Docker ends some with a zero byte.
        let password = Secret::new(password.trim_end_matches('\0'));
        return Ok(Some(Login::Password { name: name.to_owned(), password }));
    }
    if !entry.username.is_empty() {
        let password = Secret::new(&entry.password);
        return Ok(Some(Login::Password { name: entry.username.clone(), password }));
    }
    Ok(None)
}

/// Asks a helper; `None` where it has no login.
fn ask(name: &str, server: &str) -> Result<Option<Login>, LoginError> {
    // It becomes the name of a program, which is looked for on the path and nowhere else.
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
        return Err(LoginError::HelperName { name: name.chars().take(100).collect() });
    }
    let program = format!("docker-credential-{name}");
    let fail = |source| LoginError::Helper { program: program.clone(), source };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    if let Some(mut stdin) = stdin {
        // One that reads nothing says so by its code.
        let _ = stdin.write_all(format!("{server}\n").as_bytes());
    }
    let stdout = stdout.map(|pipe| thread::spawn(move || drain(pipe)));
    let stderr = stderr.map(|pipe| thread::spawn(move || drain(pipe)));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(fail)? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(LoginError::Slow { program });
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let text =
        |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let (answer, complaint) = (text(stdout), text(stderr));
    if !status.success() {
        let message = String::from_utf8_lossy(if answer.is_empty() { &complaint } else { &answer }).trim().to_owned();
        // The words by which the helpers say that there is no login (docker-credential-helpers, `credentials/error.go`).
        if message.contains("credentials not found") {
            return Ok(None);
        }
        let message = crate::neutral::line(message.lines().next().unwrap_or_default()).into_owned();
        return Err(LoginError::Failed { program, message });
    }
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| LoginError::Answer { program })?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(Secret::new(answer.secret)),
        _ => Login::Password { name: answer.username, password: Secret::new(answer.secret) },
    }))
}

fn drain(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.take(MAX_ANSWER).read_to_end(&mut bytes);
    bytes
}

/// RFC 4648, section 4; `None` for what is none.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> (tempfile::TempDir, DockerLogins) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.json");
        fs_err::write(&file, text).expect("a file");
        (folder, DockerLogins { files: vec!["/nowhere/config.json".into(), file] })
    }

    fn password(name: &str, word: &str) -> Option<Login> {
        Some(Login::Password { name: name.into(), password: Secret::new(word) })
    }

    #[test]
    fn logins_are_found_under_all_the_names_of_a_registry() {
        let (_folder, logins) = logins(
            r#"{"auths": {
                "https://index.example/v1/": {"auth": "YWRhOnB3"},
                "r.example:5000": {"username": "ada", "password": "other"},
                "https://s.example/v2/": {"identitytoken": "long-lived", "auth": "PHRva2VuPjo="},
                "empty.example": {}
            }, "unknown": {"x": 1}}"#,
        );
        let look = |host: &str| logins.look(host, "team/shop").expect("readable");
        assert_eq!(look("index.example"), password("ada", "pw"));
        assert_eq!(look("r.example:5000"), password("ada", "other"));
        assert_eq!(look("s.example"), Some(Login::Identity(Secret::new("long-lived"))));
        for none in ["r.example", "empty.example", "xr.example:5000", "r.example:5000.evil.example"] {
            assert_eq!(look(none), None, "{none}");
        }
    }

    #[test]
    fn the_login_for_the_smallest_part_of_a_registry_counts() {
        let (_folder, logins) = logins(
            r#"{"auths": {
                "R.example:5000/team": {"username": "team", "password": "1"},
                "r.example:5000/team/shop": {"username": "shop", "password": "2"},
                "r.example:5000/team/shop/empty": {},
                "r.example:5000": {"username": "all", "password": "3"},
                "s.example/team/": {"username": "team", "password": "4"},
                "t.example/v1/": {"username": "old", "password": "5"},
                "https://u.example/team": {"username": "url", "password": "6"}
            }}"#,
        );
        let look = |host: &str, repository: &str| match logins.look(host, repository).expect("readable") {
            Some(Login::Password { name, .. }) => name,
            other => format!("{other:?}"),
        };
        for (repository, name) in [
            ("team/shop", "shop"),
            ("team/shop/cache", "shop"),
            ("team/shop/empty", "shop"),
            ("team/shopping", "team"),
            ("team", "team"),
            ("teams/shop", "all"),
            ("other/team/shop", "all"),
        ] {
            assert_eq!(look("r.example:5000", repository), name, "{repository}");
        }
        // A login for a part is none for the rest; the port is a part of the name.
        for (host, repository) in [("s.example", "other/shop"), ("s.example", "teams"), ("r.example", "team/shop")] {
            assert_eq!(look(host, repository), "None", "{host} {repository}");
        }
        assert_eq!(look("s.example", "team/x"), "team");
        assert_eq!((look("t.example", "x"), look("u.example", "other")), ("old".into(), "url".into()));
    }

    #[test]
    fn what_is_no_file_of_logins_is_named() {
        let message = |text: &str| logins(text).1.look("r.example", "shop").expect_err("refused").to_string();
        assert!(message("no json").contains("config.json"));
        let bad = message(r#"{"auths": {"r.example": {"auth": "%%%"}}}"#);
        assert!(bad.contains("r.example") && bad.contains("config.json"), "{bad}");
        let name = message(r#"{"credHelpers": {"r.example": "../../bin/sh"}}"#);
        assert!(name.contains("not a name"), "{name}");
        let missing = message(r#"{"credHelpers": {"r.example": "no-such-helper"}}"#);
        assert!(missing.contains("docker-credential-no-such-helper"), "{missing}");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (coded, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(from_base64(coded).as_deref(), Some(plain.as_bytes()), "{coded}");
        }
        assert_eq!(from_base64("Zm9v YmE"), None);
    }
}
