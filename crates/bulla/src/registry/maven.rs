//! Where artifacts of Maven are, and the logins for there (maven.apache.org/settings.html).
//!
//! In this order: `[registry.maven]` of the configuration; Maven's own settings, those of the user before those of the machine: the mirror of
//! `central`, then the repositories of active profiles, each by its mirror where it has one. No host is compiled in, although one is in Maven. The
//! repositories that a `pom.xml` names are not asked: a stranger may have written it. Logins are those of `servers`, and of netrc.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{Fault, Kind};
use bulla_net::{NetError, Reach, Secret, Url};
use roxmltree::{Document, Node};

use super::{
    Found, PackageRegistries,
    netrc::Netrc,
    packages::{SettingError, settings},
};
use crate::{config, environment::Environment, error::Result, session::Session};

/// The repository that every project has.
const CENTRAL: &str = "central";

/// The repositories, as this user on this machine has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct MavenRegistries {
    repositories: Vec<Repository>,
    netrc: Netrc,
}

#[derive(Debug, Clone)]
struct Repository {
    url: Url,
    login: Option<Secret>,
    /// The server of the settings whose password cannot be read.
    sealed: Option<String>,
}

/// Nothing says where artifacts are.
#[derive(Debug, thiserror::Error)]
#[error("nothing says which repository of Maven has {package}")]
struct NoRepository {
    package: String,
}

impl Fault for NoRepository {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "write `[registry.maven]` and `repositories = [\"https://HOST/PATH\"]` into `~/.config/bulla/config.toml`, with the address that `mvn` \
             prints as `Downloading from`, or that of your own repository"
                .into(),
            "or a `<mirror>` of `central` into `~/.m2/settings.xml`".into(),
        ]
    }
}

/// What one file of settings says.
#[derive(Debug, Default)]
struct Settings {
    mirrors: Vec<Mirror>,
    /// Repositories of active profiles, by name and address.
    repositories: Vec<(String, String)>,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Mirror {
    id: String,
    of: String,
    url: String,
    /// Whether nothing may be fetched from what it is for.
    blocked: bool,
}

#[derive(Debug)]
struct Server {
    id: String,
    login: Option<Secret>,
}

impl MavenRegistries {
    /// Reads the configuration, the logins of netrc, and Maven's settings where the configuration does not forbid it.
    ///
    /// # Errors
    /// When a file cannot be read, or an address in it is none.
    pub(crate) fn read(session: &Session) -> Result<Self> {
        let configured = &session.config()?.maven;
        let mut all = Settings::default();
        let environment = &session.environment;
        if configured.maven_settings {
            for file in environment.maven_files() {
                if let Some(text) = settings(&file)? {
                    all.take(&file, &text, &|name| variable(environment, name))?;
                }
            }
        }
        Ok(Self::of(configured, &all, Netrc::read(environment)?)?)
    }

    fn of(configured: &config::Maven, settings: &Settings, netrc: Netrc) -> Result<Self, SettingError> {
        let mut found = Self { repositories: Vec::new(), netrc };
        if !configured.repositories.is_empty() {
            found.repositories.extend(configured.repositories.iter().map(|url| settings.at(url.clone(), None)));
            return Ok(found);
        }
        let own = settings.repositories.iter().map(|(id, url)| (id.as_str(), Some(url.as_str())));
        let central = settings.repositories.iter().all(|(id, _)| id != CENTRAL).then_some((CENTRAL, None));
        for (id, url) in central.into_iter().chain(own) {
            let mirror = settings.mirror_of(id, url);
            if mirror.is_some_and(|mirror| mirror.blocked) {
                continue;
            }
            let (id, url) = mirror.map_or((id, url), |mirror| (mirror.id.as_str(), Some(mirror.url.as_str())));
            let Some(text) = url else { continue };
            let url = Url::parse(text).map_err(|error| SettingError {
                file: PathBuf::from("settings.xml"),
                line: None,
                what: format!("the address of `{id}`: {error}"),
            })?;
            if found.repositories.iter().all(|known| known.url != url) {
                found.repositories.push(settings.at(url, Some(id)));
            }
        }
        Ok(found)
    }
}

impl Mirror {
    /// Says whether it is for a repository (maven.apache.org/guides/mini/guide-mirror-settings.html).
    fn is_of(&self, id: &str, url: Option<&str>) -> bool {
        let is_external = || {
            url.is_none_or(|url| {
                !url.contains("://localhost") && !url.contains("://127.0.0.1") && !url.starts_with("file:")
            })
        };
        let mut is = false;
        for word in self.of.split(',').map(str::trim) {
            match word {
                _ if word.strip_prefix('!') == Some(id) => return false,
                "*" => is = true,
                "external:*" => is |= is_external(),
                "external:http:*" => is |= is_external() && url.is_some_and(|url| url.starts_with("http:")),
                _ => is |= word == id,
            }
        }
        is
    }
}

impl Settings {
    /// Gives the mirror of a repository: one that names it alone comes before those of many (Maven's `DefaultMirrorSelector`).
    fn mirror_of(&self, id: &str, url: Option<&str>) -> Option<&Mirror> {
        let alone = self.mirrors.iter().find(|mirror| mirror.of == id);
        alone.or_else(|| self.mirrors.iter().find(|mirror| mirror.is_of(id, url)))
    }

