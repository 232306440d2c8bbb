//! The next page of a list of tags, as a registry names it in its `Link`
//! header. No I/O.
//!
//! The same list is asked again, at the host that was asked, with the query of
//! the link: registries behind a proxy name themselves by another host, by
//! http, or without the prefix of the proxy. A link to another list, and one
//! that can not be read, is an error and no end: on the next page stands what
//! the caller looks for.

use reqwest::header::{HeaderMap, LINK};
use url::Url;

use super::mirrors::shown;
use super::transport::text_of;
use base::error::{Error, Result};

/// Characters of a link that an error shows.
const SHOWN: usize = 200;

/// The address of the page behind the one that `from` gave; None at the last.
///
/// # Errors
/// `invalid-input`, naming the link. `what` is listed: "the tags of a/b".
pub(super) fn next_page(headers: &HeaderMap, from: &Url, what: &str) -> Result<Option<Url>> {
    let header = headers.get_all(LINK).iter().map(text_of).collect::<Vec<_>>().join(", ");
    let next = next_target(&header).and_then(|target| match target {
        Some(target) => behind(target, from).map(Some),
        None => Ok(None),
    });
    next.map_err(|why| {
        let link: String = header.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        Error::invalid(format!("{} names a next page of {what} that {why}: `{link}`", shown(from)))
            .hint("the list would be incomplete: name an exact version or tag, or ask who runs the registry")
    })
}

/// Where the link to the next page leads. One without `rel` is that link, as
/// for every client; one to the first or last page, or to documents, is not.
fn next_target(header: &str) -> Result<Option<&str>, &'static str> {
    let links = links(header)?;
    let is_next =
        |link: &&Link<'_>| link.rel.as_deref().is_some_and(|rel| rel.split_whitespace().any(|rel| rel == "next"));
    let mut next: Vec<&str> = links.iter().filter(is_next).map(|link| link.target).collect();
    if next.is_empty() {
        next = links.iter().filter(|link| link.rel.is_none()).map(|link| link.target).collect();
    }
    next.dedup();
    match next.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err("is several pages"),
    }
}

struct Link<'a> {
    target: &'a str,
    /// In lowercase.
    rel: Option<String>,
}

/// `<target>; rel="next", <…>; rel=last`, and a single target without brackets.
fn links(header: &str) -> Result<Vec<Link<'_>>, &'static str> {
    let mut links = Vec::new();
    let mut rest = header.trim_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (target, behind) = match rest.strip_prefix('<') {
            Some(rest) => rest.split_once('>').ok_or("has no `>`")?,
            None if links.is_empty() => rest.split_at(rest.find(';').unwrap_or(rest.len())),
            None => return Err("has no `<`"),
        };
        let end = outside_quotes(behind, ',');
        links.push(Link { target: target.trim(), rel: rel(&behind[..end]) });
        rest = behind[end..].trim_start_matches([' ', '\t', ',']);
    }
    Ok(links)
}

fn rel(mut parameters: &str) -> Option<String> {
    while !parameters.is_empty() {
        let end = outside_quotes(parameters, ';');
        if let Some((name, value)) = parameters[..end].split_once('=')
            && name.trim().eq_ignore_ascii_case("rel")
        {
            return Some(value.trim().trim_matches(['"', '\'']).to_ascii_lowercase());
        }
        parameters = parameters.get(end + 1..).unwrap_or_default();
    }
    None
}

/// Where `wanted` first stands outside of quotes, of either kind behind a `=`;
/// the end where it does not.
fn outside_quotes(text: &str, wanted: char) -> usize {
    let (mut quote, mut before) = (None, ' ');
    let found = text.char_indices().find(|(_, c)| {
        match quote {
            Some(open) if open == *c => quote = None,
            None if *c == '"' || (*c == '\'' && before == '=') => quote = Some(*c),
            _ => {}
        }
        before = *c;
        quote.is_none() && *c == wanted
    });
    found.map_or(text.len(), |(at, _)| at)
}

fn behind(target: &str, from: &Url) -> Result<Url, &'static str> {
    if target.is_empty() {
        return Err("is no address");
    }
    let target = from.join(target).map_err(|_| "is not a URL")?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err("is neither http nor https");
    }
    if !is_same_list(target.path(), from.path()) {
        return Err("is one of another list");
    }
    let query = target.query().filter(|query| !query.is_empty()).ok_or("does not say where it begins")?;
    let mut next = from.clone();
    next.set_query(Some(query));
    Ok(next)
}

