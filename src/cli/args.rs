//! Parses the command line. `broker` is `broker serve`, with a flag for every setting; the other
//! commands are in `operation`.

use std::ffi::OsString;

use clap::Command;

use crate::cli::operation::{Operation, commands, operation};
use crate::config::{Flags, SETTINGS, arg};

const ABOUT: &str = "An insert-only event store for front ends: latest values live over SSE, and a \
                     verifiable history";
const SOURCES: &str = "Flags override environment variables, which override a .env file in the \
                       working directory, which overrides the defaults.\nSizes may end in KiB, \
                       MiB or GiB.";

/// The command to run.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server with these flags.
    Serve(Flags),
    /// Run an operator command with these flags.
    Operate(Operation, Flags),
}

impl Invocation {
    /// Parses the command line, including the program name. The values of settings are not checked
    /// here but together with the other sources, so that all errors are reported at once.
    ///
    /// # Errors
    ///
    /// A [`clap::Error`], also for `--help` and `--version`: `error.exit()` prints it.
    pub fn from_args<T>(args: impl IntoIterator<Item = T>) -> Result<Self, clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let matches = command().try_get_matches_from(args)?;
        let (name, given) = matches.subcommand().unwrap_or(("serve", &matches));
        Ok(match operation(name, given) {
            Some(operation) => Self::Operate(operation, Flags::given(given)),
            None => Self::Serve(Flags::given(given)),
        })
    }
}

/// The whole command line.
fn command() -> Command {
    let serve = Command::new("serve")
        .about("Run the server (the default command)")
        .args(SETTINGS.iter().map(arg))
        .after_help(SOURCES);
    Command::new("broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .args(SETTINGS.iter().map(arg))
        .after_help(SOURCES)
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommands(commands())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Flags {
        pairs.iter().fold(Flags::default(), |flags, (name, value)| flags.with(name, value))
    }

    fn serve(args: &[&str]) -> Flags {
        let args = ["broker"].iter().chain(args);
        match Invocation::from_args(args).expect("a command line") {
            Invocation::Serve(flags) => flags,
            Invocation::Operate(operation, _) => panic!("{operation:?}"),
        }
    }

    #[test]
    fn broker_without_a_command_serves() {
        for args in
            [&["--port", "1", "--allow-open"][..], &["serve", "--port=1", "--allow-open=true"]]
        {
            let flags = serve(args);
            assert_eq!(flags, given(&[("PORT", "1"), ("BROKER_ALLOW_OPEN", "true")]));
        }
        assert_eq!(serve(&["--allow-open=false"]), given(&[("BROKER_ALLOW_OPEN", "false")]));
        assert_eq!(serve(&[]), Flags::default());
        for refused in [&["--prot", "1"][..], &["8080"], &["--port", "1", "serve"], &["--port"]] {
            let args = ["broker"].iter().chain(refused);
            assert!(Invocation::from_args(args).is_err(), "{refused:?}");
        }
        command().debug_assert();
    }

    #[test]
    fn help_names_every_flag_variable_and_default() {
        for args in [&["broker", "--help"][..], &["broker", "serve", "--help"]] {
            let help = Invocation::from_args(args).expect_err("help").to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            for setting in SETTINGS {
                let default = if setting.default.is_empty() { "none" } else { setting.default };
                let names = format!("[env: {}] [default: {default}]", setting.name);
                assert!(help.contains(&names), "{names} in {help}");
                assert!(help.contains(&format!("--{}", setting.flag)), "{}", setting.flag);
            }
            assert!(help.contains("Flags override environment variables"), "{help}");
        }
        let version = Invocation::from_args(["broker", "--version"]).expect_err("version");
        assert_eq!(version.to_string(), format!("broker {}\n", env!("CARGO_PKG_VERSION")));
    }
}
