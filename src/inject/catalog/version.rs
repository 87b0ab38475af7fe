//! The order of versions, which is that of GNU `sort -V`. This module depends only on text.

use std::cmp::Ordering;

/// Compares two versions in the order of GNU `sort -V`. They are equal only if the strings are equal.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    compare_runs(without_suffix(a), without_suffix(b)).then_with(|| compare_runs(a, b)).then_with(|| a.cmp(b))
}

/// Removes suffixes that look like file extensions, `(\.[A-Za-z~][A-Za-z0-9~]*)*$`. `filevercmp` compares the rest
/// first.
fn without_suffix(version: &str) -> &str {
    let mut rest = version;
    while let Some((before, ending)) = rest.rsplit_once('.') {
        let is_ending = ending.starts_with(|c: char| c.is_ascii_alphabetic())
            && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_ending || before.is_empty() {
            break;
        }
        rest = before;
    }
    rest
}

/// Compares alternating runs: non-digits by character, with letters before other characters, and digits as numbers.
fn compare_runs(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) = (take(&mut a, false), take(&mut b, false));
        let order = (0..text_a.len().max(text_b.len()))
            .map(|at| weight(text_a.get(at)).cmp(&weight(text_b.get(at))))
            .find(|order| order.is_ne());
        if let Some(order) = order {
            return order;
        }
        let (digits_a, digits_b) = (take(&mut a, true), take(&mut b, true));
        let (digits_a, digits_b) = (without_zeros(digits_a), without_zeros(digits_b));
        let order = digits_a.len().cmp(&digits_b.len()).then_with(|| digits_a.cmp(digits_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Removes the leading run of digits from `text` and returns it; if `digits` is false, the leading run of other bytes.
fn take<'t>(text: &mut &'t [u8], digits: bool) -> &'t [u8] {
    let end = text.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

/// The sort key of a byte in a run of non-digits: the end of the run before letters, letters before other bytes.
fn weight(byte: Option<&u8>) -> u16 {
    match byte {
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => u16::from(*byte),
        Some(byte) => u16::from(*byte) + 256,
    }
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    &digits[first..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_sort_v_does() {
        // The output of `printf … | LC_ALL=C sort -V` (GNU coreutils 9.1).
        let sorted = [
            "1.0",
            "1.0.a1.b",
            "1.0.rc",
            "1.0-rc1",
            "1.0-rc2",
            "1.0.0",
            "1.0.0-rc1",
            "1.0.1",
            "1.0_1",
            "1.2",
            "1.10",
            "2",
            "4.1",
            "4.9",
            "4.10",
            "4.10-rc.1",
            "10",
            "2024-01-02",
            "2024.1",
            "a",
            "canary",
            "latest",
            "main",
            "v1.9",
            "v1.10",
            "v4.2",
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Less, "equal as numbers, ordered as text");
    }
}
