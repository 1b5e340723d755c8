use super::super::write::{Write, documents_of, registers};
use super::super::encode::{order, raw};
use super::*;

const AT: Order = Order { t: 5, s: 7 };

fn example(kind: Kind, key: Key) -> State {
    let fields = raw(&doc! { "hours_a.b$c": 1, "prj": "P" }).unwrap();
    let (prj, delivery) = ("P".to_owned(), "d".to_owned());
    State { prj, kind, key, order: AT, fields, milestone: None, story: None, delivery, event: 0, fresh: true }
}

fn example_of(kind: Kind) -> State {
    example(kind, kind.key_fields().iter().map(|field| Bson::from(*field)).collect())
}

fn example_link() -> Link {
    let fields = doc! { "epic_id": 5 };
    Link { prj: "P".into(), story: 8.into(), epic: 5.into(), order: AT, fields, event: 0 }
}

fn read(raw: &RawDocumentBuf) -> Document {
    raw.try_into().unwrap()
}

#[test]
fn a_write_is_stale_exactly_where_it_does_not_apply() {
    let states = Kind::ALL.map(example_of);
    let link = example_link();
    let (older, newer) = (Order { t: 5, s: 6 }, Order { t: 6, s: 0 });
    let joins = states.iter().map(Write::Join);
    for write in states.iter().map(Write::State).chain(joins).chain([Write::Link(&link)]) {
        let beside = |at: Order| {
            let order = doc! { "order": order(at) };
            write.is_stale_beside(&match write {
                Write::State(_) | Write::Join(_) => doc! { "_ld": order },
                Write::Link(_) => doc! { "_ld": { "link": order } },
            })
        };
        let statement = read(&write.upsert().unwrap());
        let at = || order(AT);
        let (register, condition, stale) = match write {
            Write::State(state) if state.kind == Kind::Commit => (STATE, doc! { "$gt": at() }, [true, true, false]),
            Write::State(_) => (STATE, doc! { "$lt": at() }, [false, true, true]),
            Write::Join(state) if state.kind == Kind::Commit => {
                (STATE, doc! { "$not": { "$lte": at() } }, [true, true, false])
            }
            Write::Join(_) => (STATE, doc! { "$not": { "$gte": at() } }, [false, true, true]),
            Write::Link(_) => (LINK, doc! { "$not": { "$gte": at() } }, [false, true, true]),
        };
        assert_eq!(statement.get_document("q").unwrap().get_document(register).unwrap(), &condition);
        assert_eq!([older, AT, newer].map(beside), stale, "{statement}");
        let other = doc! { "_ld": { "enriched": 1 } };
        assert!(!write.is_stale_beside(&other), "a document without the register is older than everything");
    }
}

#[test]
fn a_state_joins_a_document_that_has_none_and_replaces_an_older_one() {
    let story = example(Kind::UserStory, vec![8.into()]);
    let met = |found: Document| Write::State(&story).beside(&found);
    assert!(matches!(met(doc! { "_ld": { "link": {} } }), Write::Join(_)));
    assert!(matches!(met(doc! {}), Write::Join(_)));
    let again = Write::Join(&story).beside(&doc! { "_ld": { "order": order(AT) } });
    assert!(matches!(again, Write::State(_)), "somebody else's state came in between");
}

#[test]
fn fields_are_inserted_in_the_order_in_which_set_makes_them() {
    let mut state = example(Kind::GithubIssue, vec!["o/r".into(), 17.into()]);
    state.fields = raw(&doc! { "prj": "P", "repo_name": "o/r", "action": "x", "issue_id": 17 }).unwrap();
    let inserted = read(&document(&state).unwrap());
    assert_eq!(inserted.keys().collect::<Vec<_>>(), ["_id", "issue_id", "repo_name", "action", "prj", "_ld"]);
    let first = tidy(Kind::GithubIssue);
    let first = first.get_document("$replaceWith").unwrap().get_array("$mergeObjects").unwrap()[0].clone();
    assert_eq!(first.as_document().unwrap().keys().collect::<Vec<_>>(), ["_id", "issue_id", "repo_name"]);
}

#[test]
fn a_newer_state_makes_no_link_stale_nor_a_newer_link_a_state() {
    let (story, link) = (example(Kind::UserStory, vec![8.into()]), example_link());
    let newer = doc! { "order": { "t": 9_i64, "s": 9_i64 } };
    assert!(!Write::Link(&link).is_stale_beside(&doc! { "_ld": newer.clone() }));
    assert!(!Write::State(&story).is_stale_beside(&doc! { "_ld": { "link": newer } }));
}

