use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;

use crate::record::filter::*;
use crate::record::name::{CharacterError, CharacterFault};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap()
}

fn set(filters: &[&str]) -> FilterSet {
    FilterSet::parse(filters, 100).unwrap()
}

#[test]
fn filter_without_wildcards_matches_exactly_its_name() {
    let exact = filter("a.b");
    assert_eq!(exact.is_exact(), Some(&name("a.b")));
    assert!(exact.matches(&name("a.b")));
    for other in ["a", "a.B", "a.b.c", "a.bc", "b"] {
        assert!(!exact.matches(&name(other)), "{other}");
    }
}

#[test]
fn wildcards_match_whole_tokens() {
    for (pattern, matched, unmatched) in [
        ("*", &["a", "\u{e9}"][..], &["a.b"][..]),
        (">", &["a", "a.b", "a.b.c"], &[]),
        ("a.*", &["a.b", "a.a"], &["a", "a.b.c", "b.a", "ab.c"]),
        ("*.b", &["a.b", "b.b"], &["b", "a.c", "a.b.b", "a.bb"]),
        ("a.*.c", &["a.b.c"], &["a.c", "a.b.b", "a.b.c.d", "a.b"]),
        ("a.>", &["a.b", "a.b.c.d"], &["a", "ab", "ab.c", "b.a"]),
        ("*.>", &["a.b", "a.b.c"], &["a"]),
        ("*.*", &["a.b"], &["a", "a.b.c"]),
        ("*.b.>", &["a.b.c", "a.b.c.d"], &["a.b", "a.c.c"]),
        ("\u{e9}.*", &["\u{e9}.a"], &["e.a"]),
    ] {
        let pattern = filter(pattern);
        assert_eq!(pattern.is_exact(), None);
        for text in matched {
            assert!(pattern.matches(&name(text)), "{pattern} and {text}");
        }
        for text in unmatched {
            assert!(!pattern.matches(&name(text)), "{pattern} and {text}");
        }
    }
}

/// System records store opens, positions and erasures; nobody can subscribe to them.
#[test]
fn no_filter_matches_a_system_record() {
    let one = Name::system("opened");
    let two = Name::system("consumer.a");
    for pattern in [">", "*", "*.*", "*.>", "*.a"] {
        assert!(!filter(pattern).matches(&one), "{pattern}");
        assert!(!filter(pattern).matches(&two), "{pattern}");
        assert!(!set(&[pattern, "a"]).matches(&two), "{pattern}");
    }
    for text in ["broker:opened", "broker:*", "broker:>", "broker:a.>"] {
        assert_eq!(Filter::parse(text), Err(NameError::System.into()), "{text}");
    }
}

#[test]
fn wildcard_must_be_a_whole_token() {
    for (text, position) in
        [("a*", 2), ("*a", 1), ("**", 1), ("a.b*.c", 4), ("a.>>", 3), ("\u{e9}.a>", 4), ("*>", 1)]
    {
        assert_eq!(Filter::parse(text), Err(FilterError::WildcardInToken { position }), "{text}");
    }
}

#[test]
fn tail_wildcard_must_be_the_last_token() {
    for (text, position) in [(">.a", 1), ("a.>.b", 3), (">.>", 1), (">.", 1), ("\u{e9}.>.*", 3)] {
        assert_eq!(Filter::parse(text), Err(FilterError::TailNotLast { position }), "{text}");
    }
}

#[test]
fn other_tokens_follow_the_rules_of_names() {
    let fault = CharacterFault::Whitespace;
    let space = CharacterError { character: ' ', position: 4, fault };
    for (text, error) in [
        ("", NameError::Empty),
        ("open", NameError::EventSource),
        ("a..b", NameError::EmptyToken { position: 3 }),
        ("a..*", NameError::EmptyToken { position: 3 }),
        ("*.", NameError::EmptyToken { position: 3 }),
        (".*", NameError::EmptyToken { position: 1 }),
        ("*.a b.>", NameError::Character(space)),
    ] {
        assert_eq!(Filter::parse(text), Err(error.into()), "{text}");
    }
    assert!(Filter::parse("*.e\u{301}").is_err());
    assert!(Filter::parse("*./").is_err());
}

#[test]
fn filter_has_at_most_255_bytes() {
    let longest = format!("{}*", "a.".repeat(127));
    assert_eq!(longest.len(), 255);
    assert!(Filter::parse(&longest).is_ok());
    let error = NameError::TooLong { len: 257 };
    assert_eq!(Filter::parse(&format!("{longest}.*")), Err(error.into()));
}

