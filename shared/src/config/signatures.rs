//! The default signing secrets, two flags for each source.

use clap::builder::{Resettable, Str};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::secret::Secret;
use crate::source::{PerSource, Source};

/// The secrets with which senders sign, where a course of the credentials file has none of its own.
#[derive(Debug, Clone, Default)]
pub struct SignatureArgs(pub PerSource<SigningSecrets>);

/// One source's secrets, as they were set.
#[derive(Debug, Clone, Default)]
pub struct SigningSecrets {
    /// The secret that senders should use.
    pub current: Option<Secret>,
    /// The secret that it replaced.
    pub previous: Option<Secret>,
}

impl SignatureArgs {
    /// One source's secrets.
    #[must_use]
    pub const fn of(&self, source: Source) -> &SigningSecrets {
        self.0.of(source)
    }
}

/// By hand, because derive needs a field for each flag: so the flags come from the sources' descriptions.
impl Args for SignatureArgs {
    fn augment_args(command: Command) -> Command {
        let heading = command.get_next_help_heading().map(|heading| Str::from(heading.to_owned()));
        let heading = heading.map_or(Resettable::Reset, Resettable::Value);
        let flags = Source::ALL.into_iter().flat_map(|source| {
            let names = &source.description().secret;
            let current = (names.flag, names.variable, names.help);
            [current, (names.previous_flag, names.previous_variable, names.previous_help)]
        });
        let flags = flags.map(|(flag, variable, help)| {
            let parser = |text: &str| text.parse::<Secret>();
            let arg = Arg::new(flag).long(flag).value_name(variable).env(variable).hide_env_values(true);
            arg.help(help).value_parser(parser)
        });
        command.next_help_heading("Signatures").args(flags).next_help_heading(heading)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SignatureArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let of = |flag: &str| matches.get_one::<Secret>(flag).cloned();
        Ok(Self(PerSource::new(|source| {
            let names = &source.description().secret;
            SigningSecrets { current: of(names.flag), previous: of(names.previous_flag) }
        })))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
