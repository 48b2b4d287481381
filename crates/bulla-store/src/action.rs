//! Results of actions: JSON by the digest of the action, sealed with the store's key for that digest alone.

use bulla_model::Digest;
use rustix::io::Errno;

use crate::{
    error::{Error, Result},
    key::Domain,
    lease::Item,
    store::{Inner, Store},
};

/// The most bytes that a result may have.
const MAX_RESULT: u64 = 256 << 20;

/// The result of an action, and whether it may leave this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResult {
    /// The result.
    pub json: Vec<u8>,
    /// Whether a cache was read for it, so that it does not follow from the action alone: it is never shared, signed or called
    /// reproducible. It is sealed as such.
    pub tainted: bool,
}

impl Store {
    /// Keeps the result of an action, over one that may be there.
    ///
    /// # Errors
    /// When the result cannot be written.
    pub fn put_result(&self, action: &Digest, json: &[u8]) -> Result<()> {
        self.0.put_result(Domain::Action, action, json)
    }

    /// Keeps the result of an action for which a cache was read: see [`ActionResult::tainted`].
    ///
    /// # Errors
    /// When the result cannot be written.
    pub fn put_tainted_result(&self, action: &Digest, json: &[u8]) -> Result<()> {
        self.0.put_result(Domain::TaintedAction, action, json)
    }

    /// As [`Store::result`], with whether the result is tainted. Whoever shares results asks this.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn action_result(&self, action: &Digest) -> Result<Option<ActionResult>> {
        self.0.lease(Item::Action, action)?;
        self.0.verified_result(action)
    }

    /// Gives the result of an action; `None` where there is none, or it was not sealed by this store for this action (then
    /// it is removed, with a warning).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn result(&self, action: &Digest) -> Result<Option<Vec<u8>>> {
        Ok(self.action_result(action)?.map(|result| result.json))
    }
}

impl Inner {
    fn put_result(&self, domain: Domain, action: &Digest, json: &[u8]) -> Result<()> {
        self.lease(Item::Action, action)?;
        self.put(&self.actions, &action.hex(), &self.key.seal(domain, action, json), 0o600)
    }

    pub(crate) fn verified_result(&self, action: &Digest) -> Result<Option<ActionResult>> {
        let name = action.hex();
        let record = match self.actions.read(&name) {
            Ok(None) => return Ok(None),
            Ok(Some(_)) => self.actions.read_all(&name, MAX_RESULT),
            Err(error) => Err(error),
        };
        let record = match record {
            Ok(record) => record.unwrap_or_default(),
            Err(Errno::LOOP | Errno::INVAL | Errno::NXIO) => Vec::new(),
            Err(error) => return Err(Error::io("reading the result", self.actions.path().join(name), error)),
        };
        for (domain, tainted) in [(Domain::Action, false), (Domain::TaintedAction, true)] {
            if let Some(json) = self.key.unseal(domain, action, &record) {
                return Ok(Some(ActionResult { json: json.to_vec(), tainted }));
            }
        }
        self.warn(format!(
            "the result of the action {action} was removed: it was not made by this store for this action"
        ));
        self.expel(&self.actions, &name)?;
        Ok(None)
    }
}
