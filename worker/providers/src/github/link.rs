//! GitHub's `Link` header, which says where other pages are.

use reqwest::header::{HeaderMap, LINK};

/// `Link: <https://…>; rel="next", …`
#[must_use]
pub fn link(headers: &HeaderMap, rel: &str) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let rel = format!("rel=\"{rel}\"");
    links.split(',').find_map(|link| {
        let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.split(';').any(|part| part.trim() == rel).then(|| address.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let next = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, text.parse().unwrap());
            link(&headers, "next")
        };
        let both = r#"<https://x/a?page=2>; rel="next", <https://x/a?page=9>; rel="last""#;
        assert_eq!(next(both).as_deref(), Some("https://x/a?page=2"));
        assert_eq!(next(r#"<https://x/a?page=1>; rel="prev", <https://x/a?page=1>; rel="first""#), None);
        assert_eq!(link(&HeaderMap::new(), "next"), None);
    }
}
