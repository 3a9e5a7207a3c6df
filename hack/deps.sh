#!/bin/bash
# Installs what the demo, the benchmark or the tests (all, the default) call besides Go,
# as far as it is missing: hack/deps.sh [demo|bench]
set -euo pipefail
cd "$(dirname "$0")/.."
debs=build/debs

# Debian packages, and a file of each that shows that it is there.
packages=(
	gnupg:/usr/bin/gpg
	erofs-utils:/usr/bin/mkfs.erofs
	busybox-static:/bin/busybox
	python3-minimal:/usr/bin/python3
	bzip2:/bin/bzip2
	xz-utils:/usr/bin/xz
	zstd:/usr/bin/zstd
	lz4:/usr/bin/lz4
	skopeo:/usr/bin/skopeo
	umoci:/usr/bin/umoci
	buildah:/usr/bin/buildah
	libdevmapper1.02.1:/lib/x86_64-linux-gnu/libdevmapper.so.1.02.1
	strace:/usr/bin/strace
	crun:/usr/bin/crun
	passt:/usr/bin/pasta
	openssl:/usr/bin/openssl
	swtpm:/usr/bin/swtpm
	e2fsprogs:/usr/sbin/mke2fs
	qemu-system-x86:/usr/bin/qemu-system-x86_64
	uidmap:/usr/bin/newuidmap
	containernetworking-plugins:/usr/lib/cni/bridge
	iptables:/usr/sbin/iptables
)

# Packages whose files go into images of the tests. They are not installed: their
# servers would start. Of docker-registry the program alone is used; docker's daemon runs from
# build/tools/docker.
unpacked=(nginx nginx-common redis-server redis-tools libjemalloc2 liblzf1 libatomic1 docker-registry
	docker.io containerd runc)
if [ "${1:-}" = demo ]; then
	packages=(gnupg:/usr/bin/gpg)
	unpacked=()
elif [ "${1:-}" = bench ]; then
	packages+=(gcc:/usr/bin/cc libc6-dev:/usr/include/stdio.h) # for a peer in C
fi

# cosign signs images in the tests of package trust. Debian has none; it is built without
# optimization, which halves the time that takes.
cosign=github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5
if [ "${1:-}" != demo ] && [ ! -e "build/tools/${cosign##*@}/cosign" ]; then
	echo "deps: building $cosign, which takes some minutes the first time"
	GOBIN=$PWD/build/tools/${cosign##*@} GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' -gcflags 'all=-N -l -dwarf=false' "$cosign"
	ln -sfn "${cosign##*@}/cosign" build/tools/cosign
fi

missing=()
for p in "${packages[@]}"; do
	[ -e "${p#*:}" ] || missing+=("${p%%:*}")
done
unfetched=()
for p in "${unpacked[@]}"; do
	compgen -G "$debs/${p}_*.deb" >/dev/null || unfetched+=("$p")
done
# unpack_tools takes out of their packages the programs that tests start.
unpack_tools() {
	[ ${#unpacked[@]} != 0 ] || return 0
	mkdir -p build/tools
	if [ ! -e build/tools/docker-registry ]; then
		dpkg-deb --fsys-tarfile "$debs"/docker-registry_*.deb | tar --extract --to-stdout ./usr/bin/docker-registry >build/tools/registry.new
		chmod +x build/tools/registry.new
		mv build/tools/registry.new build/tools/docker-registry
	fi
	if [ ! -e build/tools/docker ]; then
		rm -rf build/tools/docker.new
		for p in docker.io containerd runc; do
			dpkg-deb --extract "$debs/${p}"_*.deb build/tools/docker.new
		done
		mv build/tools/docker.new build/tools/docker
	fi
}

if [ ${#missing[@]} = 0 ] && [ ${#unfetched[@]} = 0 ]; then
	unpack_tools
	exit 0
fi

echo "deps: installing ${missing[*]:-nothing}, fetching ${unfetched[*]:-nothing}"
if ! command -v apt-get >/dev/null; then
	echo "deps: there is no apt-get here: install ${missing[*]} by hand, and download ${unfetched[*]} to $debs" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "deps: not root, and sudo would ask: run sudo apt-get install ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo -n)
fi
# An unreachable third-party source must not stop what Debian itself has.
"${as_root[@]}" apt-get update -qq || echo "deps: apt-get update failed, going on with the lists that are there" >&2
if [ ${#missing[@]} != 0 ] && ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null; then
	echo "deps: could not install ${missing[*]}" >&2
	exit 1
fi
if [ ${#unfetched[@]} != 0 ]; then
	mkdir -p "$debs"
	if ! (cd "$debs" && apt-get download -qq "${unfetched[@]}" 2>/dev/null); then
		echo "deps: could not download ${unfetched[*]}" >&2
		exit 1
	fi
fi
unpack_tools
