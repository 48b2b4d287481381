//! `/etc/passwd` and `/etc/group` of an image.
//!
//! Who is in them: root, nobody and nonroot; the users of the spec; the users and groups that packages declare; and of
//! Debian's static ones (Debian Policy 9.2.2) those that something belongs to. A package's user without a fixed number
//! gets one that depends on its name alone, so that data on a volume still belongs to it when other packages come or go:
//! 100 plus the first four bytes (big endian) of the name's SHA-256 modulo 900, or the next that is free.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use bulla_model::{Digest, spec::UserEntry, tree::Owner};

const NOLOGIN: &str = "/usr/sbin/nologin";
/// The numbers that Debian gives to users of packages.
const FIRST: u32 = 100;
const COUNT: u32 = 900;
/// The most users and groups that packages may declare; far fewer than there are numbers.
const MAX_DECLARED: usize = 256;

/// Debian's static users: name, uid, gid, home.
const STATIC_USERS: [(&str, u32, u32, &str); 18] = [
    ("root", 0, 0, "/root"),
    ("daemon", 1, 1, "/usr/sbin"),
    ("bin", 2, 2, "/bin"),
    ("sys", 3, 3, "/dev"),
    ("sync", 4, 65534, "/bin"),
    ("games", 5, 60, "/usr/games"),
    ("man", 6, 12, "/var/cache/man"),
    ("lp", 7, 7, "/var/spool/lpd"),
    ("mail", 8, 8, "/var/mail"),
    ("news", 9, 9, "/var/spool/news"),
    ("uucp", 10, 10, "/var/spool/uucp"),
    ("proxy", 13, 13, "/bin"),
    ("www-data", 33, 33, "/var/www"),
    ("backup", 34, 34, "/var/backups"),
    ("list", 38, 38, "/var/list"),
    ("irc", 39, 39, "/run/ircd"),
    ("_apt", 42, 65534, "/nonexistent"),
    ("nobody", 65534, 65534, "/nonexistent"),
];

/// Debian's static groups.
const STATIC_GROUPS: [(&str, u32); 38] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("uucp", 10),
    ("man", 12),
    ("proxy", 13),
    ("kmem", 15),
    ("dialout", 20),
    ("fax", 21),
    ("voice", 22),
    ("cdrom", 24),
    ("floppy", 25),
    ("tape", 26),
    ("sudo", 27),
    ("audio", 29),
    ("dip", 30),
    ("www-data", 33),
    ("backup", 34),
    ("operator", 37),
    ("list", 38),
    ("irc", 39),
    ("src", 40),
    ("shadow", 42),
    ("utmp", 43),
    ("video", 44),
    ("sasl", 45),
    ("plugdev", 46),
    ("staff", 50),
    ("games", 60),
    ("users", 100),
    ("nogroup", 65534),
];

/// The primary group of a declared user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Primary {
    /// A group of the same name.
    Own,
    /// Another one, by name or number.
    Named(String),
}

/// A user that a package declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SystemUser {
    pub(super) name: String,
    pub(super) uid: Option<u32>,
    pub(super) primary: Primary,
    pub(super) gecos: String,
    pub(super) home: String,
    pub(super) shell: String,
}

impl SystemUser {
    /// Makes one as `adduser --system` does without further options.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: None,
            primary: Primary::Named("nogroup".to_owned()),
            gecos: String::new(),
            home: "/nonexistent".to_owned(),
            shell: NOLOGIN.to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
struct User {
    owner: Owner,
    gecos: String,
    home: String,
    shell: String,
}

#[derive(Debug, Clone, Default)]
struct Group {
    gid: u32,
    members: BTreeSet<String>,
}

/// The users and groups of an image.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, Group>,
}

