#!/bin/bash
# Builds the guest kernel from its pinned source, bit for bit reproducibly.
#
#   hack/kernel-build.sh            build, and replace the kernel in guest/kernel-config
#   hack/kernel-build.sh --verify   build elsewhere, and compare with the kept one
#   hack/kernel-build.sh --config   stop once the configuration is made and checked
#
# KERNEL_BUILD_DIR  where to unpack and build (default: build/kernel)
# KERNEL_TARBALL    the source archive, if apt cannot get it any more
# JOBS              compile jobs (default: one per processor)
set -euo pipefail

repo=$(cd "$(dirname "$0")/.." && pwd)
kept=$repo/guest/kernel-config
jobs=${JOBS:-$(nproc)}

say() { echo "kernel: $*"; }
die() { echo "kernel: $*" >&2; exit 1; }
digest() { sha256sum "$1" | cut -d' ' -f1; }
pinned() { sed -n "s/^$1=//p" "$kept/source"; }

# root runs a command as root.
root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# need_tools installs what the build calls, if it is not there.
need_tools() {
	local missing=() p
	for p in gcc libc6-dev binutils make patch flex bison bc libelf-dev xz-utils; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} = 0 ] && return
	say "installing ${missing[*]}"
	root apt-get update -qq || say "apt-get update failed, going on with the lists that are there"
	root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# find_tarball sets $tarball to the pinned archive: the one given, the installed
# one, or the one in the package from apt, whichever has the right sha256.
find_tarball() {
	local package version want
	package=$(pinned package) version=$(pinned version) want=$(pinned sha256)
	for tarball in ${KERNEL_TARBALL:+"$KERNEL_TARBALL"} "/usr/src/$package.tar.xz"; do
		[ -f "$tarball" ] && [ "$(digest "$tarball")" = "$want" ] && return
	done
	say "downloading $package $version"
	if ! (cd "$work" && apt-get download -qq "$package=$version" 2>/dev/null); then
		root apt-get update -qq || say "apt-get update failed, going on with the lists that are there"
		(cd "$work" && apt-get download -qq "$package=$version") ||
			die "apt has no $package $version any more: get the package from snapshot.debian.org, unpack it with dpkg-deb -x, and set KERNEL_TARBALL to the archive in its usr/src"
	fi
	dpkg-deb -x "$work/$package"_*.deb "$work/package"
	tarball=$work/package/usr/src/$package.tar.xz
	[ "$(digest "$tarball")" = "$want" ] || die "$tarball does not have the sha256 in guest/kernel-config/source"
}

