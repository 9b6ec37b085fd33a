//! JSON that two parsers understand differently, or that costs more than its size suggests.

use crate::harness::server::{Server, small};

fn with_data(data: &str) -> String {
    format!("{{\"event\":\"a\",\"data\":{data}}}")
}

/// Duplicate keys: one parser takes the first value and another the last, so the value that was
/// checked is not the one that is shown. An escape hides that two keys are equal.
#[test]
fn duplicate_keys_are_refused_even_when_escaped() {
    let server = Server::start();
    for body in [
        "{\"event\":\"a\",\"data\":1,\"data\":2}".to_owned(),
        "{\"event\":\"a\",\"event\":\"b\",\"data\":1}".to_owned(),
        "{\"event\":\"a\",\"\\u0065vent\":\"b\",\"data\":1}".to_owned(),
        with_data("{\"x\":1,\"x\":1}"),
        with_data("{\"x\":1,\"\\u0078\":2}"),
        with_data("[{\"deep\":{\"é\":1,\"\\u00e9\":2}}]"),
        with_data("{\"\":1,\"\":2}"),
        with_data("{\"\\ud83d\\ude00\":1,\"😀\":2}"),
        with_data("{\"/\":1,\"\\/\":2}"),
    ] {
        let problem = server.client().insert(&body).problem(400, "malformed-json");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.contains("twice"), "{body}: {detail}");
    }
    // Keys that only look alike are different.
    server.client().put("a", "{\"x\":1,\"X\":2,\"x \":3,\"e\\u0301\":4,\"é\":5}");
}

/// Lone surrogates: half of a surrogate pair is no character, so some parsers drop it and some
/// fail.
#[test]
fn lone_surrogates_are_refused_in_values_and_keys() {
    let server = Server::start();
    for data in [
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ude00\\ud83d\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\u0041\"",
        "{\"\\ud800\":1}",
        "[\"ok\",\"\\uDFFF\"]",
    ] {
        server.client().insert(with_data(data)).problem(400, "malformed-json");
    }
    let name = "{\"event\":\"\\ud800\",\"data\":1}";
    server.client().insert(name).problem(400, "malformed-json");
    server.client().put("a", "\"\\ud83d\\ude00\"");
}

/// Deep nesting: a hundred thousand brackets overflow the stack of a recursive parser.
#[test]
fn deeply_nested_json_is_refused_at_the_limit() {
    let server = Server::start();
    let nested = |open: &str, close: &str, depth: usize| {
        with_data(&format!("{}{}", open.repeat(depth), close.repeat(depth)))
    };
    for bomb in [
        nested("[", "]", 100_000),
        nested("{\"a\":", "}", 65),
        with_data(&"[".repeat(100_000)),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
    ] {
        server.client().insert(bomb).problem(400, "malformed-json");
    }
    server.client().insert(nested("[", "]", 65)).problem(400, "malformed-json");
    server.client().insert(nested("[", "]", 64)).expect(201);
    let batch = format!("[{}]", nested("[", "]", 64));
    server.client().insert(batch).expect(201);
    server.client().insert(format!("[{}]", nested("[", "]", 65))).problem(400, "malformed-json");
}

/// Huge numbers: they overflow wherever they are converted, so the server never converts them.
#[test]
fn huge_numbers_are_kept_and_never_converted() {
    let server = Server::start();
    let digits = "9".repeat(10_000);
    for number in [digits.as_str(), "1e999999999", "-1e-999999999", "0.00000000000000000000000001"]
    {
        server.client().put("n", number);
        let latest = server.client().get("/latest?event=n").expect(200);
        assert!(latest.text().ends_with(&format!(",\"data\":{number}}}]}}")));
    }
    for bad in
        ["NaN", "Infinity", "-Infinity", "0x10", "1_000", "+1", ".5", "5.", "00", "1e", "--1"]
    {
        server.client().insert(with_data(bad)).problem(400, "malformed-json");
    }
}

