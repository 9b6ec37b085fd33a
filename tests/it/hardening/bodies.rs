//! JSON that two readers would understand differently, or that costs more than it weighs.

use crate::harness::server::{Server, small};

fn with_data(data: &str) -> String {
    format!("{{\"event\":\"a\",\"data\":{data}}}")
}

/// Of two equal keys one reader takes the first and one the last, so that what was checked is not
/// what is shown; an escape hides that they are equal.
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
    // Keys that only look alike are two.
    server.client().put("a", "{\"x\":1,\"X\":2,\"x \":3,\"e\\u0301\":4,\"é\":5}");
}

/// One half of a surrogate pair is no character: some readers drop it, some fail.
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

/// A hundred thousand brackets overflow the stack of a reader that recurses.
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

/// Numbers beyond every type overflow where somebody converts them; here nobody does.
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

/// Bytes that are not UTF-8 are repaired differently by every reader; overlong forms hide a slash.
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
    // UTF-16 and UTF-32 are not UTF-8 either.
    let wide: Vec<u8> = with_data("1").encode_utf16().flat_map(u16::to_le_bytes).collect();
    server.client().insert(wide).problem(400, "malformed-json");
}

/// A raw control character inside of a string, or NUL bytes between tokens.
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

/// A message that repeats what was sent must not repeat a megabyte of it, nor markup unescaped.
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

/// Arrays of a hundred thousand tiny events in one body.
#[test]
fn huge_batch_is_refused_by_its_length() {
    let server = Server::start();
    let tiny = format!("[{}1]", "1,".repeat(400_000));
    server.client().insert(tiny).problem(422, "batch-too-long");
}

/// A compressed body is small on the wire and gigabytes behind it.
#[test]
fn compressed_bodies_are_not_decompressed() {
    let server = Server::start();
    let headers = ["Content-Type: application/json", "Content-Encoding: gzip"];
    // A gzip of some JSON.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*K-*\xce\xcc\xcfS\xb2R\x02\x00";
    let answer = server.client().send("POST", "/insert", &headers, gzip);
    assert!(matches!(answer.status, 400 | 415), "{answer:?}");
    // And no length of an answer tells what is in it.
    server.client().put("a", "1");
    let accept = ["Accept-Encoding: gzip, br, zstd, deflate"];
    let answer = server.client().get_with("/latest", &accept).expect(200);
    assert_eq!(answer.header("content-encoding"), None);
}

/// Values that the page or another reader might take for its own: they are only data.
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
