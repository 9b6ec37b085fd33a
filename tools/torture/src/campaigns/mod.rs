//! What is done to servers and their directories.

mod control;
mod damage;
mod directories;
mod faults;
mod full;
mod kill;
mod power;
mod stalls;

use crate::campaign::Campaign;

/// All of them; first the one that shows that the others can fail.
pub const ALL: &[Campaign] = &[
    control::CAMPAIGN,
    kill::CAMPAIGN,
    power::CAMPAIGN,
    faults::CAMPAIGN,
    full::CAMPAIGN,
    damage::CAMPAIGN,
    directories::CAMPAIGN,
];
