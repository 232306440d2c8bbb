//! What both forms do alike where one component is laid over another.

use std::collections::BTreeSet;

/// Each text once, in order.
pub(super) fn once(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(text.clone())).collect()
}

/// `over`, where it says anything.
pub(super) fn replace(text: &mut String, over: String) {
    if !over.is_empty() {
        *text = over;
    }
}
