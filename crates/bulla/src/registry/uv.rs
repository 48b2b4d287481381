//! Reads uv's files of settings, `uv.toml` (uv documentation, "Settings"), as far as they say where packages are.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{packages::SettingError, pip::Value};

/// What several files say, the stronger first.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// The index that is asked where none is named for a package.
    pub(super) index: Option<Value>,
    /// Where further indexes are named.
    pub(super) not_asked: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    index_url: Option<Spanned<String>>,
    extra_index_url: Option<Spanned<toml::Value>>,
    #[serde(default)]
    index: Vec<Spanned<Index>>,
}

#[derive(Deserialize)]
struct Index {
    url: Spanned<String>,
    #[serde(default)]
    default: bool,
}

impl Settings {
    /// Takes what a weaker file says.
    ///
    /// # Errors
    /// When it is not TOML, or a value is of another kind.
    pub(super) fn take(&mut self, file: &Path, text: &str) -> Result<(), SettingError> {
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        let document: Document = toml::from_str(text).map_err(|error| SettingError {
            file: file.to_owned(),
            line: error.span().map(|span| line(span.start)),
            what: error.message().to_owned(),
        })?;
        let (default, further): (Vec<_>, Vec<_>) =
            document.index.into_iter().partition(|index| index.get_ref().default);
        let index = default.into_iter().next().map(|index| index.into_inner().url).or(document.index_url);
        if let (None, Some(index)) = (&self.index, index) {
            let line = Some(line(index.span().start));
            self.index = Some(Value { text: index.into_inner(), file: file.to_owned(), line });
        }
        let mut not_asked = |what: &str, at: usize| {
            self.not_asked.push(format!("`{what}` of {}, line {}", file.display(), line(at)));
        };
        further.iter().for_each(|index| not_asked("[[index]]", index.span().start));
        document.extra_index_url.iter().for_each(|value| not_asked("extra-index-url", value.span().start));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str]) -> Settings {
        let mut settings = Settings::default();
        for text in files {
            settings.take(Path::new("uv.toml"), text).expect("good settings");
        }
        settings
    }

    #[test]
    fn the_default_index_counts_and_others_are_only_noted() {
        let text = "native-tls = true\n[[index]]\nname = \"team\"\nurl = \"https://team.example/simple\"\n\n[[index]]\nurl = \"https://mirror.example/simple\"\ndefault = true\n";
        let settings =
            read(&[text, "index-url = \"https://weaker.example/\"\nextra-index-url = [\"https://x.example\"]\n"]);
        let index = settings.index.expect("an index");
        assert_eq!((index.text.as_str(), index.line), ("https://mirror.example/simple", Some(7)));
        assert_eq!(settings.not_asked.len(), 2);
        assert!(settings.not_asked[0].contains("[[index]]"), "{:?}", settings.not_asked);
        let old = read(&["index-url = \"https://old.example/simple\"\n"]).index.expect("an index");
        assert_eq!(old.text, "https://old.example/simple");
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line() {
        let error = Settings::default().take(Path::new("uv.toml"), "a = 1\nindex-url = 2\n").expect_err("no settings");
        assert!(error.to_string().starts_with("uv.toml:2: "), "{error}");
    }
}
