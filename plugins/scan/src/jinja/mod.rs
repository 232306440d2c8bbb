//! Enough of Jinja to resolve the variables that name images: the expressions
//! that kubespray's defaults are made of, with the filters, methods and tests
//! of [`value`]. Everything else stays unresolved, because a guess would name
//! an image that nobody deploys.

pub mod parse;
pub mod tokens;
pub mod value;

use std::cell::Cell;
use std::collections::BTreeMap;

use image_finder::{self as finder, Node};

use self::parse::Expression;
use self::value::Value;

/// Variables that stand for one another, and expressions in expressions.
const DEPTH_LIMIT: u32 = 200;
/// Expressions, and bytes of text, that one variable may cost: variables that
/// name each other twice grow without end.
const WORK_LIMIT: usize = 200_000;

/// Variables by name.
pub type Variables = BTreeMap<String, Node>;

/// The text with its templates resolved; none where that is not simple.
pub fn resolve(text: &str, variables: &Variables) -> Option<String> {
    let resolver = Resolver { variables, work: Cell::new(WORK_LIMIT) };
    resolver.template(text, 0)?.text()
}

struct Resolver<'a> {
    variables: &'a Variables,
    work: Cell<usize>,
}

impl<'a> Resolver<'a> {
    fn spend(&self, work: usize) -> Option<()> {
        self.work.set(self.work.get().checked_sub(work)?);
        Some(())
    }

    /// A text with templates in it. One that is a single expression keeps the
    /// expression's kind.
    fn template(&self, text: &str, depth: u32) -> Option<Value<'a>> {
        self.spend(text.len() + 1)?;
        if text.contains("{%") || text.contains("{#") {
            return None;
        }
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (tokens, after) = tokens::read(after)?;
            let value = self.value(&parse::parse(&tokens)?, depth)?;
            if before.is_empty() && after.is_empty() && resolved.is_empty() {
                return Some(value);
            }
            resolved.push_str(before);
            resolved.push_str(&value.text()?);
            self.spend(resolved.len())?;
            rest = after;
        }
        resolved.push_str(rest);
        Some(Value::Text(resolved))
    }

    fn node(&self, node: &'a Node, depth: u32) -> Option<Value<'a>> {
        if !matches!(node.value, finder::Value::Scalar { .. }) {
            return Some(Value::Node(node));
        }
        if let Some(flag) = node.as_bool() {
            return Some(Value::Flag(flag));
        }
        match node.text() {
            Some(text) => self.template(text, depth),
            None => Some(Value::Missing),
        }
    }

    fn value(&self, expression: &Expression, depth: u32) -> Option<Value<'a>> {
        self.spend(1)?;
        let depth = (depth < DEPTH_LIMIT).then_some(depth + 1)?;
        let one = |expression: &Expression| self.value(expression, depth);
        let all = |list: &[Expression]| list.iter().map(one).collect::<Option<Vec<_>>>();
        let bound = |bound: &Option<Box<Expression>>| match bound {
            Some(bound) => one(bound).map(Some),
            None => Some(None),
        };
        match expression {
            Expression::Text(text) => Some(Value::Text(text.clone())),
            Expression::Number(number) => Some(Value::Number(*number)),
            Expression::Flag(flag) => Some(Value::Flag(*flag)),
            Expression::Name(name) => match self.variables.get(name) {
                Some(node) => self.node(node, depth),
                None => Some(Value::Missing),
            },
            Expression::List(items) => all(items).map(Value::List),
            Expression::Item(of, key) => self.item(one(of)?, &one(key)?, depth),
            Expression::Slice(of, from, to) => slice(one(of)?, bound(from)?, bound(to)?),
            Expression::Apply(to, name, arguments) => value::apply(name, one(to)?, &all(arguments)?),
            Expression::Test(of, name, arguments) => value::test(name, &one(of)?, &all(arguments)?).map(Value::Flag),
            Expression::Not(inner) => Some(Value::Flag(!one(inner)?.truth()?)),
            Expression::Binary(left, operator @ ("and" | "or"), right) => {
                let left = one(left)?;
                if left.truth()? == (*operator == "or") { Some(left) } else { one(right) }
            }
            Expression::Binary(left, operator, right) => value::binary(one(left)?, operator, one(right)?),
            Expression::Choice { condition, then, otherwise } => match (one(condition)?.truth()?, otherwise) {
                (true, _) => one(then),
                (false, Some(otherwise)) => one(otherwise),
                (false, None) => Some(Value::Text(String::new())),
            },
        }
    }

    fn item(&self, of: Value<'a>, key: &Value<'a>, depth: u32) -> Option<Value<'a>> {
        let found = match (of, key) {
            (Value::Missing, _) => return Some(Value::Missing),
            (Value::Pair(name, _), Value::Text(key)) if key == "key" => return Some(Value::Text(name.to_owned())),
            (Value::Pair(_, node), Value::Text(key)) if key == "value" => Some(node),
            (Value::List(items), Value::Number(at)) => return items.get(place(*at, items.len())?).cloned(),
            (Value::Node(node), Value::Number(at)) if !node.items().is_empty() => {
                node.items().get(place(*at, node.items().len())?)
            }
            (Value::Node(node), key) => node.get(&key.text()?),
            _ => return None,
        };
        found.map_or(Some(Value::Missing), |node| self.node(node, depth))
    }
}

