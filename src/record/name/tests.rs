use std::collections::HashMap;

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::record::name::*;

#[test]
fn ordinary_names_are_accepted_and_kept() {
    for text in [
        "a",
        "profile.42",
        "Profile.42",
        "order-lines_7",
        "a:b@c,d;e=f&g+h~i!j$k(l)[m]{n}|o^p`q\"r'<",
        "broker",
        "brokers:a",
        "Broker:a",
        "a.broker:b",
        "opened",
        "open.error",
        "Open",
        "\u{e9}t\u{e9}.\u{4e2d}\u{6587}.\u{1f600}",
        "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
    ] {
        let name = Name::parse(text).unwrap();
        assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
        assert!(!name.is_system());
        assert_eq!(Name::stored(text), Ok(name));
    }
}

#[test]
fn a_name_has_1_to_255_bytes() {
    assert_eq!(Name::parse(""), Err(NameError::Empty));
    assert!(Name::parse(&"a".repeat(255)).is_ok());
    assert_eq!(Name::parse(&"a".repeat(256)), Err(NameError::TooLong { len: 256 }));
    assert_eq!(Name::parse(&"\u{e9}".repeat(128)), Err(NameError::TooLong { len: 256 }));
    assert!(Name::parse(&"\u{e9}".repeat(127)).is_ok());
}

#[test]
fn empty_token_is_refused_at_its_position() {
    for (text, position) in
        [(".", 1), (".a", 1), ("a.", 3), ("a..b", 3), ("\u{e9}.\u{e9}..a", 5), ("\u{e9}.", 3)]
    {
        assert_eq!(Name::parse(text), Err(NameError::EmptyToken { position }), "{text}");
        assert_eq!(Name::stored(text), Err(NameError::EmptyToken { position }), "{text}");
    }
}

#[test]
fn events_of_event_source_itself_are_refused() {
    for text in ["open", "error"] {
        assert_eq!(Name::parse(text), Err(NameError::EventSource));
        assert_eq!(Name::stored(text), Err(NameError::EventSource));
    }
}

const FAULTS: &[(char, CharacterFault)] = &[
    ('\0', CharacterFault::Control),
    ('\t', CharacterFault::Control),
    ('\n', CharacterFault::Control),
    ('\r', CharacterFault::Control),
    ('\u{1b}', CharacterFault::Control),
    ('\u{7f}', CharacterFault::Control),
    ('\u{85}', CharacterFault::Control),
    ('\u{9b}', CharacterFault::Control),
    (' ', CharacterFault::Whitespace),
    ('\u{a0}', CharacterFault::Whitespace),
    ('\u{1680}', CharacterFault::Whitespace),
    ('\u{2003}', CharacterFault::Whitespace),
    ('\u{202f}', CharacterFault::Whitespace),
    ('\u{3000}', CharacterFault::Whitespace),
    ('\u{2028}', CharacterFault::Separator),
    ('\u{2029}', CharacterFault::Separator),
    ('\u{61c}', CharacterFault::Bidi),
    ('\u{200e}', CharacterFault::Bidi),
    ('\u{200f}', CharacterFault::Bidi),
    ('\u{202a}', CharacterFault::Bidi),
    ('\u{202e}', CharacterFault::Bidi),
    ('\u{2066}', CharacterFault::Bidi),
    ('\u{2069}', CharacterFault::Bidi),
    ('\u{ad}', CharacterFault::Format),
    ('\u{200b}', CharacterFault::Format),
    ('\u{200d}', CharacterFault::Format),
    ('\u{2060}', CharacterFault::Format),
    ('\u{feff}', CharacterFault::Format),
    ('\u{fff9}', CharacterFault::Format),
    ('\u{e0041}', CharacterFault::Format),
    ('\u{378}', CharacterFault::Unassigned),
    ('\u{fdd0}', CharacterFault::Unassigned),
    ('\u{ffff}', CharacterFault::Unassigned),
    ('\u{10ffff}', CharacterFault::Unassigned),
    ('\u{212b}', CharacterFault::NotNormalized),
    ('\u{958}', CharacterFault::NotNormalized),
];

#[test]
fn refused_characters_are_reported_with_their_position() {
    for &(character, fault) in FAULTS {
        for (before, position) in [("", 1), ("a.b", 4), ("\u{e9}\u{1f600}", 3)] {
            let text = format!("{before}{character}c");
            let error = CharacterError { character, position, fault };
            assert_eq!(Name::parse(&text), Err(error.into()), "{text:?}");
            assert_eq!(User::parse(&text), Err(error.into()), "{text:?}");
        }
    }
}

#[test]
fn delimiters_are_refused_in_names_only() {
    for character in ['*', '>', '/', '\\', '?', '#', '%'] {
        for text in [format!("a{character}"), format!("\u{e9}{character}")] {
            let fault = CharacterFault::Delimiter;
            let error = CharacterError { character, position: 2, fault };
            assert_eq!(Name::parse(&text), Err(error.into()));
            assert_eq!(Name::stored(&text), Err(error.into()));
            assert_eq!(User::parse(&text).unwrap().as_str(), text);
        }
    }
}

#[test]
fn decomposed_characters_are_refused_as_not_normalized() {
    let fault = CharacterFault::NotNormalized;
    for (text, character, position) in
        [("cafe\u{301}", 'e', 4), ("\u{1100}\u{1161}", '\u{1100}', 1), ("a\u{315}\u{300}", 'a', 1)]
    {
        let error = CharacterError { character, position, fault };
        assert_eq!(Name::parse(text), Err(error.into()), "{text}");
    }
}

