//! Releases and packages.

use super::Context;
use crate::{
    spec::{
        Debian, PackageRequest, Release, Side, StageBase, StagePlatform,
        written::{Codename, Component, ImageReference, KeyFile, StageFrom, Suite},
    },
    yaml::At,
};

/// The most suites, and the most components.
const MAX_PARTS: usize = 50;
/// The most packages that one list may ask for.
const MAX_PACKAGES: usize = 5000;

impl Context<'_> {
    /// Fills in what a release has where the spec says nothing.
    pub(in crate::spec) fn release(
        &mut self,
        codename: &At<Codename>,
        suites: Option<&At<Vec<At<Suite>>>>,
        components: Option<&At<Vec<At<Component>>>>,
    ) -> Release {
        let named = |list: &At<Vec<At<Suite>>>| list.iter().map(|suite| suite.value.0.clone()).collect();
        let lengths = [suites.map(|list| (&list.span, list.len())), components.map(|list| (&list.span, list.len()))];
        for (span, length) in lengths.into_iter().flatten() {
            if length > MAX_PARTS {
                self.wrong(span, format!("the list has {length} entries, and at most {MAX_PARTS} are allowed"), "");
                return Release { codename: codename.value.0.clone(), suites: Vec::new(), components: Vec::new() };
            }
        }
        let inherited = self.inherited_release(codename);
        if let Some(allowed) = &inherited {
            self.within_release(allowed, suites, components);
        }
        let suites = match suites {
            Some(list) if list.is_empty() => {
                self.wrong(&list.span, "the list of suites is empty", "delete the key to have the usual ones");
                Vec::new()
            }
            Some(list) => named(list),
            None => {
                inherited.as_ref().map_or_else(|| usual_suites(&codename.value.0), |release| release.suites.clone())
            }
        };
        let components = match components {
            Some(list) if list.is_empty() => {
                self.wrong(&list.span, "the list of components is empty", "delete the key to have `main`");
                Vec::new()
            }
            Some(list) => list.iter().map(|component| component.value.0.clone()).collect(),
            None => inherited.map_or_else(|| vec!["main".to_owned()], |release| release.components),
        };
        Release { codename: codename.value.0.clone(), suites: unique(suites), components: unique(components) }
    }

    /// Gives each request its place, and refuses a package that is asked for twice, or for another side where there is none.
    pub(super) fn packages(
        &mut self,
        requests: &[At<PackageRequest>],
        platform: Option<StagePlatform>,
    ) -> Vec<PackageRequest> {
        if let Some(over) = requests.get(MAX_PACKAGES) {
            self.wrong(&over.span, format!("there are more than {MAX_PACKAGES} packages in one list"), "");
        }
        for request in requests.iter().filter(|request| request.side != Side::Own) {
            let help = match platform {
                Some(StagePlatform::Cross) => continue,
                Some(StagePlatform::Build) => {
                    "write `platform: cross` in the stage, or leave out what follows the colon"
                }
                Some(StagePlatform::Target) => "leave it out: the whole stage is of the platform that is built for",
                None => "leave it out: an image has packages of its own platform",
            };
            let word = request.side.word().unwrap_or_default();
            self.wrong(&request.span, format!("`:{word}` is for stages with `platform: cross`"), help);
        }
        let names: Vec<At<(&str, Side)>> = requests
            .iter()
            .map(|request| At { span: request.span.clone(), flow: false, value: (request.name.as_str(), request.side) })
            .collect();
        self.refuse_twice(&names, "package");
        requests
            .iter()
            .map(|request| PackageRequest { at: self.position(&request.span), ..request.value.clone() })
            .collect()
    }

    /// Evaluates what a stage starts from; `None` only when a mistake was noted.
    pub(super) fn stage_base(&mut self, from: &At<StageFrom>, platform: StagePlatform) -> Option<StageBase> {
        match (&from.debian, &from.image) {
            (Some(debian), None) => {
                self.refuse_key(from.signed_by.as_ref());
                let release = self.release(debian, from.suites.as_ref(), from.components.as_ref());
                Some(StageBase::Debian(Debian { release, packages: self.packages(&from.packages, Some(platform)) }))
            }
            (None, Some(image)) => {
                self.refuse_packages(&from.packages, from.suites.as_ref(), from.components.as_ref());
                self.base_image(&image.span, &image.value.0);
                self.image_key(image, from.signed_by.as_ref());
                Some(StageBase::Image(image.value.0.clone()))
            }
            (Some(_), Some(image)) => {
                self.wrong(&image.span, "the stage is from both `debian` and `image`", "keep one");
                None
            }
            (None, None) => {
                let help = "write `from: {debian: trixie, packages: [gcc]}`, or `from: {image: REFERENCE}`";
                self.wrong(&from.span, "the stage does not say what it starts from", help);
                None
            }
        }
    }

    /// Notes which key must have signed an image: the same wherever it is named.
    pub(super) fn image_key(&mut self, image: &At<ImageReference>, key: Option<&At<KeyFile>>) {
        let (reference, key) = (image.value.0.clone(), key.map(|key| key.value.0.clone()));
        if self.image_keys.get(&reference).is_some_and(|known| *known != key) {
            let message = format!("`{reference}` is to be signed otherwise elsewhere in the spec");
            self.wrong(&image.span, message, "write the same `signed-by` wherever it is named");
        }
        self.image_keys.insert(reference, key);
    }

    /// Refuses a key beside what is no image.
    pub(super) fn refuse_key(&mut self, key: Option<&At<KeyFile>>) {
        if let Some(key) = key {
            let help = "delete it: indexes of Debian are verified by its own keys";
            self.wrong(&key.span, "`signed-by` is for what is from an image", help);
        }
    }

    /// Refuses what only packages of Debian have, beside an image.
    pub(super) fn refuse_packages(
        &mut self,
        packages: &[At<PackageRequest>],
        suites: Option<&At<Vec<At<Suite>>>>,
        components: Option<&At<Vec<At<Component>>>>,
    ) {
        let spans = packages.first().map(|package| &package.span);
        let spans = spans.or(suites.map(|list| &list.span)).or(components.map(|list| &list.span));
        if let Some(span) = spans {
            let help = "delete the key, or write `debian: RELEASE` instead of `image`";
            self.wrong(span, "what is from an image has no packages, suites or components of Debian", help);
        }
    }
}

