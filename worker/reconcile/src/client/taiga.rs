//! Taiga: single objects and whole lists.

use std::collections::HashSet;
use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use worker_providers::asking::{REQUEST_TIMEOUT, TAIGA};
use worker_providers::pages::{ENDLESS, MOST_PAGES};
use worker_providers::taiga::TaigaClient;
use worker_providers::tokens::Account;

use super::asking::{Answer, Asking, Halt};
use crate::reading::as_of::Clock;

/// How often a list that changed between its pages is read again.
const TRIES: usize = 3;

/// Taiga's API with one account.
#[derive(Debug, Clone)]
pub struct TaigaApi {
    /// The client that it shares with look-ups.
    pub taiga: Arc<TaigaClient>,
    pub account: Account,
    pub asking: Asking,
}

/// A list, and whether it is all there is.
#[derive(Debug)]
pub struct Listed {
    pub items: Vec<Value>,
    /// No item is missing, as far as the pages say.
    pub whole: bool,
    /// When its first page was requested.
    pub clock: Clock,
}

impl TaigaApi {
    /// What is there; `None` when it is not, or not for this account.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Halt> {
        self.ask(Method::GET, path).await?.json(TAIGA, path)
    }

    /// The answer, whatever it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, method: Method, path: &str) -> Result<Answer, Halt> {
        self.asking
            .until_answered(TAIGA, || {
                self.taiga.request(&self.account, "reconcile", (method.clone(), path), |request| {
                    // Lists come in one answer.
                    request.timeout(REQUEST_TIMEOUT).header("x-disable-pagination", "True")
                })
            })
            .await
    }

    /// A whole list: in one answer where Taiga gives one, else page by page, and read again if it changed meanwhile.
    ///
    /// # Errors
    /// When it does not answer, or is not there.
    pub async fn list(&self, path: &str) -> Result<Listed, Halt> {
        let mut listed = self.list_once(path).await?;
        for _ in 1..TRIES {
            if listed.whole {
                break;
            }
            listed = self.list_once(path).await?;
        }
        Ok(listed)
    }

    async fn list_once(&self, path: &str) -> Result<Listed, Halt> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut first, mut counts) = (Vec::new(), None, Vec::new());
        for page in 1..=MOST_PAGES {
            let path = if page == 1 { path.to_owned() } else { format!("{path}{joint}page={page}") };
            let answer = self.ask(Method::GET, &path).await?;
            let clock = *first.get_or_insert(answer.clock);
            let count = answer.number("x-pagination-count").and_then(|count| usize::try_from(count).ok());
            let found = match answer.items(TAIGA, &path)? {
                Some(found) => found,
                // Beyond the last page: the list became shorter.
                None if page > 1 => Vec::new(),
                None => {
                    let what = format_args!("Taiga shows no list at {path} to this account");
                    return Err(Halt::failed(what, "Check what it may see"));
                }
            };
            let ended = found.is_empty();
            items.extend(found);
            counts.extend(count);
            if ended || count.is_none_or(|count| items.len() >= count) {
                return Ok(Listed { whole: is_whole(&items, &counts), items, clock });
            }
        }
        Err(Halt::unreadable(TAIGA, path, ENDLESS))
    }
}

/// Whether pages hold each item of their list once: all gave the same count, and there are as many different items.
fn is_whole(items: &[Value], counts: &[usize]) -> bool {
    let ids: HashSet<String> = items.iter().filter_map(|item| Some(item.get("id")?.to_string())).collect();
    // Links have no id of their own, and come in one page.
    let different = ids.is_empty() || ids.len() == items.len();
    different && counts.iter().all(|count| *count == items.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_whole_when_each_page_says_the_count_that_came_and_no_item_came_twice() {
        let items: Vec<Value> = (1..=3).map(|id| json!({ "id": id })).collect();
        assert!(is_whole(&items, &[]) && is_whole(&items, &[3, 3]) && is_whole(&[], &[0]));
        assert!(!is_whole(&items, &[3, 4]), "one was made between the pages");
        assert!(!is_whole(&[json!({ "id": 1 }), json!({ "id": 1 })], &[2, 2]), "one moved to the next page");
    }
}
