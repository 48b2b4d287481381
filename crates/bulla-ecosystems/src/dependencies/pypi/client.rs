//! How pip, uv and Poetry find the repository, and why they were not served.

use bulla_model::{CleanPath, spec::InstallScripts};

use super::{
    super::{CACHE, Client, Request},
    Pypi,
    name::{Kind, normalised},
    package::{Package, Pins, Reading},
};

/// Where the plug-in lies that tells Poetry of the repository, without its first slash.
const PLUGIN: &str = "run/bulla/poetry";

/// Says how clients find the repository; uv by an index that it has to be told instead, where there is one.
pub(super) fn client(base: &str, reading: &Reading, scripts: &InstallScripts) -> Client {
    let told = reading.told.as_deref();
    let index = format!("{base}/pypi/simple/");
    // An empty variable is none to pip and uv, and hides one of an image that the stage starts from.
    let env = [
        ("PIP_INDEX_URL", index.as_str()),
        ("PIP_EXTRA_INDEX_URL", ""),
        ("PIP_FIND_LINKS", ""),
        ("PIP_NO_INDEX", ""),
        ("PIP_PROXY", ""),
        ("PIP_CERT", ""),
        // pip reads no file of settings then, be it of the system, the user or the environment.
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_KEYRING_PROVIDER", "disabled"),
        ("PIP_NO_CACHE_DIR", "1"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_RETRIES", "0"),
        ("PIP_ROOT_USER_ACTION", "ignore"),
        // Instead of what lies at home, in the system or beside the project: other indexes there would be asked, and fail.
        ("UV_CONFIG_FILE", "/dev/null"),
        ("UV_DEFAULT_INDEX", told.unwrap_or(&index)),
        ("UV_INDEX", ""),
        ("UV_INDEX_URL", ""),
        ("UV_EXTRA_INDEX_URL", ""),
        ("UV_FIND_LINKS", ""),
        ("UV_HTTP_RETRIES", "0"),
        ("UV_KEYRING_PROVIDER", "disabled"),
        ("UV_LINK_MODE", "copy"),
        ("UV_NO_CACHE", "1"),
        ("UV_NO_PROGRESS", "1"),
        ("UV_PYTHON_DOWNLOADS", "never"),
    ];
    let mut client = Client {
        env: env.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..Client::default()
    };
    // Nothing else is served either way; pip says at once what it would have built. With exceptions there is no word for it.
    let is_denied = matches!(scripts, InstallScripts::Deny { allow } if allow.is_empty());
    if is_denied {
        client.env.insert("PIP_ONLY_BINARY".to_owned(), ":all:".to_owned());
    }
    if reading.poetry {
        poetry(base, &mut client, is_denied);
        if !reading.repositories.is_empty() {
            // Its own reader of git knows nothing of git's settings; the names are those of versions 1 and 2.
            let own = ["POETRY_EXPERIMENTAL_SYSTEM_GIT_CLIENT", "POETRY_SYSTEM_GIT_CLIENT"];
            client.env.extend(own.map(|name| (name.to_owned(), "true".to_owned())));
        }
    }
    reading.repositories.enforce(&mut client);
    client
}

/// Says how Poetry finds the repository. Where its first index is no setting of it can say, but a plug-in can, by the interface that it has for
/// those; it lies where no package of an environment does.
fn poetry(base: &str, client: &mut Client, is_denied: bool) {
    let cache = format!("{CACHE}/poetry");
    let env = [
        ("PYTHONPATH", format!("/{PLUGIN}")),
        ("POETRY_CACHE_DIR", cache.clone()),
        // No settings of an image that the stage starts from.
        ("POETRY_CONFIG_DIR", format!("{cache}/config")),
        ("POETRY_KEYRING_ENABLED", "false".to_owned()),
        ("POETRY_NO_INTERACTION", "1".to_owned()),
        ("POETRY_REQUESTS_MAX_RETRIES", "0".to_owned()),
        // Where it makes an environment itself: beside the caches it would be gone with the step.
        ("POETRY_VIRTUALENVS_IN_PROJECT", "true".to_owned()),
    ];
    client.env.extend(env.map(|(key, value)| (key.to_owned(), value)));
    if is_denied {
        client.env.insert("POETRY_INSTALLER_ONLY_BINARY".to_owned(), ":all:".to_owned());
    }
    let module = include_str!("poetry_plugin.py").replace("{base}", base);
    let files = [
        ("bulla_poetry.py", module.as_str()),
        ("bulla_poetry-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: bulla-poetry\nVersion: 1\n"),
        (
            "bulla_poetry-1.dist-info/entry_points.txt",
            "[poetry.application.plugin]\nbulla = bulla_poetry:LockedRepository\n",
        ),
    ];
    for (file, text) in files {
        if let Ok(path) = CleanPath::parse(format!("{PLUGIN}/{file}")) {
            client.files.insert(path, text.as_bytes().to_vec());
        }
    }
}

/// Says why a client was not served.
pub(super) fn diagnose(pypi: &Pypi, request: &Request) -> Option<String> {
    let rest = request.path.strip_prefix("/pypi/")?;
    let lock = &pypi.locked.file;
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Some(format!(
            "Python's packages can be had here and not published; the client sent `{}`",
            request.method
        ));
    }
    let mut parts = rest.split('/');
    match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        ("simple", Some(name), ..) => Some(unlocked(pypi, &normalised(name)?)),
        ("files", Some(name), Some(version), Some(file)) => {
            let has = pypi.versions(name);
            Some(match has.as_slice() {
                [] => unlocked(pypi, &normalised(name)?),
                has if has.contains(&version) => {
                    let file = file.strip_suffix(".metadata").unwrap_or(file);
                    format!(
                        "`{file}` of {name} {version} is not among what {lock} names for this platform; {}",
                        lock_again(pypi)
                    )
                }
                has => {
                    format!("a client asked for {name} {version}; {lock} has {}. {}", has.join(", "), lock_again(pypi))
                }
            })
        }
        ("pypi", Some(name), Some(version), Some("json")) => {
            let has = pypi.versions(name);
            // Of what is locked there is a document, unless no file of it is served.
            Some(if has.is_empty() || has.contains(&version) {
                unlocked(pypi, &normalised(name)?)
            } else {
                format!("a client asked for {name} {version}; {lock} has {}. {}", has.join(", "), lock_again(pypi))
            })
        }
        ("pypi", ..) => Some(format!(
            "a client asked for the JSON interface of the public registry (`/pypi/{rest}`), of which only single versions are there"
        )),
        _ => None,
    }
}

