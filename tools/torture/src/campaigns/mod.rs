//! The campaigns.

mod control;
mod damage;
mod directories;
mod faults;
mod full;
mod kill;
mod power;
mod stalls;

use crate::campaign::Campaign;

/// All campaigns. The controls come first: they show that the checks of the others can fail.
pub const ALL: &[Campaign] = &[
    control::CAMPAIGN,
    kill::CAMPAIGN,
    power::CAMPAIGN,
    faults::CAMPAIGN,
    full::CAMPAIGN,
    damage::CAMPAIGN,
    directories::CAMPAIGN,
];