#[test]
fn filters_display_and_sort_as_their_text() {
    let mut filters = ["b", "a.>", "a", "*", "a.*", ">"].map(filter);
    filters.sort();
    assert_eq!(filters.map(|filter| filter.to_string()), ["*", ">", "a", "a.*", "a.>", "b"]);
}

#[test]
fn no_filters_match_everything() {
    let none = FilterSet::parse::<&str>([], 0).unwrap();
    assert_eq!(none, set(&[">"]));
    assert_eq!(none, FilterSet::everything());
    assert_eq!(none.canonical().collect::<Vec<_>>(), [">"]);
    assert!(none.matches(&name("a")) && none.exact_only().is_none());
}

#[test]
fn sets_are_equal_in_any_order() {
    let one = set(&["b", "a.>", "a", "b"]);
    let other = set(&["a", "b", "a.>"]);
    assert_eq!(one, other);
    let hashes = RandomState::new();
    assert_eq!(hashes.hash_one(&one), hashes.hash_one(&other));
    assert_eq!(one.canonical().collect::<Vec<_>>(), ["a", "a.>", "b"]);
    assert_eq!(one.patterns(), [filter("a.>")]);
    assert_ne!(one, set(&["a", "b"]));
}

#[test]
fn set_without_patterns_lists_its_names() {
    let exact = set(&["b", "a", "b"]);
    let names: Vec<_> = exact.exact_only().unwrap().map(Name::as_str).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(exact.patterns().is_empty());
    assert!(set(&["a", "*"]).exact_only().is_none());
}

#[test]
fn too_many_filters_are_refused_without_reading_on() {
    let mut read = 0;
    let endless = std::iter::repeat_with(|| {
        read += 1;
        "a"
    });
    assert_eq!(FilterSet::parse(endless, 3), Err(FilterSetError::TooMany { max: 3 }));
    assert_eq!(read, 4);
    assert!(FilterSet::parse(["a", "b", "c"], 3).is_ok());
}

#[test]
fn refused_filter_is_reported_with_its_number() {
    let error = FilterSet::parse(["a", "a*"], 100).unwrap_err();
    assert_eq!(
        error.to_string(),
        "filter 2: the wildcard at position 2 is not a whole token; put it between dots, or spell \
         the name out"
    );
}

/// The grammar of the NATS documentation, by recursion over tokens.
fn is_matched(pattern: &[&str], tokens: &[&str]) -> bool {
    match (pattern, tokens) {
        ([">"], [_, ..]) | ([], []) => true,
        (["*", pattern @ ..], [_, tokens @ ..]) => is_matched(pattern, tokens),
        ([wanted, pattern @ ..], [token, tokens @ ..]) => {
            wanted == token && is_matched(pattern, tokens)
        }
        _ => false,
    }
}

fn split(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

/// Few tokens, so that filters often match names.
const NAMES: &str = "(a|b|ab|\u{e9})(\\.(a|b|ab|\u{e9})){0,3}";
const PATTERNS: &str = "((a|b|ab|\u{e9}|\\*)\\.){0,3}(a|b|ab|\u{e9}|\\*|>)";

proptest! {
    #[test]
    fn filter_matches_like_the_model(pattern in PATTERNS, text in NAMES) {
        let matches = filter(&pattern).matches(&name(&text));
        prop_assert_eq!(matches, is_matched(&split(&pattern), &split(&text)));
    }

    #[test]
    fn set_matches_what_any_of_its_filters_matches(
        filters in prop::collection::vec(PATTERNS, 1..6),
        text in NAMES,
    ) {
        let set = FilterSet::parse(&filters, 6).unwrap();
        let is_any = filters.iter().any(|pattern| is_matched(&split(pattern), &split(&text)));
        prop_assert_eq!(set.matches(&name(&text)), is_any);
        let sorted: BTreeSet<_> = filters.iter().map(String::as_str).collect();
        prop_assert!(set.canonical().eq(sorted));
        prop_assert_eq!(set.exact_only().is_some(), set.patterns().is_empty());
    }

    #[test]
    fn filters_parse_exactly_by_the_grammar(text in "(broker:|open)?[ab.*> \u{e9}]{0,7}") {
        let tokens = split(&text);
        let is_wild = |token: &&str| matches!(*token, "*" | ">");
        let names: Vec<_> = tokens.iter().map(|token| if is_wild(token) { "x" } else { token })
            .collect();
        let tails = tokens.iter().rev().skip(1).filter(|token| **token == ">").count();
        let is_filter = tails == 0 && Name::parse(&names.join(".")).is_ok();
        prop_assert_eq!(Filter::parse(&text).is_ok(), is_filter, "{}", text);
    }

    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(filter.as_str(), text);
        }
    }
}