    /// Gives a repository with the login of the server of its name.
    fn at(&self, url: Url, id: Option<&str>) -> Repository {
        let server = id.and_then(|id| self.servers.iter().find(|server| server.id == id));
        let login = server.and_then(|server| server.login.clone());
        let sealed = server.filter(|server| server.login.is_none()).map(|server| server.id.clone());
        Repository { url, login, sealed }
    }

    /// Takes what a weaker file says. A document type, by which a file can grow without end, is refused.
    fn take(&mut self, file: &Path, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), SettingError> {
        let document = Document::parse(text).map_err(|error| SettingError {
            file: file.to_owned(),
            line: usize::try_from(error.pos().row).ok(),
            what: "it is no XML that can be read here".to_owned(),
        })?;
        let root = document.root_element();
        let text = |node: Node<'_, '_>, name: &str| {
            let text = child(node, name)?.text()?.trim();
            (!text.is_empty()).then(|| expanded(text, variable))
        };
        for mirror in children(root, "mirrors", "mirror") {
            if let (Some(of), Some(url)) = (text(mirror, "mirrorOf"), text(mirror, "url")) {
                let blocked = text(mirror, "blocked").as_deref() == Some("true");
                self.mirrors.push(Mirror { id: text(mirror, "id").unwrap_or_default(), of, url, blocked });
            }
        }
        let active: Vec<String> = children(root, "activeProfiles", "activeProfile")
            .filter_map(|profile| Some(profile.text()?.trim().to_owned()))
            .collect();
        for profile in children(root, "profiles", "profile") {
            let by_default = child(profile, "activation").and_then(|one| text(one, "activeByDefault"));
            let is_named = text(profile, "id").is_some_and(|id| active.contains(&id));
            if !is_named && (by_default.as_deref() != Some("true") || !active.is_empty()) {
                continue;
            }
            let of_plugins = children(profile, "pluginRepositories", "pluginRepository");
            for repository in children(profile, "repositories", "repository").chain(of_plugins) {
                if let (Some(id), Some(url)) = (text(repository, "id"), text(repository, "url"))
                    && self.repositories.iter().all(|(known, _)| *known != id)
                {
                    self.repositories.push((id, url));
                }
            }
        }
        for server in children(root, "servers", "server") {
            let Some(id) = text(server, "id") else { continue };
            let login = text(server, "username").zip(text(server, "password"));
            // One in braces is encrypted by a key that Maven has.
            let login = login.filter(|(_, password)| !(password.starts_with('{') && password.ends_with('}')));
            if self.servers.iter().all(|known| known.id != id) {
                let login = login.map(|(name, password)| basic(&name, &password));
                self.servers.push(Server { id, login });
            }
        }
        Ok(())
    }
}

/// Gives the value of `Authorization` (RFC 7617).
fn basic(name: &str, password: &str) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|one| one.is_element() && one.tag_name().name() == name)
}

fn children<'a, 'i: 'a>(node: Node<'a, 'i>, list: &str, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    let list = child(node, list);
    list.into_iter()
        .flat_map(|list| list.children())
        .filter(move |one| one.is_element() && one.tag_name().name() == name)
}

/// Puts the values of variables in, as Maven does: `${env.NAME}`. What is not set, or something else, stays as it is.
fn expanded(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${env.") {
        out.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            rest = rest.get(before.len()..).unwrap_or_default();
            break;
        };
        out.push_str(&variable(name).unwrap_or_else(|| format!("${{env.{name}}}")));
        rest = after;
    }
    out + rest
}

fn variable(environment: &Environment, name: &str) -> Option<String> {
    String::from_utf8(environment.secret(name)?).ok()
}

impl PackageRegistries for MavenRegistries {
    fn has(&self, _package: &str) -> bool {
        !self.repositories.is_empty()
    }

    fn find(&self, package: &str, path: &str) -> Result<Vec<Found>> {
        if self.repositories.is_empty() {
            return Err(NoRepository { package: package.to_owned() }.into());
        }
        let found = |repository: &Repository| -> Result<Found> {
            let url = repository.url.beneath(path).map_err(NetError::from)?;
            let login = repository.login.as_ref().or_else(|| self.netrc.login(&url, false)).cloned();
            Ok(Found { url, reach: Reach::Configured, login, else_next: false })
        };
        self.repositories.iter().map(found).collect()
    }

