//! Commands that make users and groups, or ask for them.

use super::{
    super::run::{Shell, Step, refuse},
    look::{place, stands},
    options::{Options, options},
};
use crate::debian::image::{
    accounts::{Primary, SystemUser, is_static},
    effect::Effect,
    overlay::Stands,
};

pub(super) fn account(shell: &mut Shell<'_, '_>, name: &str, arguments: &[String]) -> Step<bool> {
    let valued = [
        "--home",
        "--shell",
        "--uid",
        "--gid",
        "--ingroup",
        "--gecos",
        "--comment",
        "--firstuid",
        "--lastuid",
        "--firstgid",
        "--lastgid",
        "--conf",
        "-g",
        "-d",
        "-s",
        "-u",
        "-c",
        "-G",
        "-K",
        "--home-dir",
        "-b",
    ];
    let Options { options, rest } = options(arguments, &valued);
    let has = |names: &[&str]| options.iter().any(|(option, _)| names.contains(option));
    let value = |names: &[&str]| options.iter().find(|(option, _)| names.contains(option)).map(|(_, value)| *value);
    let number = |text: Option<&str>| match text.map(str::parse::<u32>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => refuse("it gives an account a number that is none"),
    };
    if let Some((option, _)) = options.iter().find(|(option, _)| !is_known_option(name, option)) {
        return refuse(format!("it calls `{name}` with `{}`", option.escape_debug()));
    }
    let is_system = has(&["--system", "-r"]);
    match (name, rest.as_slice()) {
        ("usermod", [user]) if value(&["-G"]).is_some() => {
            let group = value(&["-G"]).map_or("", |group| group).to_owned();
            shell.note(Effect::Member { user: (*user).to_owned(), group })
        }
        ("usermod", [group, user]) if has(&["-aG", "--groups"]) => {
            shell.note(Effect::Member { user: (*user).to_owned(), group: (*group).to_owned() })
        }
        ("adduser" | "addgroup", [user, group]) => {
            shell.note(Effect::Member { user: (*user).to_owned(), group: (*group).to_owned() })
        }
        ("addgroup" | "groupadd", [group]) => {
            let gid = number(value(&["--gid", "-g"]))?;
            if !is_system && gid.is_none() {
                return refuse(format!(
                    "it makes the group `{}`, which is not one of the system",
                    group.escape_debug()
                ));
            }
            shell.note(Effect::Group { name: (*group).to_owned(), gid })
        }
        ("adduser", [group])
            if is_system && has(&["--group"]) && !has_user_options(&options) && has(&["--no-user"]) =>
        {
            shell.note(Effect::Group { name: (*group).to_owned(), gid: None })
        }
        ("adduser" | "useradd", [user]) if is_system => {
            let mut made = SystemUser::new(user);
            made.uid = number(value(&["--uid", "-u"]))?;
            if name == "useradd" {
                made.home = format!("/home/{user}");
                made.shell = "/bin/sh".to_owned();
            }
            made.primary = match value(&["--ingroup", "--gid", "-g"]) {
                Some(group) => Primary::Named(group.to_owned()),
                None if name == "useradd" || has(&["--group"]) => Primary::Own,
                None => made.primary,
            };
            made.gecos = value(&["--gecos", "--comment", "-c"]).unwrap_or_default().to_owned();
            if let Some(home) = value(&["--home", "--home-dir", "-d"]) {
                made.home = home.to_owned();
            }
            if let Some(shell) = value(&["--shell", "-s"]) {
                made.shell = shell.to_owned();
            }
            home(shell, name, &made, has(&["--no-create-home", "-M"]), has(&["-m", "--create-home"]))?;
            shell.note(Effect::User(made))
        }
        _ => refuse(format!("it makes an account with `{name} {}`", arguments.join(" ").escape_debug())),
    }
}

/// Says whether what an option does is made, or does nothing in an image.
fn is_known_option(command: &str, option: &str) -> bool {
    let quiet = matches!(option, "--quiet" | "-q" | "--system" | "-r");
    quiet
        || match command {
            "usermod" => matches!(option, "-a" | "-aG" | "-G" | "--append" | "--groups"),
            "addgroup" | "groupadd" => matches!(option, "--gid" | "-g" | "-f" | "--force" | "--force-badname"),
            "adduser" => matches!(
                option,
                "--home"
                    | "--shell"
                    | "--uid"
                    | "--gid"
                    | "--ingroup"
                    | "--group"
                    | "--gecos"
                    | "--comment"
                    | "--no-create-home"
                    | "--disabled-login"
                    | "--disabled-password"
                    | "--force-badname"
                    | "--allow-bad-names"
                    | "--allow-badname"
                    | "--no-user"
            ),
            _ => matches!(
                option,
                "-g" | "--gid"
                    | "-d"
                    | "--home-dir"
                    | "--home"
                    | "-s"
                    | "--shell"
                    | "-u"
                    | "--uid"
                    | "-c"
                    | "--comment"
                    | "-M"
                    | "--no-create-home"
                    | "-m"
                    | "--create-home"
            ),
        }
}

fn has_user_options(options: &[(&str, &str)]) -> bool {
    options.iter().any(|(option, _)| matches!(*option, "--home" | "--shell" | "--gecos"))
}

/// Notes the home directory, which `adduser` makes unless told not to.
fn home(shell: &mut Shell<'_, '_>, name: &str, user: &SystemUser, never: bool, always: bool) -> Step<()> {
    let is_none = matches!(user.home.as_str(), "/nonexistent" | "/");
    if never || is_none || (name == "useradd" && !always) || stands(shell, &user.home, true)?.is_some() {
        return Ok(());
    }
    let place = place(shell, &user.home)?;
    shell.made.insert(place, Stands::Directory);
    shell.note(Effect::Directory { path: user.home.clone(), mode: 0o755 })?;
    let group = match &user.primary {
        Primary::Own => user.name.clone(),
        Primary::Named(group) => group.clone(),
    };
    let owner = Effect::Owner { path: user.home.clone(), user: Some(user.name.clone()), group: Some(group) };
    shell.note(owner).map(drop)
}

/// Says whether an account is there: one that every root has, or one that the script made. Those of other packages are
/// declared again, which changes nothing.
pub(super) fn is_account(shell: &Shell<'_, '_>, command: &str, arguments: &[String]) -> Step<bool> {
    let rest = options(arguments, &[]).rest;
    let (database, names) = match (command, rest.as_slice()) {
        ("getent", [database @ ("passwd" | "shadow" | "group" | "gshadow"), names @ ..]) => (*database, names),
        ("id", names) => ("passwd", names),
        _ => return refuse(format!("it calls `{command} {}`", arguments.join(" ").escape_debug())),
    };
    let [name] = names else { return refuse(format!("it calls `{command}` for other than one name")) };
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse(format!("it asks who has the number `{}`", name.escape_debug()));
    }
    let wants_group = database.starts_with('g');
    Ok(is_static(name, wants_group)
        || shell.effects.iter().any(|effect| match effect {
            Effect::User(user) => user.name == *name && (!wants_group || user.primary == Primary::Own),
            Effect::Group { name: group, .. } => group == name && wants_group,
            _ => false,
        }))
}

/// Gives the primary group of a user, where that has the same name.
pub(super) fn primary<'a>(shell: &Shell<'_, '_>, user: &'a str) -> Step<&'a str> {
    let is_own = shell
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::User(made) if made.name == user && made.primary == Primary::Own));
    if is_own || user == "root" { Ok(user) } else { refuse(format!("it wants the group of `{}`", user.escape_debug())) }
}