# unpack makes $tree: the pinned source with our patches.
unpack() {
	local p
	say "unpacking $(basename "$tarball")"
	mkdir "$tree"
	tar -xJf "$tarball" -C "$tree" --strip-components=1
	for p in "$kept"/patches/*.patch; do
		[ -e "$p" ] || continue
		say "applying $(basename "$p")"
		patch -d "$tree" -p1 --fuzz=0 --no-backup-if-mismatch -s <"$p" || die "$(basename "$p") does not apply"
	done
}

# kmake runs the kernel's make. Nothing of the caller's environment reaches it, and
# what would differ from one build to the next is fixed.
kmake() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC HOME="$tree" \
		SOURCE_DATE_EPOCH=0 KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' \
		KBUILD_BUILD_USER=clearrun KBUILD_BUILD_HOST=clearrun KBUILD_BUILD_VERSION=1 \
		make -C "$tree" --no-print-directory ARCH=x86 LOCALVERSION= CC=gcc HOSTCC=gcc "$@"
}

# configure makes .config of the fragment over tinyconfig.
configure() {
	say "configuring"
	kmake -s tinyconfig >/dev/null
	(cd "$tree" && LC_ALL=C ./scripts/kconfig/merge_config.sh -m .config "$kept/config.fragment" >merge.log 2>&1) ||
		die "merge_config.sh failed: $(cat "$tree/merge.log")"
	kmake -s olddefconfig >/dev/null
	check_config
}

# check_config fails for every line of the fragment that Kconfig did not keep.
check_config() {
	local line option lost=0
	while read -r line; do
		case $line in
		CONFIG_*=n) option=${line%=n} ;;
		'# CONFIG_'*' is not set') option=${line#'# '} option=${option%' is not set'} ;;
		CONFIG_*=*)
			grep -qxF -- "$line" "$tree/.config" && continue
			echo "kernel: $line did not stick: $(grep -E "^(# )?${line%%=*}[ =]" "$tree/.config" || echo 'no such option here')" >&2
			lost=1
			continue
			;;
		*) continue ;;
		esac
		grep -q "^$option=" "$tree/.config" || continue
		echo "kernel: $line did not stick: $(grep "^$option=" "$tree/.config")" >&2
		lost=1
	done <"$kept/config.fragment"
	[ $lost = 0 ] || die "the configuration is not what config.fragment asks for"
}

# compile builds $work/vmlinux.
compile() {
	say "compiling with $jobs jobs (some minutes)"
	kmake -s -j"$jobs" vmlinux
	strip -s -o "$work/vmlinux" "$tree/vmlinux"
	say "vmlinux sha256:$(digest "$work/vmlinux")"
}

compiler() { gcc --version | head -n1; }
linker() { ld --version | head -n1; }

# provenance prints what the kernel in $work was made of, and with.
provenance() {
	local p sep=
	cat <<-END
		{
		  "source": {
		    "package": "$(pinned package)",
		    "version": "$(pinned version)",
		    "sha256": "$(pinned sha256)"
		  },
		  "config": {
		    "fragment": "$(digest "$kept/config.fragment")",
		    "config": "$(digest "$tree/.config")"
		  },
		  "patches": [
	END
	for p in "$kept"/patches/*.patch; do
		[ -e "$p" ] || continue
		printf '%s    {"name": "%s", "sha256": "%s"}' "$sep" "$(basename "$p")" "$(digest "$p")"
		sep=$',\n'
	done
	cat <<-END

		  ],
		  "tools": {
		    "compiler": "$(compiler)",
		    "linker": "$(linker)"
		  },
		  "vmlinux": {"sha256": "$(digest "$work/vmlinux")", "size": $(stat -c %s "$work/vmlinux")},
		  "compressed": {"file": "vmlinux.xz", "sha256": "$(digest "$work/vmlinux.xz")", "size": $(stat -c %s "$work/vmlinux.xz")}
		}
	END
}

# keep replaces the kernel in guest/kernel-config.
keep() {
	xz -9e -T1 --check=crc64 -k "$work/vmlinux"
	provenance >"$work/provenance.json"
	mv "$work/vmlinux.xz" "$work/provenance.json" "$kept/"
	say "kept as guest/kernel-config/vmlinux.xz ($(stat -c %s "$kept/vmlinux.xz") bytes)"
}

# compare proves that the kept kernel is what its source gives.
compare() {
	(cd "$repo" && go run ./hack/unpack-kernel -o "$work/kept")
	if cmp "$work/kept" "$work/vmlinux"; then
		say "verified: the kept kernel is what its source gives, bit for bit"
		return
	fi
	if ! grep -qF "$(compiler)" "$kept/provenance.json" || ! grep -qF "$(linker)" "$kept/provenance.json"; then
		say "it was built with other tools than $(compiler) and $(linker), see provenance.json" >&2
	fi
	die "the kept kernel is NOT what its source gives"
}

main() {
	local mode=${1:-}
	case $mode in
	'' | --config)
		work=${KERNEL_BUILD_DIR:-$repo/build/kernel}
		mkdir -p "$work"
		rm -rf "$work"/{linux,package,vmlinux,vmlinux.xz,*.deb}
		;;
	--verify)
		work=$(mktemp -d)
		trap 'rm -rf "$work"' EXIT
		;;
	*) die "usage: hack/kernel-build.sh [--verify | --config]" ;;
	esac
	tree=$work/linux
	need_tools
	if [ "$mode" = --verify ]; then
		# What needs no compiler fails first.
		(cd "$repo" && go test -count=1 ./hack/unpack-kernel)
	fi
	find_tarball
	unpack
	configure
	case $mode in
	--config) say "every line of config.fragment stuck" ;;
	--verify)
		compile
		compare
		;;
	*)
		compile
		keep
		;;
	esac
}

main "$@"
