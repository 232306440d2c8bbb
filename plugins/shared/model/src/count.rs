//! Numbers of things, as people read them.

/// `1 image`, `2 images`, `0 images`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_thing_is_not_many() {
        let shown = [0, 1, 2].map(|count| counted(count, "repository", "repositories"));
        assert_eq!(shown, ["0 repositories", "1 repository", "2 repositories"]);
    }
}
