//! The scripts of packages, where a stage denies them. npm and pnpm run every script by one program (`script-shell`), and that is ours then.
//!
//! Whether a script runs is decided by the folder that it runs in, and by what the lock file says lies there: a name in a `package.json`, or
//! in the variables that npm makes of it, is whatever the package likes. So a name of the list stands for what comes from the registry
//! by that name. What a package brings along in its own archive is judged as that package is. Archives by their address
//! name themselves, and are allowed by their place alone.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{CleanPath, Digest};

use super::lock::Kept;
use crate::dependencies::{Client, Script};

/// The program that runs scripts.
const PROGRAM: &str = "/run/bulla/npm/script";
/// What the files with allowed places begin with; each lock file of a stage has one.
const LISTS: &str = "/run/bulla/npm/allowed-";

/// The program, for any POSIX shell. pnpm has the packages in folders by name and version, with an underscore behind that and what
/// the package is installed with; a version has no underscore. The program calls nothing by its name: the folders of packages come first where names are looked for.
const TEXT: &str = r#"#!/bin/sh
case $1 in
ran)
    shift 3
    exec /bin/sh "$@"
    ;;
refused)
    echo "bulla: $3 of $2 does not run: \`scripts\` of bulla.yaml denies it" >&2
    exit 0
    ;;
esac
cd -P . || exit 1
case $PWD in
*/node_modules/* | */_cacache/* | /run/bulla/cache/*) ;;
*) exec /bin/sh "$@" ;;
esac
inside=${PWD##*/node_modules/}
case $inside in
@*/*)
    name=${inside#*/}
    name=${inside%%/*}/${name%%/*}
    ;;
*) name=${inside%%/*} ;;
esac
place=${PWD%"$inside"}$name
case $PWD in
*/_cacache/*) place=$PWD ;;
*/node_modules/*) ;;
*) place=$PWD ;;
esac
run() {
    exec /run/bulla/npm/script ran "$place" "${npm_lifecycle_event-}" "$@"
}
for list in /run/bulla/npm/allowed-*; do
    while IFS= read -r allowed; do
        [ "$place" != "$allowed" ] || run "$@"
        case $allowed in
        */node_modules/.pnpm/*/node_modules/*)
            folder=${allowed##*/node_modules/.pnpm/}
            folder=${folder%%/*}
            inside=${place#"${allowed%%/node_modules/.pnpm/*}/node_modules/.pnpm/$folder"_}
            case $inside in
            "$place") ;;
            *)
                [ "${inside#*/}" != "${allowed##*/node_modules/.pnpm/"$folder"/}" ] || run "$@"
                ;;
            esac
            ;;
        esac
    done <"$list"
done
exec /run/bulla/npm/script refused "$place" "${npm_lifecycle_event-}" "$@"
"#;

/// The packages of a lock file whose scripts run.
#[derive(Debug)]
pub(super) struct Allowed {
    /// Where they lie, as absolute paths.
    places: BTreeSet<String>,
    /// The name of the list, which each lock file of a stage has for itself.
    list: String,
    /// What the list of the spec has, and the lock file has not.
    pub(super) unknown: Vec<String>,
}

impl Allowed {
    /// Finds out where the allowed packages of a lock file lie, whose source is at a place of the stage.
    pub(super) fn new(
        file: &CleanPath,
        source: &str,
        places: &BTreeMap<String, Kept>,
        allow: &BTreeSet<String>,
    ) -> Self {
        let project = file.parent().map_or_else(|| source.to_owned(), |parent| format!("{source}/{parent}"));
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let mut found = BTreeSet::new();
        for location in places.keys().filter(|location| !location.contains(char::is_control)) {
            let Some((of, kept)) = owner(places, location) else { continue };
            let name = match kept {
                Kept::Registry(name) => allow.get(name),
                _ => None,
            };
            if let Some(by) = name.or_else(|| allow.get(of)) {
                used.insert(by);
                found.insert(format!("{project}/{location}"));
            }
        }
        let unknown = allow.iter().filter(|name| !used.contains(name.as_str())).cloned().collect();
        let list = match file.name() {
            b"package-lock.json" | b"npm-shrinkwrap.json" => Digest::of(&project),
            // In one folder there may be those of several clients.
            _ => Digest::of(format!("{source}/{file}")),
        };
        let list = format!("{LISTS}{}", list.short());
        Self { places: found, list, unknown }
    }

    /// Has the client run scripts by the program.
    pub(super) fn enforce(&self, client: &mut Client) {
        let list: String = self.places.iter().map(|place| format!("{place}\n")).collect();
        client.env.insert("npm_config_script_shell".to_owned(), PROGRAM.to_owned());
        for (files, path, bytes) in [
            (&mut client.files, self.list.as_str(), list.into_bytes()),
            (&mut client.programs, PROGRAM, TEXT.as_bytes().to_vec()),
        ] {
            if let Ok(path) = CleanPath::parse(path.trim_start_matches('/')) {
                files.insert(path, bytes);
            }
        }
    }
}

/// Gives the place and kind of the package whose archive has what lies at a place.
fn owner<'a>(places: &'a BTreeMap<String, Kept>, location: &'a str) -> Option<(&'a str, &'a Kept)> {
    let mut location = location;
    loop {
        match places.get(location) {
            Some(Kept::Bundled) | None => location = location.rsplit_once("/node_modules/")?.0,
            Some(kept) => return Some((location, kept)),
        }
    }
}

/// Says whether a variable is the setting that our program needs. npm reads names of settings without regard to case, and `-` as `_`.
pub(super) fn is_shell_setting(variable: &str) -> bool {
    variable.to_ascii_lowercase().replace('-', "_") == "npm_config_script_shell"
}

/// Reads what the program tells of itself by its arguments.
pub(super) fn told(executable: &str, argv: &[String]) -> Option<Script> {
    let [_, word, place, event, _, command, ..] = argv else { return None };
    let ran = match word.as_str() {
        "ran" => true,
        "refused" => false,
        _ => return None,
    };
    let (place, event, command) = (place.clone(), event.clone(), command.clone());
    (executable == PROGRAM).then_some(Script { place, event, command, ran })
}
