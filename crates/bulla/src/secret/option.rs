//! The option `--secret id=NAME,env=VAR|file=PATH|exec=CMD[,revoke=CMD]`.

use std::{path::PathBuf, str::FromStr};

use bulla_model::spec::Name;

/// How the option is written.
const FORM: &str = "id=NAME,env=VARIABLE|file=PATH|exec=COMMAND[,revoke=COMMAND]";

/// A secret of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretOption {
    /// Its name.
    pub name: Name,
    /// Where its value comes from.
    pub origin: Origin,
    /// What takes it back when the build ends.
    pub revoke: Option<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A variable of the caller's environment.
    Env(String),
    /// A file.
    File(PathBuf),
    /// The standard output of a command.
    Exec(String),
}

impl FromStr for SecretOption {
    type Err = String;

    /// Takes the parts in their order. A command goes on to the next `,revoke=` or the end, with all its commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("expected {FORM}");
        let (name, rest) = text.strip_prefix("id=").and_then(|rest| rest.split_once(',')).ok_or_else(form)?;
        let name = Name::parse(name).map_err(|error| error.to_string())?;
        let (origin, revoke) = match rest.split_once(",revoke=") {
            Some((origin, revoke)) => (origin, Some(revoke)),
            None => (rest, None),
        };
        let origin = match origin.split_once('=') {
            Some((_, value)) if value.trim().is_empty() => return Err(form()),
            Some(("env", value)) if value.contains(',') || value.contains('=') => return Err(form()),
            Some(("env", value)) => Origin::Env(value.to_owned()),
            Some(("file", value)) => Origin::File(value.into()),
            Some(("exec", value)) => Origin::Exec(value.to_owned()),
            Some(("src" | "source", _)) => return Err(format!("a file is written `file=PATH`: {}", form())),
            _ => return Err(form()),
        };
        match revoke {
            Some(command) if command.trim().is_empty() => Err(form()),
            revoke => Ok(Self { name, origin, revoke: revoke.map(str::to_owned) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read_with_the_commas_of_its_commands() {
        let read = |text: &str| {
            text.parse::<SecretOption>().map(|option| (option.name.to_string(), option.origin, option.revoke))
        };
        assert_eq!(read("id=a,env=TOKEN"), Ok(("a".into(), Origin::Env("TOKEN".into()), None)));
        assert_eq!(read("id=a,file=/x,y"), Ok(("a".into(), Origin::File("/x,y".into()), None)));
        let command = "jq -r '.a,.b' x=y";
        assert_eq!(
            read(&format!("id=a,exec={command},revoke=cut -d, -f1 | sh")),
            Ok(("a".into(), Origin::Exec(command.into()), Some("cut -d, -f1 | sh".into())))
        );
        assert_eq!(read("id=a,env=T,revoke=x").map(|read| read.2), Ok(Some("x".into())));
        for wrong in [
            "",
            "a",
            "id=a",
            "id=A,env=B",
            "id=a,env=",
            "id=a,env=B,x=y",
            "env=B,id=a",
            "id=a,exec=",
            "id=a,exec=x,revoke= ",
            "id=a,src=/x",
            "id=../a,env=B",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("id=a,src=/x").is_err_and(|error| error.contains("file=PATH")));
    }
}
