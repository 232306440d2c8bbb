#!/usr/bin/env bash
# Builds the core plugin helm-render into target/plugins: Helm's template engine,
# compiled by standard Go to a core module and wrapped as a component.
#
# Needs Go as go.mod names it, and its modules: from the module proxy that Go is
# configured with, or from its cache. What was built from the same sources by the
# same Go is not built again.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
own=$root/plugins/helm-render
made=$root/target/guests/helm-render
out=$root/target/plugins/helm-render.wasm
needed=$(sed -n 's/^go //p' "$own/go.mod")

# `go1.26.0`; nothing where there is no Go. Outside of a module, which may ask for
# another one.
go_version() { if command -v go >/dev/null; then (cd / && go env GOVERSION); fi; }

can_build() {
  local have
  have=$(go_version)
  [ -n "$have" ] || return 1
  [ "$(printf '%s\n' "$needed" "${have#go}" | sort -V | head -n 1)" = "$needed" ] && return 0
  # From 1.21 on the newer toolchain is fetched, where that is allowed.
  case $(cd / && go env GOTOOLCHAIN) in auto* | *+auto) [[ $have =~ ^go1\.(2[1-9]|[3-9][0-9]) ]] ;; *) return 1 ;; esac
}

# Where Debian's is new enough, or fetches the one that is.
install_go() {
  command -v apt-get >/dev/null || return 1
  local sudo=() candidate
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || return 1
    sudo=(sudo -n)
  fi
  candidate=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^ *Candidate: *[0-9]*:*\([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 1.21 "${candidate:-0}" | sort -V | head -n 1)" = 1.21 ] || return 1
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends golang-go >&2 && can_build
}

sources() { find "$own" "$root/wit" "$root/host/workbench" -type f ! -name '*.md' -print0 | sort -z | xargs -0 sha256sum; }
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# What it is made of: all that may change its bytes.
made_of() { { sources; echo "$version"; go_version; } | sha256sum; }
[ -f "$out" ] && [ "$(cat "$made/built" 2>/dev/null)" = "$(made_of)" ] && exit 0

if ! can_build && ! install_go; then
  echo "error: Go $needed or newer is not installed; the plugin helm-render is compiled by it" >&2
  echo "hint: install it from https://go.dev/dl/ and put its bin/ on the PATH" >&2
  exit 1
fi

# Of what is compiled now, whatever is written meanwhile.
digest=$(made_of)
# It works for a second, and is not worth being compiled well.
tool() { CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=false cargo run --quiet --release --locked --target-dir "$root/target/guests" -p airgap-workbench --example go-step -- "$@"; }

rm -rf "$made/module" && mkdir -p "$made/module" "$root/target/plugins"
cp -R "$own/." "$made/module/"
tool bindings helm-render "$made/module"
# Paths of this machine must not reach the bytes.
(cd "$made/module" && GOOS=wasip1 GOARCH=wasm GOFLAGS= GOWORK=off go build -mod=readonly -trimpath -buildvcs=false \
  -buildmode=c-shared -ldflags="-checklinkname=0 -s -w -X helm-render/step.Version=$version" -o "$made/core.wasm" .) || {
  echo "hint: the modules of go.sum come from GOPROXY ($(cd / && go env GOPROXY)); behind a mirror, set it with \`go env -w GOPROXY=…\`" >&2
  exit 1
}
tool componentize "$made/core.wasm" "$made/component.wasm"
cmp -s "$made/component.wasm" "$out" || mv "$made/component.wasm" "$out"
echo "$digest" >"$made/built"
