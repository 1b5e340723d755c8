//! A finding in the reader's language: what happened, and what to do.

use super::findings::Finding;
use super::i18n::Texts;

/// What happened, and what to do.
pub struct Said {
    pub what: String,
    pub advice: String,
}

pub fn say(t: &Texts, now: i64, finding: &Finding) -> Said {
    let ago = |ms: &i64| t.ago(now, *ms);
    let (what, advice) = match finding {
        Finding::Nats { error } => (t.nats(error), t.nats_advice()),
        Finding::Mongo { error } => (t.mongo(error), t.mongo_advice()),
        Finding::Collection { name, error, advice } => (t.collection(name, error), advice.clone()),
        Finding::NotProcessed { events, since } => (t.not_processed(*events, ago(since)), t.not_processed_advice()),
        Finding::NearlyFull { percent } => (t.nearly_full(*percent), t.nearly_full_advice()),
        Finding::EvalAway { waiting, error } => (t.eval_away(*waiting, error), t.eval_away_advice()),
        Finding::DeadLetters { letters } => (t.dead_letters_kept(*letters), t.dead_letters_kept_advice()),
        Finding::UnsignedDeadLetters { letters } => {
            (t.unsigned_dead_letters(*letters), t.unsigned_dead_letters_advice())
        }
        Finding::CredentialsFile { error } => (t.credentials_file(error), t.credentials_file_advice()),
        Finding::NeverHeard { course, teams, of } => {
            (t.never_heard(teams.len(), *of, course, t.names(teams)), t.never_heard_advice())
        }
        Finding::SourceNeverHeard { course, source, teams } => {
            let source = source.description().title;
            (t.source_never_heard(teams.len(), source, course, t.names(teams)), t.never_heard_advice())
        }
        Finding::Stopped { course, source, teams, last } => {
            let source = source.description().title;
            (t.stopped(teams.len(), source, course, t.names(teams), ago(last)), t.stopped_advice(source))
        }
        Finding::Refused { source, reason, teams, at } => {
            let source = source.description().title;
            (t.refused_signed(source, t.names(teams), ago(at), t.reason(reason)), t.refused_signed_advice())
        }
        Finding::Unverified { source, reason, teams, at } => {
            let source = source.description().title;
            let what = t.refused_unverified(source, t.names(teams), ago(at), t.reason(reason));
            (what, t.refused_unverified_advice(source))
        }
        Finding::Reconciliation { source, prj, findings, at, .. } => {
            let (source, prj) = (source.description().title, prj.as_str());
            (t.reconciliation(prj, source, ago(at), findings.join("; ")), t.reconciliation_advice(prj))
        }
        Finding::UnknownProject { source, reason, prj, at } => {
            let project = prj.as_ref().map_or_else(|| t.no_project(), ToString::to_string);
            let what = t.unknown_project(source.description().title, project, ago(at), t.reason(reason));
            (what, t.unknown_project_advice())
        }
    };
    Said { what, advice }
}
