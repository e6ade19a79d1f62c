//! Names that are like one that is not there.

/// Most names that are compared.
const MANY: usize = 10_000;
/// Most names that are given.
const FEW: usize = 5;

/// The names that are most like `wanted`, the best first; in letters of any case.
pub(crate) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut found: Vec<(usize, &str)> = names
        .take(MANY)
        .filter_map(|name| {
            let lower = name.to_lowercase();
            if lower.contains(&wanted) {
                return Some((0, name));
            }
            let last = lower.rsplit('/').next().unwrap_or(&lower);
            let far = distance(&wanted, last).min(distance(&wanted, &lower));
            (far <= wanted.chars().count() / 3).then_some((far, name))
        })
        .collect();
    found.sort();
    found.truncate(FEW);
    found.into_iter().map(|f| f.1.to_owned()).collect()
}

/// Levenshtein's distance, of names of at most 200 characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(200).collect(), b.chars().take(200).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let names = ["model-Q4_K_M.gguf", "model-Q8_0.gguf", "README.md"];
        let found = |wanted| near(wanted, names.into_iter());
        assert_eq!(found("Q4_K"), ["model-Q4_K_M.gguf"]);
        assert_eq!(found("modle-Q8_0.gguf"), ["model-Q8_0.gguf"]);
        assert_eq!(found("readme.md"), ["README.md"]);
        assert!(found("config.json").is_empty());
    }
}
