//! The tree of a text: nodes in an arena, so that an alias is a second mention and costs nothing.

use std::{collections::BTreeMap, ops::Range};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::{MAX_BYTES, MAX_DEPTH, MAX_EXPANDED, MAX_NODES, Problem};

/// The number of a node in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(usize);

/// A text made into a tree.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    pub(super) root: NodeId,
    text: String,
}

#[derive(Debug)]
struct Node {
    span: Range<usize>,
    content: Content,
    /// The key that it is the value of, at its first mention.
    key: Option<NodeId>,
    /// How many nodes and bytes of text it is, and how deep, with aliases followed.
    size: usize,
    bytes: usize,
    depth: usize,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    /// A text; `plain` is one without quotes or block indicator.
    Scalar { text: String, plain: bool },
    /// A list.
    List { items: Vec<NodeId>, flow: bool },
    /// A map.
    Map { entries: Vec<(NodeId, NodeId)>, flow: bool },
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is not YAML, goes beyond the limits, or uses what is left out.
    pub(crate) fn parse(text: &str) -> Result<Self, Box<Problem>> {
        if text.len() > MAX_BYTES {
            let message = format!("the file has {} bytes, more than the {MAX_BYTES} that a spec may have", text.len());
            return Err(Box::new(Problem::new(0..0, message, "is this the right file?")));
        }
        refuse_invisible(text).map_err(Box::new)?;
        Builder::new(text).build().map_err(Box::new)
    }

    pub(super) fn content(&self, node: NodeId) -> &Content {
        &self.nodes[node.0].content
    }

