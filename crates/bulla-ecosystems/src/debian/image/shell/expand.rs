//! Makes values of words: parameters, substitutions, and the cut into fields (POSIX XCU 2.6).

use super::{
    Command, Part, Word, pattern,
    run::{MAX_VALUE, Shell, Step, Stop, refuse},
};

/// The most words of a command.
const MAX_WORDS: usize = 10_000;
/// Variables that have a value in every shell or come from around it, which is not known here; and `RET`, which the answer to
/// a question stands in.
const AMBIENT: [&str; 26] = [
    "BASH",
    "BASHPID",
    "BASH_SOURCE",
    "BASH_VERSION",
    "DPKG_RUNNING_VERSION",
    "EUID",
    "HOME",
    "HOSTNAME",
    "IFS",
    "LANG",
    "LC_ALL",
    "LINENO",
    "LOGNAME",
    "OLDPWD",
    "OPTARG",
    "OPTIND",
    "PPID",
    "PWD",
    "RANDOM",
    "RET",
    "SECONDS",
    "SHELL",
    "TERM",
    "TMPDIR",
    "UID",
    "USER",
];

impl Shell<'_, '_> {
    /// Makes one value of a word, which is not cut.
    pub(super) fn text(&mut self, word: &Word) -> Step<String> {
        Ok(self.characters(word)?.into_iter().map(|(c, _)| c).collect())
    }

    /// Makes one value of a word, with a note of each character whether it was quoted.
    pub(super) fn characters(&mut self, word: &Word) -> Step<Vec<(char, bool)>> {
        let mut characters = Vec::new();
        for part in word {
            let (text, quoted) = self.part(part)?;
            characters.extend(text.chars().map(|c| (c, quoted)));
            if characters.len() > MAX_VALUE {
                return refuse("a value of it is longer than 16 KiB");
            }
        }
        Ok(characters)
    }

    /// Makes the words of a command: unquoted values are cut at blanks, `"$@"` is each argument.
    pub(super) fn words(&mut self, words: &[Word]) -> Step<Vec<String>> {
        let mut fields = Vec::new();
        for word in words {
            if let [Part::Text { text, .. }, Part::Parameter { name, operation: None, quoted: true }] = word.as_slice()
                && text.is_empty()
                && name == "@"
            {
                fields.extend(self.arguments.iter().cloned());
            } else if let [Part::Parameter { name, operation: None, quoted: false }] = word.as_slice()
                && matches!(name.as_str(), "@" | "*")
            {
                let arguments = self.arguments.clone();
                arguments.iter().try_for_each(|argument| split(argument, &mut fields))?;
            } else {
                self.fields(word, &mut fields)?;
            }
            if fields.len() > MAX_WORDS {
                return refuse("a command of it has more than 10000 words");
            }
        }
        Ok(fields)
    }

    fn fields(&mut self, word: &Word, fields: &mut Vec<String>) -> Step<()> {
        let mut current: Option<String> = None;
        for part in word {
            let is_text = matches!(part, Part::Text { .. });
            let (text, quoted) = self.part(part)?;
            if quoted || is_text {
                let is_bracket = word.len() == 1 && text == "[";
                if !quoted && !is_bracket && (text.contains(['*', '?', '[']) || text.starts_with('~')) {
                    return refuse(format!("it looks for files with the pattern `{}`", text.escape_debug()));
                }
                if !quoted && self.is_bash() && text.contains('{') && (text.contains(',') || text.contains("..")) {
                    return refuse(format!("it has alternatives in `{}`", text.escape_debug()));
                }
                current.get_or_insert_default().push_str(&text);
                continue;
            }
            if text.contains(['*', '?', '[']) {
                return refuse(format!("it looks for files with the pattern `{}`", text.escape_debug()));
            }
            if let Part::Parameter { operation: Some((_, word)), .. } = part
                && word
                    .iter()
                    .any(|part| matches!(part, Part::Text { text, quoted: true } if text.contains([' ', '\t', '\n'])))
            {
                return refuse("it has a quoted blank in an unquoted `${`");
            }
            let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n');
            if text.starts_with(is_blank) {
                fields.extend(current.take());
            }
            let mut pieces = text.split(is_blank).filter(|piece| !piece.is_empty()).peekable();
            while let Some(piece) = pieces.next() {
                current.get_or_insert_default().push_str(piece);
                if pieces.peek().is_some() || text.ends_with(is_blank) {
                    fields.extend(current.take());
                }
            }
        }
        fields.extend(current);
        Ok(())
    }

