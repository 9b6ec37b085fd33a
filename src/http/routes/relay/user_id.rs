//! Parses `user_id`: a user as a string or a number.

use std::borrow::Cow;

use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::codec::json::text;
use crate::record::User;

/// A user: a string, or a whole number, which means the string of its decimal digits
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only describes; the body is parsed without copying")]
pub enum UserId {
    Number(i64),
    Text(String),
}

/// Parses a user. A whole number is the user named by its digits. `1.0` and `1e3` are refused: a
/// user has one spelling, and these numbers have several.
pub fn parse(raw: &RawValue) -> Result<User, String> {
    let user: Cow<'_, str> = match raw.get() {
        json if json.starts_with('"') => text("user_id", raw)?,
        json if is_whole_number(json) => json.into(),
        _ => return Err("user_id: send a string, or a whole number such as 42".to_owned()),
    };
    User::parse(&user).map_err(|error| format!("user_id: {error}"))
}

/// Whether a JSON value is a whole number without fraction or exponent.
fn is_whole_number(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    // JSON allows no leading zeros, but it allows a negative zero.
    digits.bytes().all(|byte| byte.is_ascii_digit()) && json != "-0"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(json: &str) -> Result<String, String> {
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        parse(raw).map(|user| user.as_str().to_owned())
    }

    #[test]
    fn whole_number_is_the_user_named_by_its_digits() {
        for (json, text) in [
            ("1", "1"),
            ("\"1\"", "1"),
            ("0", "0"),
            ("-7", "-7"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("\"ann@example.com\"", "ann@example.com"),
            ("\"\\u0061\"", "a"),
        ] {
            assert_eq!(user(json).as_deref(), Ok(text), "{json}");
        }
    }

    #[test]
    fn other_values_are_refused_with_advice() {
        for json in ["1.0", "1e3", "-0", "null", "true", "[]", "{}", "\"\"", "\"a b\""] {
            let refused = user(json).expect_err(json);
            assert!(refused.starts_with("user_id: "), "{refused}");
        }
        let long = "9".repeat(256);
        assert!(user(&long).is_err_and(|error| error.contains("256 bytes")));
    }
}