/// Whether both paths list the tags of one repository, with or without what a
/// proxy puts before its name.
fn is_same_list(one: &str, other: &str) -> bool {
    let repository = |path: &'_ str| {
        let list = path.strip_suffix("/tags/list")?;
        Some(list.split_once("/v2/").map_or(list, |(_, name)| name).trim_start_matches('/').to_owned())
    };
    let (Some(one), Some(other)) = (repository(one), repository(other)) else { return false };
    let is_end = |long: &str, short: &str| !short.is_empty() && long.ends_with(&format!("/{short}"));
    one == other || is_end(&one, &other) || is_end(&other, &one)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const FROM: &str = "https://r.example:5000/v2/hub/a/b/tags/list?n=2";

    fn next(links: &[&str]) -> Result<Option<String>> {
        let values = links.iter().map(|link| (LINK, HeaderValue::from_bytes(link.as_bytes()).unwrap()));
        let page = next_page(&values.collect(), &Url::parse(FROM).unwrap(), "the tags of a/b")?;
        Ok(page.map(|url| url.to_string()))
    }

    #[test]
    fn the_list_goes_on_where_it_was_asked() {
        for link in [
            r#"</v2/hub/a/b/tags/list?last=x&n=2>; rel="next""#,
            r"</v2/hub/a/b/tags/list?last=x&n=2>;rel=next",
            r#"</v2/hub/a/b/tags/list?last=x&n=2>; title="a, b; c"; REL="prev NEXT""#,
            r"</v2/hub/a/b/tags/list?last=x&n=2>; rel='next'",
            r"</v2/hub/a/b/tags/list?last=x&n=2>; title='a, b; c'; rel='prev next'",
            r"</v2/hub/a/b/tags/list?last=x&n=2>; title=it's; rel=next",
            r"</v2/hub/a/b/tags/list?last=x&n=2>",
            "/v2/hub/a/b/tags/list?last=x&n=2; rel=\"next\"",
            "<?last=x&n=2>; rel=\"next\"",
            "<list?last=x&n=2>; rel=\"next\"",
            // The same list by another name of the host.
            "<http://r.example:5000/v2/hub/a/b/tags/list?last=x&n=2>; rel=\"next\"",
            "<https://127.0.0.1/v2/hub/a/b/tags/list?last=x&n=2>; rel=\"next\"",
            "<//elsewhere.example/v2/hub/a/b/tags/list?last=x&n=2>; rel=\"next\"",
            // By the name that the registry behind a proxy has for it.
            "</v2/a/b/tags/list?last=x&n=2>; rel=\"next\"",
            "<https://p.example/api/v2/hub/a/b/tags/list?last=x&n=2>; rel=\"next\"",
            r#"<https://r.example/>; rel="first", </v2/hub/a/b/tags/list?last=x&n=2>; rel="next""#,
        ] {
            let found = next(&[link]).unwrap();
            assert_eq!(found.as_deref(), Some("https://r.example:5000/v2/hub/a/b/tags/list?last=x&n=2"), "{link}");
        }
        let page = next(&["<https://r.example/docs>; rel=help", "<?last=\u{e4}>; rel=next"]).unwrap().unwrap();
        assert!(page.ends_with("?last=%C3%A4"), "{page}");
    }

    #[test]
    fn the_last_page_has_no_link_to_a_next_one() {
        for links in [&[][..], &[""], &["<https://r.example/x>; rel=\"first\""], &["</style.css>; rel=preload"]] {
            assert_eq!(next(links).unwrap(), None, "{links:?}");
        }
    }

    /// The page that is not found is the one that holds the newest version.
    #[test]
    fn a_link_that_leads_elsewhere_or_says_nothing_is_no_end() {
        for (link, why) in [
            ("</v2/other/tags/list?last=x>; rel=\"next\"", "another list"),
            ("<https://evil.example/x?last=x>; rel=\"next\"", "another list"),
            ("</v2/hub/a/xb/tags/list?last=x>; rel=\"next\"", "another list"),
            ("</v2/hub/a/b/tags/list>; rel=\"next\"", "does not say where"),
            ("<ftp://r.example/v2/hub/a/b/tags/list?last=x>; rel=\"next\"", "neither http"),
            ("</v2/hub/a/b/tags/list?last=x; rel=\"next\"", "has no `>`"),
            ("nonsense", "another list"),
            ("<>; rel=\"next\"", "is no address"),
            ("<https://[>; rel=next", "not a URL"),
            ("<?last=x>; rel=next, <?last=y>; rel=next", "several pages"),
        ] {
            let error = next(&[link]).unwrap_err();
            let message = error.message();
            assert!(message.contains(why) && message.contains(link) && message.contains("tags of a/b"), "{message}");
        }
    }
}
