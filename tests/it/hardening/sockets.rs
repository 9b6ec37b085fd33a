//! Frames that RFC 6455 forbids, and more of them than a client needs.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::server::{Server, small};
use crate::harness::socket::{
    CLOSE, CONTINUATION, CONTINUATION_LAST, Frames, HANDSHAKE, PING, PONG, Socket, TEXT,
    TEXT_FIRST, masked,
};
use crate::harness::wire::{eventually, request};

fn open(server: &Server) -> Frames {
    let mut socket = Frames::open(server, "/ws?event=nothing.at.all");
    assert!(socket.text().contains("synced"));
    socket
}

/// Each of these, frames as a first byte and a payload, is closed with `code`, and the connection
/// ends.
#[track_caller]
fn assert_closed_with(server: &Server, code: u16, cases: &[&[(u8, &[u8])]]) {
    let sockets: Vec<_> = cases
        .iter()
        .map(|frames| {
            let mut socket = open(server);
            for (first, payload) in *frames {
                socket.send(*first, payload);
            }
            let (closed, reason) = socket.close_frame();
            assert_eq!(closed, code, "{frames:x?}");
            assert!(!reason.is_empty(), "the reason says what was wrong");
            socket
        })
        .collect();
    // All at once: a server waits a second for the client to hang up first.
    for mut socket in sockets {
        assert_eq!(socket.frame(), None, "the connection ends");
    }
}

/// A message in any number of pieces, with control frames between them, is one message.
#[test]
fn fragments_form_one_message_despite_control_frames_between_them() {
    let server = Server::start();
    let mut socket = open(&server);
    let message = "{\"insert\":{\"event\":\"a\",\"data\":\"é🦀\"},\"ref\":1}";
    let (first, rest) = message.as_bytes().split_first().expect("a message");
    socket.send(TEXT_FIRST, &[*first]);
    for byte in rest {
        // In the middle of characters too.
        socket.send(CONTINUATION, &[*byte]);
        socket.send(CONTINUATION, b"");
    }
    socket.send(PING, b"between");
    socket.send(CONTINUATION_LAST, b"");
    let mut pongs = Vec::new();
    let receipt = loop {
        match socket.frame().expect("an answer") {
            (PONG, payload) => pongs.push(payload),
            (TEXT, text) => break String::from_utf8(text).expect("UTF-8"),
            other => panic!("{other:?}"),
        }
    };
    assert!(receipt.starts_with("{\"receipt\":"), "{receipt}");
    assert_eq!(pongs, [b"between"]);
    let record = server.client().get("/audit/a/1").json();
    assert_eq!(record["data"], "é🦀");
}

/// Frames that come byte by byte are as good as whole ones.
#[test]
fn frame_may_arrive_byte_by_byte() {
    let server = Server::start();
    let mut socket = open(&server);
    for byte in masked(TEXT, b"ping").into_iter().chain(masked(PING, b"x")) {
        socket.connection.send([byte]);
    }
    assert_eq!(socket.frame(), Some((TEXT, b"pong".to_vec())));
    assert_eq!(socket.frame(), Some((PONG, b"x".to_vec())));
}

/// Text that is no UTF-8 would be repaired differently by whoever reads it next.
#[test]
fn non_utf8_text_closes_with_1007() {
    let server = Server::start();
    assert_closed_with(
        &server,
        1007,
        &[
            &[(TEXT, b"\xff")],
            &[(TEXT, b"a\xc3")],
            &[(TEXT, b"\xed\xa0\x80")],
            &[(TEXT, b"\xc0\xaf")],
            &[(TEXT, b"\xf4\x90\x80\x80")],
            &[(TEXT_FIRST, b"\xc3"), (CONTINUATION_LAST, b"\xc3")],
        ],
    );
}

#[test]
fn binary_message_closes_with_1003() {
    let server = Server::start();
    assert_closed_with(&server, 1003, &[&[(0x82, b"{}")], &[(0x02, b"{")]]);
}

/// What RFC 6455 forbids: extensions that were not agreed on, opcodes that do not exist, control
/// frames in pieces or too long, pieces without a beginning, close frames that say nothing sound.
#[test]
fn invalid_frames_close_with_1002() {
    let server = Server::start();
    let long = [b'x'; 126];
    let cases: [&[(u8, &[u8])]; 17] = [
        &[(0xc1, b"ping")],
        &[(0xa1, b"ping")],
        &[(0x91, b"ping")],
        &[(0x83, b"x")],
        &[(0x87, b"")],
        &[(0x8b, b"")],
        &[(0x8f, b"")],
        &[(0x09, b"x")],
        &[(0x08, b"")],
        &[(PING, &long)],
        &[(CLOSE, &long)],
        &[(CONTINUATION_LAST, b"x")],
        &[(CONTINUATION, b"x")],
        &[(TEXT_FIRST, b"a"), (TEXT, b"b")],
        &[(TEXT_FIRST, b"a"), (TEXT_FIRST, b"b")],
        &[(CLOSE, b"\x03")],
        &[(CLOSE, b"\x03\xed")],
    ];
    assert_closed_with(&server, 1002, &cases);
    // An unmasked frame is how a page could speak to a cache on the way.
    let mut socket = open(&server);
    socket.connection.send(b"\x81\x04ping");
    assert_eq!(socket.close_frame().0, 1002);
}

