#!/bin/sh
# pack.sh PROGRAM FOLDER: packs a built program with its manual pages and
# completions, as a tarball and for Debian, into FOLDER, with their checksums.
# The same program gives the same bytes: times are those of SOURCE_DATE_EPOCH, or
# of the last commit.
set -eu
program=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")/../.." && pwd)

case $(LC_ALL=C readelf -h "$program" | sed -n 's/^ *Machine: *//p') in
  *X86-64*) arch=amd64 ;;
  *AArch64*) arch=arm64 ;;
  *) echo "$program is no program for amd64 or arm64" >&2; exit 1 ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/Cargo.toml" | head -n 1)
: "${SOURCE_DATE_EPOCH:=$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
install -D -m 755 "$program" "$root/usr/bin/opencenter-airgap"
"$program" man "$work/man" >/dev/null
mkdir -p "$root/usr/share/man/man1"
for page in "$work"/man/*.1; do
  gzip -9n < "$page" > "$root/usr/share/man/man1/$(basename "$page").gz"
done
completions() {
  mkdir -p "$root/usr/share/$2" && "$program" completions "$1" > "$root/usr/share/$2/$3"
}
completions bash bash-completion/completions opencenter-airgap
completions zsh zsh/vendor-completions _opencenter-airgap
completions fish fish/vendor_completions.d opencenter-airgap.fish
doc=$root/usr/share/doc/opencenter-airgap
install -D -m 644 "$here/LICENSE" "$doc/copyright"
install -D -m 644 "$here/docs/carry-and-install.md" "$doc/carry-and-install.md"

# --- The tarball: what a node without a package manager takes ------------------
name=opencenter-airgap-$version-linux-$arch
mkdir -p "$work/$name/man" "$work/$name/completions"
install -m 755 "$program" "$work/$name/opencenter-airgap"
install -m 644 "$work"/man/*.1 "$work/$name/man/"
install -m 644 "$root"/usr/share/bash-completion/completions/* "$root"/usr/share/zsh/vendor-completions/* \
  "$root"/usr/share/fish/vendor_completions.d/* "$work/$name/completions/"
install -m 644 "$here/LICENSE" "$here/docs/carry-and-install.md" "$work/$name/"
tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
  -C "$work" -cf - "$name" | gzip -9n > "$out/$name.tar.gz"

# --- Debian and Ubuntu ---------------------------------------------------------
mkdir -p "$root/DEBIAN"
size=$(du -sk --apparent-size "$root/usr" | cut -f 1)
cat > "$root/DEBIAN/control" <<CONTROL
Package: opencenter-airgap
Version: $version
Architecture: $arch
Maintainer: openCenter <https://github.com/opencenter-cloud>
Installed-Size: $size
Suggests: git
Section: admin
Priority: optional
Description: builds one Zarf package for a platform without a network
 Builds, on a connected host, one package with everything that a Kubernetes
 platform needs behind an air gap, and verifies, inspects, serves and pushes it
 where it arrives. The program is static and needs no other package; to build,
 it runs git.
CONTROL
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) > "$root/DEBIAN/md5sums"
deb=opencenter-airgap_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/$deb" >/dev/null

cd "$out"
sha256sum "$deb" "$name.tar.gz" > SHA256SUMS
cat SHA256SUMS
