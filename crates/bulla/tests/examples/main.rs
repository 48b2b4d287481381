//! The projects of `examples/`, built from real packages of this machine's release and then run; and what holds of them:
//! the same digest whoever builds, and nothing reached from a step.

mod apt_in_step;
mod caches;
mod cargo_tool;
mod go_service;
mod gradle;
mod hello;
mod hermetic;
mod maven_service;
mod nginx;
mod node_service;
mod private_base;
mod proof;
mod python_service;
mod redis;
mod reproducible;
mod roots;
mod signed_tag;
mod trixie;
mod two_platforms;
mod vite_site;
mod world;
