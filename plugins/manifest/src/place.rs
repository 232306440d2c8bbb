//! Where a new entry of a list goes.

/// Where a new entry goes: behind the nearest one that the generation puts
/// before it, else in front of the nearest one that it puts behind it.
pub fn place<'a, T>(
    list: &[T],
    before: impl Iterator<Item = &'a str>,
    after: impl Iterator<Item = &'a str>,
    is: impl Fn(&T, &str) -> bool,
) -> usize {
    let position = |name: &str| list.iter().rposition(|entry| is(entry, name));
    for name in before {
        if let Some(found) = position(name) {
            return found + 1;
        }
    }
    for name in after {
        if let Some(found) = list.iter().position(|entry| is(entry, name)) {
            return found;
        }
    }
    list.len()
}
