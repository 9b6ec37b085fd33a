//! A chat over TCP: each line is an insert, and every client follows its room.
//!
//! ```sh
//! cargo run --example chat -- 127.0.0.1:7000 chat-data
//! nc 127.0.0.1 7000   # your name, then your messages
//! ```
//!
//! `/join tea` switches to another room and shows its earlier messages, because they are in the
//! log. `/to ann psst` sends a private record, which reaches only ann, in any room. Names are not
//! verified, because a server without keys verifies nothing. A client that reads slowly costs no
//! memory: its streams continue from the log.

use std::error::Error;
use std::future::Future;
use std::pin::pin;

use broker::{
    Broker, Config, EventSink, FilterSet, NewEvent, Record, Records, ReplayMode, Subscribe, User,
};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LinesCodec};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const LINE_BYTES_MAX: usize = 2_000;
const PRIVATE: &str = "private";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7000".to_owned());
    let directory = arguments.next().unwrap_or("chat-data".to_owned());
    let broker = Broker::open(Config::default().data_dir(directory)).await?;
    let listener = TcpListener::bind(address).await?;
    println!("say something: nc {}", listener.local_addr()?.to_string().replace(':', " "));
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    run(listener, broker, stop).await
}

/// Serves every client that connects, until `stop`.
///
/// # Errors
///
/// If a connection cannot be accepted.
pub async fn run(
    listener: TcpListener,
    broker: Broker,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let mut stop = pin!(stop);
    loop {
        let (socket, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut stop => break,
        };
        let client = serve(broker.clone(), socket);
        tokio::spawn(async {
            if let Err(error) = client.await {
                eprintln!("a client disconnected: {error}");
            }
        });
    }
    // Ends the streams, and the clients with them.
    broker.shutdown().await;
    Ok(())
}

async fn serve(broker: Broker, socket: TcpStream) -> Result<()> {
    let lines = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
    let (mut screen, mut keyboard) = Framed::new(socket, lines).split::<String>();
    screen.send("who are you?".to_owned()).await?;
    let Some(name) = keyboard.next().await.transpose()? else { return Ok(()) };
    let user = match User::parse(name.trim()) {
        Ok(user) => user,
        Err(error) => return Ok(screen.send(format!("! {error}")).await?),
    };
    let mut private = follow(&broker, PRIVATE, &user)?;
    let mut guest = Guest::new(broker, user)?;
    loop {
        let answer = tokio::select! {
            line = keyboard.next() => match line.transpose()? {
                None => return Ok(()),
                Some(line) => match guest.handle_line(&line).await {
                    Ok(()) => continue,
                    Err(error) => format!("! {error}"),
                },
            },
            Some(record) = guest.messages.next() => show(&record?)?,
            record = private.next() => match record {
                None => return Ok(screen.send("good night".to_owned()).await?),
                Some(record) => format!("(private) {}", show(&record?)?),
            },
        };
        screen.send(answer).await?;
    }
}

/// A user in a room.
struct Guest {
    broker: Broker,
    user: User,
    inserts: EventSink,
    room: String,
    messages: Records,
}

impl Guest {
    fn new(broker: Broker, user: User) -> Result<Self> {
        let room = "room.lobby".to_owned();
        let (inserts, messages) = (broker.sink(), follow(&broker, &room, &user)?);
        Ok(Self { broker, user, inserts, room, messages })
    }

    async fn handle_line(&mut self, line: &str) -> Result<()> {
        if let Some(name) = line.strip_prefix("/join ") {
            let room = format!("room.{}", name.trim());
            self.messages = follow(&self.broker, &room, &self.user)?;
            self.room = room;
            return Ok(());
        }
        let whisper = line.strip_prefix("/to ").and_then(|rest| rest.split_once(' '));
        let mut event = match whisper {
            Some((user, text)) => NewEvent::new(PRIVATE, &text)?.to(user)?,
            None => NewEvent::new(&self.room, &line)?,
        };
        event.author = Some(self.user.clone());
        Ok(self.inserts.send(event).await?)
    }
}

/// All messages so far, and all new ones.
fn follow(broker: &Broker, name: &str, user: &User) -> Result<Records> {
    let filters = Some(FilterSet::parse([name], 1)?);
    let user = Some(user.clone());
    Ok(broker.subscribe(Subscribe { filters, user, replay: ReplayMode::All, ..Default::default() }))
}

fn show(record: &Record) -> Result<String> {
    let text: String = serde_json::from_slice(record.data())?;
    let author = record.author().map_or("somebody", User::as_str);
    Ok(format!("{author}: {text}"))
}
