//! What of a spec differs from platform to platform.

use std::collections::{BTreeMap, BTreeSet};

use super::{Base, Debian, Name, PackageRequest, Root, RootKind, Scripts, Spec, StageBase, StagePlatform};
use crate::platform::Platform;

/// The name that the emulator's package has among the roots.
pub const EMULATION: &str = "emulation";

/// The first releases of Debian, in which the emulators that need nothing of their root are a package of their own.
const WITH_STATIC: [&str; 3] = ["buster", "bullseye", "bookworm"];

/// Says whether platforms are those of a spec that names none.
pub(super) fn is_usual(platforms: &BTreeSet<Platform>) -> bool {
    platforms.iter().eq([&Platform::BUILD])
}

/// Gives the name that a set of packages for a platform has in the lock. For the machine's own it is the name alone, so
/// that a lock stays valid when a spec gets further platforms.
pub fn root_name(name: &str, target: Platform) -> String {
    if target.is_build() { name.to_owned() } else { format!("{name}.{}", target.debian()) }
}

/// Names a stage in records: with the architecture that it was run for (`build@arm64`), where it is run for several and that is
/// not the machine's own.
pub fn stage_label(name: &Name, platform: StagePlatform, target: Platform) -> String {
    match platform.is_build() || target.is_build() {
        true => name.to_string(),
        false => format!("{name}@{}", target.architecture()),
    }
}

/// Reads such a name.
pub fn of_stage_label(label: &str) -> Option<(Name, Platform)> {
    let (name, platform) = match label.split_once('@') {
        Some((name, architecture)) => (name, Platform::of_debian(architecture)?),
        None => (label, Platform::BUILD),
    };
    Some((name.parse().ok()?, platform))
}

impl Spec {
    /// Gives the packages that have to be resolved and locked, by the names that they have in the lock: `stage.NAME`, `image`,
    /// for other platforms than the machine's own with the architecture behind it (`image.arm64`), and `emulation`.
    pub fn roots(&self) -> BTreeMap<String, Root> {
        let mut roots: BTreeMap<String, Root> = BTreeMap::new();
        for target in &self.platforms {
            let named = self.roots_for(*target).into_iter().map(|(name, root)| (root_name(&name, root.target), root));
            roots.extend(named);
        }
        roots.extend(self.emulator().map(|root| (EMULATION.to_owned(), root)));
        roots
    }

    /// Gives the packages of the stages and of the image when it is made for a platform: `stage.NAME`, `image`.
    pub fn roots_for(&self, target: Platform) -> BTreeMap<String, Root> {
        let stages = self.stages.iter().filter_map(|(name, stage)| {
            let StageBase::Debian(debian) = &stage.base else { return None };
            let root = Root::new(RootKind::Stage, debian.clone());
            let for_target = if stage.platform.is_build() { Platform::BUILD } else { target };
            Some((format!("stage.{name}"), root.on(stage.platform.native(target), for_target)))
        });
        let image = self.image.root().map(|root| ("image".to_owned(), root.on(target, target)));
        stages.chain(image).collect()
    }

    /// Says whether something of another processor has to run when the image is made for a platform.
    pub fn is_emulated(&self, target: Platform) -> bool {
        !target.is_build() && self.foreign().next().is_some()
    }

    /// Gives what runs as a machine of the image's platform: the packages of stages, and of the image where its scripts run.
    fn foreign(&self) -> impl Iterator<Item = Option<&Debian>> {
        let stages = self.stages.values().filter(|stage| stage.platform == StagePlatform::Target);
        let of_stages = stages.map(|stage| match &stage.base {
            StageBase::Debian(debian) => Some(debian),
            StageBase::Image(_) | StageBase::Stage(_) => None,
        });
        let of_image = match &self.image.base {
            Base::Debian { debian, scripts: Scripts::Run { .. } } => Some(Some(debian)),
            _ => None,
        };
        of_stages.chain(of_image)
    }

    /// Gives the emulator's package: of the release of the first stage that needs it.
    fn emulator(&self) -> Option<Root> {
        if !self.platforms.iter().any(|platform| self.is_emulated(*platform)) {
            return None;
        }
        let own = self.foreign().flatten().next();
        let any = || {
            self.stages.values().find_map(|stage| match &stage.base {
                StageBase::Debian(debian) => Some(debian),
                StageBase::Image(_) | StageBase::Stage(_) => None,
            })
        };
        let release = own.or_else(any)?.release.clone();
        let package = if WITH_STATIC.contains(&release.codename.as_str()) { "qemu-user-static" } else { "qemu-user" };
        Some(Root::new(RootKind::Files, Debian { release, packages: vec![PackageRequest::named(package)] }))
    }
}
