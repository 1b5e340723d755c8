//! Which dead letters.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use shared::ids::Project;
use shared::topology::Topology;
use worker_event::reason::Reason;

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only those with this reason.
    #[arg(long, value_parser = reasons())]
    pub(super) reason: Option<Reason>,
    /// Only those of this project.
    #[arg(long)]
    pub(super) prj: Option<Project>,
}

fn reasons() -> impl TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(Reason::ALL.map(Reason::as_str))
        .map(|word| Reason::ALL.into_iter().find(|reason| reason.as_str() == word).unwrap_or(Reason::Unreadable))
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["id", "reason", "prj", "all"])))]
pub(super) struct Chosen {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// These; may be repeated.
    #[arg(long)]
    pub(super) id: Vec<u64>,
    /// All of them.
    #[arg(long)]
    pub(super) all: bool,
}

impl Filter {
    /// Their subjects: reason and project are in them.
    pub(super) fn subject(&self, topology: &Topology) -> String {
        topology.dead_filter(self.reason.map(Reason::as_str), self.prj.as_ref())
    }
}
