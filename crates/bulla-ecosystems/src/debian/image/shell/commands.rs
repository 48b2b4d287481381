//! The commands that are known: what they change, or that they change nothing in a new image.

mod accounts;
mod files;
mod language;
mod look;
mod options;
mod packaging;
mod rights;

use self::{
    accounts::{account, is_account},
    files::{attributes, copy, directories, link, remove, statoverride, touch},
    language::{assign, exists, output, say, set, trap, unset},
    look::{stands, test},
    packaging::{alternatives, answer, compile, dpkg},
    rights::setcap,
};
use super::run::{Shell, Step, Stop, Target, refuse};
use crate::debian::image::overlay::Stands;

pub(super) use files::write;

/// Commands that change nothing in a new image: they start services, wake triggers, mend upgrades, or fill caches that
/// nothing needs.
const IDLE: [&str; 31] = [
    "apparmor_parser",
    "db_beginblock",
    "db_capb",
    "db_endblock",
    "db_fset",
    "db_go",
    "db_purge",
    "db_settitle",
    "db_stop",
    "db_subst",
    "db_title",
    "db_unregister",
    "db_version",
    "deb-systemd-helper",
    "depmod",
    "deb-systemd-invoke",
    "dpkg-maintscript-helper",
    "dpkg-trigger",
    "ldconfig",
    "mandb",
    "py3clean",
    "py3compile",
    "pycompile",
    "pypy3compile",
    "restorecon",
    "rm_conffile",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "ucfr",
    "update-rc.d",
    "update-binfmts",
];

/// Commands that change nothing in a new image when they are called with one of these words, and that may be asked other
/// things, whose answers are not known.
const IDLE_WITH: [(&str, &[&str]); 4] = [
    ("invoke-rc.d", &["start", "stop", "restart", "reload", "force-reload", "try-restart"]),
    ("service", &["start", "stop", "restart", "reload", "force-reload", "try-restart"]),
    (
        "systemctl",
        &[
            "daemon-reload",
            "daemon-reexec",
            "start",
            "stop",
            "restart",
            "reload",
            "try-restart",
            "reload-or-restart",
            "reload-or-try-restart",
            "condrestart",
            "enable",
            "disable",
            "mask",
            "unmask",
            "preset",
            "reset-failed",
            "kill",
        ],
    ),
    ("udevadm", &["control", "trigger", "settle", "hwdb"]),
];

/// Commands that are made natively, and so count as there.
const NATIVE: [&str; 29] = [
    "addgroup",
    "adduser",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "dpkg",
    "dpkg-statoverride",
    "echo",
    "getent",
    "groupadd",
    "id",
    "install",
    "ln",
    "mkdir",
    "mv",
    "printf",
    "rm",
    "rmdir",
    "setcap",
    "test",
    "touch",
    "true",
    "update-alternatives",
    "useradd",
    "usermod",
    "cat",
    "find",
    "sh",
];