    fn hint(&self, _package: &str) -> Option<String> {
        let sealed = self.repositories.iter().find_map(|repository| repository.sealed.as_ref())?;
        Some(format!(
            "the login of the server `{sealed}` in Maven's settings is encrypted or not whole, and was not used: write one for its host into `~/.netrc`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"<?xml version="1.0"?>
<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">
  <!-- <mirror> of nothing -->
  <mirrors>
    <mirror><id>maven-default-http-blocker</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url><blocked>true</blocked></mirror>
    <mirror><id>corp</id><mirrorOf> external:*,!own </mirrorOf><url>https://maven.example/all</url></mirror>
  </mirrors>
  <servers>
    <server><id>corp</id><username>me</username><password>${env.WORD}</password></server>
    <server><id>own</id><username>me</username><password>{COQLCE6DU6GtcS5P=}</password></server>
  </servers>
  <profiles>
    <profile><id>a</id><repositories><repository><id>own</id><url>https://own.example/m2</url></repository></repositories></profile>
    <profile><id>b</id><repositories><repository><id>never</id><url>https://never.example/m2</url></repository></repositories></profile>
  </profiles>
  <activeProfiles><activeProfile>a</activeProfile></activeProfiles>
</settings>"#;

    fn read(text: &str) -> Result<MavenRegistries, SettingError> {
        let mut settings = Settings::default();
        settings.take(Path::new("/h/.m2/settings.xml"), text, &|name| (name == "WORD").then(|| "s3cret".to_owned()))?;
        MavenRegistries::of(&config::Maven::default(), &settings, Netrc::default())
    }

    fn asked(found: &MavenRegistries) -> Vec<(String, bool)> {
        let all = found.find("a/b", "a/b/1/b-1.jar").expect("it is known");
        all.iter().map(|one| (one.url.to_string(), one.login.is_some())).collect()
    }

    #[test]
    fn mirrors_and_repositories_of_the_users_settings_are_asked() {
        let found = read(SETTINGS).expect("settings");
        let expected = [
            ("https://maven.example/all/a/b/1/b-1.jar".to_owned(), true),
            ("https://own.example/m2/a/b/1/b-1.jar".to_owned(), false),
        ];
        assert_eq!(asked(&found), expected);
        assert!(found.hint("a/b").is_some_and(|hint| hint.contains("`own`")));
        assert!(!format!("{found:?}").contains("s3cret"));
    }

    #[test]
    fn what_a_mirror_blocks_is_not_asked_and_one_for_a_repository_alone_comes_first() {
        let alone =
            "<mirror><id>alone</id><mirrorOf>central</mirrorOf><url>https://alone.example/m2</url></mirror></mirrors>";
        let settings = SETTINGS
            .replace("!own ", "!own,!plain ")
            .replace("</mirrors>", alone)
            .replace("</repository></repositories></profile>\n    <profile><id>b", "</repository><repository><id>plain</id><url>http://plain.example/m2</url></repository></repositories></profile>\n    <profile><id>b");
        let urls =
            |text: &str| asked(&read(text).expect("settings")).into_iter().map(|(url, _)| url).collect::<Vec<_>>();
        let own = "https://own.example/m2/a/b/1/b-1.jar";
        assert_eq!(urls(&settings), ["https://alone.example/m2/a/b/1/b-1.jar", own]);
        // The control: what nothing blocks is asked.
        let open = settings.replace("<blocked>true</blocked>", "").replace("external:http:*", "nothing");
        let plain = "http://plain.example/m2/a/b/1/b-1.jar";
        assert_eq!(urls(&open), ["https://alone.example/m2/a/b/1/b-1.jar", own, plain]);
    }

    #[test]
    fn the_configuration_comes_first() {
        let mut settings = Settings::default();
        settings.take(Path::new("s"), SETTINGS, &|_| None).expect("settings");
        let configured = config::Maven {
            repositories: vec![Url::parse("http://127.0.0.1:1/m2").expect("a URL")],
            ..config::Maven::default()
        };
        let found = MavenRegistries::of(&configured, &settings, Netrc::default()).expect("known");
        assert_eq!(asked(&found), [("http://127.0.0.1:1/m2/a/b/1/b-1.jar".to_owned(), false)]);
    }

    #[test]
    fn without_any_it_is_said_what_to_write() {
        for text in ["<settings/>", "<settings><profiles><profile><id>x</id></profile></profiles></settings>"] {
            let found = read(text).expect("settings");
            let error = found.find("org.slf4j/slf4j-api", "x").expect_err("unknown");
            assert_eq!(error.error.to_string(), "nothing says which repository of Maven has org.slf4j/slf4j-api");
            assert!(error.hints[0].contains("[registry.maven]"), "{:?}", error.hints);
        }
    }

    #[test]
    fn what_is_no_settings_is_named_with_its_line() {
        let error = read("<settings>\n<mirrors>\n</settings>").expect_err("no XML");
        assert!(error.to_string().starts_with("/h/.m2/settings.xml:3"), "{error}");
        // What grows without end is not read.
        let bomb = "<!DOCTYPE s [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><settings>&b;</settings>";
        assert!(read(bomb).is_err());
        let bad = "<settings><mirrors><mirror><id>c</id><mirrorOf>*</mirrorOf><url>ftp://x</url></mirror></mirrors></settings>";
        assert!(read(bad).is_err_and(|error| error.to_string().contains("the address of `c`")));
    }
}
