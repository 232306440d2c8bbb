//! WASI for everyone, inert: a guest's standard library imports all of it.
//!
//! No environment, arguments, directories or sockets. The clock stands at the
//! build's epoch, randomness follows from the plugin's digest and the step,
//! and sleeping takes no time: it moves the guest's own clock.

use std::time::Duration;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{
    Deterministic, FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait,
};

use super::call::Call;
use super::clock::VirtualClock;
use super::console::Console;
use super::directories::Directories;
use super::files;
use super::limits::RANDOM_BYTES;
use base::digest::Digest;

/// Links every interface of WASI 0.2, with our own monotonic clock and files.
pub(super) fn link(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    files::link(linker)?;
    monotonic_clock::add_to_linker::<Call, Clocks>(linker, |call| ClockView {
        clock: &call.clock,
        table: &mut call.table,
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

impl WasiView for Call {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What one call sees.
pub(super) fn context(
    epoch: u64,
    seed: Digest,
    console: &Console,
    clock: &VirtualClock,
    directories: Option<&Directories>,
) -> wasmtime::Result<WasiCtx> {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(console.clone())
        .stderr(console.clone())
        .wall_clock(FixedClock(Duration::from_secs(epoch)))
        .monotonic_clock(clock.clone())
        .secure_random(stream(seed, "secure"))
        .insecure_random(stream(seed, "insecure"))
        .insecure_random_seed(u128::from_le_bytes(seed.as_bytes()[..16].try_into().unwrap_or_default()))
        .max_random_size(RANDOM_BYTES)
        // File operations end before the call does: none can outlive it.
        .allow_blocking_current_thread(true);
    for (path, name, writable) in directories.map(Directories::preopens).unwrap_or_default() {
        let permissions = if writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder.preopened_dir(path, name, permissions)?;
    }
    Ok(builder.build())
}

/// Bytes that follow from the seed; they repeat after 4 KiB.
fn stream(seed: Digest, purpose: &str) -> Deterministic {
    let block = |n: u8| *Digest::of(&[seed.as_bytes().as_slice(), purpose.as_bytes(), &[n]].concat()).as_bytes();
    Deterministic::new((0..128).flat_map(block).collect())
}

struct FixedClock(Duration);

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

struct Clocks;

impl HasData for Clocks {
    type Data<'a> = ClockView<'a>;
}

struct ClockView<'a> {
    clock: &'a VirtualClock,
    table: &'a mut ResourceTable,
}

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.look())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let alarm = self.table.push(Alarm { clock: self.clock.clone(), when })?;
        subscribe(self.table, alarm)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let when = self.clock.look().saturating_add(duration);
        self.subscribe_instant(when)
    }
}

/// Goes off at once, and then it is that late.
struct Alarm {
    clock: VirtualClock,
    when: u64,
}

#[async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        self.clock.sleep_until(self.when);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime_wasi::p2::bindings::random::random::Host;

    /// A guest asks for a number; the host would make as many bytes.
    #[test]
    fn so_much_chance_at_once_and_no_more() {
        let mut context = context(0, Digest::of(b""), &Console::new(0, 0), &VirtualClock::default(), None).unwrap();
        let given = context.random().get_random_bytes(RANDOM_BYTES).unwrap();
        assert_eq!(given.len() as u64, RANDOM_BYTES);
        assert!(context.random().get_random_bytes(RANDOM_BYTES + 1).is_err());
    }
}
