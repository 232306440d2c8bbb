//! Plain HTML without a script, in which every text from a package is escaped.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::path::encoded;
use base::progress::text;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\
    pre{background:#8881;padding:.7em;overflow:auto}td{padding-right:1.5em}:root{color-scheme:light dark}";

/// Rows of a list that are shown.
pub(super) const LONGEST: usize = 2_000;

/// A text, harmless in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if base::visible::is_unseen(c) => safe.push_str(&c.escape_unicode().to_string()),
            c => safe.push(c),
        }
    }
    safe
}

pub(super) fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{body}</body></html>\n"
    )
}

/// A folder: files with their sizes, folders without.
pub(super) fn folder<N: Borrow<str> + Ord>(title: &str, names: &BTreeMap<N, Option<u64>>) -> String {
    let mut body = String::from("<table>\n");
    for (name, size) in names.iter().take(LONGEST) {
        let name: &str = name.borrow();
        let (slash, size) = match size {
            Some(size) => ("", text::bytes(*size)),
            None => ("/", String::new()),
        };
        let _ = writeln!(
            body,
            "<tr><td><a href=\"./{}{slash}\">{}{slash}</a></td><td>{size}</td></tr>",
            escaped(&encoded(name)),
            escaped(name)
        );
    }
    page(title, &(body + "</table>\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup() {
        let names = BTreeMap::from([("<script>\"&'\u{202e}", Some(1))]);
        let html = folder("<b>", &names);
        assert!(!html.contains("<script>") && !html.contains("<b>") && !html.contains('\u{202e}'), "{html}");
        assert!(html.contains("&lt;script&gt;&quot;&amp;&#39;\\u{202e}"), "{html}");
    }
}
