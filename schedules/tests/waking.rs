//! Nobody sleeps through the last word, in whatever order threads run.

use schedules::Run;

/// Orders that are tried of each run; a failure prints the one that led there.
const RANDOM: usize = 500;
/// Switches of threads at which a bug may hide, in schedules that look for few of them.
const SWITCHES: usize = 3;

const FOLLOWING: Run = Run { inserts: 4, window_bytes_max: 1 << 20 };
/// Room for one record: whoever does not read at once has lagged.
const LAGGING: Run = Run { inserts: 6, window_bytes_max: 1 };

#[test]
fn everybody_sees_the_last_insert_and_the_end_in_any_order_of_threads() {
    shuttle::check_random(|| FOLLOWING.live(), RANDOM);
    shuttle::check_pct(|| FOLLOWING.live(), RANDOM, SWITCHES);
}

#[test]
fn who_lags_sees_the_last_insert_and_the_end_in_any_order_of_threads() {
    shuttle::check_random(|| LAGGING.live(), RANDOM);
    shuttle::check_pct(|| LAGGING.live(), RANDOM, SWITCHES);
}
