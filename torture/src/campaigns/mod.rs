//! What is done to servers and their directories.

mod kill;

use crate::campaign::Campaign;

/// All of them.
pub const ALL: &[Campaign] = &[
    kill::CAMPAIGN,
];
