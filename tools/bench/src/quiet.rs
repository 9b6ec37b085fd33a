//! Whether the machine was the bench's own: what it measures beside other work is that work too.

use std::fs;

use crate::Result;

/// Ticks since the machine started.
pub struct CpuTicks {
    /// Of processes, whoever's; steal counts as somebody's.
    used: f64,
    /// Of this process and of those that it started and waited for.
    own: f64,
    /// All that there were, idle ones included.
    all: f64,
}

impl CpuTicks {
    /// As of now.
    pub fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().ok_or("the first line is of all processors")?;
        // user, nice, system, idle, iowait, irq, softirq, steal. What interrupts take is charged
        // to nobody, so it cannot be told whose it was.
        let fields = line.split_whitespace().skip(1).take(8).map(str::parse::<f64>);
        let fields = fields.collect::<std::result::Result<Vec<_>, _>>()?;
        let &[user, nice, system, .., steal] = fields.as_slice() else {
            return Err("a line of processors has eight fields".into());
        };
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, rest) = stat.rsplit_once(')').ok_or("a stat has a name")?;
        // User and system time, the process's own and its children's, are the 14th to the 17th.
        let own = rest.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
        let own = own.sum::<std::result::Result<f64, _>>()?;
        Ok(Self { used: user + nice + system + steal, own, all: fields.iter().sum() })
    }

    /// The part of the machine that others used since then, kernel threads included.
    pub fn others_since(&self, then: &Self) -> f64 {
        let others = (self.used - then.used) - (self.own - then.own);
        (others / (self.all - then.all)).max(0.0)
    }
}
