//! Properties: every input is judged like `serde_json` with a naive search for duplicates.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::record::json::string::unescape;
use crate::record::json::tests::*;

/// A value with all members in order, including duplicates.
#[derive(Clone, Debug)]
enum Tree {
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
    Scalar(String),
    Text(String),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;
        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Tree;
            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("any JSON")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar("null".to_owned()))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Tree::Array(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(TreeVisitor)
    }
}

impl Tree {
    fn has_duplicates(&self) -> bool {
        match self {
            Tree::Array(elements) => elements.iter().any(Tree::has_duplicates),
            Tree::Object(members) => members.iter().enumerate().any(|(at, (key, value))| {
                value.has_duplicates() || members[..at].iter().any(|(before, _)| before == key)
            }),
            Tree::Scalar(_) | Tree::Text(_) => false,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Tree::Array(elements) => 1 + elements.iter().map(Tree::depth).max().unwrap_or(0),
            Tree::Object(members) => {
                1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
            }
            Tree::Scalar(_) | Tree::Text(_) => 0,
        }
    }

    /// Writes the tree with the whitespace and escapes that `style` chooses.
    fn write(&self, style: &mut impl FnMut() -> u8, out: &mut String) {
        space(style(), out);
        match self {
            Tree::Scalar(text) => out.push_str(text),
            Tree::Text(text) => write_string(text, style, out),
            Tree::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    element.write(style, out);
                }
                space(style(), out);
                out.push(']');
            }
            Tree::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    space(style(), out);
                    write_string(key, style, out);
                    space(style(), out);
                    out.push(':');
                    value.write(style, out);
                }
                space(style(), out);
                out.push('}');
            }
        }
        space(style(), out);
    }
}

fn space(style: u8, out: &mut String) {
    out.push_str(["", "", "", " ", "\n", "\r\n\t", "     ", ""][usize::from(style % 8)]);
}

fn write_string(text: &str, style: &mut impl FnMut() -> u8, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must_escape = character < ' ' || matches!(character, '"' | '\\');
        if must_escape || style().is_multiple_of(4) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").unwrap();
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

fn tree() -> impl Strategy<Value = Tree> {
    // Few letters, so that keys repeat.
    let text = "[ab\u{e9}\u{1f600}\"\\\\\n ]{0,3}";
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ];
    let leaf = prop_oneof![scalar.prop_map(Tree::Scalar), text.prop_map(Tree::Text)];
    leaf.prop_recursive(6, 64, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Array),
            prop::collection::vec(("[abc]", inner.clone()), 0..3).prop_map(Tree::Object),
            prop::collection::vec((text, inner.clone()), 0..4).prop_map(Tree::Object),
            prop::collection::vec(("[a-f]{1,3}", inner), 15..20).prop_map(Tree::Object),
        ]
    })
}

/// JSON, some of it with a few changed bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        prop::sample::select(b" \"\\,:[]{}01-.eu\n\0\xFFa".to_vec()),
        0..3,
    );
    let changes = prop::collection::vec(change, 0..3);
    (tree(), any::<u64>(), changes).prop_map(|(tree, mut seed, changes)| {
        let mut style = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        let mut text = String::new();
        tree.write(&mut style, &mut text);
        let mut bytes = text.into_bytes();
        for (index, byte, what) in changes {
            let at = index.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        bytes
    })
}

/// Whether there is whitespace outside of strings, found the naive way.
fn has_whitespace_between_tokens(text: &str) -> bool {
    let (mut is_in_string, mut is_escaped) = (false, false);
    text.chars().any(|character| {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_in_string => is_escaped = true,
            '"' => is_in_string = !is_in_string,
            _ => {}
        }
        !is_in_string && character.is_whitespace()
    })
}

/// Checks the properties that hold for any input, with `serde_json` as the model.
fn check(input: &[u8]) {
    const DEPTH_MAX: usize = 3;
    // `IgnoredAny` checks the grammar of numbers, and of strings not even that.
    let grammar = serde_json::from_slice::<IgnoredAny>(input);
    let tree = serde_json::from_slice::<Tree>(input);
    let output = compact(input, JsonLimits { depth_max: DEPTH_MAX });
    if grammar.is_err() {
        assert!(output.is_err(), "serde_json refuses: {}", input.escape_ascii());
    }
    match (&output, tree) {
        (Ok(_), Err(error)) => {
            // Its recursion limit is higher than ours, so only huge numbers may differ.
            assert!(error.to_string().contains("number out of range"), "{error}");
        }
        (_, Ok(tree)) => {
            let is_acceptable = !tree.has_duplicates() && tree.depth() <= DEPTH_MAX;
            assert_eq!(output.is_ok(), is_acceptable, "{}", input.escape_ascii());
        }
        (Err(_), Err(_)) => {}
    }
    match output {
        Ok(output) => {
            let text = std::str::from_utf8(&output).unwrap();
            assert!(!has_whitespace_between_tokens(text), "{text}");
            assert_eq!(compact(&output, LIMITS).as_deref(), Ok(&output[..]));
            if let Ok(value) = serde_json::from_slice::<Value>(input) {
                assert_eq!(serde_json::from_slice::<Value>(&output).unwrap(), value);
            }
            let mut rest = input.iter();
            assert!(output.iter().all(|byte| rest.any(|of_input| of_input == byte)));
        }
        Err(error) => {
            assert!(error.offset <= input.len());
            let line = input.split(|byte| *byte == b'\n').nth(error.line - 1).unwrap();
            assert!(error.column <= line.len() + 1);
            assert!(!error.to_string().contains('\n'));
        }
    }
}

/// The contents of a string with every kind of escape, including lone surrogates.
const ESCAPED: &str =
    "([a-z\u{e9}]|\\\\[\"\\\\/bfnrt]|\\\\u([dD][89a-fA-F][0-9a-f]{2}|[0-9a-fA-F]{4})){0,8}";

proptest! {
    #[test]
    fn valid_and_damaged_json_is_judged_like_the_model(input in text()) {
        check(&input);
    }

    #[test]
    fn any_bytes_are_judged_like_the_model(input in prop::collection::vec(any::<u8>(), 0..64)) {
        check(&input);
    }

    #[test]
    fn any_token_sequence_is_judged_like_the_model(
        tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..24),
    ) {
        check(tokens.concat().as_bytes());
    }

    #[test]
    fn any_string_is_kept_verbatim(content in any::<String>()) {
        let written = serde_json::to_string(&content).unwrap();
        prop_assert_eq!(compacted(format!(" {written}\r\n")), Ok(written));
    }

    #[test]
    fn keys_unescape_like_the_model(raw in ESCAPED) {
        if let Ok(meaning) = serde_json::from_str::<String>(&format!("\"{raw}\"")) {
            prop_assert_eq!(unescape(&raw), meaning);
        } else {
            let kind = refusal(format!("{{\"{raw}\":0}}"));
            prop_assert!(matches!(kind, JsonErrorKind::LoneSurrogate(_)), "{:?}", kind);
        }
    }
}

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"a\":",
    "\"\\u0061\":",
    "\"b\":",
    "\"",
    "1",
    "-",
    "0",
    ".5",
    "e1",
    "true",
    "null",
    " ",
    "\n",
    "\\ud800",
    "\"\\ud83d\\ude00\"",
    "\u{e9}",
    "[[",
    "]]",
];
