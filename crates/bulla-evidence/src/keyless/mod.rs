//! Signatures by certificates ("keyless"): who somebody was, as an identity provider said, at the moment of signing.
//!
//! A certificate authority (Fulcio) writes a certificate for minutes about a key that is thrown away afterwards; a log (Rekor) has an entry of the
//! signature; the log or a timestamp authority says when it was. All of these are those of a [`TrustedRoot`], a document that the reader gives:
//! nothing is fetched, and no instance is trusted by itself. The steps are those of Sigstore's own libraries (Sigstore client specification,
//! "Verification"); who may sign is [`TrustedIdentity`].

mod cryptography;
mod identity;
pub mod request;
mod root;

pub use self::{
    identity::{Matcher, PatternError, TrustedIdentity},
    root::{Certified, KeylessError, MAX_ROOT, Proof, RootError, Signed, TrustedRoot, claimed},
};
