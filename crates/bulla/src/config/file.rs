//! One configuration file, as it is written.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bulla_model::oci::Reference;
use bulla_net::{ProxyAddress, Url};
use serde::Deserialize;
use toml::Spanned;

use super::{
    Config, Debian, Limits, Network, Npm, Oci, Repository, cargo::CargoKeys, evidence::EvidenceKeys, go::GoKeys,
    maven::MavenKeys, problem, pypi::Keys as PypiKeys, store::Store,
};
use crate::{
    error::{Mark, Result},
    quantity,
};

/// The keys of a configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    store: Store,
    build: Build,
    limits: LimitKeys,
    network: NetworkKeys,
    registry: Registry,
    evidence: EvidenceKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Build {
    jobs: Option<Spanned<usize>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LimitKeys {
    memory: Option<Spanned<String>>,
    disk: Option<Spanned<String>>,
    time: Option<Spanned<String>>,
    processes: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct NetworkKeys {
    http_proxy: Option<Spanned<String>>,
    https_proxy: Option<Spanned<String>>,
    no_proxy: Option<Vec<String>>,
    ca_files: Option<Vec<Spanned<PathBuf>>>,
    local_hosts: Option<Vec<Spanned<String>>>,
    ssh_hosts: Option<Vec<Spanned<String>>>,
    connections: Option<Spanned<usize>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Registry {
    debian: DebianKeys,
    oci: OciKeys,
    npm: NpmKeys,
    go: GoKeys,
    pypi: PypiKeys,
    cargo: CargoKeys,
    maven: MavenKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct OciKeys {
    insecure: Option<Vec<Spanned<String>>>,
    local: Option<Vec<Spanned<String>>>,
    mirrors: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct NpmKeys {
    npmrc: Option<bool>,
    registry: Option<Spanned<String>>,
    scopes: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct DebianKeys {
    apt: Option<bool>,
    apt_folder: Option<Spanned<PathBuf>>,
    mirrors: Option<Vec<Spanned<String>>>,
    security_mirrors: Option<Vec<Spanned<String>>>,
    keyrings: Option<Vec<Spanned<PathBuf>>>,
    repository: Vec<RepositoryKeys>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RepositoryKeys {
    suites: Vec<String>,
    mirrors: Vec<Spanned<String>>,
    #[serde(default)]
    keyrings: Vec<Spanned<PathBuf>>,
}

impl File {
    /// Reads a file's text, and checks each value.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key or a wrong value.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let mark = Mark { span, message: error.message().to_owned(), help: None, related: None };
            problem::error(name, text, vec![mark])
        })?;
        let marks = file.mistakes();
        if marks.is_empty() { Ok(file) } else { Err(problem::error(name, text, marks)) }
    }

    fn mistakes(&self) -> Vec<Mark> {
        let debian = &self.registry.debian;
        let network = &self.network;
        let mut marks = Marks(Vec::new());
        let paths = [&self.store.path, &self.store.signing_key, &debian.apt_folder].into_iter().flatten();
        let lists = [&network.ca_files, &debian.keyrings, &self.store.shared].into_iter().flatten().flatten();
        paths.chain(lists).chain(debian.repository.iter().flat_map(|r| &r.keyrings)).for_each(|path| {
            marks.check(path, path.get_ref().is_absolute(), "is not an absolute path", "write the path from `/` on");
        });
        let mirrors = [&debian.mirrors, &debian.security_mirrors].into_iter().flatten().flatten();
        mirrors.chain(debian.repository.iter().flat_map(|r| &r.mirrors)).for_each(|url| {
            if let Err(error) = Url::parse(url.get_ref()) {
                marks.add(url, error.to_string(), Some("write the base address, as `https://mirror.example/debian`"));
            }
        });
        [&network.http_proxy, &network.https_proxy].into_iter().flatten().for_each(|proxy| {
            if let Err(error) = ProxyAddress::parse(proxy.get_ref()) {
                marks.add(proxy, error.to_string(), Some("write `http://HOST:PORT`"));
            }
        });
        [&network.local_hosts, &network.ssh_hosts].into_iter().flatten().flatten().for_each(|host| {
            let is_host = Url::parse(&format!("http://{}/", host.get_ref())).is_ok()
                && !host.get_ref().contains(['/', '@', '?', '#']);
            marks.check(host, is_host, "is not a host", "write `HOST` or `HOST:PORT`, as `127.0.0.1:8080`");
        });
        [&self.build.jobs, &network.connections].into_iter().flatten().for_each(|number| {
            marks.check(
                number,
                (1..=256).contains(number.get_ref()),
                "is out of range",
                "write a number from 1 to 256",
            );
        });
        let oci = &self.registry.oci;
        for (host, mirror) in &oci.mirrors {
            let good = match layouts(mirror.get_ref()) {
                Some(folder) => folder.is_absolute(),
                None => Reference::parse(&format!("{}/x", mirror.get_ref())).is_ok(),
            };
            let good = good && is_registry(host);
            let way_out = "write `\"HOST\" = \"MIRROR\"` or `\"HOST\" = \"MIRROR/PREFIX\"`, both with their ports, or \
                           `\"HOST\" = \"oci:/FOLDER\"`";
            marks.check(mirror, good, &format!("is no mirror of `{host}`"), way_out);
        }
        [&oci.insecure, &oci.local].into_iter().flatten().flatten().for_each(|host| {
            marks.check(
                host,
                is_registry(host.get_ref()),
                "is no registry",
                "write `HOST` or `HOST:PORT`, as references have it",
            );
        });
        let npm = &self.registry.npm;
        npm.registry.iter().chain(npm.scopes.values()).for_each(|url| {
            if let Err(error) = Url::parse(url.get_ref()) {
                marks.add(url, error.to_string(), Some("write the base address, as `https://npm.example/`"));
            }
        });
        for (scope, url) in &npm.scopes {
            let good = scope.len() > 1 && scope.starts_with('@') && !scope.contains('/');
            marks.check(url, good, &format!("is of `{scope}`, which is no scope"), "write `\"@SCOPE\" = \"ADDRESS\"`");
        }
        self.registry.go.mistakes(&mut marks);
        self.registry.pypi.mistakes(&mut marks);
        self.registry.cargo.mistakes(&mut marks);
        self.registry.maven.mistakes(&mut marks);
        self.evidence.mistakes(&mut marks);
        self.limits.mistakes(&mut marks);
        self.store.mistakes(&mut marks);
        self.store.uid.iter().for_each(|uid| {
            marks.check(uid, *uid.get_ref() != 0, "is root, whom steps must never be", "name a user id of its own");
        });
        marks.0.sort_by_key(|mark| mark.span.start);
        marks.0
    }

    /// Puts this file's keys over those of a weaker one. Repositories of both hold, this file's first.
    pub(super) fn over(self, weaker: Self) -> Self {
        let (oci, weaker_oci) = (self.registry.oci, weaker.registry.oci);
        let mut mirrors = weaker_oci.mirrors;
        mirrors.extend(oci.mirrors);
        let (npm, weaker_npm) = (self.registry.npm, weaker.registry.npm);
        let mut scopes = weaker_npm.scopes;
        scopes.extend(npm.scopes);
        let pypi = self.registry.pypi.over(weaker.registry.pypi);
        let (debian, weaker_debian) = (self.registry.debian, weaker.registry.debian);
        let mut repository = debian.repository;
        repository.extend(weaker_debian.repository);
        Self {
            store: self.store.over(weaker.store),
            build: Build { jobs: self.build.jobs.or(weaker.build.jobs) },
            limits: LimitKeys {
                memory: self.limits.memory.or(weaker.limits.memory),
                disk: self.limits.disk.or(weaker.limits.disk),
                time: self.limits.time.or(weaker.limits.time),
                processes: self.limits.processes.or(weaker.limits.processes),
            },
            network: NetworkKeys {
                http_proxy: self.network.http_proxy.or(weaker.network.http_proxy),
                https_proxy: self.network.https_proxy.or(weaker.network.https_proxy),
                no_proxy: self.network.no_proxy.or(weaker.network.no_proxy),
                ca_files: self.network.ca_files.or(weaker.network.ca_files),
                local_hosts: self.network.local_hosts.or(weaker.network.local_hosts),
                ssh_hosts: self.network.ssh_hosts.or(weaker.network.ssh_hosts),
                connections: self.network.connections.or(weaker.network.connections),
            },
            registry: Registry {
                debian: DebianKeys {
                    apt: debian.apt.or(weaker_debian.apt),
                    apt_folder: debian.apt_folder.or(weaker_debian.apt_folder),
                    mirrors: debian.mirrors.or(weaker_debian.mirrors),
                    security_mirrors: debian.security_mirrors.or(weaker_debian.security_mirrors),
                    keyrings: debian.keyrings.or(weaker_debian.keyrings),
                    repository,
                },
                oci: OciKeys {
                    insecure: oci.insecure.or(weaker_oci.insecure),
                    local: oci.local.or(weaker_oci.local),
                    mirrors,
                },
                npm: NpmKeys {
                    npmrc: npm.npmrc.or(weaker_npm.npmrc),
                    registry: npm.registry.or(weaker_npm.registry),
                    scopes,
                },
                go: self.registry.go.over(weaker.registry.go),
                pypi,
                cargo: self.registry.cargo.over(weaker.registry.cargo),
                maven: self.registry.maven.over(weaker.registry.maven),
            },
            evidence: self.evidence.over(weaker.evidence),
        }
    }

    /// Gives what the keys mean. What was wrong has been refused when the file was read.
    pub(super) fn into_config(self) -> Config {
        let network = self.network;
        let elsewhere = self.registry.oci.mirrors.into_iter();
        let elsewhere = elsewhere.map(|(host, at)| (host.to_ascii_lowercase(), at.into_inner()));
        let (folders, mirrors): (BTreeMap<_, _>, _) = elsewhere.partition(|(_, at)| layouts(at).is_some());
        let folder = |(host, at): (String, String)| Some((host, layouts(&at)?.to_owned()));
        Config {
            files: Vec::new(),
            store: self.store.path.as_ref().map(|path| path.get_ref().clone()),
            store_uid: self.store.uid.as_ref().map(|uid| *uid.get_ref()),
            jobs: self.build.jobs.map(Spanned::into_inner),
            limits: self.limits.into_config(),
            network: Network {
                http_proxy: network.http_proxy.map(Spanned::into_inner),
                https_proxy: network.https_proxy.map(Spanned::into_inner),
                no_proxy: network.no_proxy,
                ca_files: inner(network.ca_files.unwrap_or_default()),
                local_hosts: inner(network.local_hosts.unwrap_or_default()),
                ssh_hosts: inner(network.ssh_hosts.unwrap_or_default()),
                connections: network.connections.map(Spanned::into_inner),
            },
            debian: self.registry.debian.into_config(),
            npm: self.registry.npm.into_config(),
            go: self.registry.go.into_config(),
            pypi: self.registry.pypi.into_config(),
            cargo: self.registry.cargo.into_config(),
            maven: self.registry.maven.into_config(),
            others: self.store.into_others(),
            evidence: self.evidence.into_evidence(),
            oci: Oci {
                insecure: inner(self.registry.oci.insecure.unwrap_or_default()),
                local: inner(self.registry.oci.local.unwrap_or_default()),
                mirrors,
                layouts: folders.into_iter().filter_map(folder).collect(),
            },
        }
    }
}

/// Gives the folder of layouts that a mirror is; `None` where it is a registry.
fn layouts(mirror: &str) -> Option<&Path> {
    mirror.strip_prefix("oci:").map(Path::new)
}

/// Says whether a text is a registry as references have it: `HOST[:PORT]`.
fn is_registry(host: &str) -> bool {
    Reference::parse(&format!("{host}/x")).is_ok_and(|found| found.host() == host)
}

impl LimitKeys {
    fn mistakes(&self, marks: &mut Marks) {
        for size in [&self.memory, &self.disk].into_iter().flatten() {
            if let Err(expected) = quantity::bytes(size.get_ref()) {
                marks.add(size, format!("`{}` is not a size", size.get_ref()), Some(&expected));
            }
        }
        if let Some(time) = &self.time
            && let Err(expected) = quantity::time(time.get_ref())
        {
            marks.add(time, format!("`{}` is not a time", time.get_ref()), Some(&expected));
        }
    }

    fn into_config(self) -> Limits {
        let bytes = |text: Option<Spanned<String>>| text.and_then(|text| quantity::bytes(text.get_ref()).ok());
        Limits {
            memory: bytes(self.memory),
            disk: bytes(self.disk),
            time: self.time.and_then(|text| quantity::time(text.get_ref()).ok()),
            processes: self.processes.map(Spanned::into_inner),
        }
    }
}

impl NpmKeys {
    fn into_config(self) -> Npm {
        let url = |text: Spanned<String>| Url::parse(text.get_ref()).ok();
        Npm {
            npmrc: self.npmrc.unwrap_or(true),
            registry: self.registry.and_then(url),
            scopes: self.scopes.into_iter().filter_map(|(scope, text)| Some((scope, url(text)?))).collect(),
        }
    }
}

impl DebianKeys {
    fn into_config(self) -> Debian {
        let default = Debian::default();
        let repositories = self.repository.into_iter().map(|keys| Repository {
            suites: keys.suites,
            mirrors: urls(keys.mirrors),
            keyrings: inner(keys.keyrings),
        });
        Debian {
            apt: self.apt.unwrap_or(default.apt),
            apt_folder: self.apt_folder.map_or(default.apt_folder, Spanned::into_inner),
            mirrors: urls(self.mirrors.unwrap_or_default()),
            security_mirrors: urls(self.security_mirrors.unwrap_or_default()),
            keyrings: inner(self.keyrings.unwrap_or_default()),
            repositories: repositories.collect(),
        }
    }
}

pub(super) fn inner<T>(values: Vec<Spanned<T>>) -> Vec<T> {
    values.into_iter().map(Spanned::into_inner).collect()
}

fn urls(texts: Vec<Spanned<String>>) -> Vec<Url> {
    texts.iter().filter_map(|text| Url::parse(text.get_ref()).ok()).collect()
}

pub(super) struct Marks(Vec<Mark>);

impl Marks {
    pub(super) fn add<T>(&mut self, value: &Spanned<T>, message: String, help: Option<&str>) {
        self.0.push(Mark { span: value.span(), message, help: help.map(str::to_owned), related: None });
    }

    pub(super) fn check<T: std::fmt::Debug>(&mut self, value: &Spanned<T>, good: bool, wrong: &str, help: &str) {
        if !good {
            let text = format!("{:?}", value.get_ref());
            self.add(value, format!("`{}` {wrong}", text.trim_matches('"')), Some(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report, terminal::Terminal};

    fn config(text: &str) -> Config {
        File::parse("config.toml", text).expect("a good file").into_config()
    }

    fn mistakes(text: &str) -> String {
        let error = File::parse("config.toml", text).expect_err("a bad file");
        report::as_text(&error, Terminal { color: false, live: false })
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = config("");
        assert!(config.debian.apt && config.debian.mirrors.is_empty() && config.store.is_none());
        assert_eq!(config.debian.apt_folder, PathBuf::from("/etc/apt"));
    }

    #[test]
    fn all_keys_are_taken() {
        let config = config(include_str!("../../tests/fixtures/config/all.toml"));
        insta::assert_debug_snapshot!(config);
    }

    #[test]
    fn the_user_file_is_over_the_machine_file() {
        let machine = "build.jobs = 2\n[registry.debian]\napt = false\nrepository = [{suites = ['a'], mirrors = ['http://a.example']}]";
        let user = "[registry.debian]\napt = true\nrepository = [{suites = ['b'], mirrors = ['http://b.example']}]";
        let parse = |text| File::parse("f", text).expect("a good file");
        let config = parse(user).over(parse(machine)).into_config();
        assert_eq!(config.jobs, Some(2));
        assert!(config.debian.apt);
        assert_eq!(config.debian.repositories.iter().map(|r| r.suites[0].as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn each_mistake_is_shown_at_its_line() {
        insta::assert_snapshot!(mistakes(include_str!("../../tests/fixtures/config/wrong-values.toml")));
    }

    #[test]
    fn an_unknown_key_is_shown_at_its_line() {
        insta::assert_snapshot!(mistakes("[network]\nhttp-proxi = \"http://proxy.example:3128\"\n"));
    }

    #[test]
    fn what_is_not_toml_is_shown_at_its_line() {
        insta::assert_snapshot!(mistakes("[build]\njobs = two\n"));
    }
}
