#!/bin/sh
# Builds the program that travels: static, so that it runs on a machine with
# another C library or none, and packs it (pack.sh). Leaves target/packages/.
#
# The C library is musl. Where rustup cannot bring it, or nothing compiles C for
# it, the one of this machine is linked in: that is said, and the program needs
# no other file either.
set -eu
cd "$(dirname "$0")/../.."

machine=$(uname -m)
musl=$machine-unknown-linux-musl
has_musl() { rustup target list --installed 2>/dev/null | grep -qx "$musl"; }
if ! has_musl && command -v rustup >/dev/null; then
  rustup target add "$musl" >&2 || echo "rustup cannot bring $musl" >&2
fi
# Says itself what it could not install.
command -v musl-gcc >/dev/null || tests/install-tools.sh musl-gcc=musl-tools

# Nobody has to know where it was compiled.
flags="--remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
if has_musl && command -v musl-gcc >/dev/null; then
  target=$musl
  under=$(echo "$target" | tr - _)
  export "CC_$under=musl-gcc"
else
  target=$machine-unknown-linux-gnu
  flags="$flags -C target-feature=+crt-static"
  echo "musl is not at hand ($musl, musl-gcc): the C library of this machine is linked in" >&2
fi
# Of the target alone: programs that run while it is built stay as they are.
export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_RUSTFLAGS=$flags"
${CARGO:-cargo} build --profile dist --locked -p opencenter-airgap --target "$target"

program=target/$target/dist/opencenter-airgap
# Whatever is linked would be looked for on the node.
if LC_ALL=C readelf -l "$program" | grep -q INTERP; then
  echo "$program needs a loader: it is not static" >&2
  exit 1
fi
rm -rf target/packages
host/packaging/pack.sh "$program" target/packages
