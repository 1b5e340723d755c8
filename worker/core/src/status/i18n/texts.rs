//! One method a text of `locales/*.ftl`. What no code calls is a warning of the compiler, what a file lacks or has too
//! much is a failing test.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use super::language::Language;

/// The texts of one language.
pub struct Texts {
    pub(super) language: Language,
    bundle: FluentBundle<FluentResource>,
}

static ALL: LazyLock<[Texts; Language::ALL.len()]> = LazyLock::new(|| Language::ALL.map(Texts::load));

/// The texts of the status page, and those of a team's page.
const fn sources(language: Language) -> [&'static str; 2] {
    match language {
        Language::En => [include_str!("locales/en.ftl"), include_str!("locales/team.en.ftl")],
        Language::Ca => [include_str!("locales/ca.ftl"), include_str!("locales/team.ca.ftl")],
        Language::Es => [include_str!("locales/es.ftl"), include_str!("locales/team.es.ftl")],
    }
}

impl Texts {
    pub fn of(language: Language) -> &'static Self {
        &ALL[language as usize]
    }

    fn load(language: Language) -> Self {
        let id: LanguageIdentifier = language.code().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![id]);
        // No text mixes directions, so marks around what is filled in would only get into copied commands.
        bundle.set_use_isolating(false);
        for source in sources(language) {
            // A broken entry is left out; a test finds it.
            let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
            bundle.add_resource_overriding(resource);
        }
        Self { language, bundle }
    }

    fn format(&self, key: &str, arguments: FluentArgs<'_>) -> String {
        let pattern = self.bundle.get_message(key).and_then(|message| message.value());
        pattern.map_or_else(
            || key.to_owned(),
            |pattern| self.bundle.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned(),
        )
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Texts").field(&self.language).finish()
    }
}

macro_rules! texts {
    ($($key:ident($($argument:ident),*))*) => {
        impl Texts {
            $(#[allow(clippy::extra_unused_lifetimes, clippy::allow_attributes, reason = "of a text without arguments")]
            pub(crate) fn $key<'a>(&self $(, $argument: impl Into<FluentValue<'a>>)*) -> String {
                #[allow(unused_mut, clippy::allow_attributes, reason = "a text without arguments changes none")]
                let mut arguments = FluentArgs::<'a>::new();
                $(arguments.set(stringify!($argument), $argument);)*
                self.format(stringify!($key), arguments)
            })*
        }

        #[cfg(test)]
        const DECLARED: &[(&str, &[&str])] = &[$((stringify!($key), &[$(stringify!($argument)),*])),*];
    };
}

