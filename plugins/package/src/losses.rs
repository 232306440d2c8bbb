//! How what a form of the definition cannot say is told.

use model::zarf::convert::Loss;

/// Losses that a message lists, more than there are kinds of; more are counted.
const LISTED: usize = 24;

pub(crate) fn listed(losses: &[Loss]) -> String {
    let shown: Vec<String> = losses.iter().take(LISTED).map(|Loss { field, why }| format!("`{field}` {why}")).collect();
    let more = losses.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    shown.join(", ") + &more
}
