# make help lists the targets. All that is built goes to build/.

SHELL       := /bin/bash -euo pipefail
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME    ?= 5s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0

export CGO_ENABLED := 0
GO_BUILD = go build -trimpath -buildvcs=false

# In CI, where there is /dev/kvm, no test that needs it may be skipped.
REQUIRE_VM = $(if $(and $(filter true,$(CI)),$(wildcard /dev/kvm)),CLEARRUN_REQUIRE_VM=1)

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: help build demo test test-vm test-debian lint fuzz bench bench-baseline kernel kernel-verify clean deps bench-deps demo-deps FORCE

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

build: build/clearrun ## build/clearrun, the one file to install

demo: demo-deps build ## build, sign, trust and run an image in a VM
	hack/demo.sh

test: deps build ## all tests, those in VMs last
	go vet ./...
	$(REQUIRE_VM) go test $$(go list ./... | grep -v -e '/test/vm$$' -e '/test/selinux$$' -e '/test/debianhost$$')
	$(MAKE) --no-print-directory test-debian
	$(MAKE) --no-print-directory test-vm

test-vm: deps build ## the tests that run VMs (needs /dev/kvm)
	hack/test-vm.sh

test-debian: deps build ## tests on Debian's kernel, also under SELinux, in QEMU
	@{ hack/debian-kernel.sh && hack/debian-host.sh && hack/selinux-vm.sh; } || { [ "$${CI:-}" != true ] && echo "test-debian: SKIPPED, see above" >&2; }
	go test -count=1 -p 1 ./test/selinux ./test/debianhost

lint: ## vet, formatting, static analysis
	hack/lint.sh $(GOFUMPT) $(STATICCHECK)

fuzz: deps ## run each fuzz target for FUZZTIME (5s)
	FUZZTIME=$(FUZZTIME) hack/fuzz.sh

bench: bench-deps build ## measure start, memory, size and images
	PATH="$(CURDIR)/build/tools:$$PATH" go run ./hack/bench

bench-baseline: deps build ## measure anew the counts that a start may not exceed
	CLEARRUN_UPDATE_BASELINE=1 hack/test-vm.sh -run '^Test(Boot|SetUpCalls)$$'

kernel: ## build the guest kernel anew and keep it
	hack/kernel-build.sh

kernel-verify: ## prove that the kept kernel is what its source gives
	hack/kernel-build.sh --verify

clean: ## remove what was built
	rm -rf build

# What the tests, the benchmark and the demo call besides Go.
deps:
	@hack/deps.sh

bench-deps:
	@hack/deps.sh bench

demo-deps:
	@hack/deps.sh demo

# The steps of the build. go build runs each time; it knows best what is new.
build/init: FORCE
	go run ./hack/initruntime -o build/init-runtime
	$(GO_BUILD) -overlay build/init-runtime/overlay.json -ldflags '-s -w' -o $@ ./guest/init

build/initramfs.cpio: build/init
	go run ./hack/mkinitramfs -init $< -o $@

build/vmlinux: guest/kernel-config/vmlinux.xz guest/kernel-config/provenance.json
	@mkdir -p build
	go run ./hack/unpack-kernel -o $@

build/clearrun-monitor: FORCE
	$(GO_BUILD) -ldflags '-s -w' -o $@ ./cmd/clearrun-monitor

build/clearrun.bare: FORCE
	$(GO_BUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/clearrun

build/clearrun: build/clearrun.bare build/vmlinux build/initramfs.cpio build/clearrun-monitor
	go run ./hack/bundle --exe build/clearrun.bare --kernel build/vmlinux --initramfs build/initramfs.cpio --monitor build/clearrun-monitor --init build/init -o $@
