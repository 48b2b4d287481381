//! Who may sign, by a key or by a certificate and whose word, and how that is verified ([`trust`]); signing so, and with the time ([`sign`]), by the
//! services of an instance ([`service`]).

mod service;
mod sign;
mod trust;

use self::{sign::SealError, trust::read_root};
pub(crate) use self::{
    sign::{KeylessOptions, Seal, Signing},
    trust::{Authorities, SignerOptions, keys_of},
};
