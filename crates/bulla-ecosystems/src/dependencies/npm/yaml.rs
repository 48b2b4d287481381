//! YAML as lock files of pnpm and of newer yarn are written in: maps, lists and texts, with the line of each. What such files never
//! have is refused: anchors, tags, several documents.

use saphyr_parser::{Event, Parser, Span};

use super::words::{conflict, shortened};

/// The most levels of maps and lists in one another.
const MAX_DEPTH: usize = 32;
/// The most values.
const MAX_NODES: usize = 8_000_000;

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    /// The line on which it begins, from 1; of the value of a key that of the key.
    pub(super) line: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(String),
    List(Vec<Node>),
    /// In the order in which it is written. No key comes twice.
    Map(Vec<(String, Node)>),
}

/// Why a text is no such document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: u32,
    pub(super) what: String,
}

impl Node {
    /// Gives it as a text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Gives its entries; what is no map has none.
    pub(super) fn entries(&self) -> &[(String, Node)] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Says whether it is a map, or nothing at all.
    pub(super) fn is_map(&self) -> bool {
        match &self.content {
            Content::Map(_) => true,
            Content::Text(text) => text.is_empty(),
            Content::List(_) => false,
        }
    }

    /// Gives the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Gives the text that a key has.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// Gives the texts of a list, or the one text that stands in place of it.
    pub(super) fn texts(&self) -> Vec<String> {
        match &self.content {
            Content::Text(text) => vec![text.clone()],
            Content::List(items) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            Content::Map(_) => Vec::new(),
        }
    }

    /// Gives it as JSON, in which all that is no list or map is a text, but for `true` and `false`.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.content {
            Content::Text(text) if text == "true" => true.into(),
            Content::Text(text) if text == "false" => false.into(),
            Content::Text(text) => text.as_str().into(),
            Content::List(items) => items.iter().map(Node::json).collect(),
            Content::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.json())).collect(),
        }
    }
}

/// A map or list whose end has not come yet.
struct Open {
    line: u32,
    is_map: bool,
    key: Option<(String, u32)>,
    items: Vec<Node>,
    entries: Vec<(String, Node)>,
}

/// Reads a document.
///
/// # Errors
/// When it is none, or goes beyond what lock files have.
pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    if let Some(line) = conflict(text) {
        return Err(Wrong { line, what: "here is a conflict of a merge that nobody resolved".to_owned() });
    }
    let mut builder = Builder { open: Vec::new(), root: None, nodes: 0 };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Wrong {
            line: line(error.marker().line()),
            what: format!("it is not YAML: {}", shortened(error.info())),
        })?;
        builder.take(event, span)?;
    }
    builder.root.ok_or(Wrong { line: 1, what: "it is empty".to_owned() })
}

fn line(number: usize) -> u32 {
    u32::try_from(number.max(1)).unwrap_or(u32::MAX)
}

struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Wrong> {
        let line = line(span.start.line());
        let wrong = |what: &str| Err(Wrong { line, what: what.to_owned() });
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => wrong("a second document begins here"),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => wrong("there is an alias here, which lock files do not have"),
            Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => {
                wrong("there is an anchor or a tag here, which lock files do not have")
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) if anchor != 0 || tag.is_some() => {
                wrong("there is an anchor or a tag here, which lock files do not have")
            }
            Event::Scalar(text, ..) => self.add(Content::Text(text.into_owned()), line),
            Event::SequenceStart(..) => self.begin(line, false),
            Event::MappingStart(..) => self.begin(line, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return wrong("something ends here that did not begin") };
                let content = if open.is_map { Content::Map(open.entries) } else { Content::List(open.items) };
                self.add(content, open.line)
            }
        }
    }

    fn begin(&mut self, line: u32, is_map: bool) -> Result<(), Wrong> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Wrong { line, what: format!("there are more than {MAX_DEPTH} levels here") });
        }
        self.open.push(Open { line, is_map, key: None, items: Vec::new(), entries: Vec::new() });
        Ok(())
    }

    fn add(&mut self, content: Content, line: u32) -> Result<(), Wrong> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Wrong { line, what: format!("it has more than {MAX_NODES} values") });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(Node { line, content });
            return Ok(());
        };
        if !open.is_map {
            open.items.push(Node { line, content });
            return Ok(());
        }
        match (open.key.take(), content) {
            (Some((key, line)), content) => open.entries.push((key, Node { line, content })),
            (None, Content::Text(key)) => open.key = Some((key, line)),
            (None, _) => return Err(Wrong { line, what: "a key is no text here".to_owned() }),
        }
        Ok(())
    }
}

/// Finds a key that a map has twice, in any map of a document.
pub(super) fn twice(node: &Node) -> Option<(&str, u32)> {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        let mut seen = std::collections::BTreeMap::new();
        for (key, value) in node.entries() {
            if seen.insert(key.as_str(), value.line).is_some() {
                return Some((key, value.line));
            }
            open.push(value);
        }
        if let Content::List(items) = &node.content {
            open.extend(items);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let text = "a: '1.0'\n\nb:\n\n  /x@1:\n    r: {i: q}\n    os: [linux, '!win']\n  ? \"long\"\n  : v\n";
        let node = parse(text).expect("it is YAML");
        let b = node.get("b").expect("a key");
        let found: Vec<(&str, u32)> = b.entries().iter().map(|(key, value)| (key.as_str(), value.line)).collect();
        assert_eq!((node.text_of("a"), b.line), (Some("1.0"), 3));
        assert_eq!(found, [("/x@1", 5), ("long", 8)]);
        let x = b.get("/x@1").expect("a key");
        assert_eq!(x.get("r").and_then(|r| r.text_of("i")), Some("q"));
        assert_eq!(x.get("os").map(Node::texts), Some(vec!["linux".to_owned(), "!win".to_owned()]));
        assert_eq!(x.json().to_string(), r#"{"os":["linux","!win"],"r":{"i":"q"}}"#);
    }

    #[test]
    fn what_lock_files_do_not_have_is_refused() {
        let line = |text: &str| parse(text).err().map(|wrong| wrong.line);
        assert_eq!(line("a: 1\nb: &x 2\n"), Some(2));
        assert_eq!(line("a: &x [1]\nb: *x\n"), Some(1));
        assert_eq!(line("a: !!str 1\n"), Some(1));
        assert_eq!(line("a: 1\n---\nb: 2\n"), Some(2));
        assert_eq!(line("a: 1\n<<<<<<< HEAD\n"), Some(2));
        assert_eq!(line(&"[".repeat(100_000)), Some(1));
        assert_eq!(line("[a]: 1\n"), Some(1));
        assert_eq!(line(""), Some(1));
        assert!(line("a: 'cut").is_some() && line("a: {b").is_some());
        assert_eq!(twice(&parse("a:\n  b: 1\n  b: 2\n").expect("it is YAML")), Some(("b", 3)));
    }
}
