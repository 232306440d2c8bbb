#!/usr/bin/env bash
# Installs from Debian what the tests use and this machine lacks: as root, or
# with sudo where it asks for no password. Otherwise says what is missing;
# tests that need it then say SKIPPED, and fail under CI=true. Arguments name
# more of them, each `program=package`.
set -euo pipefail

# program=package
wanted=(docker-registry=docker-registry skopeo=skopeo umoci=umoci git=git zstd=zstd jq=jq unshare=util-linux ip=iproute2
  c++=g++ containerd=containerd ctr=containerd podman=podman "$@")

missing=()
for pair in "${wanted[@]}"; do
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

give_up() {
  echo "warning: not installed: ${missing[*]} ($1)" >&2
  echo "hint: as root, run \`apt-get install ${missing[*]}\`; tests that need them are skipped until then" >&2
  exit 0
}

command -v apt-get >/dev/null || give_up "this is not Debian"
sudo=()
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null || give_up "not root, and sudo asks for a password"
  sudo=(sudo -n)
fi
export DEBIAN_FRONTEND=noninteractive
# docker-registry's package starts a service on port 5000, which the tests
# have no use for: they start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod +x "$policy"
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
fi
"${sudo[@]}" apt-get update -qq || give_up "apt-get update failed"
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" || give_up "apt-get install failed"
