//! The order of versions, and which version of a template a request without a version gets. This module depends only on
//! text.

use std::cmp::Ordering;

/// How a version competes with the other versions of its template for requests without a version: the highest rank
/// serves. This type is the only place of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank<'v> {
    /// A version that is not a pre-release, in the order of [`compare`].
    Version(Ordered<'v>),
    /// The document without a version.
    WithoutVersion,
    /// A document with `default: true`.
    Default,
}

impl<'v> Rank<'v> {
    /// The rank of a document with this version and this `default`. `None` for a pre-release, which serves only by its
    /// version or with `default: true`.
    pub(super) fn of(version: Option<&'v str>, is_default: bool) -> Option<Self> {
        match version {
            _ if is_default => Some(Self::Default),
            None => Some(Self::WithoutVersion),
            Some(version) if is_pre_release(version) => None,
            Some(version) => Some(Self::Version(Ordered(version))),
        }
    }
}

/// A version, in the order of [`compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordered<'v>(&'v str);

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.0, other.0)
    }
}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns true if `version` is a pre-release: numbers with a suffix, such as `4.2.0-rc1`.
pub(super) fn is_pre_release(version: &str) -> bool {
    Numbers::of(version).is_some_and(|numbers| numbers.suffix.is_some())
}

/// Compares two versions. Numbers rank above versions of another form, and a release above its pre-releases. Versions
/// of another form, and suffixes, have the order of GNU `sort -V`. Versions are equal only if the strings are equal.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let by_form = match (Numbers::of(a), Numbers::of(b)) {
        (Some(a), Some(b)) => a.compare(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    by_form.then_with(|| sort_v(a, b))
}

/// A version of one to three numbers with an optional `v` before and an optional `-suffix` behind. A date has another
/// form.
struct Numbers<'v> {
    /// The numbers with the dots between them.
    numbers: &'v str,
    /// The text after the first hyphen.
    suffix: Option<&'v str>,
}

impl<'v> Numbers<'v> {
    /// `None` if `version` has another form.
    fn of(version: &'v str) -> Option<Self> {
        let version = version.strip_prefix('v').unwrap_or(version);
        let (numbers, suffix) = match version.split_once('-') {
            Some((numbers, suffix)) => (numbers, Some(suffix)),
            None => (version, None),
        };
        let is_valid = numbers.split('.').count() <= 3 && numbers.split('.').all(is_number);
        (is_valid && !is_date(version)).then_some(Self { numbers, suffix })
    }

    fn compare(&self, other: &Self) -> Ordering {
        compare_runs(self.numbers, other.numbers).then_with(|| match (self.suffix, other.suffix) {
            (Some(suffix), Some(other)) => sort_v(suffix, other),
            (suffix, other) => suffix.is_none().cmp(&other.is_none()),
        })
    }
}

/// Returns true for a year and a month, or a year, a month and a day: `2026-01`, `2026-01-31`. The month is not a suffix
/// of the year.
fn is_date(version: &str) -> bool {
    let mut parts = version.split('-');
    let year = parts.next().is_some_and(|year| is_number(year) && year.len() == 4);
    let rest: Vec<&str> = parts.collect();
    year && (1..=2).contains(&rest.len()) && rest.iter().all(|part| is_number(part) && part.len() == 2)
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares two texts in the order of GNU `sort -V`. They are equal only if the strings are equal.
fn sort_v(a: &str, b: &str) -> Ordering {
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
    fn words_are_ordered_as_sort_v_does() {
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
                assert_eq!(sort_v(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Less, "equal as numbers, ordered as text");
    }

    #[test]
    fn numbers_rank_above_words_and_releases_above_their_pre_releases() {
        let sorted = [
            "1.2.3.4",
            "1.2_3",
            "2024-01-02",
            "2026-01",
            "V9",
            "canary",
            "latest",
            "main",
            "v",
            "v1.x",
            "0.9",
            "1-alpha",
            "1",
            "v1",
            "1.0",
            "v1.9",
            "1.10",
            "v2.0.0-alpha",
            "2.0.0-rc1",
            "2.0.0-rc2",
            "2.0.0-rc10",
            "2.0.0",
            "2026-1",
            "2026",
            "99999999999999999999999999",
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        let pre_releases: Vec<&str> = sorted.into_iter().filter(|version| is_pre_release(version)).collect();
        let expected = ["1-alpha", "v2.0.0-alpha", "2.0.0-rc1", "2.0.0-rc2", "2.0.0-rc10", "2026-1"];
        assert_eq!(pre_releases, expected);
        assert!(!is_pre_release("main-1") && !is_pre_release("1.2.3.4-rc1") && is_pre_release("1.0-"));
    }

    /// From the lowest rank to the highest.
    #[test]
    fn default_serves_before_no_version_before_the_highest_release() {
        let documents =
            [(Some("stable"), false), (Some("4.9"), false), (Some("v4.10"), false), (None, false), (Some("4.1"), true)];
        let ranks = documents.map(|(version, is_default)| Rank::of(version, is_default));
        assert!(ranks.is_sorted_by(|one, next| one < next) && ranks[0].is_some(), "{ranks:?}");
        assert_eq!(Rank::of(Some("5.0.0-rc1"), false), None);
        assert_eq!(Rank::of(Some("5.0.0-rc1"), true), Some(Rank::Default));
        assert_eq!(Rank::of(None, true), Some(Rank::Default));
    }
}
