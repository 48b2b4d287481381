//! The text of capabilities (`cap_from_text(3)`), of which Bulla takes the part that says what a file has: names, `=` or `+`, and
//! the flags. `all` and `-` are not taken: whoever reads a spec is to see what is given.

use std::{collections::BTreeMap, fmt};

use super::{Capabilities, names::NAMES};
use crate::yaml::nearest;

/// Says why a text gives no capabilities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityTextError {
    /// There is no such capability.
    #[error("there is no capability `{name}`")]
    Name {
        /// What stands there.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// It gives everything at once.
    #[error("`{clause}` gives every capability at once")]
    All {
        /// What stands there.
        clause: String,
    },
    /// It is not of the form NAMES, `=` or `+`, FLAGS.
    #[error("`{clause}` does not say which capabilities a file has")]
    Form {
        /// What stands there.
        clause: String,
    },
    /// Some are in effect and others not.
    #[error("some of the capabilities have the flag `e` and others not, which a file cannot keep")]
    Mixed,
}

impl CapabilityTextError {
    /// Says what to write instead.
    pub fn help(&self) -> String {
        const EXAMPLE: &str = "write the names, `+` or `=`, and the flags, as for `setcap`: `cap_net_raw+ep`";
        match self {
            Self::Name { nearest: Some(name), .. } => format!("probably `{name}` is meant"),
            Self::Name { nearest: None, .. } | Self::Form { .. } => EXAMPLE.to_owned(),
            Self::All { .. } => "name those that the program needs, as in `cap_net_raw+ep`".to_owned(),
            Self::Mixed => "give all of them the flag `e`, or none".to_owned(),
        }
    }
}

/// The most characters of a text that are shown.
const SHOWN: usize = 60;

/// The three flags of one capability.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Flags {
    effective: bool,
    inheritable: bool,
    permitted: bool,
}

pub(super) fn parse(text: &str) -> Result<Capabilities, CapabilityTextError> {
    let mut given = BTreeMap::<usize, Flags>::new();
    for clause in text.split_ascii_whitespace() {
        let shown = || clause.chars().take(SHOWN).collect::<String>();
        let form = || CapabilityTextError::Form { clause: shown() };
        let at = clause.find(['=', '+', '-']).ok_or_else(form)?;
        let (names, action) = (clause.get(..at).unwrap_or_default(), clause.get(at..).unwrap_or_default());
        if names.is_empty() || names.eq_ignore_ascii_case("all") {
            return Err(CapabilityTextError::All { clause: shown() });
        }
        let flags = flags(action).ok_or_else(form)?;
        for name in names.split(',') {
            let one = given.entry(number(name)?).or_default();
            *one = if action.starts_with('=') { flags } else { one.with(flags) };
        }
    }
    let of = |wanted: fn(&Flags) -> bool| {
        given.iter().filter(|(_, flags)| wanted(flags)).fold(0_u64, |set, (number, _)| set | 1 << number)
    };
    let (permitted, inheritable) = (of(|flags| flags.permitted), of(|flags| flags.inheritable));
    let effective = of(|flags| flags.effective);
    if permitted | inheritable == 0 {
        return Err(CapabilityTextError::Form { clause: text.trim().chars().take(SHOWN).collect() });
    }
    if effective != 0 && effective != permitted | inheritable {
        return Err(CapabilityTextError::Mixed);
    }
    Ok(Capabilities { permitted, inheritable, effective: effective != 0, root: None })
}

fn flags(action: &str) -> Option<Flags> {
    let letters = action.strip_prefix(['=', '+']).filter(|letters| !letters.is_empty())?;
    letters.chars().try_fold(Flags::default(), |flags, letter| {
        let one = match letter {
            'e' => Flags { effective: true, ..Flags::default() },
            'i' => Flags { inheritable: true, ..Flags::default() },
            'p' => Flags { permitted: true, ..Flags::default() },
            _ => return None,
        };
        Some(flags.with(one))
    })
}

impl Flags {
    const fn with(self, more: Self) -> Self {
        Self {
            effective: self.effective || more.effective,
            inheritable: self.inheritable || more.inheritable,
            permitted: self.permitted || more.permitted,
        }
    }
}

fn number(name: &str) -> Result<usize, CapabilityTextError> {
    NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or_else(|| CapabilityTextError::Name {
        name: name.chars().take(SHOWN).collect(),
        nearest: nearest(name, NAMES)
            .or_else(|| NAMES.into_iter().find(|known| known.strip_prefix("cap_") == Some(name))),
    })
}

/// Writes those with the same flags together, first the ones that come first by number.
pub(super) fn write(f: &mut fmt::Formatter<'_>, capabilities: Capabilities) -> fmt::Result {
    let mut groups: Vec<(Flags, Vec<String>)> = Vec::new();
    for number in 0..u64::BITS as usize {
        let has = |set: u64| set & (1 << number) != 0;
        let (permitted, inheritable) = (has(capabilities.permitted), has(capabilities.inheritable));
        if !permitted && !inheritable {
            continue;
        }
        let flags = Flags { effective: capabilities.effective, inheritable, permitted };
        // A number that has no name yet stands for itself, as libcap writes it.
        let name = NAMES.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned());
        match groups.iter_mut().find(|(other, _)| *other == flags) {
            Some((_, names)) => names.push(name),
            None => groups.push((flags, vec![name])),
        }
    }
    if groups.is_empty() {
        f.write_str("=")?;
    }
    for (at, (flags, names)) in groups.iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        write!(f, "{space}{}=", names.join(","))?;
        for (letter, has) in [('e', flags.effective), ('i', flags.inheritable), ('p', flags.permitted)] {
            if has {
                write!(f, "{letter}")?;
            }
        }
    }
    match capabilities.root {
        Some(root) => write!(f, " [rootid={root}]"),
        None => Ok(()),
    }
}
