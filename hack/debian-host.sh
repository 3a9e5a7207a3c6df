#!/bin/bash
# Makes disks for the test of Debian hosts, in build/debian-host: udev has systemd-udevd with its rules and libraries, to be
# the root of that; btrfs and xfs are empty file systems. Nothing is installed; a second run finds them there.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/build/debian-host
fail() { echo "debian-host: $*" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "needs Debian's apt-get and dpkg-deb, on x86-64"

key=$(sha256sum <"$0" | cut -c1-16)
[ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || exit 0

udev=(udev dmsetup libacl1 libblkid1 libcap2 libkmod2 libselinux1 libc6 libzstd1 liblzma5 libssl3 libpcre2-8-0 libdevmapper1.02.1 libudev1)
mkfs=(btrfs-progs liblzo2-2 libuuid1 zlib1g xfsprogs libinih1 liburcu8)

# fetch downloads a package unless it is there.
fetch() {
	compgen -G "$out/debs/$1_*.deb" >/dev/null || (cd "$out/debs" && apt-get download -qq "$1" >/dev/null 2>&1)
}
get_all() {
	local p
	for p in "${udev[@]}" "${mkfs[@]}"; do fetch "$p" || return 1; done
}
mkdir -p "$out/debs"
get_all || { apt-get update -qq >/dev/null 2>&1 || true; get_all; } || fail "could not download ${udev[*]} ${mkfs[*]} with apt-get"

rm -rf "$out/root" "$out/key" "$out"/{udev,btrfs,xfs}
# unpack unpacks packages to root/NAME, without what nobody looks at there.
unpack() {
	local name=$1 p
	shift
	mkdir -p "$out/root/$name"
	for p in "$@"; do dpkg-deb -x "$out"/debs/"${p}"_*.deb "$out/root/$name"; done
	rm -rf "$out/root/$name"/usr/{share,lib/x86_64-linux-gnu/gconv}
}
unpack udev "${udev[@]}"
unpack mkfs "${udev[@]}" "${mkfs[@]}"

mkdir -p "$out"/root/udev/{dev,proc,sys,run,etc}
gid=0
for group in root tty dialout kmem input video render sgx audio lp disk cdrom tape kvm; do
	echo "$group:x:$((gid++)):" >>"$out/root/udev/etc/group" # of the rules
done
/usr/sbin/mke2fs -q -t ext4 -d "$out/root/udev" "$out/udev" 64M >/dev/null
mkfs() {
	LD_LIBRARY_PATH=$out/root/mkfs/lib/x86_64-linux-gnu:$out/root/mkfs/usr/lib/x86_64-linux-gnu "$@" >"$out/mkfs.log" 2>&1 || fail "$1: $(cat "$out/mkfs.log")"
}
truncate -s 256M "$out/btrfs"
mkfs "$out/root/mkfs/sbin/mkfs.btrfs" "$out/btrfs"
truncate -s 300M "$out/xfs"
mkfs "$out/root/mkfs/sbin/mkfs.xfs" "$out/xfs"
rm -rf "$out/root"
echo "$key" >"$out/key"
