//! How quiet the machine was: other processes that run during a bench distort it.

use std::fs;

use crate::error::Result;
use crate::report::Report;

/// CPU ticks since the machine started.
pub struct CpuTicks {
    /// Of all processes; steal counts as another one.
    used: f64,
    /// Of this process and its children that it waited for.
    own: f64,
    /// All ticks, including idle ones.
    all: f64,
}

impl CpuTicks {
    /// The ticks until now.
    pub fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().ok_or("/proc/stat is empty")?;
        // user, nice, system, idle, iowait, irq, softirq, steal. Time in interrupts is charged to
        // no process, so it is not counted as used.
        let fields = line.split_whitespace().skip(1).take(8).map(str::parse::<f64>);
        let fields = fields.collect::<std::result::Result<Vec<_>, _>>()?;
        let &[user, nice, system, .., steal] = fields.as_slice() else {
            return Err("a line of /proc/stat has less than eight fields".into());
        };
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, rest) = stat.rsplit_once(')').ok_or("no name in a stat")?;
        // User and system time of the process and of its children are the 14th to 17th fields.
        let own = rest.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
        let own = own.sum::<std::result::Result<f64, _>>()?;
        Ok(Self { used: user + nice + system + steal, own, all: fields.iter().sum() })
    }

    /// Notes the share of the machine that others have used since then. Servers must have ended, so
    /// that their CPU time counts as this program's.
    pub fn note_others(&self, report: &mut Report, name: &str) -> Result {
        let percent = (Self::now()?.others_since(self) * 100.0).round();
        report.note(name, &format!("{percent} %"));
        Ok(())
    }

    /// The share of the machine that other processes and kernel threads used since `then`.
    fn others_since(&self, then: &Self) -> f64 {
        let others = (self.used - then.used) - (self.own - then.own);
        (others / (self.all - then.all)).max(0.0)
    }
}
