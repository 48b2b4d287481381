//! Gives foreign bytes to each parser, and holds what must be true of every answer.
//!
//! A target is a function of bytes that panics when something is wrong. Two things drive them: `tests/replay.rs`, an
//! ordinary test that gives them the seeds and what comes of the seeds by fixed mutations; and `libfuzzer/`, which looks for
//! new ways by coverage (`fuzz/run`). A new parser of foreign bytes needs a function here, its line in [`TARGETS`], and a seed.

mod debian;
mod dependencies;
mod evidence;
mod git;
mod image;
mod inventory;
mod keyless;
mod layout;
mod lent;
mod model;
mod modules;
mod normalise;
mod package;
mod pypi;
mod registry;
mod secret;
mod served;
mod signature;
mod signed;
mod source;
mod url;

/// A function that gives bytes to a parser.
pub type Target = fn(&[u8]);

/// All targets by name; the seeds of each are in `seeds/NAME/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("spec", model::spec),
    ("workspace", model::workspace),
    ("lock", model::lock),
    ("tree", model::tree),
    ("path", model::path),
    ("glob", model::glob),
    ("inrelease", signed::inrelease),
    ("release", signed::release),
    ("keyring", signed::keyring),
    ("packages", debian::packages),
    ("solve", debian::solve),
    ("relation", debian::relation),
    ("version", debian::version),
    ("apt", debian::apt),
    ("deb", package::deb),
    ("data", package::data),
    ("scripts", image::scripts),
    ("library", image::library),
    ("archive", layout::archive),
    ("document", layout::document),
    ("layer", layout::layer),
    ("normalise", normalise::normalise),
    ("source", source::source),
    ("patch", source::patch),
    ("description", source::description),
    ("sources", source::sources),
    ("signature", source::signature),
    ("image_signature", signature::image),
    ("evidence", evidence::evidence),
    ("key_file", evidence::key_file),
    ("policy", evidence::policy),
    ("git_pack", git::pack),
    ("git_object", git::object),
    ("git_talk", git::talk),
    ("git_signed", git::signed),
    ("git_modules", git::modules),
    ("url", url::url),
    ("request", served::request),
    ("address", served::address),
    ("served", served::served),
    ("reference", registry::reference),
    ("challenge", registry::challenge),
    ("manifest", registry::manifest),
    ("capability", model::capability),
    ("statement", lent::statement),
    ("packed", lent::packed),
    ("bundle", lent::bundle),
    ("npm_lock", dependencies::npm_lock),
    ("pnpm_lock", dependencies::pnpm_lock),
    ("yarn_lock", dependencies::yarn_lock),
    ("yarn_zip", dependencies::yarn_zip),
    ("npm_package", dependencies::npm_package),
    ("secret", secret::secret),
    ("go_sum", modules::go_sum),
    ("go_zip", modules::go_zip),
    ("cargo_lock", modules::cargo_lock),
    ("crate_file", modules::crate_file),
    ("requirements", pypi::requirements),
    ("uv_lock", pypi::uv_lock),
    ("poetry_lock", pypi::poetry_lock),
    ("pylock", pypi::pylock),
    ("simple_index", pypi::simple_index),
    ("wheel", pypi::wheel),
    ("maven_path", modules::maven_path),
    ("gradle_lock", modules::gradle_lock),
    ("gradle_metadata", modules::gradle_metadata),
    ("apt_path", modules::apt_path),
    ("pypi_offer", pypi::offer),
    ("inventory", inventory::file),
    ("copyright", inventory::copyright),
    ("provenance", evidence::provenance),
    ("difference", evidence::difference),
    ("keyless", keyless::keyless),
    ("list", evidence::list),
    ("rule", evidence::rule),
];

/// Finds a target by its name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// Gives the bytes as text, as far as they are UTF-8; most parsers are given text, and the step before is not theirs.
fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// Writes an error with all its sources and hints, for writing it must not fail either.
fn shown(error: &(impl bulla_model::Fault + 'static)) {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        assert!(!error.to_string().is_empty());
        next = error.source();
    }
    let _ = (error.kind(), error.hints());
}
