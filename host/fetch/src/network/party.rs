//! Who asks a server, where something of what it says is remembered.
//!
//! A server says how it wants to be spoken to, when to come back, that it has
//! nothing. What it says to a guest it may say because the guest, or whoever
//! holds the path that the guest asks below, wants it to: it holds for this
//! guest alone. Whatever is kept of servers is kept in a [`PerParty`], which
//! nobody reads without saying who asks.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use entitlement::grants::Restriction;

/// Who asks. The host's own steps and the core plugins are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Party {
    #[default]
    Host,
    /// A plugin that is held to what it was granted.
    Guest(Arc<str>),
}

impl Party {
    pub(super) fn of(reach: Option<&Restriction>) -> Self {
        reach.map_or(Self::Host, |reach| Self::Guest(reach.who().clone()))
    }

    pub(super) fn is_guest(&self) -> bool {
        *self != Self::Host
    }
}

/// What is known of servers, by who learnt it and by name.
#[derive(Debug)]
pub(super) struct PerParty<V>(Mutex<HashMap<(Party, String), V>>);

impl<V> Default for PerParty<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> PerParty<V> {
    pub(super) fn get(&self, party: &Party, name: &str) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(party.clone(), name.to_owned())).cloned()
    }

    pub(super) fn set(&self, party: &Party, name: &str, value: V) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((party.clone(), name.to_owned()), value);
    }

    /// What is known, or `new` from now on.
    pub(super) fn or_insert_with(&self, party: &Party, name: &str, new: impl FnOnce() -> V) -> V {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((party.clone(), name.to_owned())).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_party_learnt_no_other_knows() {
        let known = PerParty::default();
        let guests = ["a", "b"].map(|name| Party::Guest(name.into()));
        known.set(&guests[0], "h.example", 1);
        assert_eq!(known.or_insert_with(&guests[1], "h.example", || 2), 2);
        assert_eq!(known.get(&Party::Host, "h.example"), None);
        assert_eq!([&guests[0], &guests[1]].map(|guest| known.get(guest, "h.example")), [Some(1), Some(2)]);
        assert_eq!(known.get(&guests[0], "i.example"), None);
    }
}
