//! Attacks and bad input, mounted on the real program from end to end. Each has a control that shows that the same build
//! succeeds when nothing is wrong.

mod base;
mod bundle;
mod debs;
mod hosts;
mod index;
mod kills;
mod layout;
mod lock;
mod outputs;
mod remote;
mod remote_workspace;
mod secrets;
mod shared_base;
mod signed;
mod signed_bundle;
mod signed_layout;
mod spec;
mod steps;
mod store;
mod world;