pub(super) fn run(shell: &mut Shell<'_, '_>, words: &[String], target: Target, document: Option<String>) -> Step<bool> {
    let (name, arguments) = words.split_first().map_or(("", words), |(name, rest)| (name.as_str(), rest));
    let matters = shell.output.is_some() || target != Target::Same;
    if let Some(text) = output(shell, name, arguments, document, matters) {
        let (text, status) = text?;
        return match target {
            Target::File { path, append } => Ok(write(shell, &path, append, text)? && status),
            _ => say(shell, &text).map(|()| status),
        };
    }
    if let Target::File { path, .. } = target {
        return refuse(format!("it writes what `{}` says to `{}`", name.escape_debug(), path.escape_debug()));
    }
    if shell.output.is_some() && !matches!(name, ":" | "true" | "false" | "test" | "[" | "set" | "cd" | "exit") {
        return refuse(format!("it works with the output of `{}`", name.escape_debug()));
    }
    let name = name.rsplit_once('/').filter(|(folder, _)| is_bin(folder)).map_or(name, |(_, name)| name);
    match name {
        ":" | "true" | "wait" | "sync" => Ok(true),
        "false" => Ok(false),
        "umask" if matches!(arguments, [mask] if matches!(mask.as_str(), "022" | "0022" | "22")) => Ok(true),
        // From there on only absolute paths are known, which are so everywhere.
        "cd" if matches!(arguments, [folder] if folder.starts_with('/')) => {
            Ok(arguments == ["/"] || stands(shell, &arguments.concat(), true)? == Some(Stands::Directory))
        }
        "trap" => trap(arguments),
        "exit" | "return" => {
            let status = match arguments {
                [] => shell.last,
                [status] if status.bytes().all(|byte| byte.is_ascii_digit()) => {
                    status.bytes().all(|byte| byte == b'0') && !status.is_empty()
                }
                _ => return refuse(format!("it calls `{name} {}`", arguments.join(" ").escape_debug())),
            };
            Err(if name == "exit" { Stop::Exit(status) } else { Stop::Return(status) })
        }
        "break" if arguments.is_empty() => Err(Stop::Break),
        "continue" if arguments.is_empty() => Err(Stop::Continue),
        "set" => set(shell, arguments),
        "shift" => {
            let count = arguments.first().map_or(Ok(1), |count| count.parse::<usize>());
            match count {
                Ok(count) if count <= shell.arguments.len() && arguments.len() < 2 => {
                    shell.arguments.drain(..count);
                    Ok(true)
                }
                _ => refuse("it shifts more arguments than there are"),
            }
        }
        "export" | "local" | "readonly" => assign(shell, name, arguments),
        "unset" => unset(shell, arguments),
        "." if arguments == ["/usr/share/debconf/confmodule"] => Ok(true),
        "test" => test(shell, arguments),
        "[" => match arguments.split_last() {
            Some((end, rest)) if end == "]" => test(shell, rest),
            _ => refuse("it has a `[` without its end"),
        },
        // Where the image runs, it is one.
        "mountpoint" if arguments == ["-q", "/proc"] => Ok(true),
        _ if name.ends_with("/glib-compile-schemas") || name.ends_with("/gio-querymodules") => {
            compile(shell, arguments)
        }
        "db_get" => answer(shell, arguments),
        // Nobody is asked anything, of which its status tells (30, debconf-devel(7)).
        "db_input" => {
            shell.variables.remove("RET");
            Ok(false)
        }
        "db_set" => match arguments {
            [question, value] => {
                shell.answers.insert(question.clone(), value.clone());
                shell.variables.remove("RET");
                Ok(true)
            }
            _ => refuse("it answers a question with more than a word"),
        },
        "which" | "type" | "hash" if !arguments.iter().any(|word| word.starts_with('-')) => {
            Ok(arguments.iter().all(|name| exists(shell, name)))
        }
        "mkdir" | "install" => directories(shell, name, arguments),
        "chown" | "chgrp" | "chmod" => attributes(shell, name, arguments),
        "ln" => link(shell, arguments),
        "cp" | "ucf" => copy(shell, name, arguments),
        "touch" => touch(shell, arguments),
        "rm" | "rmdir" => remove(shell, name, arguments),
        "adduser" | "addgroup" | "useradd" | "groupadd" | "usermod" => account(shell, name, arguments),
        "getent" | "id" => is_account(shell, name, arguments),
        "dpkg-statoverride" => statoverride(shell, arguments),
        "dpkg" => dpkg(arguments),
        "setcap" => setcap(shell, arguments),
        "update-alternatives" => alternatives(shell, arguments),
        _ if IDLE.contains(&name) => {
            if name.starts_with("db_") {
                shell.variables.remove("RET");
            }
            Ok(true)
        }
        _ if IDLE_WITH
            .iter()
            .any(|(known, words)| *known == name && arguments.iter().any(|word| words.contains(&word.as_str()))) =>
        {
            Ok(true)
        }
        _ => {
            let call = words.join(" ");
            refuse(format!("it calls `{}`", call.chars().take(120).collect::<String>().escape_debug()))
        }
    }
}

fn is_bin(folder: &str) -> bool {
    matches!(folder, "/bin" | "/sbin" | "/usr/bin" | "/usr/sbin")
}