/// Invalid UTF-8: every parser repairs it differently, and overlong forms hide a slash.
#[test]
fn invalid_utf8_is_refused() {
    let server = Server::start();
    let bad: [&[u8]; 7] = [
        b"\"\xff\"",
        b"\"\xc0\xaf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf5\x80\x80\x80\"",
        b"\"\xe2\x82\"",
        b"\"\x80\"",
        b"{\"\xfe\":1}",
    ];
    for data in bad {
        let mut body = b"{\"event\":\"a\",\"data\":".to_vec();
        body.extend_from_slice(data);
        body.push(b'}');
        server.client().insert(body).problem(400, "malformed-json");
    }
    // UTF-16 is not UTF-8 either.
    let wide: Vec<u8> = with_data("1").encode_utf16().flat_map(u16::to_le_bytes).collect();
    server.client().insert(wide).problem(400, "malformed-json");
}

/// Raw control characters inside strings, and NUL bytes between tokens.
#[test]
fn raw_control_characters_are_refused() {
    let server = Server::start();
    for byte in 0..0x20_u8 {
        let body = with_data(&format!("\"a{}b\"", char::from(byte)));
        server.client().insert(body).problem(400, "malformed-json");
        if !b" \t\r\n".contains(&byte) {
            let body = with_data(&format!("{}1", char::from(byte)));
            server.client().insert(body).problem(400, "malformed-json");
        }
    }
    server.client().insert(with_data("\u{a0}1")).problem(400, "malformed-json");
}

/// Reflection: an error that quotes its input must not return all of it.
#[test]
fn error_response_is_short_whatever_was_sent() {
    let server = Server::start();
    let long = "k".repeat(100_000);
    for body in [
        with_data(&format!("{{\"{long}\":1,\"{long}\":2}}")),
        format!("{{\"event\":\"{long}\",\"data\":1}}"),
        format!("{{\"event\":\"a\",\"data\":1,\"{long}\":1}}"),
        format!("{{\"event\":\"a\",\"data\":1,\"id\":\"{long}\"}}"),
        with_data(&long),
    ] {
        let answer = server.client().insert(&body);
        assert!(matches!(answer.status, 400 | 422), "{}", answer.status);
        let (begin, len) = (&body[..30], answer.body.len());
        assert!(len < 2_000, "{len} bytes to {begin}…");
    }
}

/// Batch bomb: hundreds of thousands of tiny events in one body.
#[test]
fn huge_batch_is_refused_by_its_length() {
    let server = Server::start();
    let tiny = format!("[{}1]", "1,".repeat(400_000));
    server.client().insert(tiny).problem(422, "batch-too-long");
}

/// Decompression bomb: a compressed body is small on the wire and gigabytes in memory.
#[test]
fn compressed_bodies_are_not_decompressed() {
    let server = Server::start();
    let headers = ["Content-Type: application/json", "Content-Encoding: gzip"];
    // Some JSON, compressed with gzip.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*K-*\xce\xcc\xcfS\xb2R\x02\x00";
    let answer = server.client().send("POST", "/insert", &headers, gzip);
    assert!(matches!(answer.status, 400 | 415), "{answer:?}");
    // Answers are not compressed, so their length reveals nothing of their content (BREACH).
    server.client().put("a", "1");
    let accept = ["Accept-Encoding: gzip, br, zstd, deflate"];
    let answer = server.client().get_with("/latest", &accept).expect(200);
    assert_eq!(answer.header("content-encoding"), None);
}

/// Key injection: keys that JavaScript, serde or the records themselves treat specially.
#[test]
fn keys_special_to_other_parsers_are_plain_data() {
    let server = Server::with(small());
    for data in [
        "{\"__proto__\":{\"x\":1},\"constructor\":1}",
        "{\"$serde_json::private::RawValue\":\"1\"}",
        "{\"$serde_json::private::Number\":\"1\"}",
        "{\"seq\":0,\"event\":\"b\",\"hash\":\"00\",\"salts\":[]}",
        "\",\\\"hash\\\":\\\"\"",
    ] {
        server.client().put("a", data);
        let latest = server.client().get("/latest").expect(200);
        assert!(latest.text().ends_with(&format!(",\"data\":{data}}}]}}")), "{}", latest.text());
    }
}
