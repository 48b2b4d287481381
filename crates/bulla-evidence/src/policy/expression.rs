//! Expressions of a policy, in CEL: the Common Expression Language, which admission controllers have too.
//!
//! The crate `cel` reads and evaluates them. An expression is short and not deep, which is looked after here; what it computes can still be long and large, so
//! whoever evaluates one does it where time and memory end.

use std::thread;

use cel::{Context, Program, Value as Cel, objects::Key};
use serde_json::Value;

/// The most bytes of an expression.
pub const MAX_EXPRESSION: usize = 2048;
/// The most characters of a reason, which may quote a value.
const MAX_REASON: usize = 300;
/// The bytes of stack on which a text is read and evaluated: the reader goes down by many functions for each character that is deep.
const STACK: usize = 128 << 20;
/// How deep brackets may lie in each other.
const MAX_BRACKETS: usize = 24;
/// How many operators may stand before one thing.
const MAX_PREFIXES: usize = 8;

/// An expression that has to be true of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Expression {
    /// What the rule is called.
    pub name: String,
    /// Where it stands: the file and the line.
    pub at: String,
    /// The expression.
    pub text: String,
    /// What is wrong where it is not so, in the words of the policy.
    pub message: String,
}

/// Says why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is longer than any that is read.
    #[error("it has {0} bytes, and at most {MAX_EXPRESSION} are read")]
    Long(usize),
    /// It is deeper than any that is read.
    #[error("it is deeper than what is read: {MAX_BRACKETS} brackets, and {MAX_PREFIXES} operators before one thing")]
    Deep,
    /// The reader of the language does not take it.
    #[error("it cannot be read")]
    Unread,
    /// It is none.
    #[error("column {column} of line {line}: {what}")]
    Syntax {
        /// Its line, from 1.
        line: isize,
        /// The column, from 1.
        column: isize,
        /// What is wrong.
        what: String,
    },
}

/// Looks whether a text is an expression.
///
/// # Errors
/// When it is not, or is longer or deeper than what is read.
pub fn check(text: &str) -> Result<(), ExpressionError> {
    apart(|| compile(text).map(|_| ())).unwrap_or(Err(ExpressionError::Unread))
}

/// Does something where there is room for the depth of any text that is short enough; `None` where it does not end well.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).ok()?.join().ok())
}

fn compile(text: &str) -> Result<Program, ExpressionError> {
    if text.len() > MAX_EXPRESSION {
        return Err(ExpressionError::Long(text.len()));
    }
    if is_deep(text) {
        return Err(ExpressionError::Deep);
    }
    Program::compile(text).map_err(|errors| {
        let first = errors.errors.into_iter().next();
        let (line, column, what) = first.map_or((1, 1, "it cannot be read".to_owned()), |one| {
            (one.pos.0, one.pos.1, crate::image::shown(&one.msg))
        });
        ExpressionError::Syntax { line, column, what }
    })
}

/// Says whether a text is too deep to be read safely. Brackets within quotes count too: nobody writes so many.
fn is_deep(text: &str) -> bool {
    let (mut depth, mut deepest, mut prefixes, mut most) = (0_usize, 0, 0, 0);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        prefixes = if matches!(c, '!' | '-' | '?') { prefixes + 1 } else { 0 };
        (deepest, most) = (deepest.max(depth), most.max(prefixes));
    }
    deepest > MAX_BRACKETS || most > MAX_PREFIXES
}

/// Evaluates an expression, whose variables are the fields of an object.
///
/// # Errors
/// A sentence that says why it is neither true nor false.
pub fn evaluate(text: &str, variables: &Value) -> Result<bool, String> {
    apart(|| gives(text, variables)).unwrap_or_else(|| Err(ExpressionError::Unread.to_string()))
}

fn gives(text: &str, variables: &Value) -> Result<bool, String> {
    let program = compile(text).map_err(|error| error.to_string())?;
    let mut context = Context::default();
    for (name, value) in variables.as_object().into_iter().flatten() {
        context.add_variable_from_value(name.as_str(), converted(value));
    }
    match program.execute(&context) {
        Ok(Cel::Bool(is_so)) => Ok(is_so),
        Ok(_) => Err("it is neither true nor false".to_owned()),
        Err(error) => Err(error.to_string().chars().take(MAX_REASON).collect()),
    }
}

#[expect(clippy::disallowed_types, reason = "the maps of the crate are such; nothing is written out of their order")]
type Fields = std::collections::HashMap<Key, Cel>;

/// Gives a document as CEL has it. Whole numbers are its `int`, so that `== 0` is of the same type.
fn converted(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(is) => Cel::Bool(*is),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(all) => Cel::from(all.iter().map(converted).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (Key::from(name.as_str()), converted(value)));
            Cel::from(fields.collect::<Fields>())
        }
    }
}
