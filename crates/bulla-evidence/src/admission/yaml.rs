//! Documents as YAML that people can read: maps and lists as blocks, texts of several lines as they are, all other texts in the quotes of JSON, which YAML has too
//! (YAML 1.2, section 7.3.1), so that none is taken for something else.

use serde_json::Value;

/// Writes a document.
pub(super) fn write(document: &Value) -> String {
    let mut out = String::new();
    block(document, 0, &mut out);
    out
}

/// Writes a map or list on lines of its own.
fn block(value: &Value, indent: usize, out: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                // Names are the program's own.
                out.push_str(&format!("{margin}{name}:"));
                after(value, indent + 2, out);
            }
        }
        Value::Array(all) => {
            for value in all {
                match value {
                    Value::Object(fields) if !fields.is_empty() => {
                        let mut inner = String::new();
                        block(value, indent + 2, &mut inner);
                        out.push_str(&format!("{margin}- {}", inner.trim_start()));
                    }
                    other => {
                        out.push_str(&format!("{margin}-"));
                        after(other, indent + 2, out);
                    }
                }
            }
        }
        scalar => out.push_str(&format!("{margin}{scalar}\n")),
    }
}

/// Writes what stands after a name or a dash.
fn after(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        Value::Array(all) if !all.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        Value::String(text) if is_lines(text) => {
            out.push_str(" |\n");
            for line in text.lines() {
                let margin = if line.is_empty() { 0 } else { indent };
                out.push_str(&format!("{}{line}\n", " ".repeat(margin)));
            }
        }
        scalar => out.push_str(&format!(" {scalar}\n")),
    }
}

/// Says whether a text can stand as it is: lines that end, of which the first is not indented, and which have nothing that does not print.
fn is_lines(text: &str) -> bool {
    let plain = |line: &str| !line.chars().any(|c| c.is_control() || !c.is_ascii()) && !line.ends_with(' ');
    text.ends_with('\n') && !text.ends_with("\n\n") && !text.starts_with([' ', '\n']) && text.lines().all(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_blocks_and_texts_stay_what_they_are() {
        let document = json!({
            "a": "yes", "b": [], "c": {}, "d": ["{{ x }}", {"e": 1, "f": [true]}, {}], "key": "-----BEGIN\n\nx: y # z\n",
            "n": null, "odd": " x\n", "t": "a\tb\n",
        });
        let wanted = "\
a: \"yes\"
b: []
c: {}
d:
  - \"{{ x }}\"
  - e: 1
    f:
      - true
  - {}
key: |
  -----BEGIN

  x: y # z
n: null
odd: \" x\\n\"
t: \"a\\tb\\n\"
";
        assert_eq!(write(&document), wanted);
    }
}
