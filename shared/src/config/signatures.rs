//! The default signing secrets, two flags for each source, and whether each team has a key of its own.

use clap::builder::{EnumValueParser, Resettable, Str};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum};

use crate::secret::Secret;
use crate::source::{PerSource, Source};

/// Which keys sign for a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TeamSecrets {
    /// `false`: the course's secret.
    #[default]
    #[value(name = "false", help = "the course's secret, or the default one")]
    Off,
    /// `both`: the course's secret, and a key derived from it for each team.
    #[value(name = "both", help = "that secret, and a key derived from it for each team")]
    Both,
    /// `true`: only the key derived for the team.
    #[value(name = "true", help = "only the key derived for the team")]
    On,
}

/// The secrets with which senders sign, where a course of the credentials file has none of its own.
#[derive(Debug, Clone, Default)]
pub struct SignatureArgs {
    /// Each source's secrets.
    pub secrets: PerSource<SigningSecrets>,
    /// Which keys sign for a team, where its course does not say it.
    pub team_secrets: TeamSecrets,
}

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
        self.secrets.of(source)
    }
}

/// The flag of [`SignatureArgs::team_secrets`].
const TEAM_SECRETS: &str = "team-secrets";

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
        let team_secrets = Arg::new(TEAM_SECRETS)
            .long(TEAM_SECRETS)
            .value_name("TEAM_SECRETS")
            .env("TEAM_SECRETS")
            .default_value("false")
            .help("Whether each team's webhooks are signed with a key of its own, which is derived from the secret: where its course does not say team_secrets")
            .value_parser(EnumValueParser::<TeamSecrets>::new());
        command.next_help_heading("Signatures").args(flags).arg(team_secrets).next_help_heading(heading)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SignatureArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let of = |flag: &str| matches.get_one::<Secret>(flag).cloned();
        let secrets = PerSource::new(|source| {
            let names = &source.description().secret;
            SigningSecrets { current: of(names.flag), previous: of(names.previous_flag) }
        });
        let team_secrets = matches.get_one::<TeamSecrets>(TEAM_SECRETS).copied().unwrap_or_default();
        Ok(Self { secrets, team_secrets })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
