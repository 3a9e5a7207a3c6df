#!/bin/bash
# Fetches Debian's stock kernel for small machines, which tests boot in QEMU, to build/debian-kernel: vmlinuz
# and, in modules, each of its modules by name. Nothing is installed; a second run finds all of it there.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/build/debian-kernel
fail() { echo "debian-kernel: $*" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "needs Debian's apt-get and dpkg-deb, on x86-64"

key=$(sha256sum <"$0" | cut -c1-16)
[ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || exit 0

# download gets the newest kernel's package, unless one is there.
download() {
	local package
	! compgen -G "$out/debs/linux-image-*.deb" >/dev/null || return 0
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1)
	[ -n "$package" ] && (cd "$out/debs" && apt-get download -qq "$package" >/dev/null 2>&1)
}
mkdir -p "$out/debs"
download || { apt-get update -qq >/dev/null 2>&1 || true; download; } || fail "could not download linux-image-cloud-amd64 with apt-get"

rm -rf "$out/root" "$out/modules" "$out/key"
mkdir -p "$out/root" "$out/modules"
dpkg-deb -x "$out"/debs/linux-image-*.deb "$out/root"
cp "$out"/root/boot/vmlinuz-* "$out/vmlinuz"
find "$out/root/lib/modules" -name '*.ko' -exec mv -t "$out/modules" {} +
rm -rf "$out/root"
echo "$key" >"$out/key"
