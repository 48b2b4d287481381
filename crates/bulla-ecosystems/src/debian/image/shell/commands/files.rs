//! Commands that make files, directories and links, and that change their owners and modes.

use bulla_model::CleanPath;

use super::{
    super::run::{MAX_VALUE, Shell, Step, refuse},
    accounts::primary,
    look::{has_parent, place, stands},
    options::{Options, options},
};
use crate::debian::image::{effect::Effect, mode::Changes, overlay::Stands};

/// Notes a file that the script writes. False where it cannot be written.
pub(in super::super) fn write(shell: &mut Shell<'_, '_>, path: &str, append: bool, text: String) -> Step<bool> {
    let place = place(shell, path)?;
    let found = stands(shell, path, false)?;
    if found == Some(Stands::Link) {
        return refuse(format!("it writes through the link `{}`", path.escape_debug()));
    }
    if found == Some(Stands::Directory) || !has_parent(shell, &place)? {
        return Ok(false);
    }
    let mut content = Vec::new();
    if append && found.is_some() {
        let earlier = shell.effects.iter().rev().find_map(|effect| match effect {
            Effect::File { path: known, content } if known == path => Some(Some(content.clone())),
            Effect::Copy { to, .. } if to == path => Some(None),
            _ => None,
        });
        match earlier.flatten() {
            Some(earlier) => content = earlier,
            None => return refuse(format!("it appends to `{}`", path.escape_debug())),
        }
    }
    content.extend_from_slice(text.as_bytes());
    if content.len() > MAX_VALUE {
        return refuse(format!("it writes more than 16 KiB to `{}`", path.escape_debug()));
    }
    shell.made.insert(place, Stands::File);
    shell.note(Effect::File { path: path.to_owned(), content })
}

pub(super) fn directories(shell: &mut Shell<'_, '_>, name: &str, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &["-m", "--mode", "-o", "-g", "--owner", "--group"]);
    let is_directory = name == "mkdir" || options.iter().any(|(option, _)| matches!(*option, "-d" | "--directory"));
    let (mut mode, mut user, mut group, mut whole) = (None, None, None, name == "install");
    for (option, value) in options {
        match option {
            "-m" | "--mode" => mode = Some(octal(value)?),
            "-o" | "--owner" => user = Some(value.to_owned()),
            "-g" | "--group" => group = Some(value.to_owned()),
            "-p" | "--parents" => whole = true,
            "-d" | "--directory" | "-v" => {}
            _ => return refuse(format!("it calls `{name}` with `{}`", option.escape_debug())),
        }
    }
    if !is_directory {
        return refuse("it calls `install` for files");
    }
    for path in rest {
        let place = place(shell, path)?;
        let found = stands(shell, path, true)?;
        // A link that leads nowhere is in the way too.
        let is_taken = found.is_some() || stands(shell, path, false)?.is_some();
        if (is_taken && (!whole || found != Some(Stands::Directory))) || (!whole && !has_parent(shell, &place)?) {
            return Ok(false);
        }
        for above in place.ancestors() {
            match stands(shell, &format!("/{above}"), true)? {
                Some(Stands::Directory) => {}
                Some(_) => return Ok(false),
                None => {
                    shell.made.insert(above, Stands::Directory);
                }
            }
        }
        if found.is_none() {
            shell.made.insert(place, Stands::Directory);
            shell.note(Effect::Directory { path: path.to_owned(), mode: mode.unwrap_or(0o755) })?;
        } else if name == "install" {
            // It gives a directory that is there the mode that a new one has.
            shell.note(Effect::Mode { path: path.to_owned(), mode: mode.unwrap_or(0o755) })?;
        }
        if user.is_some() || group.is_some() {
            shell.note(Effect::Owner { path: path.to_owned(), user: user.clone(), group: group.clone() })?;
        }
    }
    Ok(true)
}

pub(super) fn octal(text: &str) -> Step<u32> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => refuse(format!("it sets the mode `{}`", text.escape_debug())),
    }
}

pub(super) fn attributes(shell: &mut Shell<'_, '_>, name: &str, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &[]);
    let (mut recursive, mut follows) = (false, true);
    for (option, _) in options {
        match option {
            "--recursive" => recursive = true,
            "--no-dereference" => follows = false,
            "--quiet" | "--silent" | "--verbose" | "--changes" => {}
            _ if !option.starts_with("--") && option.chars().skip(1).all(|c| "Rfvch".contains(c)) => {
                recursive |= option.contains('R');
                follows &= !option.contains('h');
            }
            _ => return refuse(format!("it calls `{name}` with `{}`", option.escape_debug())),
        }
    }
    let Some((value, paths)) = rest.split_first() else { return refuse(format!("it calls `{name}` with nothing")) };
    for path in paths {
        shell.spend(if recursive { 100 } else { 1 })?;
        let place = place(shell, path)?;
        if !follows && stands(shell, path, false)? == Some(Stands::Link) {
            return refuse(format!("it calls `{name}` for the link `{}`", path.escape_debug()));
        }
        let Some(kind) = stands(shell, path, true)? else { return Ok(false) };
        let overlay = shell.installation.overlay;
        let made = |inside: &CleanPath| inside != &place && inside.starts_with(&place);
        if recursive && kind == Stands::Directory && (!overlay.list(&place).is_empty() || shell.made.keys().any(made)) {
            return refuse(format!("it calls `{name}` for all that is in `{}`", path.escape_debug()));
        }
        let path = (*path).to_owned();
        let effect = if name == "chmod" {
            match Changes::parse(value) {
                None => Effect::Mode { path, mode: octal(value)? },
                Some(changes) if kind == Stands::File => Effect::Change { path, changes },
                // Of a directory some bits stay that are not named.
                Some(_) => {
                    let (value, path) = (value.escape_debug(), path.escape_debug());
                    return refuse(format!("it sets the mode `{value}` of the directory `{path}`"));
                }
            }
        } else {
            let (user, group) = match (name, value.split_once([':', '.'])) {
                ("chgrp", _) => ("", *value),
                // The group that the user logs in with.
                (_, Some((user, ""))) => (user, primary(shell, user)?),
                (_, Some(pair)) => pair,
                (_, None) => (*value, ""),
            };
            let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            Effect::Owner { path, user: named(user), group: named(group) }
        };
        shell.note(effect)?;
    }
    Ok(true)
}

