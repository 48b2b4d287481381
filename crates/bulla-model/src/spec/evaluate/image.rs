//! The image.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, debian::is_toolchain, params::Params};
use crate::{
    spec::{
        AbsolutePath, Allow, Base, Compression, Copy, Grant, Id, Image, Name, Origin, Release, Scratch, Scripts,
        Setting, Source, Spec, User, UserEntry,
        written::{
            Arguments, CompressionWord, CopyKeys, GrantKeys, ImageFrom, ImageKeys, ImageReference, OwnerText,
            ScratchFrom, ScriptsWord, SpecKeys, UserKeys,
        },
    },
    tree::Owner,
    yaml::At,
};

/// The layers that an image may have where the spec says nothing.
const LAYERS: u32 = 20;

impl Context<'_> {
    /// Evaluates the users that are added.
    pub(super) fn users(&mut self, keys: &[At<UserKeys>]) -> Vec<UserEntry> {
        let names: Vec<At<&str>> = keys
            .iter()
            .map(|user| At { span: user.name.span.clone(), flow: false, value: user.name.0.as_str() })
            .collect();
        self.refuse_twice(&names, "user");
        keys.iter().map(|user| self.user_entry(user)).collect()
    }

    fn user_entry(&mut self, keys: &UserKeys) -> UserEntry {
        for id in [Some(&keys.uid), keys.gid.as_ref()].into_iter().flatten() {
            if id.value == 0 || id.value == u32::MAX {
                self.wrong(
                    &id.span,
                    format!("`{}` cannot be the number of a user that is added", id.value),
                    "take one from 1000",
                );
            }
        }
        if keys.name.0 == "root" {
            self.wrong(&keys.name.span, "root is there already", "delete it");
        }
        let path = |path: Option<&At<AbsolutePath>>, usual: &str| {
            path.map_or_else(|| AbsolutePath::parse(usual).expect("a clean path"), |path| path.value.clone())
        };
        for path in [&keys.home, &keys.shell].into_iter().flatten() {
            if path.to_string().contains(':') {
                self.wrong(&path.span, "a path in `/etc/passwd` cannot have a `:` in it", "");
            }
        }
        UserEntry {
            name: keys.name.0.clone(),
            owner: Owner { uid: keys.uid.value, gid: keys.gid.as_ref().map_or(keys.uid.value, |gid| gid.value) },
            home: path(keys.home.as_ref(), "/nonexistent"),
            shell: path(keys.shell.as_ref(), "/usr/sbin/nologin"),
        }
    }

    /// Resolves an owner: numbers, or names of users that the spec adds.
    pub(super) fn owner(&mut self, owner: &At<OwnerText>, users: &[UserEntry]) -> Option<Owner> {
        let User { user, group } = &owner.value.0;
        let named = |name: &str| match name {
            "root" => Some(Owner::ROOT),
            _ => users.iter().find(|user| user.name == name).map(|user| user.owner),
        };
        let of = |id: &Id| match id {
            Id::Number(number) => Some(Owner { uid: *number, gid: *number }),
            Id::Name(name) => named(name),
        };
        match (of(user), group.as_ref().map_or_else(|| of(user), of)) {
            (Some(user), Some(group)) => Some(Owner { uid: user.uid, gid: group.gid }),
            _ => {
                let help = "write the number, or add the user under `image.users`";
                self.wrong(&owner.span, format!("the owner `{}` is not a user of this spec", owner.value.0), help);
                None
            }
        }
    }

    /// Evaluates the image; `None` only when a mistake was noted.
    pub(super) fn image(
        &mut self,
        keys: &SpecKeys,
        sources: &BTreeMap<Name, Source>,
        params: &Params,
        users: Vec<UserEntry>,
    ) -> Option<Image> {
        let image = &keys.image;
        let base = self.base(keys);
        let copy = image.copy.iter().filter_map(|copy| self.copy(copy, keys, sources, &users)).collect();
        let user = self.user(image, &users, matches!(base, Some(Base::Scratch(_))));
        self.refuse_twice(&image.ports, "port");
        self.refuse_twice(&image.volumes, "volume");
        for volume in &image.volumes {
            if **volume == AbsolutePath::ROOT {
                self.wrong(&volume.span, "the whole root cannot be a volume", "name the folder that holds data");
            }
        }
        let layers = image.layers.as_ref().map_or(LAYERS, |layers| layers.value);
        if let Some(written) = image.layers.as_ref().filter(|layers| !(1..=120).contains(&layers.value)) {
            self.wrong(&written.span, format!("an image has from 1 to 120 layers, not {layers}"), "");
        }
        let allow = self.allow(image);
        let (entrypoint, command) = (self.program(image.entrypoint.as_ref()), self.program(image.command.as_ref()));
        let env = self.env(&image.env, params, false);
        let (labels, annotations) = (self.values(&image.labels, params), self.values(&image.annotations, params));
        Some(Image {
            base: base?,
            users,
            copy,
            entrypoint,
            command,
            env,
            user: user?,
            workdir: image.workdir.as_ref().map_or(AbsolutePath::ROOT, |path| path.value.clone()),
            ports: image.ports.iter().map(|port| port.value).collect(),
            volumes: image.volumes.iter().map(|path| path.value.clone()).collect(),
            labels,
            annotations,
            stop_signal: image.stop_signal.as_ref().map(|signal| signal.0.clone()),
            allow,
            layers,
            compression: match image.compression {
                None | Some(CompressionWord::Gzip) => Compression::Gzip,
                Some(CompressionWord::Zstd) => Compression::Zstd,
            },
            at: self.position(&image.span),
        })
    }

    fn program(&mut self, list: Option<&At<Arguments>>) -> Vec<String> {
        let Some(list) = list.filter(|list| !list.0.is_empty()) else { return Vec::new() };
        self.arguments(&list.span, list.flow, &list.0).unwrap_or_default()
    }

    fn base(&mut self, keys: &SpecKeys) -> Option<Base> {
        let from = &keys.image.from;
        if let Some(image) = &from.image {
            return self.image_base(from, image);
        }
        self.refuse_key(from.signed_by.as_ref());
        match (&from.debian, &from.scratch) {
            (Some(codename), None) => {
                let release = self.release(codename, from.suites.as_ref(), from.components.as_ref());
                let packages = self.packages(&from.packages, None);
                if packages.is_empty() {
                    let help =
                        "name the packages under `packages:`, or write `from: {scratch: {}}` for an image from nothing";
                    self.wrong(&from.span, "the image has no packages", help);
                }
                self.refuse_toolchain(&keys.image);
                let scripts = match from.scripts.as_ref().map(|scripts| &scripts.value) {
                    None | Some(ScriptsWord::Native(_)) => Scripts::Native,
                    Some(ScriptsWord::Run { run }) => Scripts::Run { reason: run.0.clone() },
                };
                if let (Some(written), Scripts::Run { .. }) = (&from.scripts, &scripts) {
                    self.forbidden(&written.span, Setting::Scripts);
                }
                Some(Base::Debian { debian: crate::spec::Debian { release, packages }, scripts })
            }
            (None, Some(scratch)) => self.scratch(from, scratch, keys).map(Base::Scratch),
            (Some(_), Some(scratch)) => {
                let help =
                    "keep one: `debian` for packages with all that they need, `scratch` for nothing but what is named";
                self.wrong(&scratch.span, "the image is from both `debian` and `scratch`", help);
                None
            }
            (None, None) => {
                let help = "write `from: {debian: trixie, packages: […]}`, `from: {image: REFERENCE}`, or `from: {scratch: {}}`";
                self.wrong(&from.span, "the image does not say what it stands on", help);
                None
            }
        }
    }

    fn image_base(&mut self, from: &ImageFrom, image: &At<ImageReference>) -> Option<Base> {
        if from.debian.is_some() || from.scratch.is_some() {
            let help =
                "keep one: `image` for layers that stay as they are, `debian` for packages, `scratch` for nothing";
            self.wrong(&image.span, "the image is from an image and from something else too", help);
            return None;
        }
        self.refuse_packages(&from.packages, from.suites.as_ref(), from.components.as_ref());
        if let Some(scripts) = &from.scripts {
            self.wrong(&scripts.span, "an image that is from an image has no maintainer scripts", "delete the key");
        }
        self.base_image(&image.span, &image.value.0);
        self.image_key(image, from.signed_by.as_ref());
        Some(Base::Image(image.value.0.clone()))
    }

    fn scratch(&mut self, from: &ImageFrom, scratch: &At<ScratchFrom>, keys: &SpecKeys) -> Option<Scratch> {
        if let Some(package) = from.packages.first() {
            self.wrong(
                &package.span,
                "an image from scratch has no packages",
                "write `debian: RELEASE` instead of `scratch`",
            );
        }
        if let Some(scripts) = &from.scripts {
            self.wrong(&scripts.span, "an image from scratch has no maintainer scripts", "delete the key");
        }
        let (certificates, timezones) = (scratch.certificates, scratch.timezones);
        if !certificates && !timezones {
            return Some(Scratch::default());
        }
        let mut releases: Vec<_> = keys
            .stages
            .values()
            .filter_map(|stage| stage.from.as_ref())
            .filter_map(|from| from.debian.as_ref())
            .collect();
        releases.dedup();
        let codename = match (&scratch.debian, releases.as_slice()) {
            (Some(codename), _) => codename,
            (None, [only]) => only,
            (None, _) => {
                let help = "write the release that they come from: `scratch: {debian: trixie, certificates: true}`";
                self.wrong(&scratch.span, "certificates and time zones come from a release of Debian", help);
                return None;
            }
        };
        let release: Release = self.release(codename, from.suites.as_ref(), from.components.as_ref());
        Some(Scratch { release: Some(release), certificates, timezones })
    }

    fn refuse_toolchain(&mut self, image: &ImageKeys) {
        if image.allow.toolchain.is_some() {
            return;
        }
        for package in image.from.packages.iter().filter(|package| Spec::is_toolchain(&package.name)) {
            let message = format!("`{}` compiles programs, and does not belong in a final image", package.name);
            let help = "compile in a stage, or say why it is needed: `allow: {toolchain: REASON}`";
            self.wrong(&package.span, message, help);
        }
    }

    fn copy(
        &mut self,
        keys: &At<CopyKeys>,
        spec: &SpecKeys,
        sources: &BTreeMap<Name, Source>,
        users: &[UserEntry],
    ) -> Option<Copy> {
        self.refuse_reserved(&keys.to.span, &keys.to);
        let from = match (&keys.output, &keys.source) {
            (Some(output), None) => {
                if !spec.stages.contains_key(&output.stage) {
                    self.unknown(
                        &output.span,
                        "stage",
                        output.stage.as_str(),
                        spec.stages.keys().map(|name| name.value.as_str()),
                    );
                }
                self.check_output(output, spec);
                Origin::Output(output.value.clone())
            }
            (None, Some(source)) => {
                if !sources.contains_key(&source.source) {
                    self.unknown(&source.span, "source", source.source.as_str(), sources.keys().map(Name::as_str));
                }
                Origin::Source { source: source.source.clone(), path: source.path.clone() }
            }
            (Some(_), Some(source)) => {
                self.wrong(&source.span, "this copy is from both an output and a source", "write a copy for each");
                return None;
            }
            (None, None) => {
                let help = "write `output: STAGE.OUTPUT` or `source: NAME`";
                self.wrong(&keys.span, "this copy does not say what is copied", help);
                return None;
            }
        };
        Some(Copy {
            from,
            to: keys.to.value.clone(),
            layer: keys.layer.as_ref().map(|layer| layer.value.clone()),
            owner: keys.owner.as_ref().and_then(|owner| self.owner(owner, users)),
            mode: keys.mode.map(|mode| mode.0),
            at: self.position(&keys.span),
        })
    }

    fn user(&mut self, image: &At<ImageKeys>, users: &[UserEntry], scratch: bool) -> Option<User> {
        let root = User { user: Id::Number(0), group: None };
        let Some(user) = &image.user else {
            if image.allow.root_user.is_some() {
                return Some(root);
            }
            let help = "write `user: 65532`; if it has to be root, say why: `allow: {root-user: REASON}`";
            self.wrong(&image.span, "the image does not say who runs it", help);
            return None;
        };
        if user.is_root() && image.allow.root_user.is_none() {
            let help = "write `user: 65532`; if it has to be root, say why: `allow: {root-user: REASON}`";
            self.wrong(&user.span, "the image would run as root", help);
        }
        let known: BTreeSet<&str> =
            users.iter().map(|user| user.name.as_str()).chain(["root", "nobody", "nonroot"]).collect();
        if let Id::Name(name) = &user.user
            && scratch
            && !known.contains(name.as_str())
        {
            let help = format!("add it under `users:` as `- {{name: {name}, uid: 1000}}`, or write a number");
            self.wrong(&user.span, format!("an image from scratch has no user `{name}`"), help);
        }
        Some(user.value.clone())
    }

    fn allow(&mut self, image: &ImageKeys) -> Allow {
        let reason =
            |reason: &Option<At<crate::spec::written::Reason>>| reason.as_ref().map(|reason| reason.value.0.clone());
        for path in image.allow.setuid.keys().filter(|path| path.clean().is_none()) {
            self.wrong(&path.span, "the whole root cannot keep set-user-id bits", "name the single file");
        }
        for path in image.allow.capabilities.keys().filter(|path| path.clean().is_none()) {
            self.wrong(&path.span, "the whole root cannot have capabilities", "name the single file");
        }
        let keys = &image.allow;
        for (setting, span) in [
            (Setting::RootUser, keys.root_user.as_ref().map(|reason| &reason.span)),
            (Setting::Toolchain, keys.toolchain.as_ref().map(|reason| &reason.span)),
            (Setting::Setuid, keys.setuid.keys().map(|path| &path.span).next()),
            (Setting::Capabilities, keys.capabilities.keys().map(|path| &path.span).next()),
        ] {
            if let Some(span) = span {
                self.forbidden(span, setting);
            }
        }
        let grant = |keys: &At<GrantKeys>| Grant { capabilities: keys.grant, reason: keys.reason.0.clone() };
        Allow {
            root_user: reason(&keys.root_user),
            toolchain: reason(&keys.toolchain),
            setuid: keys.setuid.iter().map(|(path, reason)| (path.value.clone(), reason.0.clone())).collect(),
            capabilities: keys.capabilities.iter().map(|(path, keys)| (path.value.clone(), grant(keys))).collect(),
        }
    }
}

impl Spec {
    /// Says whether a package compiles or links programs, so that it belongs in a final image only where the spec says
    /// `allow: {toolchain: REASON}`. To be asked of every package of the image, not only of those that were asked for.
    pub fn is_toolchain(package: &str) -> bool {
        is_toolchain(package)
    }
}
