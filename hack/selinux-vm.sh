#!/bin/bash
# Makes the policy of the test under SELinux, build/selinux/policy: Debian's, with clearrun's module, as
# Debian's own tools compile it. Nothing is installed; a second run finds it there. Its kernels are
# those of hack/debian-kernel.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/build/selinux
module=$PWD/hostrun/label/clearrun.cil
fail() { echo "selinux-vm: $*" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "needs Debian's apt-get and dpkg-deb, on x86-64"

key=$(cat "$module" "$0" | sha256sum | cut -c1-16)
[ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || exit 0

# fetch downloads a package unless it is there.
fetch() {
	compgen -G "$out/debs/$1_*.deb" >/dev/null || (cd "$out/debs" && apt-get download -qq "$1" >/dev/null 2>&1)
}
mkdir -p "$out/debs"
packages=(selinux-policy-default policycoreutils selinux-utils libsemanage-common libsemanage2 libsepol2 libselinux1 libaudit1)
get_all() {
	local p
	for p in "${packages[@]}"; do fetch "$p" || return 1; done
}
get_all || { apt-get update -qq >/dev/null 2>&1 || true; get_all; } || fail "could not download ${packages[*]} with apt-get"

rm -rf "$out/root" "$out/key"
mkdir -p "$out/root"

# The policy, as the package's postinst makes it. semodule calls its tools by paths of semanage.conf.
for p in "${packages[@]}"; do dpkg-deb -x "$out"/debs/"${p}"_*.deb "$out/root"; done
root=$out/root
printf 'SELINUX=enforcing\nSELINUXTYPE=default\n' >"$root/etc/selinux/config"
cat >"$root/etc/selinux/semanage.conf" <<END
module-store = direct
expand-check = 0
bzip-blocksize = 0
compiler-directory = $root/usr/libexec/selinux/hll
[setfiles]
path = $root/sbin/setfiles
args = -q -c \$@ \$<
[end]
[sefcontext_compile]
path = $root/usr/sbin/sefcontext_compile
args = \$@
[end]
END
mkdir -p "$root/var/lib/selinux"
export LD_LIBRARY_PATH=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu
semodule() { nice "$root/usr/sbin/semodule" -p "$root" -s default -n "$@" 2>"$out/semodule.log" || fail "semodule: $(cat "$out/semodule.log")"; }
list=()
while read -r m; do list+=(-i "$root/usr/share/selinux/default/$m.pp.bz2"); done < <(sort -u "$root"/usr/share/selinux/default/.modules)
semodule -X 100 "${list[@]}"
semodule -X 400 -i "$module"
cp "$root"/etc/selinux/default/policy/policy.* "$out/policy"
rm -rf "$root"
echo "$key" >"$out/key"
