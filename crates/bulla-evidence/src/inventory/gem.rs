//! Gems of Ruby: the specifications that RubyGems leaves, programs in Ruby of a narrow form (`specifications/NAME-VERSION.gemspec`).

use bulla_model::{CleanPath, purl::Purl};

use super::{Found, Owns, Says, Unread, word};
use crate::{licence::Licence, sbom::Party};

pub(super) fn is(path: &[u8]) -> bool {
    let Some((folder, name)) = path.iter().rposition(|byte| *byte == b'/').map(|at| path.split_at(at)) else {
        return false;
    };
    name.ends_with(b".gemspec")
        && (folder.ends_with(b"/specifications") || folder.ends_with(b"/specifications/default"))
}

/// Reads the assignments that RubyGems writes; nothing is run.
pub(super) fn read(path: &CleanPath, bytes: &[u8]) -> Result<Vec<Says>, Unread> {
    let text = String::from_utf8_lossy(bytes);
    let value = |key: &str| {
        text.lines()
            .map(str::trim)
            .find_map(|line| Some(line.strip_prefix("s.")?.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim()))
    };
    let single =
        |key: &str| value(key).and_then(|text| strings(text).next()).as_deref().and_then(word).map(str::to_owned);
    let (Some(name), Some(version)) = (single("name"), single("version")) else {
        return Err(Unread::new("it has no name and version as RubyGems writes them"));
    };
    let platform = value("platform")
        .and_then(|text| strings(text).next())
        .filter(|platform| platform != "ruby")
        .unwrap_or_default();
    let stem = String::from_utf8_lossy(path.name()).trim_end_matches(".gemspec").to_owned();
    let home = path.ancestors().find(|above| above.name() == b"specifications").and_then(|above| above.parent());
    let folder = home.and_then(|home| home.join(&CleanPath::parse(format!("gems/{stem}")).ok()?).ok());
    let is_default = path.as_bytes().windows(9).any(|part| part == b"/default/");
    let owns = folder.filter(|_| !is_default).map_or(Owns::Teller, Owns::Beneath);
    let mut found = Found::new(Purl::new("gem", &name, Some(&version)).with("platform", &platform), owns);
    let licences = value("licenses")
        .or_else(|| value("license"))
        .map(|text| strings(text).take(8).map(|one| Licence::read(&one)).collect::<Vec<_>>());
    found.licence = Licence::any(licences.unwrap_or_default());
    found.supplier = value("authors").and_then(|text| strings(text).next()).and_then(|author| Party::read(&author));
    let needs = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("s.add_runtime_dependency(") || line.starts_with("s.add_dependency("));
    // `%q<NAME>`, as RubyGems writes it.
    found.needs = needs.filter_map(|line| Some(line.split_once("%q<")?.1.split_once('>')?.0.to_owned())).collect();
    Ok(vec![Says::Packages(vec![found])])
}

/// Gives the texts between quotes, without `.freeze` and what else stands around them.
fn strings(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let from = rest.find(['"', '\''])?;
        let quote = rest[from..].chars().next()?;
        let inner = rest.get(from + 1..)?;
        let end = inner.find(quote)?;
        rest = inner.get(end + 1..)?;
        inner.get(..end).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_read_and_not_run() {
        let path: CleanPath = "usr/lib/ruby/gems/3.1.0/specifications/rack-2.2.4.gemspec".parse().expect("clean");
        assert!(is(path.as_bytes()) && !is(b"app/x.gemspec"));
        let text = "Gem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"2.2.4\"\n  s.authors = [\"A B\".freeze]\n  s.licenses = [\"MIT\".freeze]\n  s.add_runtime_dependency(%q<x>.freeze, [\"> 1\"])\nend\n";
        let says = read(&path, text.as_bytes()).expect("a specification");
        let [Says::Packages(found)] = says.as_slice() else { panic!("{says:?}") };
        assert_eq!(
            (found[0].purl.to_string().as_str(), found[0].licence.expression.as_str()),
            ("pkg:gem/rack@2.2.4", "MIT")
        );
        assert_eq!(found[0].owns, Owns::Beneath("usr/lib/ruby/gems/3.1.0/gems/rack-2.2.4".parse().expect("clean")));
        assert_eq!(found[0].needs, ["x"]);
        assert!(read(&path, b"s.name = x").is_err());
    }
}