/// A frame that announces gigabytes must not be waited for, and nothing be kept for it.
#[test]
fn too_long_frame_closes_with_1009_at_its_header() {
    let server = Server::with(small().max_body_bytes(4 << 10));
    for length in [4097_u64, 1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX] {
        let mut socket = open(&server);
        socket.connection.send([&[TEXT, 0xff][..], &length.to_be_bytes()].concat());
        assert_eq!(socket.close_frame().0, 1009, "{length}");
    }
    let mut socket = open(&server);
    socket.send(TEXT, &[b' '; 4096]);
    assert!(socket.text().contains("malformed-json"), "just so long is heard");
}

/// Many small pieces must not become one large message.
#[test]
fn fragmented_message_that_grows_too_long_closes_with_1009() {
    let server = Server::with(small().max_body_bytes(4 << 10));
    let mut socket = open(&server);
    socket.send(TEXT_FIRST, &[b' '; 4000]);
    socket.send(CONTINUATION, &[b' '; 96]);
    socket.send(PING, b"still here");
    assert_eq!(socket.frame(), Some((PONG, b"still here".to_vec())));
    socket.send(CONTINUATION, b" ");
    assert_eq!(socket.close_frame().0, 1009);
}

/// A flood of pings, each of which wants an answer as long as itself.
#[test]
fn ping_flood_gets_few_pongs_and_others_are_served() {
    let server = Server::start();
    let mut socket = open(&server);
    let flood: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| masked(PING, &[&n.to_be_bytes()[..], &[b'x'; 100]].concat()))
        .collect();
    let mut other = Socket::open(&server, "/ws?event=other");
    other.until_synced();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=20 {
                server.client().put("other", &n.to_string());
                assert_eq!(other.json()["record"]["version"], n);
            }
        });
        assert!(socket.connection.send(&flood));
    });
    let mut pongs = 0;
    loop {
        let (first, payload) = socket.frame().expect("the last ping is answered");
        assert_eq!(first, PONG);
        pongs += 1;
        let (number, _) = payload.split_first_chunk::<4>().expect("what was sent");
        if u32::from_be_bytes(*number) == 19_999 {
            break;
        }
    }
    assert!(pongs < 20_000 / 10, "{pongs} answers to 20,000 pings that came together");
}

/// A client that asks and asks and takes no answer must not fill the server's memory with answers:
/// it is not listened to until it takes them.
#[test]
fn client_that_reads_no_answers_is_not_read_from() {
    let server = Server::with(small().stall_timeout(Duration::from_secs(2)));
    let socket = TcpStream::connect(server.address).expect("the server accepts");
    let mut writer = &socket;
    writer.write_all(&request("GET", "/ws?event=no", &HANDSHAKE, b"")).expect("it is taken");
    socket.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    // Each is answered with some 300 bytes.
    let messages = masked(TEXT, b"{}").repeat(1_000);
    let began = Instant::now();
    let mut sent = 0;
    while writer.write_all(&messages).is_ok() {
        sent += messages.len();
        assert!(sent < 64 << 20, "it is listened to for ever");
    }
    server.client().get("/livez").expect(200);
    // It is then disconnected like any client that takes nothing.
    eventually("the place is free", || {
        (server.client().get("/health").json()["streams"] == 0).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(30));
}

/// A message that is begun and never ended holds its memory for ever, on as many sockets as there
/// are (slowloris); pings between its pieces are no progress.
#[test]
fn unfinished_message_closes_with_1008() {
    let server = Server::with(small().body_timeout(Duration::from_millis(400)));
    let half = &masked(TEXT, b"{\"topics\":[\"a\"]}")[..9];
    let mut in_a_frame = open(&server);
    in_a_frame.connection.send(half);
    assert_eq!(in_a_frame.close_frame(), (1008, "a message came too slowly".to_owned()));
    let mut in_pieces = open(&server);
    in_pieces.send(TEXT_FIRST, b"{");
    let began = Instant::now();
    while in_pieces.send(PING, b"") && in_pieces.send(CONTINUATION, b" ") {
        match in_pieces.frame() {
            Some((PONG, _)) => {}
            Some((CLOSE, payload)) => {
                assert_eq!(payload[..2], 1008_u16.to_be_bytes());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

/// Message after message, of which a piece is always on its way, is no slow message.
#[test]
fn message_timeout_applies_to_each_message_alone() {
    let server = Server::with(small().body_timeout(Duration::from_millis(400)));
    let mut socket = open(&server);
    let message = masked(TEXT, b"ping");
    let mut rest = &message[..];
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        // The end of one and the beginning of the next together.
        socket.connection.send([rest, &message[..3]].concat());
        rest = &message[3..];
        assert_eq!(socket.text(), "pong");
    }
}

/// Clients that leave in the middle of a frame, a message or a handshake.
#[test]
fn clients_that_leave_mid_frame_free_their_slots() {
    let server = Server::start();
    let whole = masked(TEXT, b"{\"insert\":{\"event\":\"a\",\"data\":1}}");
    for end in 0..whole.len() {
        let mut socket = open(&server);
        socket.connection.send(&whole[..end]);
    }
    let mut socket = open(&server);
    socket.send(TEXT_FIRST, b"{\"insert\":");
    drop(socket);
    eventually("the places are free", || {
        (server.client().get("/health").json()["streams"] == 0).then_some(())
    });
    server.client().get("/audit/a").problem(404, "unknown-event");
}
