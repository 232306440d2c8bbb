//! The names of layers, of which only what they hide is of interest, and the room
//! that all of them have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xxhash_rust::xxh64::xxh64;

/// For the names of layers that are held at the same time.
#[derive(Clone, Debug)]
pub struct Room {
    left: Arc<AtomicUsize>,
    most: usize,
}

impl Room {
    /// For so many, each of eight bytes.
    pub fn new(most: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(most)), most }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// Room that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    count: usize,
}

impl Taken {
    pub(super) fn none(room: &Room) -> Self {
        Self { room: room.clone(), count: 0 }
    }

    /// Whether there was as much left.
    pub(super) fn add(&mut self, count: usize) -> bool {
        let take = |left: usize| left.checked_sub(count);
        let is_taken = self.room.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        self.count += if is_taken { count } else { 0 };
        is_taken
    }

    /// How many names the room was made for.
    pub(super) fn most(&self) -> usize {
        self.room.most
    }

    /// Leaves nothing here.
    pub(super) fn all(&mut self) -> Self {
        Self { room: self.room.clone(), count: std::mem::take(&mut self.count) }
    }

    fn give_back(&mut self, count: usize) {
        self.room.left.fetch_add(count, Ordering::Relaxed);
        self.count -= count;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(self.count);
    }
}

/// The names of a layer, each as eight bytes of a hash.
#[derive(Debug)]
pub struct Names {
    hashes: Vec<u64>,
    _taken: Taken,
}

pub(super) fn name_of(path: &str, is_directory: bool) -> u64 {
    xxh64(path.as_bytes(), u64::from(is_directory))
}

impl Names {
    pub(super) fn of(mut hashes: Vec<u64>, mut taken: Taken) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        taken.give_back(taken.count.saturating_sub(hashes.len()));
        Self { hashes, _taken: taken }
    }

    fn has(&self, path: &str, is_directory: bool) -> bool {
        self.hashes.binary_search(&name_of(path, is_directory)).is_ok()
    }

    /// Whether the layer removes or replaces what layers below it have at
    /// `path`: by the same name, by a removal of it or of a folder above it, or
    /// by something that is no folder in a folder's place.
    pub fn hides(&self, path: &str) -> bool {
        let path = rooted(path);
        if self.hashes.is_empty() {
            return false;
        }
        if self.has(&path, false) || self.has(&path, true) {
            return true;
        }
        let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        ends.push(path.len());
        ends.windows(2).any(|ends| {
            let (folder, name) = (&path[..ends[0]], &path[ends[0] + 1..ends[1]]);
            let is_above = ends[1] < path.len();
            self.has(&format!("{folder}/.wh.{name}"), false)
                || self.has(&format!("{folder}/.wh..wh..opq"), false)
                || (is_above && self.has(&path[..ends[1]], false))
        })
    }

    /// To be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|name| name.to_le_bytes()).collect()
    }

    /// What was kept; the bytes are those that were written. None where there
    /// is no room for them.
    pub fn from_bytes(bytes: &[u8], room: &Room) -> Option<Self> {
        let hashes = bytes.as_chunks::<8>().0;
        let mut taken = Taken::none(room);
        let has_room = taken.add(hashes.len());
        has_room.then(|| Self { hashes: hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect(), _taken: taken })
    }
}

/// As seen from the root of the image, with a `/` in front: `.` and `..` lead
/// nowhere.
pub(super) fn rooted(path: &str) -> String {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let mut rooted = String::with_capacity(path.len() + 1);
    if path.split('/').all(is_plain) {
        rooted.push('/');
        rooted.push_str(path);
        return rooted;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().for_each(|part| {
        rooted.push('/');
        rooted.push_str(part);
    });
    if rooted.is_empty() { "/".to_owned() } else { rooted }
}