/// Says to what pip or uv said last why a version is not there: both find that out by a page.
pub(super) fn answer_to(pypi: &Pypi, words: &str) -> Option<String> {
    let repositories = Some(&pypi.reading.repositories).filter(|all| !all.is_empty());
    if let Some(answer) = repositories.and_then(|all| all.answer_to(words)) {
        return Some(answer);
    }
    let pip = "requirement ";
    let uv = "there is no version of ";
    let (_, behind) = words.split_once(uv).or_else(|| words.split_once(pip))?;
    let wanted = behind.split_whitespace().next()?.trim_end_matches([',', '.']);
    let end = wanted.find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c))?;
    let (name, version) = (normalised(&wanted[..end])?, wanted[end..].trim_start_matches(['=', '[', ']']));
    let plain = |c: char| c.is_ascii_alphanumeric() || ".+!-_<>=~*".contains(c);
    let has = pypi.versions(&name);
    let of_name = pypi.reading.packages.iter().find(|package| package.name == name);
    let served = pypi.locked.artifacts.iter().any(|artifact| artifact.name == name);
    if let Some(told) = of_name.filter(|_| !served).and_then(|package| denied(pypi, package)) {
        return Some(told);
    }
    if has.is_empty()
        || version.is_empty()
        || version.len() > 50
        || !version.chars().all(plain)
        || has.contains(&version)
    {
        return None;
    }
    Some(format!(
        "a client asked for {name} {version}; {} has {}. {}",
        pypi.locked.file,
        has.join(", "),
        lock_again(pypi)
    ))
}

