//! Memory of one call, summed over everything that grows.

use wasmtime::ResourceLimiter;

use super::limits::{INSTANCES, TABLE_ELEMENTS};

/// Counts what linear memories and tables take, and remembers a refusal: a
/// guest that was refused memory usually traps right after, without a word.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: usize,
    elements: usize,
    refused: Option<usize>,
}

impl Budget {
    /// `limit` in bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0, elements: 0, refused: None }
    }

    /// Bytes.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes the guest would have had with what it was refused last.
    pub(super) fn refused(&self) -> Option<usize> {
        self.refused
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        if wanted > self.limit {
            self.refused = Some(wanted);
            return Ok(false);
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.elements.saturating_add(desired.saturating_sub(current));
        let allowed = wanted <= TABLE_ELEMENTS;
        if allowed {
            self.elements = wanted;
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        INSTANCES
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Linker};
    use wasmtime::{Engine, Store};

    use super::*;

    #[test]
    fn the_limit_holds_over_all_memories_together() {
        let mut budget = Budget::new(100);
        assert!(budget.memory_growing(0, 60, None).unwrap());
        assert!(budget.memory_growing(0, 40, None).unwrap());
        assert_eq!(budget.refused(), None);
        assert!(!budget.memory_growing(40, 41, None).unwrap());
        assert_eq!(budget.refused(), Some(101));
    }

    #[test]
    fn the_elements_of_all_tables_are_counted_together() {
        let mut budget = Budget::new(100);
        assert!(budget.table_growing(0, TABLE_ELEMENTS - 10, None).unwrap());
        assert!(budget.table_growing(0, 10, None).unwrap());
        assert!(!budget.table_growing(10, 11, None).unwrap());
    }

    /// So many instances of a module that is empty.
    fn component_of(instances: usize) -> Vec<u8> {
        let module = b"\0asm\x01\0\0\0";
        let count = [(instances & 0x7f) as u8 | 0x80, (instances >> 7) as u8];
        let made = [count.as_slice(), &[0; 3].repeat(instances)].concat();
        let length = [(made.len() & 0x7f) as u8 | 0x80, (made.len() >> 7) as u8];
        [b"\0asm\x0d\0\x01\0".as_slice(), &[1, 8], module, &[2], &length, &made].concat()
    }

    #[test]
    fn a_component_makes_so_many_instances_and_no_more() {
        let engine = Engine::default();
        let instantiate = |count| {
            let component = Component::new(&engine, component_of(count)).unwrap();
            let mut store = Store::new(&engine, Budget::new(0));
            store.limiter(|budget| budget);
            Linker::new(&engine).instantiate(&mut store, &component).map(|_| ())
        };
        instantiate(INSTANCES).unwrap();
        assert!(format!("{:?}", instantiate(INSTANCES + 1).unwrap_err()).contains("instance count too high"));
    }
}
