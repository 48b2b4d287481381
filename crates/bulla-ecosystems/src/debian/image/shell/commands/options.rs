//! The options of commands.

/// Arguments, cut into options with their values, and the rest.
pub(super) struct Options<'a> {
    pub(super) options: Vec<(&'a str, &'a str)>,
    pub(super) rest: Vec<&'a str>,
}

/// Cuts arguments. `valued` are the options that take the next word as their value.
pub(super) fn options<'a>(arguments: &'a [String], valued: &[&str]) -> Options<'a> {
    let (mut options, mut rest) = (Vec::new(), Vec::new());
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word.split_once('=').filter(|_| word.starts_with("--")) {
            _ if word == "--" => {
                rest.extend(words.by_ref());
            }
            Some(pair) => options.push(pair),
            None if valued.contains(&word) => options.push((word, words.next().unwrap_or_default())),
            None if word.len() > 1 && word.starts_with('-') => options.push((word, "")),
            None => rest.push(word),
        }
    }
    Options { options, rest }
}
