//! The settings of one Broker.
//!
//! **Owns** [`Config`], the table of [`SETTINGS`] from which the parser, the flags, the help text,
//! the README and `.env.example` are made, and every read of the process environment.
//!
//! **Promises** that a `Config` made from text is within the bounds of the table; that all errors
//! are reported at once, each with the setting, its value and what to write instead; and that a
//! secret is never shown.
//!
//! **Does not** change the environment, keep globals, log, or access the network or the disk,
//! except for `.env` in the working directory. Limits are enforced where they apply, not here.

mod authority;
mod environment;
mod error;
mod flags;
mod origin;
mod rabbitmq;
mod render;
mod setters;
mod settings;
mod table;
mod validate;
mod value;

#[cfg(test)]
mod tests;

pub use authority::Authority;
pub use environment::{LoadedConfig, UnknownSetting, temporary_dir};
pub use error::{ConfigErrors, ValueError};
pub use flags::Flags;
pub(crate) use flags::arg;
pub use origin::{Origin, PublicUrl, WebOrigin};
pub use rabbitmq::{AmqpUrl, RabbitMq};
pub use render::{env_example, settings_markdown};
pub use settings::{Config, LogFormat};
pub use table::{SETTINGS, Setting, Takes};