#[test]
fn system_names_are_refused_from_clients() {
    for suffix in ["open", "consumer.a", "erased"] {
        let name = Name::system(suffix);
        assert!(name.is_system());
        assert_eq!(name.as_str(), format!("broker:{suffix}"));
        assert_eq!(Name::stored(name.as_str()), Ok(name.clone()));
        assert_eq!(Name::parse(name.as_str()), Err(NameError::System));
    }
    for text in ["broker:", "broker:.a"] {
        assert_eq!(Name::parse(text), Err(NameError::System));
        assert_eq!(Name::stored(text), Err(NameError::EmptyToken { position: 8 }));
    }
    assert!(Name::stored("broker:a b").is_err());
}

/// A log that was written with newer Unicode tables must stay readable.
#[test]
fn stored_names_are_accepted_whatever_the_unicode_version() {
    for (character, fault) in FAULTS {
        let depends_on_tables = matches!(
            fault,
            CharacterFault::Format | CharacterFault::NotNormalized | CharacterFault::Unassigned
        );
        let text = format!("a{character}");
        assert_eq!(Name::stored(&text).is_ok(), depends_on_tables, "{character:?}");
        assert_eq!(User::stored(&text).is_ok(), depends_on_tables, "{character:?}");
    }
}

/// With different versions a character could count as assigned before its normal form is known.
#[test]
fn both_unicode_tables_have_the_same_version() {
    let (major, minor, update) = unicode_normalization::UNICODE_VERSION;
    let normalization = (u64::from(major), u64::from(minor), u64::from(update));
    assert_eq!(normalization, unicode_properties::UNICODE_VERSION);
}

#[test]
fn a_user_has_1_to_255_bytes_and_no_tokens() {
    assert_eq!(User::parse(""), Err(UserError::Empty));
    assert_eq!(User::stored(""), Err(UserError::Empty));
    assert_eq!(User::parse(&"a".repeat(256)), Err(UserError::TooLong { len: 256 }));
    for text in ["alice", "auth0|42", "a@b.c", "https://id.example/u?1#2", ".", "open", "broker:a"]
    {
        assert_eq!(User::parse(text).unwrap().as_str(), text);
    }
    assert!(User::parse(&"a".repeat(255)).is_ok());
}

#[test]
fn messages_name_the_character_its_position_and_the_remedy() {
    for (text, message) in [
        (
            "a\u{202e}b",
            "U+202E at position 2 changes the direction of the text around it; remove it",
        ),
        ("a b", "U+0020 at position 2 is whitespace; remove it, or use `-` or `_`"),
        (
            "a/b",
            "U+002F (`/`) at position 2 has a special meaning in filters, paths or URLs; use \
          another character",
        ),
        (
            "a..b",
            "there is an empty token at position 3; a name must not start or end with `.` or \
          contain `..`",
        ),
        (
            "broker:x",
            "names that begin with `broker:` are reserved for the system; choose another name",
        ),
        ("", "the name is empty; it needs 1 to 255 bytes"),
        (
            "e\u{301}",
            "U+0065 (`e`) at position 1 is not in normal form; normalise the text to NFC \
          before sending it",
        ),
    ] {
        assert_eq!(Name::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn maps_find_a_name_by_its_text() {
    let map = HashMap::from([(Name::parse("a.b").unwrap(), 1)]);
    assert_eq!(map.get("a.b"), Some(&1));
    let users = HashMap::from([(User::parse("alice").unwrap(), 2)]);
    assert_eq!(users.get("alice"), Some(&2));
}

/// Every rule, written from the contract and not from the code.
fn is_name(text: &str) -> bool {
    let is_user = is_user(text);
    let has_tokens = text.split('.').all(|token| !token.is_empty());
    let is_free = !text.contains(['*', '>', '/', '\\', '?', '#', '%']);
    let is_taken = text == "open" || text == "error" || text.starts_with("broker:");
    is_user && has_tokens && is_free && !is_taken
}

fn is_user(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.nfc().eq(text.chars())
        && text.chars().all(|character| {
            !character.is_whitespace()
                && !matches!(
                    character.general_category(),
                    GeneralCategory::Control
                        | GeneralCategory::Format
                        | GeneralCategory::LineSeparator
                        | GeneralCategory::ParagraphSeparator
                        | GeneralCategory::SpaceSeparator
                        | GeneralCategory::Unassigned
                )
        })
}

#[test]
fn every_character_is_judged_by_the_contract() {
    for character in '\0'..=char::MAX {
        let text = character.to_string();
        assert_eq!(Name::parse(&text).is_ok(), is_name(&text), "U+{:04X}", u32::from(character));
        assert_eq!(User::parse(&text).is_ok(), is_user(&text), "U+{:04X}", u32::from(character));
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_by_the_contract(text in any::<String>()) {
        prop_assert_eq!(Name::parse(&text).is_ok(), is_name(&text));
        prop_assert_eq!(User::parse(&text).is_ok(), is_user(&text));
    }

    #[test]
    fn near_names_are_judged_by_the_contract(
        text in "(broker:|open|error)?[a-c.\u{e9}e\u{301}\u{323}\u{1100}\u{1161}\u{11a8}* ]{0,6}",
    ) {
        prop_assert_eq!(Name::parse(&text).is_ok(), is_name(&text));
        prop_assert_eq!(User::parse(&text).is_ok(), is_user(&text));
        if Name::parse(&text).is_ok() {
            prop_assert!(Name::stored(&text).is_ok());
        }
    }

    #[test]
    fn names_sort_as_their_bytes(one in "[a-z\u{e9}\u{1f600}]{1,4}", other in "[a-z]{1,4}") {
        let [one, other] = [&one, &other].map(|text| Name::stored(text).unwrap());
        prop_assert_eq!(one.cmp(&other), one.as_str().as_bytes().cmp(other.as_str().as_bytes()));
    }
}
