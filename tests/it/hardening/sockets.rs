//! Invalid WebSocket frames, and floods of valid ones.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::server::{Server, small};
use crate::harness::socket::{
    CLOSE, CONTINUATION, CONTINUATION_LAST, Frames, HANDSHAKE, PING, PONG, Socket, TEXT,
    TEXT_FIRST, masked,
};
use crate::harness::wire::request;

fn open(server: &Server) -> Frames {
    let mut socket = Frames::open(server, "/ws?event=nothing.at.all");
    assert!(socket.text().contains("synced"));
    socket
}

/// Sends each case, a list of frames as first byte and payload, on its own socket. Asserts that the
/// server closes with `code` and ends the connection.
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
            assert!(!reason.is_empty(), "the close frame has a reason");
            socket
        })
        .collect();
    // Afterwards for all, because the server gives each client a second to close first.
    for mut socket in sockets {
        assert_eq!(socket.frame(), None, "the connection ends");
    }
}

/// Fragmentation: a message in single bytes with control frames between them is one message.
#[test]
fn fragments_form_one_message_despite_control_frames_between_them() {
    let server = Server::start();
    let mut socket = open(&server);
    let message = "{\"insert\":{\"event\":\"a\",\"data\":\"é🦀\"},\"ref\":1}";
    let (first, rest) = message.as_bytes().split_first().expect("a message");
    socket.send(TEXT_FIRST, &[*first]);
    for byte in rest {
        // This also splits characters.
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

/// Frames that arrive byte by byte work like whole ones.
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

/// Invalid UTF-8: the next parser would repair it in its own way.
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

/// Protocol violations of RFC 6455: extensions that were not negotiated, unknown opcodes,
/// fragmented or too long control frames, continuations of nothing, malformed close frames.
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
    // Unmasked frames would let a page inject requests into a proxy's cache.
    let mut socket = open(&server);
    socket.connection.send(b"\x81\x04ping");
    assert_eq!(socket.close_frame().0, 1002);
}

/// Memory exhaustion: a frame that announces gigabytes is refused before any of it is read.
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
    assert!(socket.text().contains("malformed-json"), "a message of the maximum length is read");
}

/// Memory exhaustion: fragments that add up to a too large message.
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

/// Ping flood: every ping asks for a pong of the same length.
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
        let (number, _) = payload.split_first_chunk::<4>().expect("the ping's number");
        if u32::from_be_bytes(*number) == 19_999 {
            break;
        }
    }
    assert!(pongs < 20_000 / 10, "{pongs} answers to 20,000 pings that came together");
}

/// Memory exhaustion: a client sends requests and reads no answers. The server stops reading from
/// it until it does.
#[test]
fn client_that_reads_no_answers_is_not_read_from() {
    let server = Server::with(small().stall_timeout(Duration::from_secs(2)));
    let socket = TcpStream::connect(server.address).expect("the server accepts");
    let mut writer = &socket;
    writer.write_all(&request("GET", "/ws?event=no", &HANDSHAKE, b"")).expect("it is taken");
    socket.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    // Each message is answered with about 300 bytes.
    let messages = masked(TEXT, b"{}").repeat(1_000);
    let began = Instant::now();
    let mut sent = 0;
    while writer.write_all(&messages).is_ok() {
        sent += messages.len();
        assert!(sent < 64 << 20, "the server keeps reading");
    }
    server.client().get("/livez").expect(200);
    // Then it is disconnected like any client that reads nothing.
    server.client().wait_for_streams(0);
    assert!(began.elapsed() < Duration::from_secs(30));
}

/// Slowloris: an unfinished message occupies memory forever. Pings between its fragments are no
/// progress.
#[test]
fn unfinished_message_closes_with_1008() {
    let server = Server::with(small().body_timeout(Duration::from_millis(400)));
    let half = &masked(TEXT, b"{\"topics\":[\"a\"]}")[..9];
    let mut in_a_frame = open(&server);
    in_a_frame.connection.send(half);
    assert_eq!(in_a_frame.close_frame(), (1008, "a message arrived too slowly".to_owned()));
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

/// Fast messages, each sent together with the beginning of the next, never time out.
#[test]
fn message_timeout_applies_to_each_message_alone() {
    let server = Server::with(small().body_timeout(Duration::from_millis(400)));
    let mut socket = open(&server);
    let message = masked(TEXT, b"ping");
    let mut rest = &message[..];
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        // The end of one message and the beginning of the next.
        socket.connection.send([rest, &message[..3]].concat());
        rest = &message[3..];
        assert_eq!(socket.text(), "pong");
    }
}

/// Slot exhaustion: clients that leave in the middle of a frame or a message.
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
    server.client().wait_for_streams(0);
    server.client().get("/audit/a").problem(404, "unknown-event");
}
