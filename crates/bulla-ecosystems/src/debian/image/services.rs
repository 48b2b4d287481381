//! What the files of services ask for: users of `sysusers.d`, directories of `tmpfiles.d` and of systemd's units.

use bulla_model::{CleanPath, tree::Owner};

use super::{
    accounts::{Accounts, Primary, SystemUser},
    effect::Effect,
    overlay::{Overlay, clean},
};

/// The most files of a kind that are read.
const MAX_FILES: usize = 10_000;
/// A directory key of a unit, its mode's key, and where it is (systemd.exec(5)).
const DIRECTORIES: [(&str, &str, &str); 4] = [
    ("RuntimeDirectory", "RuntimeDirectoryMode", "/run"),
    ("StateDirectory", "StateDirectoryMode", "/var/lib"),
    ("CacheDirectory", "CacheDirectoryMode", "/var/cache"),
    ("LogsDirectory", "LogsDirectoryMode", "/var/log"),
];

fn texts(overlay: &Overlay<'_>, directory: &str, end: &str) -> Vec<String> {
    let files = overlay.list(&clean(directory));
    let files = files.iter().filter(|path| path.name().ends_with(end.as_bytes())).take(MAX_FILES);
    files.filter_map(|path| overlay.text(path)).collect()
}

/// Reads the users and groups of `/usr/lib/sysusers.d/*.conf` (sysusers.d(5)); lines with specifiers are left out.
pub(super) fn declared(overlay: &Overlay<'_>) -> Vec<Effect> {
    let texts = texts(overlay, "usr/lib/sysusers.d", ".conf");
    texts.iter().flat_map(|text| text.lines()).filter_map(declaration).collect()
}

fn declaration(line: &str) -> Option<Effect> {
    let fields = fields(line);
    let mut fields = fields.iter().map(String::as_str);
    let (kind, name, id) = (fields.next()?, fields.next()?, fields.next().unwrap_or("-"));
    if line.contains('%') {
        return None;
    }
    let mut given = || fields.next().filter(|field| *field != "-");
    match kind.trim_end_matches('!') {
        "u" => {
            let (uid, group) = id.split_once(':').unwrap_or((id, ""));
            let mut user = SystemUser::new(name);
            user.uid = uid.parse().ok();
            user.primary = if group.is_empty() { Primary::Own } else { Primary::Named(group.to_owned()) };
            user.gecos = given().unwrap_or_default().to_owned();
            user.home = given().unwrap_or("/").to_owned();
            user.shell = given().unwrap_or("/usr/sbin/nologin").to_owned();
            Some(Effect::User(user))
        }
        "g" => Some(Effect::Group { name: name.to_owned(), gid: id.parse().ok() }),
        "m" => Some(Effect::Member { user: name.to_owned(), group: id.to_owned() }),
        _ => None,
    }
}

/// Cuts a line into fields, which may stand in quotes; a comment has none.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        fields.push(field.to_owned());
        rest = after.trim_start();
    }
    fields
}

/// Reads the directories of `/usr/lib/tmpfiles.d/*.conf` (tmpfiles.d(5), types `d`, `D`, `v`, `q` and `Q`, and links of
/// type `L`) whose owners are known; lines with specifiers or patterns are left out.
pub(super) fn temporary(overlay: &Overlay<'_>, accounts: &mut Accounts) -> Vec<Effect> {
    let texts = texts(overlay, "usr/lib/tmpfiles.d", ".conf");
    texts.iter().flat_map(|text| text.lines()).flat_map(|line| entry(line, accounts)).collect()
}

fn entry(line: &str, accounts: &mut Accounts) -> Vec<Effect> {
    let fields = fields(line);
    let field = |index: usize| fields.get(index).map_or("-", String::as_str);
    let path = field(1).to_owned();
    if !path.starts_with('/') || line.contains(['%', '*', '?', '[']) {
        return Vec::new();
    }
    let kind = field(0);
    match kind.trim_end_matches(['!', '-', '=', '~', '^', '+']) {
        "d" | "D" | "v" | "q" | "Q" => {
            let (user, group) = (field(3), field(4));
            let named = |name: &str| if name == "-" { "root".to_owned() } else { name.to_owned() };
            let (user, group) = (named(user), named(group));
            if accounts.uid(&user).is_none() || accounts.gid(&group).is_none() {
                return Vec::new();
            }
            let mode = u32::from_str_radix(field(2).trim_start_matches(['~', ':']), 8).unwrap_or(0o755);
            owned(path, mode, user, group)
        }
        "L" if field(6) != "-" => vec![Effect::Symlink { path, target: field(6).to_owned() }],
        _ => Vec::new(),
    }
}

fn owned(path: String, mode: u32, user: String, group: String) -> Vec<Effect> {
    vec![
        Effect::Directory { path: path.clone(), mode },
        Effect::Mode { path: path.clone(), mode },
        Effect::Owner { path, user: Some(user), group: Some(group) },
    ]
}

/// Reads the directories that systemd would make when it starts a service, for a user that is known: `RuntimeDirectory=` and
/// its like. Templates, and values with specifiers, are left out.
pub(super) fn units(overlay: &Overlay<'_>, accounts: &mut Accounts) -> Vec<Effect> {
    let files = overlay.list(&clean("usr/lib/systemd/system"));
    let files = files.iter().filter(|path| path.name().ends_with(b".service") && !path.name().contains(&b'@'));
    let texts: Vec<String> = files.take(MAX_FILES).filter_map(|path| overlay.text(path)).collect();
    texts.iter().flat_map(|text| unit(text, accounts)).collect()
}

fn unit(text: &str, accounts: &mut Accounts) -> Vec<Effect> {
    let values = |key: &str| {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned()).next_back()
    };
    if values("DynamicUser").is_some_and(|value| matches!(value.as_str(), "yes" | "true" | "1" | "on")) {
        return Vec::new();
    }
    let user = values("User").filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned());
    let Some(gid) = accounts.primary(&user) else { return Vec::new() };
    let group = values("Group").filter(|group| !group.is_empty()).unwrap_or_else(|| gid.to_string());
    if accounts.gid(&group).is_none() {
        return Vec::new();
    }
    let mut effects = Vec::new();
    for (key, mode, above) in DIRECTORIES {
        let mode = values(mode).and_then(|mode| u32::from_str_radix(&mode, 8).ok()).unwrap_or(0o755);
        for name in values(key).unwrap_or_default().split_whitespace().take(100) {
            let name = name.split(':').next().unwrap_or_default();
            if !name.contains('%') && CleanPath::parse(name).is_ok() {
                effects.extend(owned(format!("{above}/{name}"), mode, user.clone(), group.clone()));
            }
        }
    }
    effects
}

/// Gives the owners that files of the packages have.
pub(super) fn owners(overlay: &Overlay<'_>) -> std::collections::BTreeSet<Owner> {
    overlay.shipped().filter_map(|(_, node)| node.owner()).collect()
}