pub(super) fn link(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &[]);
    let letters: String = options.iter().map(|(option, _)| option.trim_start_matches('-')).collect();
    let [target, path] = rest.as_slice() else { return refuse("it makes several links at once") };
    if !letters.contains('s') || !letters.chars().all(|c| "sfnvT".contains(c)) {
        return refuse("it makes a link that is not a symbolic one");
    }
    let found = stands(shell, path, false)?;
    let is_inside = match found {
        Some(Stands::Directory) => !letters.contains('T'),
        Some(Stands::Link) if !letters.contains(['n', 'T']) => stands(shell, path, true)? == Some(Stands::Directory),
        _ => false,
    };
    let path = if is_inside {
        format!(
            "{}/{}",
            path.trim_end_matches('/'),
            target.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
        )
    } else {
        (*path).to_owned()
    };
    let place = place(shell, &path)?;
    let is_in_the_way = match stands(shell, &path, false)? {
        None => false,
        Some(Stands::Directory) => true,
        Some(_) => !letters.contains('f'),
    };
    if is_in_the_way || !has_parent(shell, &place)? {
        return Ok(false);
    }
    shell.made.insert(place, Stands::Link);
    shell.note(Effect::Symlink { path, target: (*target).to_owned() })
}

pub(super) fn copy(shell: &mut Shell<'_, '_>, name: &str, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &["--sum-file", "--src-dir"]);
    let known: &[&str] = if name == "ucf" {
        &["--three-way", "--debconf-ok", "--sum-file", "--src-dir"]
    } else {
        &["-p", "-a", "-f", "-n", "-v", "-af", "-fa", "-pf", "-fp"]
    };
    let [from, to] = rest.as_slice() else { return refuse("it copies several files at once") };
    if let Some((option, _)) = options.iter().find(|(option, _)| !known.contains(option)) {
        return refuse(format!("it copies with `{}`", option.escape_debug()));
    }
    if stands(shell, from, true)? != Some(Stands::File) {
        return refuse(format!("it copies `{}`, which is no file of a package", from.escape_debug()));
    }
    let to = match stands(shell, to, true)? {
        Some(Stands::Directory) if name == "cp" => {
            format!("{}/{}", to.trim_end_matches('/'), from.rsplit('/').next().unwrap_or_default())
        }
        _ => (*to).to_owned(),
    };
    let place = place(shell, &to)?;
    match stands(shell, &to, false)? {
        None if has_parent(shell, &place)? => {}
        None => return Ok(false),
        Some(Stands::File) if options.iter().any(|(option, _)| *option == "-n") => return Ok(true),
        Some(_) => return refuse(format!("it copies over `{}`", to.escape_debug())),
    }
    let keep = name == "ucf" || options.iter().any(|(option, _)| option.contains(['p', 'a']));
    shell.made.insert(place, Stands::File);
    shell.note(Effect::Copy { from: (*from).to_owned(), to, keep })
}

pub(super) fn touch(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &["-r", "-d", "-t"]);
    let makes = !options.iter().any(|(option, _)| option.contains('c'));
    for path in rest {
        if makes && stands(shell, path, true)?.is_none() && !write(shell, path, false, String::new())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes a removal of what is not there, which is what upgrades leave behind.
pub(super) fn remove(shell: &mut Shell<'_, '_>, name: &str, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &[]);
    for path in rest {
        if stands(shell, path, false)?.is_some() {
            return refuse(format!("it removes `{}`", path.escape_debug()));
        }
    }
    Ok(name == "rm" && options.iter().any(|(option, _)| option.contains('f')))
}

pub(super) fn statoverride(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let Options { options, rest } = options(arguments, &[]);
    let has = |name: &str| options.iter().any(|(option, _)| *option == name);
    if has("--list") {
        return Ok(false);
    }
    match rest.as_slice() {
        [user, group, mode, path] if has("--add") => {
            if has("--update") && stands(shell, path, true)?.is_some() {
                let path = (*path).to_owned();
                let (user, group) = (Some((*user).to_owned()), Some((*group).to_owned()));
                shell.note(Effect::Owner { path: path.clone(), user, group })?;
                shell.note(Effect::Mode { path, mode: octal(mode)? })?;
            }
            Ok(true)
        }
        _ if has("--remove") => Ok(true),
        _ => refuse("it calls `dpkg-statoverride` in a way that is not known"),
    }
}
