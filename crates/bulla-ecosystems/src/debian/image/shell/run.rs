//! Goes the way through a script that a first installation takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use bulla_model::CleanPath;

use super::{Command, Redirect, Word, commands, parse, pattern};
use crate::debian::{
    deb::Package,
    image::{
        effect::Effect,
        overlay::{Overlay, Stands},
    },
};

/// The most commands that are followed, the deepest calls of functions, the most effects, and the longest value in bytes.
const MAX_STEPS: usize = 20_000;
const MAX_CALLS: usize = 20;
const MAX_EFFECTS: usize = 2000;
pub(super) const MAX_VALUE: usize = 16 << 10;
/// The most variables, and the deepest way into blocks and functions.
const MAX_VARIABLES: usize = 500;
const MAX_DEPTH: usize = 200;

/// The shells that scripts are written for. What is written for anything else may look like a script of a shell.
const SHELLS: [&str; 6] = ["/bin/sh", "/usr/bin/sh", "/bin/dash", "/usr/bin/dash", "/bin/bash", "/usr/bin/bash"];
/// Where programs are looked for; a script that looks elsewhere may find others.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The commands that are a part of the language: what is assigned in front of them stays, and no function is called instead.
const SPECIAL: [&str; 15] = [
    ".", ":", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift", "times",
    "trap", "unset",
];

/// What a script is run on and for.
pub(in crate::debian::image) struct Installation<'a, 'o> {
    pub(in crate::debian::image) overlay: &'a Overlay<'o>,
    pub(in crate::debian::image) package: &'a Package,
    /// `preinst`, `postinst`, or `config` of a package that asks questions.
    pub(in crate::debian::image) script: &'static str,
    /// The files that keep set-user-id bits.
    pub(in crate::debian::image) keep_set_id: &'a BTreeSet<CleanPath>,
}

/// Why the way ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is something that has no equivalent.
    Refuse(String),
    Exit(bool),
    Return(bool),
    Break,
    Continue,
}

/// Where standard output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Where it went before: to the terminal, or into a substitution.
    Same,
    /// To the terminal or nowhere.
    Nothing,
    /// To a file, to which it may be appended.
    File { path: String, append: bool },
}

pub(super) type Step<T> = Result<T, Stop>;

pub(super) fn refuse<T>(reason: impl Into<String>) -> Step<T> {
    Err(Stop::Refuse(reason.into()))
}

/// The state of the shell, and what was noted.
pub(super) struct Shell<'a, 'o> {
    pub(super) installation: &'a Installation<'a, 'o>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) arguments: Vec<String>,
    functions: BTreeMap<String, Rc<Command>>,
    pub(super) effects: Vec<Effect>,
    /// What the script itself made.
    pub(super) made: BTreeMap<CleanPath, Stands>,
    /// What a substitution's commands write.
    pub(super) output: Option<String>,
    pub(super) last: bool,
    /// How the last substitution of the command ended.
    pub(super) substituted: Option<bool>,
    /// The answers that were given to questions by the script itself.
    pub(super) answers: BTreeMap<String, String>,
    /// The answers that the package's `config` gives, or why they are not known. `None` while nothing was asked.
    configured: Option<Result<BTreeMap<String, String>, String>>,
    /// What the variables of each function that is called had before, that are its own.
    locals: Vec<BTreeMap<String, Option<String>>>,
    fixed: BTreeSet<String>,
    is_bash: bool,
    /// Whether a failure ends the script, and how many conditions it is inside of.
    exits: bool,
    conditions: usize,
    steps: usize,
    calls: usize,
    depth: usize,
}

/// Follows a script as a first installation calls it, and gives what it would have changed.
///
/// # Errors
/// With the reason, when it does something on that way that has no equivalent.
pub(in crate::debian::image) fn rehearse(
    installation: &Installation<'_, '_>,
    text: &str,
) -> Result<Vec<Effect>, String> {
    follow(installation, text).map(|shell| shell.effects)
}

