//! Rows of values such that each two values of different factors are together in a row. Most faults need one value or
//! two, and such rows are far fewer than all combinations.

use std::collections::BTreeSet;

/// A value of a factor: the index of the factor, and the index of the value.
type FactorValue = (usize, usize);

/// Returns rows with one value for each factor. `sizes` are the numbers of values. The first row has the value 0
/// everywhere, and 0 fills a row where nothing else is needed. `is_possible` returns false for a row that must not
/// occur; a row must stay possible if some of its values are replaced by 0.
pub(super) fn rows(sizes: &[usize], is_possible: impl Fn(&[usize]) -> bool) -> Vec<Vec<usize>> {
    let plain = vec![0; sizes.len()];
    let mut missing = all_pairs(sizes);
    missing.retain(|pair| is_possible(&with_pair(&plain, *pair)));
    missing.retain(|pair| !has(&plain, *pair));
    let mut rows = vec![plain.clone()];
    while let Some(pair) = missing.first().copied() {
        let mut row = with_pair(&plain, pair);
        let mut decided = vec![pair.0.0, pair.1.0];
        for factor in 0..sizes.len() {
            if decided.contains(&factor) {
                continue;
            }
            let gain = |value: usize| {
                let new = |other: &&usize| missing.contains(&ordered((**other, row[**other]), (factor, value)));
                decided.iter().filter(new).count()
            };
            let possible = (0..sizes[factor]).filter(|value| {
                let mut row = row.clone();
                row[factor] = *value;
                is_possible(&row)
            });
            // Of values with the same gain, the first is taken.
            row[factor] = possible.rev().max_by_key(|value| gain(*value)).unwrap_or(0);
            decided.push(factor);
        }
        missing.retain(|pair| !has(&row, *pair));
        rows.push(row);
    }
    rows
}

fn all_pairs(sizes: &[usize]) -> BTreeSet<(FactorValue, FactorValue)> {
    let values: Vec<FactorValue> =
        sizes.iter().enumerate().flat_map(|(factor, size)| (0..*size).map(move |value| (factor, value))).collect();
    let pairs = values.iter().flat_map(|one| values.iter().map(move |other| (*one, *other)));
    pairs.filter(|(one, other)| one.0 < other.0).collect()
}

fn ordered(one: FactorValue, other: FactorValue) -> (FactorValue, FactorValue) {
    if one.0 < other.0 { (one, other) } else { (other, one) }
}

fn with_pair(row: &[usize], (one, other): (FactorValue, FactorValue)) -> Vec<usize> {
    let mut row = row.to_vec();
    row[one.0] = one.1;
    row[other.0] = other.1;
    row
}

fn has(row: &[usize], (one, other): (FactorValue, FactorValue)) -> bool {
    row[one.0] == one.1 && row[other.0] == other.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_in_a_row_and_there_are_few_rows() {
        let sizes = [3, 2, 3, 2, 4, 3, 2, 2];
        let rows = rows(&sizes, |_| true);
        assert_eq!(rows[0], [0; 8]);
        assert!(all_pairs(&sizes).iter().all(|pair| rows.iter().any(|row| has(row, *pair))));
        assert!(rows.len() < 20, "{} rows instead of 1,728", rows.len());
    }

    #[test]
    fn impossible_pairs_are_left_out() {
        let is_possible = |row: &[usize]| !(row[0] == 1 && row[2] == 1);
        let rows = rows(&[2, 3, 2], is_possible);
        assert!(rows.iter().all(|row| is_possible(row)), "{rows:?}");
        assert!(rows.iter().any(|row| row[0] == 1) && rows.iter().any(|row| row[2] == 1), "{rows:?}");
    }

    #[test]
    fn one_factor_has_a_row_for_nothing_but_its_first_value() {
        assert_eq!(rows(&[1, 1], |_| true), [[0, 0]]);
    }
}