/// Negative ones count from the end.
fn place(at: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if at < 0 { at + length } else { at }).ok()
}

fn slice<'a>(of: Value<'a>, from: Option<Value<'a>>, to: Option<Value<'a>>) -> Option<Value<'a>> {
    let Value::List(items) = of else { return None };
    let bound = |bound: Option<Value<'a>>, default: usize| match bound {
        None => Some(default),
        Some(Value::Number(at)) => Some(place(at, items.len()).unwrap_or(0).min(items.len())),
        Some(_) => None,
    };
    let (from, to) = (bound(from, 0)?, bound(to, items.len())?);
    Some(Value::List(items.get(from..to.max(from))?.to_vec()))
}

#[cfg(test)]
mod tests {
    use image_finder::yaml::parse;

    use super::*;

    const VARIABLES: &str = "\
repo: quay.io
version: 1.2.3
tag: \"v{{ version }}\"
empty: \"\"
map: {v1: {x: deep}}
key: v1
a: \"{{ b }}\"
b: \"{{ a }}\"
kube_version: 1.34.3
kube_major: \"{{ (kube_version | split('.'))[:-1] | join('.') }}\"
kube_next: \"1.{{ ((kube_version | split('.'))[1] | int) + 1 }}\"
sums: {amd64: {3.6.5: x, 3.5.26: x, 3.5.25: x}, none: {}}
newest: {'1.34': \"{{ (sums['amd64'].keys() | select('version', '3.6', '<'))[0] }}\", '1.33': 3.4.0}
list: [one, \"{{ repo }}\"]
alias: \"{{ sums }}\"
on: true
";

    fn resolved(text: &str) -> Option<String> {
        resolve(text, &parse(VARIABLES).unwrap().entries().iter().cloned().collect())
    }

    #[test]
    fn expressions_resolve_as_ansible_resolves_them() {
        let table = [
            ("plain", "plain"),
            ("{{ repo }}/x:{{ tag }}", "quay.io/x:v1.2.3"),
            ("{{repo|lower}}", "quay.io"),
            ("{{- repo -}}", "quay.io"),
            ("{{ arch | default('amd64') }}", "amd64"),
            ("{{ arch | default(other) | default(\"x|y}}\") }}", "x|y}}"),
            ("{{ empty | default('z', true) }}", "z"),
            ("{{ map[key].x }}", "deep"),
            ("{{ map['v1']['x'] }}", "deep"),
            ("{{ map.v2.x | default('none') }}", "none"),
            ("{{ (sums['amd64'] | dict2items)[0].key }}", "3.6.5"),
            ("{{ (sums.amd64 | dict2items)[-1].key }}", "3.5.25"),
            ("{{ (alias['amd64'] | dict2items | first).key }}", "3.6.5"),
            ("{{ kube_major }}/{{ kube_next }}", "1.34/1.35"),
            ("{{ kube_version.split('.')[0] }}", "1"),
            ("{{ newest[kube_major] }}", "3.5.26"),
            ("{{ list[1] }}", "quay.io"),
            (
                "{{ repo }}{{ '/coredns' if version is version('1.2', '>=') else '' }}/coredns",
                "quay.io/coredns/coredns",
            ),
            ("{{ 'v' if version is version('1.10', '>=') else '' }}{{ version }}", "1.2.3"),
            ("x{{ '-iptables' if repo == 'other' and on else '' }}", "x"),
            ("x{{ '-static' if on }}", "x-static"),
            ("{{ 'b' if arch is not defined or not on else 'c' }}", "b"),
            ("{{ 'b' if 'uay' in repo and 'x' not in ['y', 'z'] else 'c' }}", "b"),
            ("{{ repo ~ '/' ~ 7 }}", "quay.io/7"),
            ("{{ repo | replace('quay', 'ghcr') }}", "ghcr.io"),
        ];
        for (text, expected) in table {
            assert_eq!(resolved(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_stays_unresolved() {
        for text in [
            "{{ arch }}",
            "{{ a }}",
            "{{ 'a' if arch else 'c' }}",
            "{% if x %}y{% endif %}",
            "{{ repo | regex_replace('a', 'b') }}",
            "{{ lookup('env', 'X') }}",
            "{{ open",
            "{{ (repo }}",
            "{{ sums }}",
            "{{ list | length }}",
            "{{ (sums['none'] | dict2items)[0].key }}",
            "{{ newest['1.35'] }}",
            "{{ version is version('latest', '<') }}",
            "{{ 'a' 'b' }}",
            "{{ {'a': 1}['a'] }}",
        ] {
            assert_eq!(resolved(text), None, "{text}");
        }
    }

    /// Hostile files: brackets without end, and variables that double.
    #[test]
    fn work_is_bounded() {
        assert_eq!(resolved(&format!("{{{{ {}1{} }}}}", "(".repeat(400), ")".repeat(400))), None);
        let mut text = "v0: x\n".to_owned();
        for at in 1..20 {
            let last = at - 1;
            text.push_str(&format!("v{at}: \"{{{{ v{last} }}}}{{{{ v{last} }}}}{{{{ v{last} }}}}\"\n"));
        }
        let variables: Variables = parse(&text).unwrap().entries().iter().cloned().collect();
        assert_eq!(resolve("{{ v19 }}", &variables), None);
        assert_eq!(resolve("{{ v3 }}", &variables).unwrap().len(), 27);
    }
}