/// Follows a script to its end, and gives the state it is in there.
fn follow<'a, 'o>(installation: &'a Installation<'a, 'o>, text: &str) -> Result<Shell<'a, 'o>, String> {
    let (is_bash, exits) = interpreter(text.lines().next().unwrap_or_default())?;
    let list = parse::parse(text)?;
    let control = &installation.package.control;
    let variables = [
        // `config` is called by the `postinst`, when that first speaks to debconf (debconf-devel(7), "The config script").
        ("DPKG_MAINTSCRIPT_NAME", if installation.script == "config" { "postinst" } else { installation.script }),
        ("DPKG_MAINTSCRIPT_PACKAGE", control.name()),
        ("DPKG_MAINTSCRIPT_ARCH", control.architecture()),
        ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
        ("DPKG_ROOT", ""),
        ("DPKG_ADMINDIR", "/var/lib/dpkg"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ];
    let arguments: &[&str] = if installation.script == "preinst" { &["install"] } else { &["configure", ""] };
    let mut shell = Shell {
        installation,
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        functions: BTreeMap::new(),
        effects: Vec::new(),
        made: BTreeMap::new(),
        output: None,
        last: true,
        substituted: None,
        answers: BTreeMap::new(),
        configured: None,
        locals: Vec::new(),
        fixed: BTreeSet::new(),
        is_bash,
        exits,
        conditions: 0,
        steps: 0,
        calls: 0,
        depth: 0,
    };
    match shell.list(&list) {
        Ok(_) | Err(Stop::Exit(true) | Stop::Return(true)) => Ok(shell),
        Err(Stop::Refuse(reason)) => Err(reason),
        Err(Stop::Exit(false) | Stop::Return(false)) => Err("it would fail".to_owned()),
        Err(Stop::Break | Stop::Continue) => Err("it leaves a loop that is none".to_owned()),
    }
}

/// Follows the `config` of a package, and gives the answers that it leaves to the package's questions.
fn configure(installation: &Installation<'_, '_>) -> Result<BTreeMap<String, String>, String> {
    let Some(text) = installation.package.member("config") else { return Ok(BTreeMap::new()) };
    let is_shell = interpreter(text.lines().next().unwrap_or_default()).is_ok();
    // It asks itself what it has set, and no other; and one that sets nothing may do what it wants.
    if installation.script == "config" || (is_shell && !text.contains("db_set")) {
        return Ok(BTreeMap::new());
    }
    let config = Installation { script: "config", ..*installation };
    let shell = follow(&config, &text)?;
    if shell.effects.is_empty() { Ok(shell.answers) } else { Err("it changes files".to_owned()) }
}

/// Reads the first line of a script: whether it is written for bash, and whether a failure ends it.
fn interpreter(line: &str) -> Result<(bool, bool), String> {
    let no = || format!("it is no script of a shell: `{}`", line.chars().take(80).collect::<String>().escape_debug());
    let (program, option) = match line.strip_prefix("#!").ok_or_else(no)?.trim().split_once([' ', '\t']) {
        Some((program, option)) => (program, option.trim()),
        None => (line.trim_start_matches("#!").trim(), ""),
    };
    let letters = if option.is_empty() { "" } else { option.strip_prefix('-').ok_or_else(no)? };
    let is_known = SHELLS.contains(&program) && letters.chars().all(|letter| "eux".contains(letter));
    if is_known { Ok((program.ends_with("bash"), letters.contains('e'))) } else { Err(no()) }
}

impl Shell<'_, '_> {
    pub(super) fn note(&mut self, effect: Effect) -> Step<bool> {
        if self.effects.len() >= MAX_EFFECTS {
            return refuse("it changes more than 2000 things");
        }
        self.effects.push(effect);
        Ok(true)
    }

    pub(super) fn list(&mut self, list: &[Command]) -> Step<bool> {
        let mut status = true;
        for command in list {
            status = self.command(command)?;
            self.last = status;
        }
        Ok(status)
    }

    fn condition(&mut self, list: &[Command]) -> Step<bool> {
        self.conditions += 1;
        let status = self.list(list);
        self.conditions -= 1;
        status
    }

    /// Counts what takes time.
    pub(super) fn spend(&mut self, steps: usize) -> Step<()> {
        self.steps += steps;
        if self.steps > MAX_STEPS { refuse("it takes too many steps") } else { Ok(()) }
    }

    pub(super) fn assign(&mut self, name: &str, value: String) -> Step<()> {
        let is_elsewhere = || value.split(':').any(|folder| !FOLDERS.contains(&folder));
        if name == "IFS" || self.fixed.contains(name) || (name == "PATH" && is_elsewhere()) {
            return refuse(format!("it sets `{name}`"));
        }
        self.variables.insert(name.to_owned(), value);
        if self.variables.len() > MAX_VARIABLES { refuse("it has more than 500 variables") } else { Ok(()) }
    }

    fn command(&mut self, command: &Command) -> Step<bool> {
        self.spend(1)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return refuse("it goes too deep");
        }
        let result = self.at_depth(command);
        self.depth -= 1;
        result
    }

    fn at_depth(&mut self, command: &Command) -> Step<bool> {
        match command {
            Command::Simple { assignments, words, redirects } => self.simple(assignments, words, redirects),
            Command::Pipeline(commands) => self.pipeline(commands),
            Command::And(left, right) => Ok(self.condition(std::slice::from_ref(left))? && self.command(right)?),
            Command::Or(left, right) => Ok(self.condition(std::slice::from_ref(left))? || self.command(right)?),
            Command::Not(inner) => Ok(!self.condition(std::slice::from_ref(inner))?),
            Command::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.condition(condition)? {
                        return self.list(body);
                    }
                }
                self.list(otherwise)
            }
            Command::Case { word, branches } => self.case(word, branches),
            Command::For { name, words, body } => self.for_(name, words, body),
            Command::Function { name, .. } if SPECIAL.contains(&name.as_str()) => {
                refuse(format!("it has a function `{name}`"))
            }
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::clone(body));
                Ok(true)
            }
            Command::Group(list) => self.list(list),
            Command::Subshell(list) => self.subshell(list),
            Command::Redirected(inner, redirects) => match self.target(redirects)? {
                Target::Same => self.command(inner),
                Target::Nothing => self.silent(|shell| shell.command(inner)),
                Target::File { .. } => refuse("it writes a file in a block"),
            },
            Command::Foreign(what) => refuse(format!("it {what}")),
        }
    }

    /// Runs something whose output goes nowhere.
    fn silent(&mut self, run: impl FnOnce(&mut Self) -> Step<bool>) -> Step<bool> {
        let saved = self.output.take();
        let result = run(self);
        self.output = saved;
        result
    }

    /// Follows what a subshell does: of the state of the shell nothing stays.
    pub(super) fn subshell(&mut self, list: &[Command]) -> Step<bool> {
        self.spend(self.variables.len() + self.functions.len() + self.arguments.len())?;
        let (variables, fixed, locals) = (self.variables.clone(), self.fixed.clone(), self.locals.clone());
        let (arguments, functions, exits) = (self.arguments.clone(), self.functions.clone(), self.exits);
        let result = self.list(list);
        (self.variables, self.fixed, self.locals) = (variables, fixed, locals);
        (self.arguments, self.functions, self.exits) = (arguments, functions, exits);
        match result {
            Err(Stop::Exit(status) | Stop::Return(status)) => Ok(status),
            Err(Stop::Break | Stop::Continue) => refuse("it leaves a loop from inside a subshell"),
            other => other,
        }
    }

    fn case(&mut self, word: &Word, branches: &[(Vec<Word>, Vec<Command>)]) -> Step<bool> {
        let text: Vec<char> = self.text(word)?.chars().collect();
        for (patterns, body) in branches {
            for candidate in patterns {
                let characters = self.characters(candidate)?;
                let Some(places) = pattern::compile(&characters) else {
                    return refuse("it has a pattern with `[`");
                };
                if pattern::matches(&places, &text) {
                    return self.list(body);
                }
            }
        }
        Ok(true)
    }

    fn for_(&mut self, name: &str, words: &[Word], body: &[Command]) -> Step<bool> {
        let mut status = true;
        for value in self.words(words)? {
            self.assign(name, value)?;
            match self.list(body) {
                Ok(result) => status = result,
                Err(Stop::Break) => break,
                Err(Stop::Continue) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(status)
    }

    /// A pipeline whose every command only reads or writes the terminal has no effect; its last one's status is not known, so
    /// it may not decide anything.
    fn pipeline(&mut self, commands: &[Command]) -> Step<bool> {
        let name = commands.iter().find_map(|command| match command {
            Command::Simple { words, .. } => words.first(),
            _ => None,
        });
        let name = name.map(|word| self.text(word)).transpose()?.unwrap_or_default();
        refuse(format!("it works with the output of `{}`", name.escape_debug()))
    }

    fn simple(&mut self, assignments: &[(String, Word)], words: &[Word], redirects: &[Redirect]) -> Step<bool> {
        self.substituted = None;
        let words = self.words(words)?;
        let target = self.target(redirects)?;
        let document = redirects.iter().find(|redirect| redirect.operator.starts_with("<<"));
        let document = document.map(|redirect| self.text(&redirect.target)).transpose()?;
        let is_call = words.first().is_some_and(|name| self.functions.contains_key(name));
        for (name, value) in assignments {
            let value = self.value(value)?;
            match words.first() {
                None => self.assign(name, value)?,
                // Whether it stays depends on the shell.
                Some(command) if is_call || SPECIAL.contains(&command.as_str()) => {
                    return refuse(format!("it assigns `{name}` for `{}`", command.escape_debug()));
                }
                Some(command) if matches!(name.as_str(), "PATH" | "IFS" | "DPKG_ROOT") => {
                    return refuse(format!("it sets `{name}` for `{}`", command.escape_debug()));
                }
                // It is set for that command alone.
                Some(_) => {}
            }
        }
        let Some(name) = words.first() else {
            let mut status = self.substituted.unwrap_or(true);
            if let Target::File { path, append } = target {
                status = commands::write(self, &path, append, String::new())?;
            }
            return self.judged(status, "an assignment");
        };
        let status = match (self.functions.get(name).cloned(), target) {
            (Some(function), Target::Same) => self.call(&function, words.get(1..).unwrap_or_default())?,
            (Some(function), Target::Nothing) => {
                self.silent(|shell| shell.call(&function, words.get(1..).unwrap_or_default()))?
            }
            (Some(_), Target::File { .. }) => return refuse(format!("`{}` writes a file", name.escape_debug())),
            (None, Target::Nothing) => self.silent(|shell| commands::run(shell, &words, Target::Same, document))?,
            (None, target) => commands::run(self, &words, target, document)?,
        };
        self.judged(status, &words.join(" "))
    }

    /// Takes a status, which may end the script.
    fn judged(&self, status: bool, what: &str) -> Step<bool> {
        if !status && self.exits && self.conditions == 0 {
            return refuse(format!("`{}` would fail", what.chars().take(200).collect::<String>()));
        }
        Ok(status)
    }

    fn call(&mut self, function: &Rc<Command>, arguments: &[String]) -> Step<bool> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return refuse("its functions call each other too deeply");
        }
        let saved = std::mem::replace(&mut self.arguments, arguments.to_vec());
        self.locals.push(BTreeMap::new());
        let result = self.command(function);
        for (name, before) in self.locals.pop().unwrap_or_default() {
            match before {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        self.arguments = saved;
        self.calls -= 1;
        match result {
            Err(Stop::Return(status)) => Ok(status),
            other => other,
        }
    }

    /// Finds out where standard output goes. Input comes from nowhere, or from a here-document.
    fn target(&mut self, redirects: &[Redirect]) -> Step<Target> {
        let mut target = Target::Same;
        for redirect in redirects {
            let (operator, descriptor) = (redirect.operator.as_str(), redirect.descriptor);
            if operator.starts_with("<<") {
                if descriptor.is_some_and(|number| number != 0) {
                    return refuse("it has a here-document for another than standard input");
                }
                continue;
            }
            let file = self.text(&redirect.target)?;
            let is_number = file == "-" || (file.len() == 1 && file.starts_with(|c: char| c.is_ascii_digit()));
            let new = match operator {
                "<" if file == "/dev/null" => continue,
                "<&" if is_number => continue,
                ">&" if file == "1" => continue,
                ">&" if is_number => Target::Nothing,
                ">" | ">>" | ">|" if file == "/dev/stdout" => continue,
                ">" | ">>" | ">|"
                    if matches!(file.as_str(), "/dev/null" | "/dev/stderr" | "/dev/tty" | "/dev/console") =>
                {
                    Target::Nothing
                }
                ">" | ">>" | ">|" if !file.starts_with("/dev/") => {
                    Target::File { path: file.clone(), append: operator == ">>" }
                }
                _ => return refuse(format!("it reads from or writes to `{}`", file.escape_debug())),
            };
            let is_output = descriptor.is_none_or(|number| number == 1);
            match (is_output, &target, new) {
                (true, Target::File { path, .. }, _) => {
                    return refuse(format!("it makes the file `{}` by the way", path.escape_debug()));
                }
                (true, _, new) => target = new,
                (false, _, Target::File { .. }) => {
                    return refuse(format!("it writes errors to `{}`", file.escape_debug()));
                }
                (false, ..) => {}
            }
        }
        Ok(target)
    }

    /// Makes a variable of the function that is called its own.
    pub(super) fn localize(&mut self, name: &str) -> Step<()> {
        let before = self.variables.get(name).cloned();
        let Some(own) = self.locals.last_mut() else { return refuse("it has `local` outside of a function") };
        if self.is_bash && before.is_some() && !own.contains_key(name) {
            // Of one without a value, bash forgets the value, and dash does not.
            self.variables.remove(name);
        }
        own.entry(name.to_owned()).or_insert(before);
        Ok(())
    }

    /// Lets a variable keep its value.
    pub(super) fn fix(&mut self, name: &str) {
        self.fixed.insert(name.to_owned());
    }

    /// Forgets a function.
    pub(super) fn forget(&mut self, name: &str) {
        self.functions.remove(name);
    }

    pub(super) const fn is_bash(&self) -> bool {
        self.is_bash
    }

    /// Gives the answer that the package's `config` gives to a question; `None` where it gives none.
    ///
    /// # Errors
    /// Refuses when what it does is not known.
    pub(super) fn configured(&mut self, question: &str) -> Step<Option<String>> {
        let installation = self.installation;
        match self.configured.get_or_insert_with(|| configure(installation)) {
            Ok(answers) => Ok(answers.get(question).cloned()),
            Err(reason) => refuse(format!(
                "it asks `{}`, which the package's `config` may answer, of which nothing is known: {reason}",
                question.escape_debug()
            )),
        }
    }

    /// Gives the script's own path.
    pub(super) fn name(&self) -> String {
        let Installation { package, script, .. } = self.installation;
        format!("/var/lib/dpkg/info/{}.{script}", crate::debian::dpkg::stem(package))
    }

    pub(super) fn set_exits(&mut self, exits: bool) {
        self.exits = exits;
    }

    pub(super) fn is_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }
}