texts! {
    title() as_of() reload() language() filter() filter_apply() filter_clear() well() more(count) to_do() noticed() json()
    waiting() events() notifications() lookups() dead_letters() accepted_by_eval() refused_by_eval() stream()
    teams() no_teams() no_match(filter) team() source() accepted() refused() hours() unsigned() unverified_mark() never()
    picture_empty() picture(sum, most, hour) not_counted(count) left_out(count) and_more(names, count)
    find_delivery() find() deliveries() deliveries_of(project) delivery() delivery_id() event() sequence() received_at() state()
    state_refused() state_received() state_stored() state_notified() state_enriched() state_dead() sent_again(sequence)
    documents() document() now_it() now_ours() now_other(delivery) now_absent() now_removed() now_view() now_unknown()
    more_documents(count) notified_accepted() notified_waits() last_accepted() none() headers() payload_hint(sequence)
    dead_letter() letter_payload_hint(id) given_up_at() why() attempts() what_is_wrong()
    resend() resend_hint() resent() redrive() redrive_hint() redriven() token_label() send_off() send_cross_site() send_wrong_token()
    send_failed(error) only_beginning() not_found(id) not_searched(id) letter_gone(id)
    tokens() course() requests_left() paused_until()
    date_time(year, month, day, clock) just_now() seconds_ago(count) minutes_ago(count) hours_ago(count) days_ago(count)
    reason_signature() reason_no_secret() reason_unsigned() reason_query() reason_json() reason_event() reason_too_large() reason_encoding()
    reason_framing() reason_incomplete() reason_overloaded() reason_unavailable() reason_bug()
    nats(error) nats_advice() mongo(error) mongo_advice() collection(name, error)
    not_processed(count, ago) not_processed_advice() nearly_full(percent) nearly_full_advice()
    eval_away(waiting, error) eval_away_advice() dead_letters_kept(count) dead_letters_kept_advice()
    unsigned_dead_letters(count) unsigned_dead_letters_advice() credentials_file(error) credentials_file_advice()
    never_heard(count, total, course, teams) source_never_heard(count, source, course, teams) never_heard_advice()
    stopped(count, source, course, teams, ago) stopped_advice(source)
    refused_signed(source, teams, ago, reason) refused_signed_advice()
    refused_unverified(source, teams, ago, reason) refused_unverified_advice(source)
    unknown_project(source, project, ago, reason) unknown_project_advice() no_project()
    compared() compared_counts(checked, repaired, removed)
    reconciliation(team, source, ago, findings) reconciliation_advice(team)

    page_title(prj) page_lead() page_all() page_some(yes, no) page_no_source() page_blind() page_yes() page_no() page_unknown()
    page_updates() page_private() page_teacher()
    page_came(ago) page_tested(ago) page_try_github() page_try_taiga() page_try_excel() page_nothing()
    page_do_github() page_do_taiga() page_do_excel() page_stored(what, ago)
    page_paste() page_name() page_url() page_url_taiga() page_content_type() page_address() page_model()
    page_secret() page_secret_taiga() page_secret_show() page_secret_teacher() page_secret_operator() page_secret_sheet()
    page_address_missing() page_copy() page_copied()
    page_refused(ago, reason) page_refused_times(times, ago, reason) page_refused_before(ago, reason) page_unverified()
    page_fix_github() page_fix_taiga() page_fix_excel() page_fix_no_secret() page_fix_unsigned() page_fix_query()
    page_fix_json() page_fix_too_large() page_fix_later()
    page_deliveries() page_no_delivery() page_when() page_what() page_became()
    event_push() event_issues() event_pull_request() event_repository() event_issue() event_task() event_userstory()
    event_relateduserstory() event_epic() event_milestone() event_sheets_activity()
    became_notified() became_to_notify() became_not_notified() became_stored() became_nothing() became_processing()
    became_waiting() became_dead(reason)
    dead_unreadable() dead_no_identity() dead_unknown_event() dead_unstorable() dead_bug() dead_too_many_projects()
    doc_commit(name) doc_commits(count) doc_issue(name) doc_issues(count) doc_pull_request(name) doc_pull_requests(count)
    doc_userstory(name) doc_userstories(count) doc_task(name) doc_tasks(count) doc_epic(name) doc_epics(count) doc_row()
    doc_removed(what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_language_has_every_text_and_fills_in_every_argument() {
        let declared: BTreeSet<_> = DECLARED.iter().map(|(key, _)| *key).collect();
        for language in Language::ALL {
            for source in sources(language) {
                let broken = FluentResource::try_new(source.to_owned()).err().map(|(_, errors)| errors);
                assert_eq!(broken, None, "{language:?}");
            }
            let lines = sources(language).into_iter().flat_map(str::lines);
            let keys = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
            let keys: Vec<_> = keys.filter_map(|line| Some(line.split_once('=')?.0.trim())).collect();
            assert_eq!(keys.iter().copied().collect::<BTreeSet<_>>(), declared, "{language:?}");
            assert_eq!(keys.len(), declared.len(), "{language:?} has a text twice");
            let texts = Texts::of(language);
            for (key, arguments) in DECLARED {
                let mark = |name: &str| format!("<{name}>");
                let filled: FluentArgs<'_> = arguments.iter().map(|name| (*name, mark(name))).collect();
                let mut errors = Vec::new();
                let pattern = texts.bundle.get_message(key).and_then(|message| message.value()).unwrap();
                let text = texts.bundle.format_pattern(pattern, Some(&filled), &mut errors);
                assert!(errors.is_empty(), "{language:?}: {key}: {errors:?}");
                for name in *arguments {
                    assert!(text.contains(&mark(name)), "{language:?}: {key} does not fill in {name}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_count_of_one_is_in_the_singular() {
        for language in Language::ALL {
            let texts = Texts::of(language);
            assert_ne!(texts.more(1).replace('1', "2"), texts.more(2), "{language:?}");
        }
    }

    #[test]
    fn no_text_is_left_in_english() {
        let english = Texts::of(Language::En);
        // What GitHub's and Taiga's pages call so in every language, and words that are the same.
        let own = [
            "date_time",
            "page_no",
            "page_url",
            "page_url_taiga",
            "page_content_type",
            "page_secret",
            "doc_commit",
            "doc_commits",
        ];
        for language in [Language::Ca, Language::Es] {
            for (key, _) in DECLARED.iter().filter(|(key, _)| !own.contains(key)) {
                let text = |texts: &Texts| texts.format(key, FluentArgs::new());
                assert_ne!(text(Texts::of(language)), text(english), "{language:?}: {key}");
            }
        }
    }
}
