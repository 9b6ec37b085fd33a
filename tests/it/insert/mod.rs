//! `POST /insert`.

mod batches;
mod connections;
mod ids;
mod refusals;
mod versions;

use serde_json::Value;

use crate::harness::server::Server;

/// Data as sent and as stored: everything is kept except insignificant whitespace.
const VERBATIM: &[(&str, &str)] = &[
    ("null", "null"),
    ("true", "true"),
    ("-0", "-0"),
    ("-0.0", "-0.0"),
    ("1e5", "1e5"),
    ("1E+400", "1E+400"),
    ("0.1000000000000000055", "0.1000000000000000055"),
    ("12345678901234567890123", "12345678901234567890123"),
    ("1.0000", "1.0000"),
    ("\"\"", "\"\""),
    ("\"\\u0041\\/\\ud83d\\ude00\"", "\"\\u0041\\/\\ud83d\\ude00\""),
    ("\"\\u000d\\n\"", "\"\\u000d\\n\""),
    ("\"a  b\\t\"", "\"a  b\\t\""),
    ("\"Grüße 你好 😀\u{2028}\"", "\"Grüße 你好 😀\u{2028}\""),
    ("{ \"b\" : 1 ,\r\n\t\"a\" : [ 1 , { } , [ ] ] }", "{\"b\":1,\"a\":[1,{},[]]}"),
    ("{\"z\":1,\"a\":2,\"\":3}", "{\"z\":1,\"a\":2,\"\":3}"),
];

#[test]
fn insert_is_201_with_location_and_a_receipt_without_data() {
    let server = Server::start();
    let body = "{\"event\":\"profile.42\",\"data\":{\"name\":\"Ann\"}}";
    let answer = server.client().insert(body).expect(201);
    assert_eq!(answer.header("location"), Some("/audit/profile.42/1"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let receipt = answer.json();
    let members: Vec<_> = receipt.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["event", "id", "seq", "timestamp", "version"]);
    assert_eq!((&receipt["event"], &receipt["version"]), (&"profile.42".into(), &1.into()));
    // Seq 1 is the system's record of the open.
    assert_eq!(receipt["seq"], 2);
    let id: uuid::Uuid = receipt["id"].as_str().expect("text").parse().expect("a UUID");
    assert_eq!(id.get_version_num(), 7);
    let time = receipt["timestamp"].as_str().expect("text");
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z'), "{time}");

    let record = server.client().get("/audit/profile.42/1").expect(200);
    let as_acknowledged = format!(
        "{},\"data\":{{\"name\":\"Ann\"}},\"hash\":\"",
        answer.text().strip_suffix('}').expect("an object")
    );
    assert!(record.text().starts_with(&as_acknowledged), "{}", record.text());
}

#[test]
fn data_is_kept_byte_for_byte_except_insignificant_whitespace() {
    let server = Server::start();
    let client = server.client();
    let mut live = server.events("");
    live.until_synced();
    for (sent, kept) in VERBATIM {
        client.put("verbatim", sent);
        let data = live.block().data;
        let data = data.split_once(",\"data\":").expect("a record has data").1;
        assert_eq!(data, format!("{kept}}}"), "the live record of {sent}");
    }
    let server = server.restart();
    let client = server.client();
    for (index, (sent, kept)) in VERBATIM.iter().enumerate() {
        let version = index + 1;
        let record = client.get(&format!("/audit/verbatim/{version}")).expect(200);
        let expected = format!(",\"data\":{kept},\"hash\":");
        assert!(record.text().contains(&expected), "{sent}: {}", record.text());
    }
    let latest = client.get("/latest").expect(200);
    let (_, kept) = VERBATIM.last().expect("some");
    assert!(latest.text().ends_with(&format!(",\"data\":{kept}}}]}}")), "{}", latest.text());
}

#[test]
fn members_may_be_in_any_order_with_any_whitespace() {
    let server = Server::start();
    let id = "0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d";
    let body = format!(
        "\r\n {{ \"expected_version\" : 0 ,\n\"id\":\"{id}\", \"data\" : 1 ,\t\"event\":\"a\" }} \n"
    );
    let receipt = server.client().insert(&body).expect(201).json();
    assert_eq!((&receipt["id"], &receipt["version"]), (&id.into(), &1.into()));
    // An escaped name equals the unescaped one.
    let receipt = server.client().insert("{\"event\":\"\\u0061\",\"data\":2}").expect(201).json();
    assert_eq!((&receipt["event"], &receipt["version"]), (&"a".into(), &2.into()));
}

#[test]
fn media_type_may_have_parameters_and_any_case() {
    let server = Server::start();
    for media in ["application/json; charset=utf-8", "Application/JSON"] {
        let header = format!("Content-Type: {media}");
        let body = b"{\"event\":\"a\",\"data\":1}";
        server.client().send("POST", "/insert", &[&header], body).expect(201);
    }
}

#[test]
fn private_record_has_its_own_versions_and_names_its_user() {
    let server = Server::start();
    let client = server.client();
    client.put("note", "1");
    client.put("note", "2");
    let body = "{\"event\":\"note\",\"data\":3,\"to\":\"ann@example.com\",\"expected_version\":0}";
    let answer = client.insert(body).expect(201);
    let receipt = answer.json();
    assert_eq!((&receipt["version"], &receipt["to"]), (&1.into(), &"ann@example.com".into()));
    assert_eq!(answer.header("location"), Some("/audit/note/1?to=ann%40example.com"));
    assert_eq!(client.put("note", "4")["version"], 3);
}

#[test]
fn location_is_percent_encoded_and_leads_to_the_record() {
    let server = Server::start();
    for name in ["Grüße.你好", "a+b&c=d;e,f@g!$'()", "~-_.:[]{}|^`<\"", "x.é"] {
        let body = format!("{{\"event\":{},\"data\":1}}", Value::from(name));
        let answer = server.client().insert(&body);
        if answer.status == 422 {
            // Some of these names are invalid.
            continue;
        }
        let answer = answer.expect(201);
        let location = answer.header("location").expect("a location").to_owned();
        assert!(location.is_ascii(), "{location}");
        let record = server.client().get(&location).expect(200).json();
        assert_eq!(record["event"], name);
    }
}

#[test]
fn timestamps_never_go_backwards_and_seqs_rise_by_one() {
    let server = Server::start();
    let receipts: Vec<_> = (0..20).map(|n| server.client().put("t", &n.to_string())).collect();
    for pair in receipts.windows(2) {
        assert!(pair[0]["timestamp"].as_str() <= pair[1]["timestamp"].as_str());
        assert_eq!(pair[0]["seq"].as_u64().map(|seq| seq + 1), pair[1]["seq"].as_u64());
    }
}
