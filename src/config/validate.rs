//! Builds a configuration from text, and checks its bounds and combinations.

use crate::config::error::ConfigErrors;
use crate::config::settings::Config;
use crate::config::table::SETTINGS;
use crate::config::value::show_bytes;

impl Config {
    /// Reads every setting by its name. A setting that is missing in `lookup`, or empty, has its
    /// default.
    ///
    /// # Errors
    ///
    /// All errors at once: values that do not parse or are out of bounds, and invalid combinations.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let mut config = Self::default();
        for setting in SETTINGS {
            let Some(text) = lookup(setting.name).filter(|text| !text.trim().is_empty()) else {
                continue;
            };
            if let Err(error) = (setting.read)(&mut config, &text) {
                errors.add(setting.refusal(&text, &error));
            }
        }
        // A setting with an error has its default here, so that it is reported only once.
        config.check_combinations(&mut errors);
        errors.into_result(config)
    }

    /// Checks the bounds and combinations. `from_lookup` has checked them, but setters and public
    /// fields can break them, so opening a Broker checks again.
    ///
    /// # Errors
    ///
    /// All errors at once, as in [`Config::from_lookup`].
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        // The bounds are in the parser, so every value is parsed again from its text.
        let mut scratch = self.clone();
        for setting in SETTINGS {
            let text = (setting.show)(self);
            if text.is_empty() && setting.default.is_empty() {
                continue;
            }
            if let Err(error) = (setting.read)(&mut scratch, &text) {
                errors.add(setting.refusal(&text, &error));
            }
        }
        self.check_combinations(&mut errors);
        errors.into_result(())
    }

    /// Checks settings that depend on each other.
    fn check_combinations(&self, errors: &mut ConfigErrors) {
        self.rabbitmq.check_combinations(errors);
        // There are no keys yet; once one is configured, this rule no longer applies.
        if !self.host.to_canonical().is_loopback() && !self.allow_open {
            errors.add(format!(
                "BROKER_HOST (--host) is {:?}, which other machines can reach, and no key is \
                 configured, so everyone there could read and insert: keep 127.0.0.1, or set \
                 BROKER_ALLOW_OPEN=true (--allow-open) if that is what you want.",
                self.host.to_string(),
            ));
        }
        if self.queue_bytes < self.max_body_bytes {
            errors.add(format!(
                "BROKER_QUEUE_BYTES (--queue-bytes) is {:?}, less than BROKER_MAX_BODY_BYTES, so \
                 the largest body could never be queued: write at least {:?}, or lower \
                 BROKER_MAX_BODY_BYTES (--max-body-bytes).",
                show_bytes(self.queue_bytes as u64),
                show_bytes(self.max_body_bytes as u64),
            ));
        }
    }
}
