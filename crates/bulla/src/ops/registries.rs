//! Makes the client of registries out of the configuration, and the logins that Docker and Podman keep.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bulla_model::{
    Digest,
    lock::ImagePin,
    oci::{BaseReference, Reference},
};
use bulla_net::oci::{Registries, RegistryConfig};

use crate::{
    error::Result,
    ops::{
        self, layouts,
        project::Project,
        transfer::{LayoutSource, RegistrySource, Source},
    },
    registry::Apt,
    registry::DockerLogins,
    session::Session,
};

/// Makes the client. Nothing is connected, and no login read, before it is needed.
///
/// # Errors
/// When the configuration is wrong.
pub(crate) fn client(session: &Session) -> Result<Registries> {
    // Apt's proxies and authorities are those of the machine; its logins are for apt's origins.
    let client = ops::network::client(session, &Apt::read(session)?)?;
    let oci = &session.config()?.oci;
    let config = RegistryConfig {
        insecure: oci.insecure.clone(),
        local: oci.local.clone(),
        mirrors: oci.mirrors.clone(),
        logins: Arc::new(DockerLogins::new(&session.environment)),
    };
    Ok(Registries::new(client, config))
}

/// Where the images that a spec starts from are read: registries, the folders of layouts that the configuration has in their
/// place, and layouts of the project.
pub(crate) struct Bases {
    registries: Registries,
    layouts: BTreeMap<String, PathBuf>,
    /// The folder of the project.
    project: PathBuf,
}

impl Bases {
    /// Does as [`client`].
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(crate) fn new(session: &Session, project: &Project) -> Result<Self> {
        let layouts = session.config()?.oci.layouts.clone();
        Ok(Self { registries: client(session)?, layouts, project: project.folder.clone() })
    }

    /// Opens an image, as its name is now or with the digest that it had.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn open(&self, reference: &BaseReference, digest: Option<Digest>) -> Result<Box<dyn Source>> {
        let reference = match reference {
            BaseReference::Registry(reference) => reference,
            BaseReference::Layout(layout) => {
                return Ok(Box::new(layouts::open(&self.project, layout, digest)?.1));
            }
        };
        if let Some(layout) = self.layout(reference) {
            return Ok(Box::new(LayoutSource::open_as(&layout, reference.tag(), digest)?));
        }
        let reference = digest.map_or_else(|| reference.clone(), |digest| reference.pinned(digest));
        Ok(Box::new(RegistrySource::of_spec(&self.registries, &reference)?))
    }

    /// Opens the manifest of a lock: whatever its name in a registry is now, but a layout of the project must be as it was.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn pinned(&self, reference: &BaseReference, pin: &ImagePin) -> Result<Box<dyn Source>> {
        let layout = match reference {
            BaseReference::Registry(reference) => match self.layout(reference) {
                Some(layout) => layout,
                None => {
                    return Ok(Box::new(RegistrySource::of_spec(&self.registries, &reference.pinned(pin.manifest))?));
                }
            },
            BaseReference::Layout(layout) => layouts::open(&self.project, layout, Some(pin.digest))?.0,
        };
        Ok(Box::new(LayoutSource::of_manifest(&layout, pin)?))
    }

    /// Gives the layout that stands for the repository of a reference. A repository's name cannot lead out of the folder.
    fn layout(&self, reference: &Reference) -> Option<PathBuf> {
        let folder = self.layouts.get(&reference.host().to_ascii_lowercase())?;
        Some(folder.join(reference.repository()))
    }
}
