//! Lists in pages, as both providers cut them.

use serde_json::Value;

/// GitHub's largest page.
const GITHUB_MOST: usize = 100;

/// Taiga's page when nothing else is asked for.
const TAIGA_PAGE: usize = 30;

/// A part of a list, and the headers that say where the rest is.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The part.
    pub items: Vec<Value>,
    /// `link`, or Taiga's `x-pagination-…`.
    pub headers: Vec<(&'static str, String)>,
}

/// A number of a query, such as `page`.
#[must_use]
pub fn number(query: &str, name: &str) -> Option<usize> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1.parse().ok()
}

/// GitHub: `page` and `per_page` (30, at most 100), and a `Link` to the next and last page while there is one.
#[must_use]
pub fn github(all: &[Value], url: &str, query: &str) -> Page {
    let size = number(query, "per_page").unwrap_or(30).clamp(1, GITHUB_MOST);
    let page = number(query, "page").unwrap_or(1).max(1);
    let last = all.len().div_ceil(size).max(1);
    let items = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let link = |page: usize, rel: &str| format!("<{url}?per_page={size}&page={page}>; rel=\"{rel}\"");
    let headers = if page < last {
        vec![("link", format!("{}, {}", link(page + 1, "next"), link(last, "last")))]
    } else {
        Vec::new()
    };
    Page { items, headers }
}

/// Taiga: 30 a page unless `x-disable-pagination` is sent.
#[must_use]
pub fn taiga(all: &[Value], query: &str, disabled: bool) -> Page {
    if disabled {
        return Page { items: all.to_vec(), headers: Vec::new() };
    }
    let size = number(query, "page_size").unwrap_or(TAIGA_PAGE).clamp(1, 1_000);
    let page = number(query, "page").unwrap_or(1).max(1);
    let items: Vec<_> = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let headers = vec![
        ("x-paginated", "true".to_owned()),
        ("x-paginated-by", size.to_string()),
        ("x-pagination-count", all.len().to_string()),
        ("x-pagination-current", page.to_string()),
    ];
    Page { items, headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_and_the_last_has_no_link() {
        let all: Vec<Value> = (0..250).map(Value::from).collect();
        let page = |n: usize| github(&all, "u", &format!("per_page=100&page={n}"));
        assert_eq!([1, 2, 3, 4].map(|n| page(n).items.len()), [100, 100, 50, 0]);
        assert!(page(1).headers[0].1.contains("page=2>; rel=\"next\"") && page(3).headers.is_empty());
        assert_eq!(taiga(&all, "", false).items.len(), 30);
        assert_eq!(taiga(&all, "page=9", false).items.len(), 10);
        assert_eq!(taiga(&all, "", true).items.len(), 250);
    }
}