/// Gives the suites that a machine of this release has by default.
fn usual_suites(codename: &str) -> Vec<String> {
    match codename {
        "sid" | "experimental" => vec![codename.to_owned()],
        _ => ["", "-updates", "-security"].map(|tail| format!("{codename}{tail}")).to_vec(),
    }
}

/// Drops what is there already, and keeps the order.
fn unique(list: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(list.len());
    for item in list {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

/// Says whether a package compiles or links programs, so that it has no place in a final image without a word.
pub(super) fn is_toolchain(package: &str) -> bool {
    const NAMES: [&str; 26] = [
        "gcc",
        "g++",
        "cpp",
        "gfortran",
        "clang",
        "clang++",
        "llvm",
        "tcc",
        "binutils",
        "build-essential",
        "make",
        "cmake",
        "ninja-build",
        "meson",
        "autoconf",
        "automake",
        "libtool",
        "bison",
        "flex",
        "cargo",
        "rustc",
        "golang",
        "golang-go",
        "ghc",
        "maven",
        "gradle",
    ];
    let base = package.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
    let cross = ["-x86-64-linux-gnu", "-aarch64-linux-gnu", "-linux-gnu"];
    let base = cross.iter().fold(base, |base, tail| base.strip_suffix(tail).unwrap_or(base));
    let base = base.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
    let jdk = package.starts_with("openjdk-") && package.contains("-jdk") || package.starts_with("default-jdk");
    NAMES.contains(&base) || jdk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_of_any_version_are_toolchains_and_their_libraries_are_not() {
        for yes in
            ["gcc", "gcc-12", "g++-14", "clang-19", "golang-1.22", "cpp-12", "openjdk-17-jdk-headless", "default-jdk"]
                .into_iter()
                .chain(["gcc-14-x86-64-linux-gnu", "g++-aarch64-linux-gnu", "binutils-aarch64-linux-gnu"])
        {
            assert!(is_toolchain(yes), "{yes}");
        }
        for no in [
            "libgcc-s1",
            "gcc-12-base",
            "libstdc++6",
            "openjdk-17-jre",
            "python3",
            "nodejs",
            "golang-docker-credential-helpers",
        ] {
            assert!(!is_toolchain(no), "{no}");
        }
    }
}