    /// Gives the text of a scalar.
    pub(super) fn scalar(&self, node: NodeId) -> Option<&str> {
        match self.content(node) {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Gives the entries of a map; a node that is none has none.
    pub(super) fn entries(&self, node: NodeId) -> &[(NodeId, NodeId)] {
        match self.content(node) {
            Content::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    /// Gives the key that a node is the value of.
    pub(super) fn key(&self, node: NodeId) -> Option<&str> {
        self.nodes[node.0].key.and_then(|key| self.scalar(key))
    }

    /// Gives the bytes of a node: all of them, with the text between.
    pub(super) fn span(&self, node: NodeId) -> Range<usize> {
        self.nodes[node.0].span.clone()
    }

    /// Gives the bytes to point at when a node is wrong: for a block list or map, the key that it belongs to.
    pub(super) fn pointer(&self, node: NodeId) -> Range<usize> {
        let own = self.span(node);
        match (self.content(node), self.nodes[node.0].key) {
            (Content::List { flow: false, .. } | Content::Map { flow: false, .. }, Some(key)) => self.span(key),
            (Content::Scalar { text, plain: true }, Some(key)) if text.is_empty() => self.span(key),
            _ => first_line(&self.text, own),
        }
    }
}

/// Says whether a character turns the direction of writing (Unicode Standard Annex 9, explicit formatting characters).
pub(crate) const fn turns_writing(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Refuses characters that nobody sees: control characters (YAML 1.2, 5.1), and those that turn the direction of writing,
/// by which a text can be made to look like another one.
fn refuse_invisible(text: &str) -> Result<(), Problem> {
    let bad = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r') || turns_writing(c);
    match text.char_indices().find(|(_, c)| bad(*c)) {
        None => Ok(()),
        Some((at, c)) => {
            let message = format!("the character U+{:04X} is here, which nobody sees", u32::from(c));
            Err(Problem::new(
                at..at + c.len_utf8(),
                message,
                "delete it; in double quotes it can be written as an escape",
            ))
        }
    }
}

/// Cuts a range at the end of its first line.
fn first_line(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = text.get(range.clone()).unwrap_or_default();
    let length = piece.lines().next().unwrap_or_default().trim_end().len();
    range.start..range.start + length
}

/// A list or map whose end has not come yet.
struct Open {
    id: NodeId,
    children: Vec<NodeId>,
    is_map: bool,
    flow: bool,
}

struct Builder<'t> {
    text: &'t str,
    /// The byte at which each character starts, where the text is not all ASCII.
    bytes: Option<Vec<usize>>,
    nodes: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, NodeId>,
    root: Option<NodeId>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(byte, _)| byte).collect());
        Self { text, bytes, nodes: Vec::new(), open: Vec::new(), anchors: BTreeMap::new(), root: None }
    }

    fn build(mut self) -> Result<Document, Problem> {
        let mut parser = Parser::new_from_str(self.text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| self.not_yaml(&error))?;
            self.take(event, span)?;
        }
        match self.root {
            Some(root) => Ok(Document { nodes: self.nodes, root, text: self.text.to_owned() }),
            None => Err(Problem::new(0..0, "the file is empty", "`bulla init` writes a spec to begin with")),
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => Err(Problem::new(
                self.range(span),
                "a second document begins here",
                "a spec is one document; delete the `---` or what comes after it",
            )),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(id) if !self.open.iter().any(|open| open.id == *id) => self.add(*id),
                _ => Err(Problem::new(self.range(span), "an alias stands within what it is an alias of", "")),
            },
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                let range = self.range(span);
                let tag = self.text[range.clone()].split_whitespace().next().unwrap_or_default().len();
                let help = "delete the tag: a value is read as the type that its key has";
                Err(Problem::new(range.start..range.start + tag, "a spec has no tags", help))
            }
            Event::Scalar(text, style, anchor, None) => {
                let span = self.trimmed(span);
                let plain = style == ScalarStyle::Plain;
                let id = self.push(span, Content::Scalar { text: text.into_owned(), plain });
                self.anchors.insert(anchor, id);
                self.add(id)
            }
            Event::SequenceStart(anchor, None) => self.begin(span, anchor, false),
            Event::MappingStart(anchor, None) => self.begin(span, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
        }
    }

    fn push(&mut self, span: Range<usize>, content: Content) -> NodeId {
        let bytes = match &content {
            Content::Scalar { text, .. } => text.len(),
            Content::List { .. } | Content::Map { .. } => 0,
        };
        self.nodes.push(Node { span, content, key: None, size: 1, bytes, depth: 0 });
        NodeId(self.nodes.len() - 1)
    }

    fn begin(&mut self, span: Span, anchor: usize, is_map: bool) -> Result<(), Problem> {
        let range = self.range(span);
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(range));
        }
        let flow = self.text[..range.end].ends_with(if is_map { '{' } else { '[' });
        let id = self.push(range, Content::List { items: Vec::new(), flow });
        self.anchors.insert(anchor, id);
        self.open.push(Open { id, children: Vec::new(), is_map, flow });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), Problem> {
        let end = self.range(span).end;
        let Some(Open { id, children, is_map, flow }) = self.open.pop() else { return Ok(()) };
        let start = self.nodes[id.0].span.start;
        let length = self.text[start..end.max(start)].trim_end().len();
        self.nodes[id.0].span = start..start + length;
        let (size, bytes, depth) = children.iter().fold((1_usize, 0_usize, 0), |(size, bytes, depth), child| {
            let child = &self.nodes[child.0];
            (size.saturating_add(child.size), bytes.saturating_add(child.bytes), depth.max(child.depth))
        });
        if size > MAX_NODES || bytes > MAX_EXPANDED {
            let message = format!(
                "the file has more than {MAX_NODES} values or {MAX_EXPANDED} bytes, counting each alias as what it stands for"
            );
            return Err(Problem::new(first_line(self.text, start..start + length), message, "use fewer aliases"));
        }
        if depth + 1 > MAX_DEPTH {
            return Err(too_deep(first_line(self.text, start..start + length)));
        }
        self.nodes[id.0].size = size;
        self.nodes[id.0].bytes = bytes;
        self.nodes[id.0].depth = depth + 1;
        self.nodes[id.0].content =
            if is_map { self.map(&children, flow)? } else { Content::List { items: children, flow } };
        self.add(id)
    }

    fn map(&mut self, children: &[NodeId], flow: bool) -> Result<Content, Problem> {
        let mut entries = Vec::with_capacity(children.len() / 2);
        let mut seen: BTreeMap<String, NodeId> = BTreeMap::new();
        for (key, value) in children.iter().zip(children.iter().skip(1)).step_by(2).map(|(k, v)| (*k, *v)) {
            let span = self.nodes[key.0].span.clone();
            let Content::Scalar { text, plain } = &self.nodes[key.0].content else {
                let help = "a key is a word; a `{` or `[` that begins a text is put in quotes";
                return Err(Problem::new(
                    first_line(self.text, span),
                    "a list or map stands where a key belongs",
                    help,
                ));
            };
            if *plain && text == "<<" {
                let help = "write the keys out, or use an alias for a whole value";
                return Err(Problem::new(span, "merge keys (`<<`) are not part of YAML 1.2", help));
            }
            if *plain && text.is_empty() {
                return Err(Problem::new(span, "a key is missing before the `:`", ""));
            }
            if let Some(first) = seen.insert(text.clone(), key) {
                let message = format!("the key `{text}` is written twice");
                let problem = Problem::new(span, message, "delete one of them, or put both values under one key");
                return Err(problem.with(self.nodes[first.0].span.clone(), "first written here"));
            }
            self.nodes[value.0].key.get_or_insert(key);
            entries.push((key, value));
        }
        Ok(Content::Map { entries, flow })
    }

    /// Gives a finished node to what it is in.
    fn add(&mut self, id: NodeId) -> Result<(), Problem> {
        match self.open.last_mut() {
            Some(open) if open.children.len() >= MAX_NODES => {
                let span = self.nodes[id.0].span.clone();
                let message = format!("the file has more than {MAX_NODES} values");
                Err(Problem::new(first_line(self.text, span), message, ""))
            }
            Some(open) => {
                open.children.push(id);
                Ok(())
            }
            None => {
                self.root = Some(id);
                Ok(())
            }
        }
    }

    fn byte(&self, marker: &Marker) -> usize {
        let byte = match &self.bytes {
            None => marker.index(),
            Some(bytes) => bytes.get(marker.index()).copied().unwrap_or(self.text.len()),
        };
        byte.min(self.text.len())
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(&span.start);
        start..self.byte(&span.end).max(start)
    }

    /// Gives the range of a scalar without the space after it.
    fn trimmed(&self, span: Span) -> Range<usize> {
        let range = self.range(span);
        let piece = &self.text[range.clone()];
        range.start..range.start + piece.trim_end().len()
    }

    fn not_yaml(&self, error: &saphyr_parser::ScanError) -> Problem {
        let at = self.byte(error.marker());
        let (message, help) = plain_words(error.info());
        let length = self.text[at..].lines().next().unwrap_or_default().trim_end().len();
        let line = &self.text[self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)..at + length];
        let item = line.trim_start().strip_prefix("- ").map(str::trim_start).unwrap_or_default();
        let help = match item.starts_with(['[', '{', '"', '\'']) {
            true => "put a command that begins with a bracket or a quote on the next line after `- |`",
            false => help,
        };
        Problem::new(at..at + length, message, help)
    }
}

