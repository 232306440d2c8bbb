//! From words to an expression, with Jinja's precedences.

use super::tokens::Token;

/// Brackets in brackets.
const DEPTH_LIMIT: u32 = 50;

/// Operators from the loosest to the tightest.
const LEVELS: &[&[&str]] =
    &[&["or"], &["and"], &["==", "!=", "<", "<=", ">", ">=", "in", "not in"], &["+", "-"], &["~"]];
/// `not` binds looser than comparisons.
const COMPARISONS: usize = 2;

/// What stands between `{{` and `}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// A text, or a number with a point in it.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`, also with a capital.
    Flag(bool),
    /// A variable.
    Name(String),
    /// `[a, b]`.
    List(Vec<Expression>),
    /// `of[key]` and `of.key`.
    Item(Box<Expression>, Box<Expression>),
    /// `of[from:to]`.
    Slice(Box<Expression>, Option<Box<Expression>>, Option<Box<Expression>>),
    /// `to | name(…)` and `to.name(…)`: filters and methods of one name do the
    /// same.
    Apply(Box<Expression>, String, Vec<Expression>),
    /// `of is name(…)`.
    Test(Box<Expression>, String, Vec<Expression>),
    /// `not of`.
    Not(Box<Expression>),
    /// An operator between its two sides.
    Binary(Box<Expression>, &'static str, Box<Expression>),
    /// `then if condition else otherwise`.
    Choice {
        /// What decides.
        condition: Box<Expression>,
        /// What it is where the condition holds.
        then: Box<Expression>,
        /// What it is otherwise; None where there is no `else`.
        otherwise: Option<Box<Expression>>,
    },
}

/// None where the words are no expression.
pub fn parse(tokens: &[Token]) -> Option<Expression> {
    let mut parser = Parser { rest: tokens, depth: 0 };
    let expression = parser.choice()?;
    parser.rest.is_empty().then_some(expression)
}

struct Parser<'a> {
    rest: &'a [Token],
    depth: u32,
}

impl Parser<'_> {
    fn choice(&mut self) -> Option<Expression> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return None;
        }
        let then = self.binary(0)?;
        let expression = if self.takes_name("if") {
            let condition = Box::new(self.binary(0)?);
            let otherwise = if self.takes_name("else") { Some(Box::new(self.choice()?)) } else { None };
            Expression::Choice { condition, then: Box::new(then), otherwise }
        } else {
            then
        };
        self.depth -= 1;
        Some(expression)
    }

    fn binary(&mut self, level: usize) -> Option<Expression> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        if level == COMPARISONS && self.takes_name("not") {
            return Some(Expression::Not(Box::new(self.binary(COMPARISONS)?)));
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.takes_operator(operators) {
            left = Expression::Binary(Box::new(left), operator, Box::new(self.binary(level + 1)?));
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Expression> {
        let negative = self.takes_sign("-");
        let mut expression = self.primary()?;
        if negative {
            let Expression::Number(number) = expression else { return None };
            expression = Expression::Number(-number);
        }
        loop {
            let of = Box::new(expression);
            expression = if self.takes_sign(".") {
                let name = self.name()?;
                match self.arguments()? {
                    Some(arguments) => Expression::Apply(of, name, arguments),
                    None => Expression::Item(of, Box::new(Expression::Text(name))),
                }
            } else if self.takes_sign("[") {
                self.subscript(of)?
            } else if self.takes_sign("|") {
                let name = self.name()?;
                Expression::Apply(of, name, self.arguments()?.unwrap_or_default())
            } else if self.takes_name("is") {
                self.test(of)?
            } else {
                return Some(*of);
            };
        }
    }

    fn primary(&mut self) -> Option<Expression> {
        if self.takes_sign("(") {
            let inner = self.choice()?;
            return self.takes_sign(")").then_some(inner);
        }
        if self.takes_sign("[") {
            return Some(Expression::List(self.list("]")?));
        }
        let (token, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match token {
            Token::Text(text) => Expression::Text(text.clone()),
            Token::Number(number) => Expression::Number(*number),
            Token::Name(name) => match name.as_str() {
                "true" | "True" => Expression::Flag(true),
                "false" | "False" => Expression::Flag(false),
                name => Expression::Name(name.to_owned()),
            },
            Token::Sign(_) => return None,
        })
    }

    /// Behind the opening bracket.
    fn subscript(&mut self, of: Box<Expression>) -> Option<Expression> {
        let from = if self.sees_sign(":") { None } else { Some(Box::new(self.choice()?)) };
        if !self.takes_sign(":") {
            return self.takes_sign("]").then_some(Expression::Item(of, from?));
        }
        let to = if self.sees_sign("]") { None } else { Some(Box::new(self.choice()?)) };
        self.takes_sign("]").then_some(Expression::Slice(of, from, to))
    }

    fn test(&mut self, of: Box<Expression>) -> Option<Expression> {
        let negated = self.takes_name("not");
        let name = self.name()?;
        let test = Expression::Test(of, name, self.arguments()?.unwrap_or_default());
        Some(if negated { Expression::Not(Box::new(test)) } else { test })
    }

    /// What stands in round brackets, if they are there.
    fn arguments(&mut self) -> Option<Option<Vec<Expression>>> {
        if self.takes_sign("(") { self.list(")").map(Some) } else { Some(None) }
    }

    /// Expressions up to the closing bracket.
    fn list(&mut self, end: &str) -> Option<Vec<Expression>> {
        let mut items = Vec::new();
        while !self.takes_sign(end) {
            if !items.is_empty() && !self.takes_sign(",") {
                return None;
            }
            items.push(self.choice()?);
        }
        Some(items)
    }

    fn name(&mut self) -> Option<String> {
        let (Token::Name(name), rest) = self.rest.split_first()? else { return None };
        self.rest = rest;
        Some(name.clone())
    }

    fn takes_name(&mut self, wanted: &str) -> bool {
        self.takes(|token| matches!(token, Token::Name(name) if name == wanted))
    }

    fn takes_sign(&mut self, wanted: &str) -> bool {
        self.takes(|token| matches!(token, Token::Sign(sign) if *sign == wanted))
    }

    fn sees_sign(&self, wanted: &str) -> bool {
        matches!(self.rest.first(), Some(Token::Sign(sign)) if *sign == wanted)
    }

    fn takes(&mut self, fits: impl Fn(&Token) -> bool) -> bool {
        let taken = self.rest.first().is_some_and(fits);
        if taken {
            self.rest = &self.rest[1..];
        }
        taken
    }

    fn takes_operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        operators.iter().copied().find(|operator| match *operator {
            "not in" => {
                let is_it = matches!(self.rest, [Token::Name(a), Token::Name(b), ..] if a == "not" && b == "in");
                is_it && self.takes_name("not") && self.takes_name("in")
            }
            word @ ("or" | "and" | "in") => self.takes_name(word),
            sign => self.takes_sign(sign),
        })
    }
}
