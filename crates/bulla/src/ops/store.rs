//! Opens the store.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use bulla_build::event::Event;
use bulla_model::tree::Owner;
use bulla_store::{Options, SigningKey, Store};

use crate::{error::Result, session::Session};

/// The user and group that own the store of root, where the configuration names no other.
pub(crate) const SERVICE_UID: u32 = 61170;

/// Opens the store of this user; it is made where there is none. Its warnings are shown as they come.
///
/// # Errors
/// When there is no place for it, or it cannot be used.
pub(crate) fn open(session: &Session) -> Result<Store> {
    let key = session.state_folder()?.join("store.key");
    let uid = session.config()?.store_uid.unwrap_or(SERVICE_UID);
    let observer = session.observer();
    let mut options = Options::new(session.store_folder()?, key, SystemTime::now);
    options.service_owner = session.environment.root.then_some(Owner { uid, gid: uid });
    options.on_warning = Some(Arc::new(move |message: &str| observer.event(&Event::Warning { message })));
    Ok(Store::open(options)?)
}

/// Gives the file of the key that signs results, and whether somebody named it: `$BULLA_SIGNING_KEY`, else the configuration's,
/// else the usual one. `None` without a home.
///
/// # Errors
/// When the configuration is wrong.
pub(crate) fn signing_key_file(session: &Session) -> Result<Option<(PathBuf, bool)>> {
    let named = session.environment.signing_key.clone();
    let named = named.or(session.config()?.others.signing_key.clone()).map(|path| (path, true));
    Ok(named.or_else(|| Some((session.environment.own_folder()?.join("signing.key"), false))))
}

/// Reads the key that signs results; `None` where there is none, and none was named.
///
/// # Errors
/// When the configuration is wrong, or the key cannot be used.
pub(crate) fn signing_key(session: &Session) -> Result<Option<SigningKey>> {
    match signing_key_file(session)? {
        Some((path, named)) if named || path.exists() => Ok(Some(SigningKey::open(&path)?)),
        _ => Ok(None),
    }
}