#[test]
fn documents_are_looked_for_by_their_keys() {
    let tasks = [1, 2].map(|id| example(Kind::Task, vec![id.into()]));
    assert_eq!(documents_of(&tasks.each_ref().map(Write::State)), doc! { "task_id": { "$in": [1, 2] } });
    let issues = [("o/r", 1), ("o/s", 1), ("o/r", 2)];
    let issues = issues.map(|(repo, id)| example(Kind::GithubIssue, vec![repo.into(), id.into()]));
    let of = |repo: &str, ids: &[i32]| doc! { "repo_name": repo, "issue_id": { "$in": ids } };
    assert_eq!(
        documents_of(&issues.each_ref().map(Write::State)),
        doc! { "$or": [of("o/r", &[1, 2]), of("o/s", &[1])] }
    );
}

#[test]
fn only_a_commit_gives_way_to_an_older_state() {
    for kind in Kind::ALL {
        let operator = if kind == Kind::Commit { "$lte" } else { "$gte" };
        assert_eq!(stale(&example_of(kind)), doc! { operator: { "t": 5_i64, "s": 7_i64 } }, "{kind:?}");
    }
}

#[test]
fn a_document_is_recognised_by_its_key_and_numbers_by_their_value() {
    let state = example(Kind::GithubIssue, vec!["o/r".into(), 17.into()]);
    let write = Write::State(&state);
    for number in [Bson::Int32(17), Bson::Int64(17), Bson::Double(17.0)] {
        assert_eq!(write.id_of(&doc! { "repo_name": "o/r", "issue_id": number }), Some(write.id()));
    }
    for other in [doc! { "repo_name": "o/r", "issue_id": "17" }, doc! { "repo_name": "o/s", "issue_id": 17 }, doc! {}] {
        assert_ne!(write.id_of(&other), Some(write.id()), "{other}");
    }
}

#[test]
fn what_is_looked_up_is_enough_to_recognise_a_document_of_any_kind() {
    let projection = registers();
    assert!(Kind::ALL.iter().flat_map(|kind| kind.key_fields()).all(|field| projection.contains_key(*field)));
}

#[test]
fn peoples_words_are_never_read_as_paths() {
    let row = read(&Write::State(&example(Kind::Row, vec!["a1".into()])).upsert().unwrap());
    let stages = row.get_array("u").unwrap();
    let merged = stages[0].as_document().unwrap().get_document("$replaceWith").unwrap();
    let literal =
        merged.get_array("$mergeObjects").unwrap()[1].as_document().unwrap().get_document("$literal").unwrap();
    assert_eq!(literal.get("hours_a.b$c"), Some(&Bson::Int32(1)));
}

#[test]
fn a_documents_id_follows_from_its_natural_key() {
    assert_eq!(document_id(Kind::Task, &vec![17.into()]), Bson::Int32(17));
    let both = doc! { "repo_name": "o/r", "issue_id": 17 };
    assert_eq!(document_id(Kind::GithubIssue, &vec!["o/r".into(), 17.into()]), Bson::Document(both));
}

#[test]
fn milestone_fields_are_as_of_the_state_they_came_with() {
    let mut story = example(Kind::UserStory, vec![8.into()]);
    story.milestone = Some(Bson::Null);
    let statement = read(&Write::State(&story).upsert().unwrap());
    let update = statement.get_document("u").unwrap();
    assert_eq!(update.get_document("$set").unwrap().get(SPRINT), Some(&order(AT).into()));
    assert!(update.get_document("$unset").unwrap().contains_key(FIGURES_OF), "in no sprint, no figures");
}

#[test]
fn only_what_one_state_makes_can_be_inserted() {
    for kind in Kind::ALL {
        let document = read(&Write::State(&example_of(kind)).document().unwrap().unwrap());
        assert_eq!(document.get("_id"), Some(&document_id(kind, &example_of(kind).key)));
        assert_eq!(document.get_document("_ld").unwrap().get("order"), Some(&order(AT).into()));
        assert_eq!(document.contains_key("stats"), kind == Kind::Commit);
    }
    assert_eq!(Write::Link(&example_link()).document().unwrap(), None);
}
