//! `.helmignore`, by the rules of Helm's own package `ignore`, odd ones
//! included: a negated rule that does *not* match excludes.

/// The rules of one file, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    pattern: Vec<char>,
    negated: bool,
    /// `name/` matches directories only.
    directory: bool,
    /// Whether the whole path is matched, or the last component.
    whole: bool,
}

impl Rules {
    /// # Errors
    /// A fragment that names the line and what Helm would refuse.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        // Helm's default: hidden files do not belong into templates.
        rules.extend(rule("templates/.?*")?);
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            rules.extend(rule(line.trim()).map_err(|why| format!("line {}: {why}", at + 1))?);
        }
        Ok(Self(rules))
    }

    /// Whether `path` (relative, `/`-separated) is left out.
    pub(crate) fn excludes(&self, path: &str, is_directory: bool) -> bool {
        for rule in &self.0 {
            if rule.negated {
                if (rule.directory && !is_directory) || !rule.matches(path) {
                    return true;
                }
            } else if (is_directory || !rule.directory) && rule.matches(path) {
                return true;
            }
        }
        false
    }

    /// Whether a file or one of the directories above it is left out.
    pub(crate) fn excludes_file(&self, path: &str) -> bool {
        let directories = path.match_indices('/').map(|(at, _)| &path[..at]);
        directories.into_iter().any(|directory| self.excludes(directory, true)) || self.excludes(path, false)
    }
}

fn rule(line: &str) -> Result<Option<Rule>, String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains("**") {
        return Err("Helm does not support `**`".to_owned());
    }
    let (negated, line) = match line.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (directory, line) = match line.strip_suffix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (rooted, line) = match line.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let pattern: Vec<char> = line.chars().collect();
    if matches(&pattern, &[]).is_none() {
        return Err(format!("`{line}` is no pattern"));
    }
    Ok(Some(Rule { whole: rooted || line.contains('/'), pattern, negated, directory }))
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let subject = if self.whole { path } else { path.rsplit('/').next().unwrap_or(path) };
        let subject: Vec<char> = subject.chars().collect();
        matches(&self.pattern, &subject).unwrap_or(false)
    }
}

/// Go's `filepath.Match`: `*` and `?` stop at a slash, `[a-z]`, `[^a]`, `\`
/// escapes. None where the pattern is malformed.
fn matches(pattern: &[char], subject: &[char]) -> Option<bool> {
    let Some((&first, rest)) = pattern.split_first() else { return Some(subject.is_empty()) };
    match first {
        '*' => {
            // One star is as good as many.
            if rest.first() == Some(&'*') {
                return matches(rest, subject);
            }
            let mut found = false;
            for skipped in 0..=subject.len() {
                found |= matches(rest, &subject[skipped..])?;
                if found || subject.get(skipped).is_none_or(|c| *c == '/') {
                    break;
                }
            }
            Some(found)
        }
        '[' => {
            let (class, rest) = class(rest)?;
            match subject.split_first() {
                Some((&c, subject)) if c != '/' && class.holds(c) => matches(rest, subject),
                _ => matches(rest, &[]).map(|_| false),
            }
        }
        _ => {
            let (wanted, rest) = match first {
                '\\' => {
                    let (&escaped, rest) = rest.split_first()?;
                    (Some(escaped), rest)
                }
                '?' => (None, rest),
                literal => (Some(literal), rest),
            };
            match subject.split_first() {
                Some((&c, subject)) if wanted.map_or(c != '/', |wanted| wanted == c) => matches(rest, subject),
                _ => matches(rest, &[]).map(|_| false),
            }
        }
    }
}

struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != self.negated
    }
}

/// What stands between `[` and `]`, and what follows.
fn class(pattern: &[char]) -> Option<(Class, &[char])> {
    let negated = pattern.first() == Some(&'^');
    let mut rest = if negated { &pattern[1..] } else { pattern };
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&']') && !ranges.is_empty() {
            return Some((Class { negated, ranges }, &rest[1..]));
        }
        let (from, after) = literal(rest)?;
        let (to, after) = if after.first() == Some(&'-') { literal(&after[1..])? } else { (from, after) };
        ranges.push((from, to));
        rest = after;
    }
}

fn literal(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern.split_first()? {
        ('-' | ']', _) => None,
        ('\\', rest) => rest.split_first().map(|(c, rest)| (*c, rest)),
        (c, rest) => Some((*c, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Helm's package `ignore`.
    #[test]
    fn rules_exclude_what_helm_excludes() {
        let table = [
            ("helm.txt", "helm.txt", false, true),
            ("helm.*", "helm.txt", false, true),
            ("helm.*", "rudder.txt", false, false),
            ("*.txt", "tiller.txt", false, true),
            ("*.txt", "cargo/a.txt", false, true),
            ("cargo/*.txt", "cargo/a.txt", false, true),
            ("cargo/*.*", "cargo/a.txt", false, true),
            ("cargo/*.txt", "mast/a.txt", false, false),
            ("ru[c-e]?er.txt", "rudder.txt", false, true),
            ("templates/.?*", "templates/.dotfile", false, true),
            (".*", ".", true, true),
            (".joonix", ".joonix", false, true),
            ("cargo/", "cargo", true, true),
            ("cargo/", "cargo", false, false),
            ("/a.txt", "a.txt", false, true),
            ("/a.txt", "cargo/a.txt", false, false),
            ("/cargo/a.txt", "cargo/a.txt", false, true),
            ("!helm.txt", "helm.txt", false, false),
            ("!helm.txt", "tiller.txt", false, true),
            ("!*.txt", "cargo", true, true),
            ("\\!x", "!x", false, true),
            ("a[^b]c", "abc", false, false),
            ("# comment", "# comment", false, false),
        ];
        for (rules, path, is_directory, expected) in table {
            assert_eq!(Rules::parse(rules).unwrap().excludes(path, is_directory), expected, "{rules} {path}");
        }
        assert!(!Rules::default().excludes("templates/.x", false));
        assert!(Rules::parse("").unwrap().excludes("templates/.x", false));
        let rules = Rules::parse("ci/\n*.bak\n").unwrap();
        assert!(rules.excludes_file("ci/a/b.yaml") && rules.excludes_file("x/y.bak") && !rules.excludes_file("x/ci"));
    }

    #[test]
    fn what_helm_refuses_is_refused_with_its_line() {
        assert!(Rules::parse("a\nfoo/**/bar\n").unwrap_err().contains("line 2"));
        assert!(Rules::parse("[").is_err());
    }
}
