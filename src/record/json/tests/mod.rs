use serde_json::Value;

mod model;

use crate::record::json::string::plain_len;
use crate::record::json::*;

const LIMITS: JsonLimits = JsonLimits { depth_max: 64 };

fn compacted(input: impl AsRef<[u8]>) -> Result<String, JsonError> {
    compact(input.as_ref(), LIMITS).map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
}

fn refusal(input: impl AsRef<[u8]>) -> JsonErrorKind {
    compacted(input).unwrap_err().kind
}

/// Accepted inputs with their outputs.
const ACCEPTED: &[(&str, &str)] = &[
    ("null", "null"),
    (" \t\r\n true \r\n", "true"),
    ("false", "false"),
    ("0", "0"),
    ("-0", "-0"),
    ("-0.0e-0", "-0.0e-0"),
    ("1e999999999", "1e999999999"),
    ("1E+2", "1E+2"),
    ("0.1000000000000000055", "0.1000000000000000055"),
    ("12345678901234567890123", "12345678901234567890123"),
    ("[ ]", "[]"),
    ("{ }", "{}"),
    ("[[],{},[ [ ] ]]", "[[],{},[[]]]"),
    ("[1 , 2\n,\t3 ]", "[1,2,3]"),
    ("{ \"b\" : 1 , \"a\" : { \"b\" : 2 } }", "{\"b\":1,\"a\":{\"b\":2}}"),
    ("[{\"a\":1},{\"a\":2}]", "[{\"a\":1},{\"a\":2}]"),
    ("{\"a\":{\"a\":{\"a\":1}},\"b\":1}", "{\"a\":{\"a\":{\"a\":1}},\"b\":1}"),
    ("{\"\":0,\" \":1}", "{\"\":0,\" \":1}"),
    ("{\"a\":1,\"A\":2}", "{\"a\":1,\"A\":2}"),
    ("{\"\u{e9}\":1,\"e\u{301}\":2}", "{\"\u{e9}\":1,\"e\u{301}\":2}"),
    ("\"  two  spaces \"", "\"  two  spaces \""),
    (r#""\"\\\/\b\f\n\r\t""#, r#""\"\\\/\b\f\n\r\t""#),
    (r#""\u0000\u00e9\u00E9\uFFFF""#, r#""\u0000\u00e9\u00E9\uFFFF""#),
    (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
    (r#""\uDBFF\uDFFF\uD800\uDC00""#, r#""\uDBFF\uDFFF\uD800\uDC00""#),
    (r#""\\ud800""#, r#""\\ud800""#),
    (
        "\"\u{7f}\u{2028}\u{feff}\u{ffff}\u{10ffff}\"",
        "\"\u{7f}\u{2028}\u{feff}\u{ffff}\u{10ffff}\"",
    ),
];

#[test]
fn valid_json_is_accepted_verbatim() {
    for (input, output) in ACCEPTED {
        assert_eq!(compacted(input).as_deref(), Ok(*output), "{input:?}");
    }
}

/// Inputs that break the grammar.
const REFUSED: &[&str] = &[
    "", " ", "\n", ",", ":", "]", "}", "[", "{", "[1", "[1,", "[,1]", "[1,,2]", "[1,]", "[1 2]",
    "[1:2]", "[1;2]", "[1}", "{]", "[1]]", "[][]", "[] x", "1 2", "{\"a\"}", "{\"a\":}", "{,}",
    "{a:1}", "{1:1}", "{null:1}", "{[]:1}", "{'a':1}", "'a'", "True", "nul", "nulll", "NULL",
    "true1", "NaN", "Infinity", "-NaN", "nan", "+1", "++1", "-", "--1", "- 1", "01", "-01", "00",
    "1.", ".1", "-.1", "1.e1", "1e", "1e+", "1E-", "1e1.5", "1.2.3", "0x10", "1_000", "1,000",
    "0e", "1a", "1 000", "\u{ff11}", "\"", "\"a", "\"\\\"", "\"\\", "\"\\u", "\"\\u12", "\"a\nb\"",
    "\"a\rb\"", "\"a\tb\"", r#""\a""#, r#""\'""#, r#""\0""#, "\"\\\n\"", "// a\n1", "1 // a",
    "# a", "\u{a0}1", "\u{b}1", "\u{c}1", "1\u{0}", "\u{0}", "<a>", "*", "a\u{e5}", "[a", "\u{e9}",
    "&",
];

/// Longer inputs, which rustfmt puts one on each line.
const REFUSED_LONG: &[&str] = &[
    "null null",
    "\"a\" \"b\"",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{\"a\",1}",
    "{\"a\"::1}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\":1,2}",
    "-Infinity",
    "undefined",
    "\"\u{0}\"",
    "\"\u{1f}\"",
    r#""\x41""#,
    r#""\U0041""#,
    r#""\u00g0""#,
    r#""\u12""#,
    r#""\u+123""#,
    r#""\u 123""#,
    "\"\\\u{e9}\"",
    "/* a */ 1",
    "\u{feff}1",
    "1\u{feff}",
    "\u{2028}1",
    "[\"a\",\n4,\n1,",
    "[1,\n1\n,1",
    "{\"a\":\"b\"}#",
    "{\"a\":\"b\"}/**/",
    "[\u{2060}]",
    "{\"a\":\"a",
];

#[test]
fn invalid_json_is_refused() {
    for input in REFUSED.iter().chain(REFUSED_LONG) {
        assert!(compacted(input).is_err(), "{input:?}");
        assert!(serde_json::from_str::<Value>(input).is_err(), "serde_json accepts {input:?}");
    }
}

#[test]
fn invalid_utf_8_is_refused_at_its_first_byte() {
    for bad in [
        &b"\xff"[..],
        b"\xc3",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
    ] {
        let error = compact(&[b"[\"ab", bad, b"\"]"].concat(), LIMITS).unwrap_err();
        assert_eq!((error.kind, error.offset), (JsonErrorKind::InvalidUtf8, 4), "{bad:?}");
    }
    assert_eq!(refusal(b"\xff\xfe[\0]\0"), JsonErrorKind::InvalidUtf8);
}

#[test]
fn byte_order_mark_is_refused() {
    assert_eq!(refusal("\u{feff}{}"), JsonErrorKind::ByteOrderMark);
}

#[test]
fn duplicate_key_is_refused_at_its_second_occurrence() {
    let error = compacted("{\"a\":1,\n \"b\":2, \"a\":3}").unwrap_err();
    assert_eq!(error.kind, JsonErrorKind::DuplicateKey("a".to_owned()));
    assert_eq!((error.line, error.column, error.offset), (2, 9, 16));
}

#[test]
fn differently_escaped_key_is_a_duplicate() {
    for (one, other, key) in [
        ("a", r"\u0061", "a"),
        ("/", r"\/", "/"),
        (r"\n", r"\u000A", "\n"),
        (r"\b\f\r\t", r"\u0008\u000c\u000d\u0009", "\u{8}\u{c}\r\t"),
        ("\u{1f600}", r"\ud83d\ude00", "\u{1f600}"),
        (r"x\u00e9y", "x\u{e9}y", "x\u{e9}y"),
        (r#"\"\\"#, r"\u0022\u005C", "\"\\"),
        (r"\u0041\u0042", "AB", "AB"),
        ("", "", ""),
    ] {
        let expected = JsonErrorKind::DuplicateKey(key.to_owned());
        assert_eq!(refusal(format!("{{\"{one}\":1,\"{other}\":2}}")), expected, "{one}");
        assert_eq!(refusal(format!("{{\"{other}\":1,\"{one}\":2}}")), expected, "{other}");
    }
}

#[test]
fn duplicate_is_found_in_an_object_of_any_size() {
    for len in [2, 15, 16, 17, 18, 40, 1000] {
        let keys: Vec<_> = (0..len).map(|key| format!("\"k{key}\":{{\"k0\":[]}}")).collect();
        let distinct = format!("{{{}}}", keys.join(","));
        assert_eq!(compacted(&distinct), Ok(distinct.clone()), "{len} keys");
        for again in [0, len / 2, len - 1] {
            let twice = format!("{{{},\"\\u006b{again}\":0}}", keys.join(","));
            let kind = JsonErrorKind::DuplicateKey(format!("k{again}"));
            assert_eq!(refusal(twice), kind, "{len} keys");
        }
    }
}

#[test]
fn keys_of_other_objects_are_not_duplicates() {
    for text in [
        r#"{"a":{"b":1},"b":2}"#,
        r#"{"a":[{"b":1},{"b":1}],"b":2}"#,
        r#"{"b":{"b":{"b":1},"a":1},"a":2}"#,
    ] {
        assert_eq!(compacted(text).as_deref(), Ok(text));
    }
    let inner: Vec<_> = (0..20).map(|key| format!("\"k{key}\":0")).collect();
    let inner = format!("{{{}}}", inner.join(","));
    let outer: Vec<_> = (0..20).map(|key| format!("\"k{key}\":{inner}")).collect();
    let outer = format!("[{{{}}},{inner}]", outer.join(","));
    assert_eq!(compacted(&outer), Ok(outer.clone()));
}

#[test]
fn lone_surrogate_is_refused_in_keys_and_strings() {
    for (escapes, unit) in [
        (r"\ud800", 0xD800),
        (r"\uDBFFx", 0xDBFF),
        (r"\udc00", 0xDC00),
        (r"\uDFFF\uD800", 0xDFFF),
        (r"\ud800\ud800\udc00", 0xD800),
        (r"\ud83d\n", 0xD83D),
        (r"\ud83d\u0041", 0xD83D),
        (r"\ud83d\\ude00", 0xD83D),
        (r"\ud83dude00", 0xD83D),
        (r"\ud83dxxde00", 0xD83D),
        (r"\ud83d\tde00", 0xD83D),
        (r"\ud83d\ude00\ude00", 0xDE00),
        (r"\ud83d\ude0", 0xD83D),
    ] {
        let kind = JsonErrorKind::LoneSurrogate(unit);
        assert_eq!(refusal(format!("\"{escapes}\"")), kind, "{escapes}");
        assert_eq!(refusal(format!("{{\"{escapes}\":0}}")), kind, "{escapes}");
    }
}

#[test]
fn only_text_with_whitespace_between_tokens_is_copied() {
    for (input, output) in ACCEPTED {
        let kept = compact(input.as_bytes(), LIMITS).unwrap();
        assert_eq!(&*kept, output.as_bytes());
        assert_eq!(matches!(kept, Cow::Borrowed(_)), input == output, "{input:?}");
    }
}

#[test]
fn nesting_up_to_the_limit_is_accepted() {
    for depth_max in [0, 1, 2, 64, 10_000] {
        let limits = JsonLimits { depth_max };
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth| format!("{}0{}", open.repeat(depth), close.repeat(depth));
            assert!(compact(nested(depth_max).as_bytes(), limits).is_ok());
            let error = compact(nested(depth_max + 1).as_bytes(), limits).unwrap_err();
            assert_eq!(error.kind, JsonErrorKind::TooDeep { depth_max });
            assert_eq!(error.offset, depth_max * open.len());
        }
    }
}

/// The scanner's stack is on the heap, so deep nesting must not overflow the thread's stack.
#[test]
fn a_million_brackets_do_not_overflow_the_stack() {
    let limits = JsonLimits { depth_max: usize::MAX };
    let open = "[".repeat(1_000_000);
    assert!(compact(open.as_bytes(), limits).is_err());
    let nested = open + &"]".repeat(1_000_000);
    assert_eq!(compact(nested.as_bytes(), limits).unwrap(), nested.as_bytes());
}

#[test]
fn special_bytes_are_found_at_every_position_of_a_word() {
    for len in 0..20 {
        for (special, is_found) in
            [(b'"', true), (b'\\', true), (0, true), (0x1F, true), (0x20, false), (0x7F, false)]
        {
            for filler in [b'a', b' ', b'!', b'#', b']', b'[', 0x7F, 0x80, 0x9F, 0xDC, 0xFF] {
                let mut bytes = vec![filler; len];
                bytes.push(special);
                bytes.extend([filler; 9]);
                let expected = if is_found { len } else { bytes.len() };
                assert_eq!(plain_len(&bytes), expected, "{special:#x} after {len} {filler:#x}");
            }
        }
    }
}

#[test]
fn lines_and_columns_are_counted_as_editors_count_them() {
    for (input, line, column, offset) in [
        ("x", 1, 1, 0),
        ("[1,\n  x]", 2, 3, 6),
        ("[1,\r\n\r\n\tx]", 3, 2, 8),
        ("[\"\u{e9}\u{1f600}\", x]", 1, 8, 11),
        ("\n\n", 1, 1, 0),
        ("[\n", 2, 1, 2),
        ("\n \"abc", 2, 2, 2),
        ("[1,\n]", 1, 3, 2),
    ] {
        let error = compacted(input).unwrap_err();
        let position = (error.line, error.column, error.offset);
        assert_eq!(position, (line, column, offset), "{input:?}: {error}");
    }
}

#[test]
fn messages_say_what_is_wrong_and_what_to_change() {
    for (input, message) in [
        (
            "{\"a\":1,\"a\":2}",
            "line 1, column 8: the key \"a\" is in this object twice; keep one of them",
        ),
        ("{\"a\" 1}", "line 1, column 6: expected `:` after the key, found `1`"),
        ("[1 2]", "line 1, column 4: expected `,` or `]`, found `2`; a comma may be missing"),
        ("{\"a\":1", "line 1, column 7: expected `,` or `}`, found the end; the text is cut short"),
        (
            "{'a':1}",
            "line 1, column 2: expected a key in double quotes or `}`, found `'`; put strings \
          and keys in double quotes",
        ),
        (
            "{} {}",
            "line 1, column 4: expected nothing after the value, found `{`; send one value, \
          or an array of them",
        ),
        (
            "None",
            "line 1, column 1: `None` is not JSON; use true, false, null, or a string in \
          double quotes",
        ),
        ("[1,]", "line 1, column 3: nothing follows this comma; remove it"),
        (
            "\"a\tb\"",
            "line 1, column 3: a string contains the control character U+0009; write it as \
          \\u0009",
        ),
        (
            "\"\\q\"",
            "line 1, column 2: a backslash before `q` escapes nothing; write \\\\ for a \
          backslash itself",
        ),
        (
            "\"\\ud800\"",
            "line 1, column 2: \\ud800 is one half of a surrogate pair; send both \
          halves, or the character itself",
        ),
        (
            "1\u{202e}",
            "line 1, column 2: expected nothing after the value, found U+202E; send \
          one value, or an array of them",
        ),
    ] {
        assert_eq!(compacted(input).unwrap_err().to_string(), message, "{input:?}");
    }
}

#[test]
fn messages_stay_short_whatever_was_sent() {
    let long = "k\n".repeat(100_000).replace('\n', "\\n");
    for input in [format!("{{\"{long}\":1,\"{long}\":2}}"), "x".repeat(100_000)] {
        let message = compacted(input).unwrap_err().to_string();
        assert!(message.len() < 300 && !message.contains('\n'), "{message}");
    }
}
