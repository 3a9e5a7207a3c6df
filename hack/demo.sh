#!/bin/bash
# The demo: a program becomes a signed image, its key is trusted, and clearrun
# verifies the image and runs it in a VM. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
export GNUPGHOME=$dir/gnupg
finish() {
	gpgconf --kill all 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() {
	printf '$ %s\n' "$*"
	"$@"
}
fail() {
	echo "demo: $*" >&2
	exit 1
}
# run shows and runs a command that must end with the exit code given first.
run() {
	local want=$1 code=0
	shift
	show "$@" || code=$?
	echo "exit code: $code"
	[ "$code" = "$want" ] || fail "want exit code $want"
}

# The user's own keys and store stay as they are.
export CLEARRUN_STORE=$dir/store CLEARRUN_CONFIG_DIR=$dir/config
PATH=$PWD/build:$PATH

step "Build an image: one static program"
mkdir -p "$dir/rootfs/bin"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/rootfs/bin/demo" ./hack/demo/app
go build -trimpath -buildvcs=false -o "$dir/mkaci" ./hack/mkaci
"$dir/mkaci" -name example.com/demo -version 1.0.0 -root "$dir/rootfs" -exec '["/bin/demo"]' -o "$dir/demo.aci"
cp "$dir/demo.aci" "$dir/unsigned.aci"
cd "$dir"
ls -l demo.aci

step "Sign it with a throw-away key"
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Demo <demo@example.com>' ed25519 sign 1d
show gpg --batch --quiet --armor --detach-sign demo.aci
gpg --batch --quiet --armor --export demo@example.com >key.asc

step "Trust the key for example.com/demo and what is below it"
show clearrun trust add --prefix example.com/demo --yes key.asc

step "Run it: this host is $(hostname), $(uname -sr)"
run 0 clearrun --vm --hostname demo demo.aci -- hello

step "The app's exit code is clearrun's, and its streams stay apart"
run 7 clearrun --vm --env DEMO_EXIT=7 demo.aci >stdout 2>stderr
cat stdout
sed 's/^/on stderr: /' stderr
if [ "$(cat stderr)" != "hello from stderr" ] || grep -q "hello from stderr" stdout; then
	fail "stdout and stderr are mixed up"
fi

step "The same image without a signature is refused"
run 125 clearrun --vm unsigned.aci

step "So is a changed image with that signature"
cp demo.aci tampered.aci
cp demo.aci.asc tampered.aci.asc
printf 'x' >>tampered.aci
run 125 clearrun --vm tampered.aci

step "All of it is on record, and nobody has changed the record"
show clearrun log verify

step "The demo worked"