/// Says whether a name may stand in the files: Debian's rule, which forbids what would break a line.
pub(super) fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !text.is_empty()
        && text.len() <= 32
        && text.chars().all(good)
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Says whether a user, or a group, is one that every root of Debian has.
pub(super) fn is_static(name: &str, is_group: bool) -> bool {
    let is_user = || STATIC_USERS.iter().any(|(known, ..)| *known == name);
    if is_group { STATIC_GROUPS.iter().any(|(known, _)| *known == name) } else { is_user() }
}

fn is_field(text: &str) -> bool {
    text.len() <= 1024 && !text.contains(|c: char| c == ':' || c.is_control())
}

impl Accounts {
    /// Starts with root, nobody, nonroot and the users of the spec.
    pub(super) fn new(wanted: &[UserEntry]) -> Self {
        let mut accounts = Self::default();
        accounts.uid("root");
        accounts.gid("root");
        accounts.uid("nobody");
        accounts.gid("nogroup");
        accounts.put("nonroot", Owner { uid: 65532, gid: 65532 }, "/home/nonroot", NOLOGIN);
        for user in wanted {
            accounts.put(&user.name, user.owner, &user.home.to_string(), &user.shell.to_string());
        }
        accounts
    }

    fn put(&mut self, name: &str, owner: Owner, home: &str, shell: &str) {
        let user = User { owner, gecos: name.to_owned(), home: home.to_owned(), shell: shell.to_owned() };
        self.users.insert(name.to_owned(), user);
        self.groups.entry(name.to_owned()).or_default().gid = owner.gid;
    }

    /// Takes the users and groups that packages declare. Names decide, so the order in which they come does not matter but
    /// that the first declaration of a name counts. Gives back what cannot be taken.
    pub(super) fn declare(&mut self, users: &[SystemUser], groups: &[(String, Option<u32>)]) -> Result<(), String> {
        if users.len() + groups.len() > MAX_DECLARED {
            return Err(format!("more than {MAX_DECLARED} users and groups are declared"));
        }
        let bad =
            users.iter().find(|u| !is_name(&u.name) || ![&u.gecos, &u.home, &u.shell].iter().all(|f| is_field(f)));
        let bad = bad.map(|user| &user.name).or_else(|| groups.iter().map(|(n, _)| n).find(|name| !is_name(name)));
        if let Some(name) = bad {
            return Err(format!("`{}` is no user or group that can be written", name.escape_debug()));
        }
        let mut by_name: BTreeMap<&str, &SystemUser> = BTreeMap::new();
        for user in users {
            by_name.entry(&user.name).or_insert(user);
        }
        let fixed = |name: &str| groups.iter().find(|(group, gid)| group == name && gid.is_some()).and_then(|g| g.1);
        let mut names: BTreeSet<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(by_name.values().filter(|user| user.primary == Primary::Own).map(|user| user.name.as_str()));
        // Users first, so that a group of the same name has the same number.
        for (name, user) in &by_name {
            if self.uid(name).is_none() {
                let id = user.uid.or_else(|| fixed(name)).map_or_else(|| self.free(name), Ok)?;
                let written = User {
                    owner: Owner { uid: id, gid: id },
                    gecos: user.gecos.clone(),
                    home: user.home.clone(),
                    shell: user.shell.clone(),
                };
                self.users.insert((*name).to_owned(), written);
            }
        }
        for name in names {
            if self.gid(name).is_none() {
                let of_user = || self.users.get(name).map(|user| user.owner.uid).filter(|id| self.is_free_group(*id));
                let id = fixed(name).or_else(of_user).map_or_else(|| self.free(name), Ok)?;
                self.groups.insert(name.to_owned(), Group { gid: id, members: BTreeSet::new() });
            }
        }
        for (name, user) in &by_name {
            let group = match &user.primary {
                Primary::Own => name,
                Primary::Named(group) => group.as_str(),
            };
            let gid = self.gid(group).ok_or_else(|| format!("the group `{}` is not known", group.escape_debug()))?;
            let is_static = STATIC_USERS.iter().any(|(known, ..)| known == name);
            if let Some(written) = self.users.get_mut(*name).filter(|_| !is_static) {
                written.owner.gid = gid;
            }
        }
        Ok(())
    }

