//! Replays the corpora on stable: each entry, and seeded mutations of it.

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::fuzzing::{FuzzTarget, TARGETS};

/// Mutated copies of each entry.
const MUTATIONS: u64 = 150;
/// Mutations per copy.
const CHANGES_MAX: usize = 4;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
    paths.into_iter().map(read).collect()
}

fn mutate(random: &mut SmallRng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.random()),
        2 => {
            let end = random.random_range(at..=bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        3 if !other.is_empty() => {
            let from = random.random_range(0..other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        4 if at < bytes.len() => {
            bytes[at] = [0, 0xFF, b'"', b'.', b'\n'][random.random_range(0..5)];
        }
        _ if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        _ => {}
    }
}

fn replay((name, target): FuzzTarget) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has a corpus");
    for (index, (path, entry)) in corpus.iter().enumerate() {
        let mut tried = entry.clone();
        let whole = std::panic::catch_unwind(|| target(entry));
        assert!(whole.is_ok(), "{path} violates a property");
        for seed in 0..MUTATIONS {
            let mut random = SmallRng::seed_from_u64(seed);
            tried.clone_from(entry);
            let other = &corpus[(index + 1) % corpus.len()].1;
            for _ in 0..random.random_range(1..=CHANGES_MAX) {
                mutate(&mut random, &mut tried, other);
            }
            let changed = std::panic::catch_unwind(|| target(&tried));
            assert!(changed.is_ok(), "{path}, mutated with seed {seed}: {tried:?}");
        }
    }
}

#[test]
fn every_corpus_entry_and_its_mutations_keep_the_properties() {
    TARGETS.into_iter().for_each(replay);
}

#[test]
fn every_target_is_declared_for_the_fuzzer() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is in fuzz/Cargo.toml");
        let source = fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("fuzzing::{name}(bytes)")), "{source}");
    }
}
