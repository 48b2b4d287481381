//! What programs may do beyond the rights of their user.

use bulla_model::Capabilities;

use super::{
    super::run::{Shell, Step, refuse},
    look::{place, stands},
};
use crate::debian::image::{effect::Effect, overlay::Stands};

/// Notes the capabilities that a file would get. It counts as done, for what a script does instead is to set the set-user-id bit,
/// which gives more; but where the spec keeps that bit of the file, it is what is wanted, and this fails.
pub(super) fn setcap(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let call = || format!("it calls `setcap {}`", arguments.join(" ").escape_debug());
    let [text, path] = arguments else { return refuse(call()) };
    if text.starts_with('-') {
        return refuse(call());
    }
    let capabilities = match Capabilities::parse(text) {
        Ok(capabilities) => capabilities,
        Err(error) => return refuse(format!("it gives capabilities: {}", error.to_string().escape_debug())),
    };
    let place = place(shell, path)?;
    if stands(shell, path, true)? != Some(Stands::File) {
        return Ok(false);
    }
    let installation = shell.installation;
    let real = installation.overlay.follow(&place, true).unwrap_or(place);
    if installation.keep_set_id.contains(&real) {
        return Ok(false);
    }
    shell.note(Effect::Capabilities { path: path.clone(), capabilities })
}