/// Says of a package of which only a source package could be served that building it is denied.
fn denied(pypi: &Pypi, package: &Package) -> Option<String> {
    let Pins::Files(files) = &package.pins else { return None };
    let has_source = files.iter().any(|file| file.kind == Kind::Source);
    (has_source && !super::may_build(&pypi.scripts, &package.name)).then(|| {
        format!(
            "{} of {} has no wheel that runs on CPython {}on Linux, x86-64, glibc, and `scripts` denies building it from source, which runs \
             what it brings. If you trust it: `scripts: {{allow: [{}]}}`",
            package.shown(),
            pypi.locked.file,
            pypi.reading.pythons.shown(),
            package.name
        )
    })
}

fn unlocked(pypi: &Pypi, name: &str) -> String {
    let lock = &pypi.locked.file;
    let of_name = pypi.reading.packages.iter().find(|package| package.name == name);
    if let Some(package) = of_name {
        if let Some(told) = denied(pypi, package) {
            return told;
        }
        let files = match &package.pins {
            Pins::Files(files) | Pins::Observed(files) => {
                files.iter().map(|file| file.file.as_str()).take(3).collect::<Vec<_>>().join(", ")
            }
            Pins::Hashes(_) => String::new(),
        };
        return format!(
            "{} of {lock} has no file that runs on CPython {}on Linux, x86-64, glibc ({files} …)",
            package.shown(),
            pypi.reading.pythons.shown()
        );
    }
    let built: Vec<&str> = pypi
        .locked
        .artifacts
        .iter()
        .filter(|artifact| pypi.is_source(artifact))
        .map(|artifact| artifact.file.as_str())
        .chain(pypi.reading.commits.iter().map(|commit| commit.package.as_str()))
        .collect();
    match built.as_slice() {
        _ if pypi.observed.is_some() => format!(
            "a client asked for {name}, which {lock} does not have, nor was it asked for when the stage was observed. When that is to build something \
             from source, run `bulla lock --observe {}`, look at what is new, and build again. Otherwise: {}",
            pypi.observed.as_deref().unwrap_or_default(),
            lock_again(pypi)
        ),
        [] => format!("a client asked for {name}, which {lock} does not have. {}", lock_again(pypi)),
        built => format!(
            "a client asked for {name}, which {lock} does not have. When that is to build {} from source: what building needs \
             (`build-system.requires` of its pyproject.toml) is in no lock file of what is installed. Have it found out by `bulla lock --observe`: \
             `dependencies: [{{pypi: {lock}, build-dependencies: observed}}]`. Or write it to `build-requirements.in`, run \
             `pip-compile --generate-hashes build-requirements.in`, and name that too: `dependencies: [{{pypi: {lock}}}, {{pypi: build-requirements.txt}}]`. \
             Otherwise: {}",
            built.iter().take(3).copied().collect::<Vec<_>>().join(" or "),
            lock_again(pypi)
        ),
    }
}

fn lock_again(pypi: &Pypi) -> String {
    let name = String::from_utf8_lossy(pypi.locked.file.name()).into_owned();
    let how = match name.as_str() {
        "poetry.lock" => "Run `poetry lock`".to_owned(),
        name if name.ends_with(".lock") => "Run `uv lock`".to_owned(),
        name if name.ends_with(".toml") => "Export or lock it again".to_owned(),
        _ => "Add it to what the file is compiled of, run `pip-compile --generate-hashes` or `uv pip compile --generate-hashes`".to_owned(),
    };
    format!("{how}, commit the file, build again")
}

impl Pypi {
    /// The versions of a package that the lock file has.
    fn versions(&self, name: &str) -> Vec<&str> {
        self.reading
            .packages
            .iter()
            .filter(|package| package.name == name)
            .map(|package| package.version.as_str())
            .collect()
    }

    fn is_source(&self, artifact: &super::super::Artifact) -> bool {
        let meaning = super::name::version(&artifact.version);
        meaning.and_then(|meaning| super::name::file(&artifact.file, &artifact.name, &meaning)) == Some(Kind::Source)
    }
}
