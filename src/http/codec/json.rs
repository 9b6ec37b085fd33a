//! Reads JSON bodies and messages: the check of the whole text, then objects and their members.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::Config;
use crate::http::problem::Problem;
use crate::record::json;
use crate::record::json::JsonLimits;

/// Maximum length of a parser's error message, which may quote what was sent.
const MESSAGE_CHARS_MAX: usize = 200;

/// Checks and compacts a body; the depth limit applies to the data, which lie `levels` deep in it.
pub fn compact<'a>(
    body: &'a [u8],
    levels: usize,
    config: &Config,
) -> Result<Cow<'a, [u8]>, Problem> {
    let depth_max = config.max_depth + levels;
    Ok(json::compact(body, JsonLimits { depth_max })?)
}

/// Parses an object from compact JSON. serde alone would also accept an array of the values.
pub fn object<'a, T: Deserialize<'a>>(json: &'a [u8], expected: &str) -> Result<T, String> {
    if json.first() != Some(&b'{') {
        return Err(format!("send {expected}"));
    }
    serde_json::from_slice(json).map_err(|error| short_message(&error))
}

/// Deserialises an optional member that must not be null. A client that does not know a user would
/// otherwise publish to everybody with `"to": null`.
pub fn present<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Parses a member that is a string; without escapes it is not copied.
pub fn text<'a>(name: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, String> {
    let quoted = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match quoted.filter(|text| !text.contains('\\')) {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => member(name, raw).map(Cow::Owned),
    }
}

/// Parses a member; an error names it.
pub fn member<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("{name}: {}", short_message(&error)))
}

/// Returns a parser's message without its position, which refers to the compacted text, and cut to
/// a maximum length.
pub fn short_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
