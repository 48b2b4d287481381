//! Modes, ports and signals.

use super::{Scalar, only, wrong};
use crate::{
    capability::Capabilities,
    spec::{Port, Protocol},
    tree::Mode,
    yaml::nearest,
};

/// Permission bits.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct ModeText(pub(in crate::spec) Mode);

impl Scalar for ModeText {
    const NAME: &'static str = "Mode";
    const ABOUT: &'static str = "Permission bits in octal digits, at most 0777: `0644`, `0755`";
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let bits = u32::from_str_radix(text, 8).ok().filter(|_| only(text, |c| c.is_ascii_digit()));
        match bits {
            Some(bits) if bits <= 0o777 && (3..=4).contains(&text.len()) => Ok(Self(Mode::new(bits))),
            Some(bits) if bits <= 0o7777 => wrong(
                format_args!("`{text}` has set-user-id, set-group-id or sticky bits"),
                "write at most `0777`; a file that has set-id bits keeps them under `image.allow.setuid`",
            ),
            _ => wrong(format_args!("`{text}` is not a mode"), "write three or four octal digits, such as `0755`"),
        }
    }
}

impl Scalar for Capabilities {
    const NAME: &'static str = "Capabilities";
    const ABOUT: &'static str = "Capabilities of a file in the words of `setcap`, `all` excepted: `cap_net_raw+ep`, `cap_net_raw,cap_net_admin=eip`";

    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).or_else(|error| wrong(&error, error.help()))
    }
}

impl Scalar for Port {
    const NAME: &'static str = "Port";
    const ABOUT: &'static str = "A port from 1 to 65535, with `/udp` behind it where it is not TCP: `80`, `53/udp`";
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let (number, protocol) = match text.split_once('/') {
            None => (text, Some(Protocol::Tcp)),
            Some((number, "tcp")) => (number, Some(Protocol::Tcp)),
            Some((number, "udp")) => (number, Some(Protocol::Udp)),
            Some((number, _)) => (number, None),
        };
        let number = Some(number).filter(|n| only(n, |c| c.is_ascii_digit())).and_then(|n| n.parse::<u16>().ok());
        match (number, protocol) {
            (Some(number @ 1..), Some(protocol)) => Ok(Self { number, protocol }),
            _ if text.contains(':') => wrong(
                format_args!("`{text}` maps a port, which is done when the image is run"),
                "write the port inside the image alone",
            ),
            _ => wrong(
                format_args!("`{text}` is not a port"),
                "write a number from 1 to 65535, perhaps with `/tcp` or `/udp`",
            ),
        }
    }
}

/// A signal.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Signal(pub(in crate::spec) String);

const SIGNALS: [&str; 12] = [
    "SIGTERM",
    "SIGINT",
    "SIGQUIT",
    "SIGHUP",
    "SIGKILL",
    "SIGUSR1",
    "SIGUSR2",
    "SIGWINCH",
    "SIGABRT",
    "SIGALRM",
    "SIGPWR",
    "SIGRTMIN+3",
];

impl Scalar for Signal {
    const NAME: &'static str = "Signal";
    const ABOUT: &'static str = "The name of a signal: `SIGTERM`, `SIGINT`, `SIGQUIT`";
    const PATTERN: Option<&'static str> = Some(r"^SIG[A-Z0-9]+(\+3)?$");

    fn read(text: &str) -> Result<Self, String> {
        if SIGNALS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        let upper = text.to_ascii_uppercase();
        let near = nearest(&format!("sig{}", upper.trim_start_matches("SIG")), SIGNALS.map(|s| s));
        let near =
            SIGNALS.iter().find(|s| s.trim_start_matches("SIG") == upper.trim_start_matches("SIG")).copied().or(near);
        wrong(
            format_args!("`{text}` is not a signal that ends a program"),
            format_args!(
                "write one of {}{}",
                SIGNALS.join(", "),
                near.map(|s| format!("; probably `{s}`")).unwrap_or_default()
            ),
        )
    }
}