    /// Makes the value of an assignment.
    pub(super) fn value(&mut self, word: &Word) -> Step<String> {
        if let Some(Part::Text { text, quoted: false }) = word.first()
            && text.starts_with('~')
        {
            return refuse(format!("it looks for the home directory `{}`", text.escape_debug()));
        }
        self.text(word)
    }

    fn part(&mut self, part: &Part) -> Step<(String, bool)> {
        match part {
            Part::Parameter { name, quoted: true, .. } if name == "@" && self.arguments.len() > 1 => {
                refuse("it has `$@` in a longer word")
            }
            Part::Text { text, quoted } => Ok((text.clone(), *quoted)),
            Part::Parameter { name, operation, quoted } => {
                let value = self.parameter(name)?;
                let value = match operation {
                    None => value.unwrap_or_default(),
                    Some((operator, word)) => self.operated(name, value, operator, word)?,
                };
                Ok((value, *quoted))
            }
            Part::Substitution { list, quoted } => Ok((self.substitution(list)?, *quoted)),
            Part::Foreign(text) => refuse(format!("it computes `{}`", text.escape_debug())),
        }
    }

    fn parameter(&self, name: &str) -> Step<Option<String>> {
        if let Ok(number) = name.parse::<usize>() {
            return Ok(match number.checked_sub(1) {
                None => Some(self.name()),
                Some(index) => self.arguments.get(index).cloned(),
            });
        }
        Ok(match name {
            "@" | "*" => Some(self.arguments.join(" ")),
            "#" => Some(self.arguments.len().to_string()),
            "?" => Some(u8::from(!self.last).to_string()),
            "$" | "!" | "-" => return refuse(format!("it uses `${name}`")),
            _ if AMBIENT.contains(&name) && !self.variables.contains_key(name) => {
                return refuse(format!("it uses `${name}`"));
            }
            _ => self.variables.get(name).cloned(),
        })
    }

    fn operated(&mut self, name: &str, value: Option<String>, operator: &str, word: &Word) -> Step<String> {
        let is_set =
            if operator.starts_with(':') { value.as_ref().is_some_and(|v| !v.is_empty()) } else { value.is_some() };
        match operator.trim_start_matches(':') {
            "-" if is_set => Ok(value.unwrap_or_default()),
            "-" => self.text(word),
            "+" if is_set => self.text(word),
            "+" => Ok(String::new()),
            "=" if is_set => Ok(value.unwrap_or_default()),
            "=" if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                refuse("it assigns to an argument")
            }
            "=" => {
                let value = self.text(word)?;
                self.assign(name, value.clone())?;
                Ok(value)
            }
            "?" if is_set => Ok(value.unwrap_or_default()),
            "?" => Err(Stop::Exit(false)),
            _ => self.cut(&value.unwrap_or_default(), operator, word),
        }
    }

    /// Cuts a start (`#`) or end (`%`) that a pattern means: the shortest, or the longest where the operator is doubled.
    fn cut(&mut self, value: &str, operator: &str, word: &Word) -> Step<String> {
        let Some(places) = pattern::compile(&self.characters(word)?) else {
            return refuse("it has a pattern with `[`");
        };
        let text: Vec<char> = value.chars().collect();
        if text.len() > 1000 {
            return refuse("it cuts a value of more than 1000 characters");
        }
        let of_start = operator.starts_with('#');
        let shortest_first: Vec<usize> = (0..=text.len()).collect();
        let lengths: Vec<usize> =
            if operator.len() == 2 { shortest_first.into_iter().rev().collect() } else { shortest_first };
        for length in lengths {
            let (first, second) = text.split_at(if of_start { length } else { text.len() - length });
            let (candidate, rest) = if of_start { (first, second) } else { (second, first) };
            if pattern::matches(&places, candidate) {
                return Ok(rest.iter().collect());
            }
        }
        Ok(value.to_owned())
    }

    fn substitution(&mut self, list: &[Command]) -> Step<String> {
        let saved = self.output.replace(String::new());
        let status = self.subshell(list);
        let output = std::mem::replace(&mut self.output, saved).unwrap_or_default();
        let status = status?;
        self.last = status;
        self.substituted = Some(status);
        Ok(output.trim_end_matches('\n').to_owned())
    }
}

/// Cuts the value of an argument, as an unquoted `$@` does.
fn split(text: &str, fields: &mut Vec<String>) -> Step<()> {
    if text.contains(['*', '?', '[']) {
        return refuse(format!("it looks for files with the pattern `{}`", text.escape_debug()));
    }
    fields.extend(text.split([' ', '\t', '\n']).filter(|piece| !piece.is_empty()).map(str::to_owned));
    Ok(())
}
