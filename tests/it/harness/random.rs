//! Repeatable random numbers.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Random numbers from a printed seed; `BROKER_TEST_SEED` sets it to repeat a failure.
pub fn seeded_random() -> StdRng {
    let seed = std::env::var("BROKER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("BROKER_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
