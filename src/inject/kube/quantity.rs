//! Parses quantities and durations of Kubernetes, so that they can be compared by value. Elsewhere both stay text: a
//! user's `64Mi` is never rewritten.

/// The prefix of resources whose requests must equal their limits (`IsOvercommitAllowed`).
pub const HUGE_PAGES: &str = "hugepages-";

/// The value of a quantity in units of 10^-9, as `k8s.io/apimachinery/pkg/api/resource` parses it: an optional sign,
/// digits with at most one point, and an optional suffix or decimal exponent. `None` if `text` is not a quantity, or if
/// its value is too large for an `i128` (about 10^29).
#[must_use]
pub fn quantity(text: &str) -> Option<i128> {
    let (negative, unsigned) = sign(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (factor, exponent) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1i128 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        other => (1, other.strip_prefix(['e', 'E'])?.parse::<i32>().ok().filter(|exponent| exponent.abs() <= 40)?),
    };
    let value = scaled(number, exponent + 9)?.checked_mul(factor)?;
    Some(if negative { -value } else { value })
}

/// The value of a duration in nanoseconds, as Go's `time.ParseDuration` parses it: `1h30m`, `1.5s`, `-5ms`, `0`. `None`
/// if `text` is not a duration or is too large for an `i128`.
#[must_use]
pub fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = sign(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let length = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(length);
        let nanoseconds = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(number, 9)?.checked_mul(nanoseconds)? / 1_000_000_000)?;
        rest = next;
        if rest.is_empty() {
            return Some(if negative { -total } else { total });
        }
    }
}

/// True for a minus sign, and the text without the sign.
fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `number * 10^exponent`, rounded up as Kubernetes does. `None` if `number` is not a number or the result is too
/// large.
fn scaled(number: &str, exponent: i32) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let mut value: i128 = digits.parse().ok()?;
    let exponent = exponent - i32::try_from(fraction.len()).ok()?;
    for _ in 0..exponent {
        value = value.checked_mul(10)?;
    }
    if exponent < 0 {
        // With a divisor of more than 38 digits, every value is rounded up to one.
        let divisor = 10i128.checked_pow(exponent.unsigned_abs()).unwrap_or(i128::MAX);
        value = value / divisor + i128::from(value % divisor != 0);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_parsed() {
        for (text, value) in [
            ("1", 1_000_000_000),
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("5.", 5_000_000_000),
            ("-1", -1_000_000_000),
            ("+2k", 2_000_000_000_000),
            ("100m", 100_000_000),
            ("1Ki", 1_024_000_000_000),
            ("1.5Gi", 1_610_612_736_000_000_000),
            ("1e3", 1_000_000_000_000),
            ("1E-3", 1_000_000),
            ("1n", 1),
            ("0.1n", 1),
        ] {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        for bad in [
            "",
            "m",
            "1 Gi",
            "1gi",
            "1KB",
            "1.2.3",
            "1e",
            "1e+",
            "--1",
            "0x1",
            "1_000",
            "9e99",
            "99999999999999E",
            "1e2147483647",
            "0e1900000000",
            "1e-99",
        ] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_parsed() {
        for (text, value) in [
            ("0", 0),
            ("5ms", 5_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            ("-2m", -120_000_000_000),
            ("1µs2ns", 1_002),
        ] {
            assert_eq!(duration(text), Some(value), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "5d", "1.2.3s", "1s-2s", "99999999999999999999999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
