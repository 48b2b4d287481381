//! Evidence of images and files: what it is about ([`what`]), where it lies and how it is read ([`gather`]), and how it gets there ([`mod@put`]).
//!
//! What is a signature, and what it proves, is said by `bulla-evidence`; here are the places.

mod consistent;
mod error;
mod file;
mod gather;
mod put;
mod what;

pub(crate) use self::{
    consistent::consistent,
    error::EvidenceError,
    file::SignedFile,
    gather::{content, pieces, signatures, small},
    put::{Published, put},
    what::{Image, What},
};
