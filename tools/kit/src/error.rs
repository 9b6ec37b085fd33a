//! The error of all tools: it ends a measurement or a case.

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of what can fail with any error.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Returns an error with a message from the function unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+).into());
        }
    };
}
