//! The known names that a mistyped one may have meant.

/// At most three names, the nearest first: those that differ in few letters, and those that are the same
/// in another namespace.
pub(super) fn among<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let apart = |name: &str| {
        name.rsplit_once('/').map_or(("".to_owned(), name.to_owned()), |(rest, own)| (rest.to_owned(), own.to_owned()))
    };
    let (rest, own) = apart(asked);
    let allowed = |text: &str| 1 + text.chars().count() / 4;
    let rank = |name: &str| {
        let (its_rest, its_own) = apart(name);
        let (rests, owns) = (distance(&rest, &its_rest), distance(&own, &its_own));
        match (owns, rests) {
            (0, _) => Some(1),
            _ if owns <= allowed(&own) && rests <= allowed(&rest) => Some(owns + rests),
            _ => None,
        }
    };
    let mut ranked: Vec<(usize, &str)> = known.into_iter().filter_map(|name| Some((rank(name)?, name))).collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// The Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{among, distance};

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, wanted) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "ab", 1), ("kitten", "sitting", 3), ("", "xy", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (wanted, wanted), "{a} {b}");
        }
    }

    #[test]
    fn near_names_and_same_names_elsewhere_are_offered() {
        let known = ["production/db", "production/api", "checkout/cart", "staging/db"];
        assert_eq!(among("production/dbb", known), ["production/db"]);
        assert_eq!(among("default/db", known), ["production/db", "staging/db"]);
        assert_eq!(among("x/unlike-anything", known), Vec::<String>::new());
    }
}
