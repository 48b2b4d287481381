//! Finds what somebody probably meant.

/// Words that other build files have, and the keys that stand for the same here.
const ELSEWHERE: [(&str, &str); 20] = [
    ("add", "copy"),
    ("arg", "params"),
    ("args", "params"),
    ("base", "from"),
    ("cmd", "command"),
    ("commands", "steps"),
    ("context", "path"),
    ("dest", "to"),
    ("destination", "to"),
    ("environment", "env"),
    ("exclude", "ignore"),
    ("expose", "ports"),
    ("install", "packages"),
    ("inputs", "sees"),
    ("run", "steps"),
    ("script", "steps"),
    ("target", "to"),
    ("timeout", "time"),
    ("tz", "timezones"),
    ("working_dir", "workdir"),
];

/// Gives the key that stands for a word of other build files.
pub(crate) fn from_elsewhere<'a>(text: &str, keys: &[&'a str]) -> Option<&'a str> {
    let (_, meant) = ELSEWHERE.iter().find(|(word, _)| word.eq_ignore_ascii_case(text))?;
    keys.iter().find(|key| *key == meant).copied()
}

/// Gives the candidate that is nearest to a text, when it is near enough to be a slip.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: Vec<char> = text.chars().take(64).flat_map(char::to_lowercase).collect();
    let allowed = text.len() / 3 + 1;
    candidates
        .into_iter()
        .take(1000)
        .map(|candidate| {
            (distance(&text, &candidate.chars().take(64).flat_map(char::to_lowercase).collect::<Vec<_>>()), candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the letters to insert, delete, change or swap with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows.iter_mut().take(1).flatten().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["from", "steps", "outputs", "on-refusal"];
        assert_eq!(nearest("form", keys), Some("from"));
        assert_eq!(nearest("step", keys), Some("steps"));
        assert_eq!(nearest("on_refusal", keys), Some("on-refusal"));
        assert_eq!(nearest("Output", keys), Some("outputs"));
        assert_eq!(nearest("VERSON", ["VERSION"]), Some("VERSION"));
        assert_eq!(from_elsewhere("CMD", &["command"]), Some("command"));
        assert_eq!(from_elsewhere("cmd", &keys), None);
        assert_eq!(nearest("volumes", keys), None);
        assert_eq!(nearest("x", ["a"]), None);
    }
}
