//! What belongs to the shell itself: its variables and options, and the commands whose output is known.

use super::{
    super::run::{MAX_VALUE, Shell, Step, refuse},
    NATIVE,
};

/// Takes what is to be done at the end of the script only where it is nothing; other signals do not come.
pub(super) fn trap(arguments: &[String]) -> Step<bool> {
    let is_end =
        |signal: &String| !matches!(signal.trim_start_matches("SIG"), "HUP" | "INT" | "QUIT" | "TERM" | "PIPE");
    match arguments {
        [action, signals @ ..] if !signals.is_empty() => {
            let is_nothing = matches!(action.as_str(), "" | "-" | ":" | "true");
            if is_nothing || !signals.iter().any(is_end) { Ok(true) } else { refuse("it does something at its end") }
        }
        _ => refuse("it calls `trap` in a way that is not known"),
    }
}

pub(super) fn unset(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    let (is_function, names) = match arguments.split_first() {
        Some((option, names)) if option == "-f" || option == "-v" => (option == "-f", names),
        _ => (false, arguments),
    };
    for name in names {
        match name.as_str() {
            name if name.starts_with('-') || matches!(name, "IFS" | "PATH") => {
                return refuse(format!("it unsets `{name}`"));
            }
            name if is_function => shell.forget(name),
            name => {
                shell.variables.remove(name);
            }
        }
    }
    Ok(true)
}

pub(super) fn set(shell: &mut Shell<'_, '_>, arguments: &[String]) -> Step<bool> {
    for word in arguments {
        match word.split_at_checked(1) {
            Some((sign @ ("-" | "+"), letters))
                if letters.chars().all(|c| "euxo".contains(c)) && !letters.is_empty() =>
            {
                if letters.contains('e') {
                    shell.set_exits(sign == "-");
                }
            }
            _ if word == "pipefail" => {}
            _ => return refuse(format!("it sets `{}`", word.escape_debug())),
        }
    }
    Ok(true)
}

pub(super) fn assign(shell: &mut Shell<'_, '_>, command: &str, arguments: &[String]) -> Step<bool> {
    for word in arguments {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        if name.starts_with('-') {
            return refuse(format!("it calls `{command}` with `{}`", name.escape_debug()));
        }
        if command == "local" {
            shell.localize(name)?;
        }
        if let Some(value) = value {
            shell.assign(name, value.to_owned())?;
        }
        if command == "readonly" {
            shell.fix(name);
        }
    }
    Ok(true)
}

/// Gives the text that a command writes, for those that are known to write one. Where it does not matter what the text is,
/// it may be another.
pub(super) fn output(
    shell: &Shell<'_, '_>,
    name: &str,
    arguments: &[String],
    document: Option<String>,
    matters: bool,
) -> Option<Step<(String, bool)>> {
    let text = match (name, arguments) {
        ("echo", _) => {
            let no_end = arguments.first().is_some_and(|word| word == "-n");
            let text = arguments.get(usize::from(no_end)..).unwrap_or_default().join(" ");
            // Shells differ in what they make of these.
            let is_option =
                arguments.get(usize::from(no_end)).is_some_and(|word| word.starts_with('-') && word.len() > 1);
            if matters && (text.contains('\\') || is_option) {
                return Some(refuse(format!("it writes `{}` by `echo`", text.escape_debug())));
            }
            if no_end { text } else { text + "\n" }
        }
        ("printf", [format]) if !format.contains(['%', '\\']) => format.clone(),
        ("printf", [format, value]) if format == "%s" => value.clone(),
        ("printf", [format, value]) if format == "%s\\n" => format!("{value}\n"),
        ("printf", _) if !matters => String::new(),
        ("cat", []) => document?,
        ("dpkg", [option])
            if option == "--print-architecture" && shell.installation.package.control.architecture() != "all" =>
        {
            format!("{}\n", shell.installation.package.control.architecture())
        }
        // Nothing is diverted: what would divert is refused.
        ("dpkg-divert", [option, path]) if option == "--truename" => format!("{path}\n"),
        ("uname", [option]) if option == "-s" => "Linux\n".to_owned(),
        ("command", [option, name]) if option == "-v" => {
            let found = exists(shell, name);
            return Some(Ok((if found { format!("/usr/bin/{name}\n") } else { String::new() }, found)));
        }
        ("which", [name]) => {
            let found = exists(shell, name);
            return Some(Ok((if found { format!("/usr/bin/{name}\n") } else { String::new() }, found)));
        }
        _ => return None,
    };
    Some(Ok((text, true)))
}

pub(super) fn say(shell: &mut Shell<'_, '_>, text: &str) -> Step<()> {
    match &mut shell.output {
        Some(output) if output.len() + text.len() > MAX_VALUE => refuse("a value of it is longer than 16 KiB"),
        Some(output) => {
            output.push_str(text);
            Ok(())
        }
        None => Ok(()),
    }
}

/// Says whether a program counts as there: it is in the image, or what it does is made natively.
pub(super) fn exists(shell: &Shell<'_, '_>, name: &str) -> bool {
    if NATIVE.contains(&name) || shell.is_function(name) {
        return true;
    }
    let overlay = shell.installation.overlay;
    let candidates = if name.starts_with('/') {
        vec![name.to_owned()]
    } else {
        vec![format!("/usr/bin/{name}"), format!("/usr/sbin/{name}")]
    };
    candidates.iter().any(|path| overlay.place(path).is_some_and(|path| overlay.leads_to(&path).is_some()))
}
