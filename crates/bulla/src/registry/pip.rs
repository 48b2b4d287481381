//! Reads pip's files of settings: those of Python's `configparser`, with pip's own names of keys (pip documentation, "Configuration").

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::packages::SettingError;

/// What several files say, the stronger over the weaker.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(BTreeMap<(String, String), Value>);

/// A value, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// The file, or the variable.
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
}

impl Settings {
    /// Takes what a stronger file says.
    ///
    /// # Errors
    /// When a line is none of such a file.
    pub(super) fn take(&mut self, file: &Path, text: &str) -> Result<(), SettingError> {
        let mut section: Option<String> = None;
        let mut last: Option<(String, String)> = None;
        for (number, whole) in text.lines().enumerate() {
            let line = whole.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if whole.starts_with([' ', '\t'])
                && let Some(value) = last.as_ref().and_then(|key| self.0.get_mut(key))
            {
                value.text.push('\n');
                value.text.push_str(line);
                continue;
            }
            let wrong =
                |what: &str| SettingError { file: file.to_owned(), line: Some(number + 1), what: what.to_owned() };
            if let Some(name) = line.strip_prefix('[') {
                let name = name.split_once(']').ok_or_else(|| wrong("a section has no `]`"))?.0;
                (section, last) = (Some(name.to_owned()), None);
                continue;
            }
            let (key, value) =
                line.split_once(['=', ':']).ok_or_else(|| wrong("it is neither `[SECTION]` nor `KEY = VALUE`"))?;
            let section = section.clone().ok_or_else(|| wrong("it stands before any `[SECTION]`"))?;
            let key = key.trim().to_ascii_lowercase().replace('_', "-");
            let key = (section, key.trim_start_matches("--").to_owned());
            let value = Value { text: value.trim().to_owned(), file: file.to_owned(), line: Some(number + 1) };
            self.0.insert(key.clone(), value);
            last = Some(key);
        }
        Ok(())
    }

    /// What holds for `pip install`: its own section is over that for all commands, whichever file has it.
    fn value(&self, key: &str) -> Option<&Value> {
        let of =
            |section: &str| self.0.get(&(section.to_owned(), key.to_owned())).filter(|value| !value.text.is_empty());
        of("install").or_else(|| of("global"))
    }

    /// Gives the address of the index.
    pub(super) fn index(&self) -> Option<Value> {
        self.value("index-url").cloned()
    }

    /// Gives the file with certificate authorities.
    pub(super) fn cert(&self) -> Option<PathBuf> {
        Some(PathBuf::from(&self.value("cert")?.text)).filter(|path| path.is_absolute())
    }

    /// Gives the hosts, some with ports, that the user lets be asked in the clear. A variable is over the files.
    pub(super) fn trusted_hosts(&self, variable: Option<&str>) -> BTreeSet<String> {
        let hosts = variable.or_else(|| Some(self.value("trusted-host")?.text.as_str())).unwrap_or_default();
        hosts.split_whitespace().map(str::to_ascii_lowercase).collect()
    }

    /// Gives where further indexes are named.
    pub(super) fn extra_indexes(&self) -> impl Iterator<Item = String> {
        let shown = |value: &Value| {
            format!("`extra-index-url` of {}, line {}", value.file.display(), value.line.unwrap_or_default())
        };
        self.value("extra-index-url").map(shown).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str]) -> Settings {
        let mut settings = Settings::default();
        for text in files {
            settings.take(Path::new("/etc/pip.conf"), text).expect("good settings");
        }
        settings
    }

    #[test]
    fn the_stronger_file_and_the_section_of_the_command_count() {
        let index = |files: &[&str]| read(files).index().map(|value| value.text);
        let (weak, strong) =
            ("[global]\nindex-url = https://weak.example/\n", "[global]\nindex_url: https://strong.example/simple\n");
        assert_eq!(index(&[weak, strong]).as_deref(), Some("https://strong.example/simple"));
        assert_eq!(index(&[strong, weak]).as_deref(), Some("https://weak.example/"));
        let install = "[install]\n--index-url=https://install.example/\n";
        assert_eq!(index(&[install, strong]).as_deref(), Some("https://install.example/"));
        assert_eq!(index(&["[download]\nindex-url = https://other.example/\n"]), None);
        assert_eq!(index(&["[global]\n# index-url = https://c.example/\n; index-url = x\nindex-url =\n"]), None);
    }

    #[test]
    fn a_value_may_have_several_lines() {
        let settings = read(&[
            "[global]\nextra-index-url =\n    https://a.example/\n    https://b.example/\ntrusted-host = a.example\n  B.example:8080\ncert = /etc/corp.pem\n",
        ]);
        assert_eq!(settings.extra_indexes().collect::<Vec<_>>(), ["`extra-index-url` of /etc/pip.conf, line 2"]);
        assert_eq!(settings.trusted_hosts(None), BTreeSet::from(["a.example".to_owned(), "b.example:8080".to_owned()]));
        assert_eq!(settings.trusted_hosts(Some("c.example")), BTreeSet::from(["c.example".to_owned()]));
        assert_eq!(settings.cert(), Some("/etc/corp.pem".into()));
    }

    #[test]
    fn what_is_no_setting_is_named_with_its_line() {
        for (text, expected) in [
            ("index-url = x", "/etc/pip.conf:1: it stands before any `[SECTION]`"),
            ("[global]\nhidden-word\n", "/etc/pip.conf:2: it is neither `[SECTION]` nor `KEY = VALUE`"),
            ("[global", "/etc/pip.conf:1: a section has no `]`"),
        ] {
            let error = Settings::default().take(Path::new("/etc/pip.conf"), text).expect_err("no settings");
            assert_eq!(error.to_string(), expected);
        }
    }
}