fn too_deep(range: Range<usize>) -> Problem {
    Problem::new(range, format!("lists and maps are more than {MAX_DEPTH} deep in one another"), "")
}

/// Puts what the parser says into words for somebody who does not know its insides.
fn plain_words(info: &str) -> (String, &'static str) {
    let has = |part: &str| info.contains(part);
    let (message, help) = if has("tab") && (has("indent") || has("disallowed") || has("cannot start")) {
        ("a tab stands where the line is indented", "YAML is indented with spaces only: replace the tab")
    } else if has("unknown anchor") {
        ("an alias (`*name`) names no anchor (`&name`) above it", "put a text that begins with `*` in quotes")
    } else if has("mapping values are not allowed") || has("illegal placement of ':'") {
        (
            "a `: ` stands in a value that has no quotes, or the line is indented wrongly",
            "put the whole value in quotes",
        )
    } else if has("expected ',' or ']'") || has("expected ',' or '}'") || has("invalid indentation in flow") {
        ("a `[` or `{` is not closed, or a comma is missing", "close it, or put a text that begins with it in quotes")
    } else if has("expected key") || has("expected '-' indicator") || has("simple key expect") {
        (
            "this line does not fit what is around it",
            "is it indented as its neighbours are, and is there a `:` after the key?",
        )
    } else if has("end of stream") || has("unexpected document indicator") || has("indentation in quoted") {
        ("a quote is opened and never closed", "close it")
    } else if has("unknown escape") || has("hexadecimal") || has("escape character") {
        ("an escape in double quotes is not one of YAML's", "in single quotes a backslash is itself")
    } else if has("unprintable") {
        ("there is a control character here", "delete it")
    } else if has("recursion limit") {
        ("lists and maps are too deep in one another", "")
    } else {
        return (format!("this is not valid YAML: {info}"), "");
    };
    (message.to_owned(), help)
}
