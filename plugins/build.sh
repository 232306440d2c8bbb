#!/usr/bin/env bash
# Builds every guest component: the core plugins into target/plugins (the one in
# Go by its own build.sh), the guests of the test suite into target/test-guests. The same toolchain gives
# the same bytes in any folder.
#
# Needs a compiler for wasm32-wasip2: the target of the rustup toolchain, or
# Debian's rustc-web and cargo-web with the standard library built from source.
# Where neither is there, the target is added when rustup's server answers
# within a minute, else Debian's packages are installed where that is allowed.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=$root/target/guests
core=(manifest charts discover zarf-yaml package sbom scan)

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2" ]; }

add_target() {
  command -v rustup >/dev/null || return 1
  # Where the server cannot be reached the command hangs, so it is bounded,
  # and a refusal is remembered for the life of target/.
  [ -e "$root/target/.no-rustup-target" ] && return 1
  if timeout "${RUSTUP_TIMEOUT:-60}" rustup target add wasm32-wasip2 >&2; then return 0; fi
  mkdir -p "$root/target" && touch "$root/target/.no-rustup-target"
  return 1
}

have_debian() { [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust ] && [ -d /usr/lib/wasm32-wasi ] && [ -x /usr/bin/wasm-ld ]; }

install_debian() {
  have_debian && return 0
  command -v apt-get >/dev/null || return 1
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || return 1
    sudo=(sudo -n)
  fi
  "${sudo[@]}" apt-get update -qq >&2 && "${sudo[@]}" apt-get install -y -qq rustc-web cargo-web rust-web-src wasi-libc lld >&2
  have_debian
}

component_linker() {
  local found
  found=$(find "$(rustc --print sysroot)/lib/rustlib" -name wasm-component-ld -type f 2>/dev/null | head -n 1)
  [ -n "$found" ] || found=$(command -v wasm-component-ld || true)
  if [ -z "$found" ]; then
    cargo install --locked --quiet --root "$target/tools" wasm-component-ld >&2
    found=$target/tools/bin/wasm-component-ld
  fi
  echo "$found"
}

# Paths of this machine must not reach the bytes: they are mapped to fixed
# names.
remap="--remap-path-prefix=$root=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
common=(build --release --locked --target wasm32-wasip2 --target-dir "$target")
export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_LTO=true \
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_INCREMENTAL=false CARGO_PROFILE_RELEASE_PANIC=abort
# Function names stay: a trap is reported with its frames.
export CARGO_PROFILE_RELEASE_STRIP=debuginfo

if has_target || { ! have_debian && add_target; }; then
  compile() { RUSTFLAGS="$remap" cargo "${common[@]}" "$@"; }
elif install_debian; then
  linker=$(component_linker)
  flags="-C linker=$linker -C link-self-contained=no -L /usr/lib/wasm32-wasi -C link-arg=--wasm-ld-path=/usr/bin/wasm-ld"
  flags="$flags $remap --remap-path-prefix=/usr/lib/rustlib/src/rust=/rust"
  compile() {
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="$flags" \
      /usr/bin/cargo "${common[@]}" -Zbuild-std=std,panic_abort "$@"
  }
else
  echo "error: no compiler for wasm32-wasip2" >&2
  echo "hint: run \`rustup target add wasm32-wasip2\`, or as root \`apt-get install rustc-web cargo-web rust-web-src wasi-libc lld\`" >&2
  exit 1
fi

# Both sets in one call: their flags for the standard library differ otherwise,
# and it would be compiled twice.
units=(--lib)
for plugin in "${core[@]}"; do units+=(-p "airgap-$plugin"); done
[ "${1:-}" = --core ] || units+=(-p airgap-test-guests --examples)
compile "${units[@]}"

mkdir -p target/plugins target/test-guests
place() { cmp -s "$1" "$2" || { cp "$1" "$2.tmp" && mv "$2.tmp" "$2"; }; }
out=$target/wasm32-wasip2/release
for plugin in "${core[@]}"; do
  place "$out/airgap_${plugin//-/_}.wasm" "target/plugins/$plugin.wasm"
done
plugins/helm-render/build.sh
if [ "${1:-}" != --core ]; then
  for source in tests/guests/examples/*.rs; do
    guest=$(basename "$source" .rs)
    place "$out/examples/$guest.wasm" "target/test-guests/$guest.wasm"
  done
fi
