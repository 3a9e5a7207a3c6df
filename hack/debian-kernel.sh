#!/bin/bash
# Fetches Debian's stock kernels for small machines, which tests boot in QEMU: that of the release to build/debian-kernel,
# and the newer one that it has beside that to build/debian-kernel-6.12. Each folder holds vmlinuz and, in
# modules, each of its modules by name. Nothing is installed; a second run finds all of it there.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "debian-kernel: $*" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "needs Debian's apt-get and dpkg-deb, on x86-64"

key=$(sha256sum <"$0" | cut -c1-16)

# download OUT META gets the package that META depends on, unless one is there.
download() {
	local package
	! compgen -G "$1/debs/linux-image-*.deb" >/dev/null || return 0
	package=$(apt-cache depends "$2" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1)
	[ -n "$package" ] && (cd "$1/debs" && apt-get download -qq "$package" >/dev/null 2>&1)
}

# kernel NAME META makes build/NAME of the kernel that META depends on.
kernel() {
	local out=$PWD/build/$1
	[ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || return 0
	mkdir -p "$out/debs"
	download "$out" "$2" || { apt-get update -qq >/dev/null 2>&1 || true; download "$out" "$2"; } || fail "could not download $2 with apt-get"
	rm -rf "$out/root" "$out/modules" "$out/key"
	mkdir -p "$out/root" "$out/modules"
	dpkg-deb -x "$out"/debs/linux-image-*.deb "$out/root"
	cp "$out"/root/boot/vmlinuz-* "$out/vmlinuz"
	find "$out/root/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	find "$out/root/lib/modules" -name '*.ko' -exec mv -t "$out/modules" {} +
	rm -rf "$out/root"
	echo "$key" >"$out/key"
}

kernel debian-kernel linux-image-cloud-amd64
kernel debian-kernel-6.12 linux-image-6.12-cloud-amd64
