//! Reads maintainer scripts, which nobody runs, for what they would have done.
//!
//! What debhelper adds stands between two known lines. Of some kinds it is left out, for what it does is made natively in
//! another way ([`ADDED`]); else it is rehearsed as all the rest is, by [`super::shell`], unless the package is in the [`super::catalogue`].

use std::collections::BTreeSet;

use bulla_model::CleanPath;

use super::{
    Error, Replaced, catalogue,
    effect::Effect,
    overlay::Overlay,
    shell::{self, Installation},
};
use crate::debian::deb::Package;

/// The scripts that an installation runs.
const SCRIPTS: [&str; 2] = ["preinst", "postinst"];
/// The most bytes of a script that is read.
const MAX_SCRIPT: usize = 1 << 20;
const START: &str = "# Automatically added by ";
const END: &str = "# End automatically added section";

/// Of debhelper's programs those whose addition is left out, since what it does is made natively in another way, or belongs
/// to the host; each with how the lines start that it adds.
const ADDED: [(&str, &[&str]); 2] = [
    // Links that are made natively, below.
    (
        "dh_nginx",
        &[
            "for confpair in ",
            "from=$(echo $confpair | cut -d: -f1)",
            "to=$(echo $confpair | cut -d: -f2)",
            "if [ -L /etc/nginx/modules-enabled/$to.removed ]; then",
            "rm /etc/nginx/modules-enabled/$to.removed",
            "removed_link=",
            "if [ -z \"$2\" -o \"$removed_link\" = \"true\" ]; then",
            "ln -sf /usr/share/nginx/modules-available/$from",
            "/etc/nginx/modules-enabled/$to",
            "if [ \"$1\" = \"configure\" ] ; then",
            "if which dpkg-trigger >/dev/null 2>&1 ; then",
            "dpkg-trigger --no-await nginx-reload",
        ],
    ),
    // Profiles belong to the host.
    (
        "dh_apparmor",
        &[
            "APP_PROFILE=",
            "LOCAL_APP_PROFILE=",
            "if [ \"$1\" = \"configure\" ]; then",
            "if [ -f \"$APP_PROFILE\" ]; then",
            "test -e \"$LOCAL_APP_PROFILE\" || {",
            "tmp=`mktemp`",
            "cat <<EOM > \"$tmp\"",
            "EOM",
            "mkdir -p `dirname $LOCAL_APP_PROFILE` 2>/dev/null || true",
            "mkdir -p `dirname \"$LOCAL_APP_PROFILE\"`",
            "mkdir -p \"$(dirname \"$LOCAL_APP_PROFILE\")\"",
            "mv -f \"$tmp\" \"$LOCAL_APP_PROFILE\"",
            "chmod 644 \"$LOCAL_APP_PROFILE\"",
            "install --mode 644 /dev/null \"$LOCAL_APP_PROFILE\"",
            "if aa-status --enabled 2>/dev/null; then",
            "if aa-enabled --quiet 2>/dev/null; then",
            "apparmor_parser -r -T -W \"$APP_PROFILE\" || true",
        ],
    ),
];
/// Lines that any of them may have.
const ANYWHERE: [&str; 7] = ["fi", "else", "done", "}", "do", "then", ""];

/// An effect, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) package: String,
    pub(super) script: &'static str,
    pub(super) effect: Effect,
}

/// What all scripts together would have done.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) effects: Vec<Known>,
    pub(super) replaced: Vec<Replaced>,
}

/// Reads the scripts of all packages.
pub(super) fn read(
    overlay: &Overlay<'_>,
    packages: &[&Package],
    keep_set_id: &BTreeSet<CleanPath>,
) -> Result<Read, Error> {
    let mut all = Read::default();
    for package in packages {
        for script in SCRIPTS {
            let Some(text) = package.member(script) else { continue };
            let name = package.control.name().to_owned();
            let refuse = |reason: String| Error::NeedsScript { package: name.clone(), script, reason };
            if text.len() > MAX_SCRIPT {
                return Err(refuse("it is larger than 1 MiB".to_owned()));
            }
            let (by, effects) =
                of_script(&Installation { overlay, package, script, keep_set_id }, &text).map_err(refuse)?;
            all.effects.extend(effects.into_iter().map(|effect| Known { package: name.clone(), script, effect }));
            let version = package.control.version().to_owned();
            all.replaced.push(Replaced { package: name, version, script, by });
        }
    }
    Ok(all)
}

fn of_script(installation: &Installation<'_, '_>, text: &str) -> Result<(String, Vec<Effect>), String> {
    let Installation { overlay, package, script, .. } = *installation;
    let (rest, mut effects) = without_added(overlay, text)?;
    if let Some(reviewed) = catalogue::find(package.control.name()) {
        if script == "postinst" {
            effects.extend((reviewed.effects)());
        }
        return Ok((format!("reviewed: {}", reviewed.why), effects));
    }
    effects.extend(shell::rehearse(installation, &rest)?);
    let by = if effects.is_empty() { "rehearsed: does nothing in a new image" } else { "rehearsed: made natively" };
    Ok((by.to_owned(), effects))
}

/// Takes out what debhelper added and is known; gives the text that is left.
fn without_added(overlay: &Overlay<'_>, text: &str) -> Result<(String, Vec<Effect>), String> {
    let (mut rest, mut effects) = (String::with_capacity(text.len()), Vec::new());
    let mut added: Option<(&str, &[&str])> = None;
    for line in text.lines() {
        let bare = line.trim();
        let program = bare.strip_prefix(START).map(|rest| rest.split('/').next().unwrap_or_default());
        let known = program.and_then(|program| ADDED.iter().find(|(known, _)| *known == program));
        if let Some((program, lines)) = known.filter(|_| added.is_none()) {
            added = Some((program, lines));
        } else if bare == END {
            added = None;
        } else if let Some((program, lines)) = added {
            // Nothing may follow what the line does.
            let is_plain =
                !bare.contains('&') && !bare.trim_end_matches("; then").trim_end_matches("; do").contains(';');
            let is_known = |start: &&str| bare.starts_with(start) && (bare.len() == start.len() || is_plain);
            if !ANYWHERE.contains(&bare) && !bare.starts_with('#') && !lines.iter().any(is_known) {
                return Err(format!("{program} added to it what it does not add elsewhere: `{}`", bare.escape_debug()));
            }
            if program == "dh_nginx" {
                effects.extend(modules(overlay, bare));
            }
        } else {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    if added.is_some() {
        return Err("what debhelper added to it has no end".to_owned());
    }
    Ok((rest, effects))
}

/// Reads `for confpair in FROM:TO … ; do`, by which nginx's modules are switched on.
fn modules(overlay: &Overlay<'_>, line: &str) -> Vec<Effect> {
    let Some(pairs) = line.strip_prefix("for confpair in ").and_then(|rest| rest.split(';').next()) else {
        return Vec::new();
    };
    let pairs = pairs.split_whitespace().filter_map(|pair| pair.split_once(':'));
    let links = pairs.map(|(from, to)| (format!("/usr/share/nginx/modules-available/{from}"), to));
    let links = links.filter(|(from, _)| overlay.place(from).is_some_and(|path| overlay.stands(&path).is_some()));
    links.map(|(target, to)| Effect::Symlink { path: format!("/etc/nginx/modules-enabled/{to}"), target }).collect()
}