    fn is_free_group(&self, id: u32) -> bool {
        self.groups.values().all(|group| group.gid != id)
    }

    fn free(&self, name: &str) -> Result<u32, String> {
        let hash = Digest::of(name.as_bytes()).hex();
        let start = hash.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
        let taken =
            |id: u32| id == 100 || self.users.values().any(|user| user.owner.uid == id) || !self.is_free_group(id);
        let candidates = (0..COUNT).map(|step| FIRST + (start % COUNT + step) % COUNT);
        candidates.into_iter().find(|id| !taken(*id)).ok_or_else(|| "no number is free for another user".to_owned())
    }

    /// Makes a user a member of a group.
    pub(super) fn join(&mut self, user: &str, group: &str) -> bool {
        let known = self.uid(user).is_some() && self.gid(group).is_some();
        if let Some(group) = self.groups.get_mut(group).filter(|_| known) {
            group.members.insert(user.to_owned());
        }
        known
    }

    /// Gives the number of a user, which may be written as one; a static user is then among the accounts.
    pub(super) fn uid(&mut self, name: &str) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        if let Some(user) = self.users.get(name) {
            return Some(user.owner.uid);
        }
        let (_, uid, gid, home) = *STATIC_USERS.iter().find(|(known, ..)| *known == name)?;
        let shell = if name == "root" { "/bin/sh" } else { NOLOGIN };
        let user = User { owner: Owner { uid, gid }, gecos: name.into(), home: home.into(), shell: shell.into() };
        self.users.insert(name.to_owned(), user);
        self.show_gid(gid);
        Some(uid)
    }

    /// Gives the number of a group, as [`Accounts::uid`] does that of a user.
    pub(super) fn gid(&mut self, name: &str) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        if let Some(group) = self.groups.get(name) {
            return Some(group.gid);
        }
        let (_, gid) = *STATIC_GROUPS.iter().find(|(known, _)| *known == name)?;
        self.groups.insert(name.to_owned(), Group { gid, members: BTreeSet::new() });
        Some(gid)
    }

    /// Gives the primary group of a user.
    pub(super) fn primary(&mut self, name: &str) -> Option<u32> {
        self.uid(name)?;
        self.users.get(name).map(|user| user.owner.gid)
    }

    fn show_gid(&mut self, gid: u32) {
        if let Some((name, _)) = STATIC_GROUPS.iter().find(|(_, known)| *known == gid) {
            self.gid(name);
        }
    }

    /// Adds the static users and groups that numbers in a tree mean.
    pub(super) fn show(&mut self, owner: Owner) {
        if self.users.values().all(|user| user.owner.uid != owner.uid)
            && let Some((name, ..)) = STATIC_USERS.iter().find(|(_, uid, ..)| *uid == owner.uid)
        {
            self.uid(name);
        }
        if self.is_free_group(owner.gid) {
            self.show_gid(owner.gid);
        }
    }

    /// Writes `/etc/passwd`, in the order of the numbers (passwd(5)).
    pub(super) fn passwd(&self) -> String {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_by_key(|(name, user)| (user.owner.uid, *name));
        users.into_iter().fold(String::new(), |mut text, (name, user)| {
            let User { owner: Owner { uid, gid }, gecos, home, shell } = user;
            writeln!(text, "{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}").expect("writing to a string cannot fail");
            text
        })
    }

    /// Writes `/etc/group`, in the order of the numbers (group(5)).
    pub(super) fn group(&self) -> String {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(name, group)| (group.gid, *name));
        groups.into_iter().fold(String::new(), |mut text, (name, group)| {
            let members: Vec<&str> = group.members.iter().map(String::as_str).collect();
            writeln!(text, "{name}:x:{}:{}", group.gid, members.join(",")).expect("writing to a string cannot fail");
            text
        })
    }
}
