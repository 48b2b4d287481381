//! Reads the text of a script into commands.

use std::rc::Rc;

use super::{Command, Part, Redirect, Word};

/// The deepest nesting, the longest script in characters, and the most here-documents.
const MAX_DEPTH: usize = 60;
const MAX_LENGTH: usize = 256 << 10;
const MAX_DOCUMENTS: usize = 200;
/// The most commands that `&&` and `||` join, for they nest too.
const MAX_JOINED: usize = 50;

type Parsed<T> = Result<T, String>;

/// Reads a script.
pub(super) fn parse(text: &str) -> Parsed<Vec<Command>> {
    if text.len() > MAX_LENGTH {
        return Err("it is longer than 256 KiB".to_owned());
    }
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0, documents: 0 };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(other) => Err(format!("it cannot be read: `{}` is where a command should be", other.escape_debug())),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
    documents: usize,
}

fn is_meta(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>')
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn ahead(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(index, c)| self.text.get(self.at + index) == Some(&c))
    }

    fn take(&mut self, text: &str) -> bool {
        let is_ahead = self.ahead(text);
        if is_ahead {
            self.at += text.chars().count();
        }
        is_ahead
    }

    /// Skips blanks, joined lines and comments, but no ends of lines.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.ahead("\\\n") => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn lines(&mut self) {
        loop {
            self.blanks();
            if !self.take("\n") {
                return;
            }
        }
    }

    /// Gives the next word if it is plain, without taking it.
    fn plain(&self) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        rest.iter().take(64).take_while(|c| !is_meta(**c)).collect()
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is_it = self.plain() == word;
        if is_it {
            self.at += word.chars().count();
        }
        is_it
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        self.lines();
        if self.keyword(word) { Ok(()) } else { Err(format!("it cannot be read: `{word}` is missing")) }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn list(&mut self, ends: &[&str]) -> Parsed<Vec<Command>> {
        self.nested(|parser| {
            let mut list = Vec::new();
            loop {
                parser.lines();
                let plain = parser.plain();
                match parser.peek() {
                    None | Some(')') => return Ok(list),
                    _ if parser.ahead(";;") || ends.contains(&plain.as_str()) => return Ok(list),
                    _ => {}
                }
                let command = parser.and_or()?;
                parser.blanks();
                let is_over = parser.peek().is_none_or(|c| matches!(c, '\n' | ';' | '&' | ')'));
                if !is_over && !ends.contains(&parser.plain().as_str()) {
                    return Err(format!("it cannot be read: `{}` follows a command", parser.plain().escape_debug()));
                }
                if parser.ahead("&") {
                    parser.at += 1;
                    list.push(Command::Foreign("runs something in the background"));
                } else {
                    list.push(command);
                    if !parser.ahead(";;") {
                        parser.take(";");
                    }
                }
            }
        })
    }

    fn and_or(&mut self) -> Parsed<Command> {
        let mut left = self.pipeline()?;
        for _ in 0..MAX_JOINED {
            self.blanks();
            if self.take("&&") {
                self.lines();
                left = Command::And(Box::new(left), Box::new(self.pipeline()?));
            } else if self.take("||") {
                self.lines();
                left = Command::Or(Box::new(left), Box::new(self.pipeline()?));
            } else {
                return Ok(left);
            }
        }
        Err("it joins more than 50 commands".to_owned())
    }

    fn pipeline(&mut self) -> Parsed<Command> {
        self.blanks();
        if self.keyword("!") {
            return self.nested(|parser| Ok(Command::Not(Box::new(parser.pipeline()?))));
        }
        let mut commands = vec![self.command()?];
        loop {
            self.blanks();
            if self.ahead("||") || !self.take("|") {
                break;
            }
            self.lines();
            commands.push(self.command()?);
        }
        match commands.pop() {
            Some(only) if commands.is_empty() => Ok(only),
            last => Ok(Command::Pipeline(commands.into_iter().chain(last).collect())),
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        self.blanks();
        let word = self.plain();
        let compound = match word.as_str() {
            "if" => self.nested(Self::if_)?,
            "case" => self.nested(Self::case)?,
            "for" => self.nested(Self::for_)?,
            "while" | "until" => self.loop_(&word)?,
            "{" => {
                self.keyword("{");
                let list = self.list(&["}"])?;
                self.expect("}")?;
                Command::Group(list)
            }
            _ if self.take("(") => {
                let list = self.list(&[])?;
                self.close()?;
                Command::Subshell(list)
            }
            name if is_name(name) && self.is_function(name) => {
                self.keyword(name);
                self.blanks();
                self.take("(");
                self.blanks();
                self.close()?;
                self.lines();
                let name = name.to_owned();
                let body = self.nested(Self::command)?;
                return Ok(Command::Function { name, body: Rc::new(body) });
            }
            _ => return self.simple(),
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(if redirects.is_empty() { compound } else { Command::Redirected(Box::new(compound), redirects) })
    }

    fn is_function(&self, name: &str) -> bool {
        let rest = self.text.get(self.at + name.chars().count()..).unwrap_or_default();
        let mut rest = rest.iter().take(64).filter(|c| !matches!(c, ' ' | '\t'));
        rest.next() == Some(&'(') && rest.next() == Some(&')')
    }

    fn close(&mut self) -> Parsed<()> {
        self.lines();
        if self.take(")") { Ok(()) } else { Err("it cannot be read: `)` is missing".to_owned()) }
    }

    fn if_(&mut self) -> Parsed<Command> {
        self.keyword("if");
        let mut branches = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            branches.push((condition, self.list(&["elif", "else", "fi"])?));
            if !self.keyword("elif") {
                break;
            }
        }
        let otherwise = if self.keyword("else") { self.list(&["fi"])? } else { Vec::new() };
        self.expect("fi")?;
        Ok(Command::If { branches, otherwise })
    }

    fn case(&mut self) -> Parsed<Command> {
        self.keyword("case");
        self.blanks();
        let word = self.word()?;
        self.expect("in")?;
        let mut branches = Vec::new();
        loop {
            self.lines();
            if self.keyword("esac") {
                return Ok(Command::Case { word, branches });
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            self.close()?;
            branches.push((patterns, self.list(&["esac"])?));
            self.lines();
            self.take(";;");
        }
    }

    fn for_(&mut self) -> Parsed<Command> {
        self.keyword("for");
        self.blanks();
        let name = self.plain();
        if !is_name(&name) {
            return Err("it cannot be read: a `for` has no name".to_owned());
        }
        self.keyword(&name);
        self.lines();
        let mut words = Vec::new();
        if self.keyword("in") {
            loop {
                self.blanks();
                if self.peek().is_none_or(is_meta) {
                    break;
                }
                words.push(self.word()?);
            }
        } else {
            words.push(vec![Part::Parameter { name: "@".to_owned(), operation: None, quoted: true }]);
        }
        self.lines();
        self.take(";");
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(Command::For { name, words, body })
    }

    fn loop_(&mut self, word: &str) -> Parsed<Command> {
        self.keyword(word);
        self.list(&["do"])?;
        self.expect("do")?;
        self.list(&["done"])?;
        self.expect("done")?;
        Ok(Command::Foreign("has a `while` loop"))
    }

    fn simple(&mut self) -> Parsed<Command> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if self.peek().is_none_or(is_meta) {
                break;
            }
            let plain = self.plain();
            match plain.split_once('=').map(|(name, _)| name) {
                Some(name) if words.is_empty() && is_name(name) => {
                    let name = name.to_owned();
                    self.at += name.chars().count() + 1;
                    let value = if self.peek().is_none_or(is_meta) { Vec::new() } else { self.word()? };
                    assignments.push((name, value));
                }
                _ => words.push(self.word()?),
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            let found = self.peek().map_or_else(|| "its end".to_owned(), |c| format!("`{}`", c.escape_debug()));
            return Err(format!("it cannot be read: {found} is where a command should be"));
        }
        Ok(Command::Simple { assignments, words, redirects })
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        self.blanks();
        let start = self.at;
        let digits: String = self.plain();
        let descriptor = digits.parse().ok().filter(|_| digits.len() == 1);
        if digits.len() > 1 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let next = self.text.get(start + digits.len());
            if matches!(next, Some('<' | '>')) {
                return Err(format!("it cannot be read: it opens the file number {digits}"));
            }
        }
        if descriptor.is_some() {
            self.at += 1;
        }
        let operators = ["<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"];
        let Some(operator) = operators.into_iter().find(|operator| self.take(operator)) else {
            self.at = start;
            return Ok(None);
        };
        self.blanks();
        let mut target = self.word()?;
        if operator.starts_with("<<") {
            target = self.document(&target, operator == "<<-")?;
        }
        Ok(Some(Redirect { descriptor, operator: operator.to_owned(), target }))
    }

    /// Takes the lines of a here-document out of the text.
    fn document(&mut self, end: &Word, strip: bool) -> Parsed<Word> {
        self.documents += 1;
        let unfinished = || "it cannot be read: a here-document has no end".to_owned();
        let mut is_quoted = false;
        let mut delimiter = String::new();
        for part in end {
            let Part::Text { text, quoted } = part else { return Err(unfinished()) };
            is_quoted |= quoted;
            delimiter.push_str(text);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let start = self.at + rest.iter().position(|c| *c == '\n').ok_or_else(unfinished)? + 1;
        let (mut body, mut at) = (String::new(), start);
        loop {
            let rest = self.text.get(at..).filter(|rest| !rest.is_empty() && self.documents <= MAX_DOCUMENTS);
            let line: String = rest.ok_or_else(unfinished)?.iter().take_while(|c| **c != '\n').collect();
            at = (at + line.chars().count() + 1).min(self.text.len());
            let line = if strip { line.trim_start_matches('\t') } else { &line };
            if line == delimiter {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        self.text.drain(start..at);
        if is_quoted {
            return Ok(vec![Part::Text { text: body, quoted: true }]);
        }
        let depth = self.depth;
        let mut inner = Self { text: body.chars().collect(), at: 0, depth, documents: 0 };
        inner.quoted(None)
    }

    fn word(&mut self) -> Parsed<Word> {
        let mut word = Word::new();
        let start = self.at;
        while let Some(c) = self.peek().filter(|c| !is_meta(*c)) {
            match c {
                '\'' => {
                    self.at += 1;
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let end = rest.iter().position(|c| *c == '\'').ok_or("it cannot be read: a quote has no end")?;
                    let text = rest.iter().take(end).collect();
                    word.push(Part::Text { text, quoted: true });
                    self.at += end + 1;
                }
                '"' => {
                    self.at += 1;
                    word.extend(self.quoted(Some('"'))?);
                }
                '\\' => {
                    let text: String = self.text.get(self.at + 1).filter(|c| **c != '\n').into_iter().collect();
                    self.at += 2;
                    word.push(Part::Text { text, quoted: true });
                }
                '$' | '`' => word.push(self.expansion(false)?),
                _ => {
                    self.at += 1;
                    push(&mut word, c, false);
                }
            }
        }
        self.at = self.at.min(self.text.len());
        if self.at == start { Err("it cannot be read: a word is missing".to_owned()) } else { Ok(word) }
    }

    /// Reads what stands in double quotes, up to the end character or the end of the text.
    fn quoted(&mut self, end: Option<char>) -> Parsed<Word> {
        let mut word = vec![Part::Text { text: String::new(), quoted: true }];
        loop {
            match self.peek() {
                c if c == end => {
                    self.at += usize::from(c.is_some());
                    return Ok(word);
                }
                None => return Err("it cannot be read: a quote has no end".to_owned()),
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => {}
                        Some(c @ ('$' | '`' | '\\')) => push(&mut word, c, true),
                        // In a here-document, which has no end character, a quote is like any other.
                        Some('"') if end.is_some() => push(&mut word, '"', true),
                        other => "\\".chars().chain(other).for_each(|c| push(&mut word, c, true)),
                    }
                    self.at = (self.at + 1).min(self.text.len());
                }
                Some('$' | '`') => word.push(self.expansion(true)?),
                Some(c) => {
                    self.at += 1;
                    push(&mut word, c, true);
                }
            }
        }
    }

    fn expansion(&mut self, quoted: bool) -> Parsed<Part> {
        if self.ahead("$((") {
            return self.nested(|parser| parser.skip_arithmetic());
        }
        if self.take("$(") {
            let list = self.list(&[])?;
            self.close()?;
            return Ok(Part::Substitution { list, quoted });
        }
        if self.take("`") {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let end = rest.iter().position(|c| *c == '`').ok_or("it cannot be read: a backquote has no end")?;
            let text: Vec<char> = rest.iter().take(end).copied().collect();
            if text.contains(&'\\') {
                return Err("it cannot be read: it has a backslash in backquotes".to_owned());
            }
            self.at += end + 1;
            let mut inner = Self { text, at: 0, depth: self.depth, documents: 0 };
            let list = self.nested(|_| inner.list(&[]))?;
            if inner.peek().is_some() {
                return Err("it cannot be read: backquotes with something else than commands".to_owned());
            }
            return Ok(Part::Substitution { list, quoted });
        }
        if self.take("${") {
            return self.nested(|parser| parser.braces(quoted));
        }
        self.at += 1;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let name: String = match rest.first() {
            Some(c) if "@*#?$!-0123456789".contains(*c) => c.to_string(),
            _ => rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect(),
        };
        // What shells make of these differs.
        if !quoted && name.is_empty() && matches!(rest.first(), Some('\'' | '"' | '[')) {
            return Err("it cannot be read: `$` before a quote".to_owned());
        }
        if name.is_empty() {
            return Ok(Part::Text { text: "$".to_owned(), quoted: true });
        }
        self.at += name.chars().count();
        Ok(Part::Parameter { name, operation: None, quoted })
    }

    fn braces(&mut self, quoted: bool) -> Parsed<Part> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut name: String = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        if name.is_empty() {
            name = rest.iter().take(1).filter(|c| "@*#?".contains(**c)).collect();
        }
        self.at += name.chars().count();
        if self.take("}") {
            return Ok(Part::Parameter { name, operation: None, quoted });
        }
        let operators = [":-", ":+", ":=", ":?", "##", "%%", "-", "+", "=", "?", "#", "%"];
        let Some(operator) = operators.into_iter().find(|operator| self.take(operator)) else {
            return Err("it cannot be read: `${` with something else than a name".to_owned());
        };
        let mut word = Word::new();
        loop {
            match self.peek() {
                Some('}') => break,
                None => return Err("it cannot be read: `${` has no end".to_owned()),
                Some('\'') => return Err("it cannot be read: `${` with a single quote".to_owned()),
                Some('"') => {
                    self.at += 1;
                    word.extend(self.quoted(Some('"'))?);
                }
                Some('$' | '`') => word.push(self.expansion(quoted)?),
                Some('\\') => {
                    let text: String = self.text.get(self.at + 1).into_iter().collect();
                    self.at = (self.at + 2).min(self.text.len());
                    word.push(Part::Text { text, quoted: true });
                }
                Some(c) => {
                    self.at += 1;
                    push(&mut word, c, false);
                }
            }
        }
        self.at += 1;
        Ok(Part::Parameter { name, operation: Some((operator.to_owned(), word)), quoted })
    }

    fn skip_arithmetic(&mut self) -> Parsed<Part> {
        let start = self.at;
        let mut open = 0_usize;
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '(' => open += 1,
                ')' if open <= 1 => {
                    let text = self.text.get(start..self.at).unwrap_or_default();
                    return Ok(Part::Foreign(text.iter().take(80).collect()));
                }
                ')' => open -= 1,
                _ => {}
            }
        }
        Err("it cannot be read: `$((` has no end".to_owned())
    }
}

fn push(word: &mut Word, c: char, is_quoted: bool) {
    match word.last_mut() {
        Some(Part::Text { text, quoted }) if *quoted == is_quoted => text.push(c),
        _ => word.push(Part::Text { text: c.to_string(), quoted: is_quoted }),
    }
}
