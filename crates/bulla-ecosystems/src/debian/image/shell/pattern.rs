//! Patterns as `case` and `${NAME#PATTERN}` have them (POSIX XCU 2.13.1).

/// One place of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// This character; a quoted one, or an ordinary one.
    One(char),
    /// `?`.
    Any,
    /// `*`.
    Many,
}

/// Makes a pattern of characters, each of which may be quoted; `None` for `[…]`, which is not known here.
pub(super) fn compile(text: &[(char, bool)]) -> Option<Vec<Place>> {
    let place = |(c, quoted): &(char, bool)| match (c, quoted) {
        ('*', false) => Some(Place::Many),
        ('?', false) => Some(Place::Any),
        ('[', false) => None,
        (c, _) => Some(Place::One(*c)),
    };
    text.iter().map(place).collect()
}

/// Says whether all of a text is what a pattern means; in time of the product of their lengths.
pub(super) fn matches(pattern: &[Place], text: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match (pattern.get(at), text.get(from)) {
            (Some(Place::Many), _) => {
                star = Some((at, from));
                at += 1;
            }
            (Some(Place::Any), _) => (at, from) = (at + 1, from + 1),
            (Some(Place::One(c)), Some(d)) if c == d => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((place, start)) => {
                    star = Some((place, start + 1));
                    (at, from) = (place + 1, start + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|place| *place == Place::Many)
}
