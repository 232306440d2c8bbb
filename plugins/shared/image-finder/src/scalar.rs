//! What an unquoted scalar is to Helm: go-yaml's reading of YAML 1.1, in which
//! `yes` is true, `010` is eight and `1.10` is 1.1.

use std::fmt;

/// A scalar as Go holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Only where an `i64` is too small.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// Anything else.
    Text(String),
}

impl Scalar {
    /// Of a scalar without quotes.
    pub fn plain(text: &str) -> Self {
        named(text).or_else(|| number(text)).unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// The text that Helm puts where a text is wanted.
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Unsigned(number) => number.to_string(),
            Self::Float(number) => short(*number as f32),
            Self::Text(text) => text.clone(),
        }
    }

    /// What a template prints of a value; there every number is a float. None
    /// for null, of which it depends on the place.
    pub fn printed(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some(short(*number as f64)),
            Self::Unsigned(number) => Some(short(*number as f64)),
            Self::Float(number) => Some(short(*number)),
            Self::Bool(_) | Self::Text(_) => Some(self.to_text()),
        }
    }
}

/// Those that stand for a value by their name.
fn named(text: &str) -> Option<Scalar> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn number(text: &str) -> Option<Scalar> {
    match text.bytes().next()? {
        // Go's own reader of numbers is asked, which knows `_` only behind a base.
        b'.' => is_float(text).then(|| float(text)).flatten(),
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| is_float(&digits).then(|| float(&digits)).flatten())
        }
        _ => None,
    }
}

/// An integer by its prefix: `0x`, `0o`, `0b`, and a bare `0` for octal.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, base).ok()?;
    match (negative, i64::try_from(value)) {
        (false, Ok(value)) => Some(Scalar::Int(value)),
        (true, Ok(value)) => Some(Scalar::Int(-value)),
        (true, Err(_)) if value == 1 << 63 => Some(Scalar::Int(i64::MIN)),
        // Go reads a `+` as part of a signed number alone.
        (false, Err(_)) if !text.starts_with('+') => Some(Scalar::Unsigned(value)),
        _ => None,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let is_mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && (fraction.is_empty() || all_digits(fraction)),
        None => all_digits(mantissa),
    };
    is_mantissa && exponent.is_none_or(all_digits)
}

/// Out of range is no number to Go.
fn float(text: &str) -> Option<Scalar> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Scalar::Float)
}

/// Go's `FormatFloat(number, 'g', -1, …)`: the shortest text that the precision
/// tells apart, with an exponent from a million on. Fields of Chart.yaml are of
/// single precision, values of double.
fn short(number: impl Copy + fmt::Display + fmt::LowerExp + Into<f64>) -> String {
    let wide: f64 = number.into();
    if wide.is_nan() {
        return "NaN".to_owned();
    }
    if wide.is_infinite() {
        return if wide > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Helm.
    #[test]
    fn scalars_are_what_helm_makes_of_them() {
        for (written, text) in [
            ("1.10", "1.1"),
            ("010", "8"),
            ("1e3", "1000"),
            ("20240101", "20240101"),
            ("no", "false"),
            ("Y", "true"),
            (".5", "0.5"),
            ("1:30", "1:30"),
            ("+1", "1"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("-0", "0"),
            ("09", "9"),
            ("1.", "1"),
            ("1e21", "1e+21"),
            ("0.00001", "1e-05"),
            ("123456789.5", "1.2345679e+08"),
            ("18446744073709551615", "18446744073709551615"),
            ("2024-01-01", "2024-01-01"),
            ("1e999", "1e999"),
            ("v1", "v1"),
            ("~", ""),
        ] {
            assert_eq!(Scalar::plain(written).to_text(), text, "{written}");
        }
    }

    /// Recorded from Helm, of values in a template.
    #[test]
    fn numbers_in_templates_are_floats() {
        for (written, text) in [
            ("1.10", "1.1"),
            ("010", "8"),
            ("1e3", "1000"),
            ("20240101", "2.0240101e+07"),
            ("no", "false"),
            ("7", "7"),
            ("1.27", "1.27"),
            ("1000000", "1e+06"),
            ("999999", "999999"),
            ("0x1F", "31"),
            (".5", "0.5"),
            ("12345678.5", "1.23456785e+07"),
            ("123456789012345678901", "1.2345678901234568e+20"),
            ("2024-01-01", "2024-01-01"),
        ] {
            assert_eq!(Scalar::plain(written).printed().as_deref(), Some(text), "{written}");
        }
        assert_eq!(Scalar::Null.printed(), None);
    }
}
