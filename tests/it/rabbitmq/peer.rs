//! Another program that uses the same RabbitMQ, with blocking calls.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::wait::{WAIT_MAX, eventually};
use crate::rabbitmq::node::Node;

/// The connection of the other program.
pub struct Peer {
    runtime: Runtime,
    connection: Connection,
    channel: Channel,
}

/// A received message.
pub struct Message {
    delivery: Delivery,
}

impl Peer {
    /// Connects as soon as the node accepts connections.
    pub fn connect(node: &Node) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (connection, channel) = eventually("RabbitMQ answers", || {
            runtime.block_on(async {
                let properties = ConnectionProperties::default();
                let connection = Connection::connect(&node.url(), properties).await.ok()?;
                let channel = connection.create_channel().await.ok()?;
                channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
                Some((connection, channel))
            })
        });
        Self { runtime, connection, channel }
    }

    /// Declares a durable topic exchange.
    pub fn exchange(&self, name: &str) {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let made = self.channel.exchange_declare(
            name.into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        );
        self.runtime.block_on(made).expect("an exchange");
    }

    /// Declares a durable queue. Rejected messages go to the queue `dead_letters`.
    pub fn queue(&self, name: &str, dead_letters: Option<&str>) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let mut arguments = FieldTable::default();
        if let Some(queue) = dead_letters {
            let text = |text: &str| AMQPValue::LongString(text.into());
            arguments.insert("x-dead-letter-exchange".into(), text(""));
            arguments.insert("x-dead-letter-routing-key".into(), text(queue));
        }
        let made = self.channel.queue_declare(name.into(), options, arguments);
        self.runtime.block_on(made).expect("a queue");
    }

    pub fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound =
            self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments);
        self.runtime.block_on(bound).expect("a binding");
    }

    /// The number of messages in a queue.
    pub fn count(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        self.runtime.block_on(asked).expect("a queue").message_count()
    }

    /// Publishes to an exchange and waits for the confirmation.
    pub fn publish(&self, exchange: &str, key: &str, id: Option<&str>, body: &str) {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(id) = id {
            properties = properties.with_message_id(id.into());
        }
        let sent = async {
            let options = BasicPublishOptions::default();
            let (exchange, key) = (exchange.into(), key.into());
            let sent =
                self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
            sent.await?.await
        };
        assert!(self.runtime.block_on(sent).expect("RabbitMQ confirms").is_ack());
    }

    /// Publishes all messages, then waits for the confirmations.
    pub fn publish_all(&self, key: &str, messages: &[(String, String)], exchange: &str) {
        let sent = async {
            let mut confirms = Vec::new();
            for (id, body) in messages {
                let properties = BasicProperties::default()
                    .with_delivery_mode(2)
                    .with_message_id((&**id).into());
                let options = BasicPublishOptions::default();
                let (exchange, key) = (exchange.into(), key.into());
                let sent =
                    self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
                confirms.push(sent.await?);
            }
            for confirm in confirms {
                assert!(confirm.await?.is_ack());
            }
            Ok::<(), lapin::Error>(())
        };
        self.runtime.block_on(sent).expect("RabbitMQ confirms");
    }

    /// Takes exactly `count` messages out of a queue.
    pub fn take(&self, queue: &str, count: usize) -> Vec<Message> {
        let taken = async {
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let consumer =
                self.channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
            let tag = consumer.tag();
            let mut messages = Vec::new();
            let mut taken = consumer.take(count);
            while let Some(delivery) = taken.next().await {
                let delivery = delivery?;
                delivery.ack(BasicAckOptions::default()).await?;
                messages.push(Message { delivery });
            }
            self.channel.basic_cancel(tag, BasicCancelOptions::default()).await?;
            Ok::<_, lapin::Error>(messages)
        };
        let waited = async { tokio::time::timeout(WAIT_MAX, taken).await };
        let taken = self.runtime.block_on(waited);
        taken.unwrap_or_else(|_| panic!("no {count} messages in {queue}")).expect("a consumer")
    }

    /// Takes all messages out of a queue.
    pub fn take_all(&self, queue: &str) -> Vec<Message> {
        match self.count(queue) {
            0 => Vec::new(),
            count => self.take(queue, count as usize),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let closed = self.connection.close(200, "done".into());
        // The node may have been killed.
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(1), closed).await });
    }
}

impl Message {
    pub fn id(&self) -> &str {
        self.delivery.properties.message_id().as_ref().expect("it has an id").as_str()
    }

    pub fn key(&self) -> &str {
        self.delivery.routing_key.as_str()
    }

    pub fn properties(&self) -> &BasicProperties {
        &self.delivery.properties
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<String> {
        match self.delivery.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            AMQPValue::LongLongInt(number) => Some(number.to_string()),
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.delivery.data).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.body()).expect("JSON")
    }

    pub fn seq(&self) -> u64 {
        self.json()["seq"].as_u64().expect("a seq")
    }
}
