# Two commands matter: `make run` and `make test`; both rest on `make setup`.
# Everything that gets installed is installed from here; nothing outside .venv, .cache and
# the Debian packages named below is touched.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CACHE  := .cache

# To run: libbpf1 loads BPF objects; clang and libbpf-dev compile them; the rest makes the venv.
RUN_PACKAGES  := python3 python3-venv make clang libbpf1 libbpf-dev
# To test: oracles and faults from user space.
TEST_PACKAGES := openssl bpftool util-linux procps binutils gcc libc6-dev iproute2 \
	chromium-headless-shell fonts-dejavu-core \
	linux-libc-dev-arm64-cross systemd python3-bpfcc linux-headers-cloud-$(shell dpkg --print-architecture 2>/dev/null)
# To test on other kernels: emulated machines and what their root file systems are made of.
QEMU_PACKAGES := qemu-system-x86 busybox-static xz-utils e2fsprogs iproute2

.PHONY: help setup version run test test-image test-wheel test-signing test-systemd manifests sbom audit test-cluster test-qemu test-qemu-bcc qemu-packages packages test-packages bpf format lint types unit bench fuzz experiment soak lock clean

help:
	@echo 'make run    set up and start the agent in the foreground (root: everything; else: what needs no root)'
	@echo 'make test   set up and run format check, lint, mypy --strict and pytest with real BPF'
	@echo 'make test-qemu  the programs on other kernels, in emulated machines (minutes; docs/kernels.md)'
	@echo 'make test-qemu-bcc  two of them there by bcc, without BTF (minutes)'
	@echo 'make test-cluster  the Kubernetes scenarios against a real kube-apiserver (builds it once)'
	@echo 'make test-wheel   the wheel built twice, installed and run on each Python that is here (minutes)'
	@echo 'make test-image   the image by the Dockerfile without Docker, run as the chart runs it (minutes)'
	@echo 'make test-systemd  installed as docs/deploy.md says and run by a real systemd (minutes)'
	@echo 'make test-signing  an image signed and verified with cosign, as docs/verify.md says'
	@echo 'make manifests    deploy/manifests and the values'"'"' schema and table anew, out of the chart'
	@echo 'make audit  what is known against the locked packages and this code (needs the network, or ADVISORIES=DIR)'
	@echo 'make sbom   what a release is made of, with licences, into dist/'
	@echo 'make fuzz   every parser of outside input under atheris, SECONDS=600 each (two hours)'
	@echo 'make bench  the tables of speed and size, each with its goal (an hour, root)'
	@echo 'make experiment  who notices interference, how soon, and what helps (half an hour, root)'
	@echo 'make soak   everything on, under load, with faults (MINUTES=30, root)'
	@echo 'make setup  Debian packages, virtual environment, BPF objects; idempotent'
	@echo 'make lock   resolve the dependencies anew into requirements/'
	@echo 'make clean  remove what was built'

setup: packages $(VENV)/.installed version bpf

run: setup
	exec $(BIN)/kernmesh agent

test: setup test-packages $(VENV)/.installed-dev $(CACHE)/peers/.prometheus \
	$(CACHE)/peers/.load $(CACHE)/peers/.targets $(CACHE)/axe/axe.min.js $(CACHE)/grafana/.installed format lint types unit

# A dry look first, so that a second run asks no registry and needs no root.
define install_packages
	@missing=''; for package in $(1); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=''; elif sudo -n true 2>/dev/null; then as_root='sudo -n'; \
	else echo "setup: not root, so these Debian packages stay missing:$$missing (apt-get install$$missing)" >&2; exit 0; fi; \
	echo "setup: installing$$missing"; \
	$$as_root apt-get update -q >/dev/null && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null
endef

packages:
	$(call install_packages,$(RUN_PACKAGES))

test-packages:
	$(call install_packages,$(TEST_PACKAGES))

qemu-packages:
	$(call install_packages,$(QEMU_PACKAGES))

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.installed: pyproject.toml requirements/run.lock | packages
	@echo 'setup: virtual environment in $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --require-hashes -r requirements/run.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.lock
	@echo 'setup: what the tests need'
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev requirements/fuzz.lock
	@echo 'setup: the fuzzer'
	@$(PIP_INSTALL) --require-hashes -r requirements/fuzz.lock
	@touch $@

# What is installed is this tree, so its version is of today's commit, not of the day it was installed.
version: $(VENV)/.installed
	@$(BIN)/python hatch_build.py >/dev/null

# Without a compiler (not root, nothing installed) the agent still runs: each program says why it is off.
bpf: | packages
	@if command -v clang >/dev/null; then $(MAKE) --silent --no-print-directory -C bpf; \
	else echo 'setup: no clang, so the BPF objects are not compiled' >&2; fi

# Real programs beside us, unpacked and not installed: a developer's machine gets no daemon.
define unpack_packages
	@mkdir -p $(@D)/.$(1)
	@cd $(@D)/.$(1) && (apt-get download -q $(2) >/dev/null 2>&1 || \
	  { apt-get update -q >/dev/null && apt-get download -q $(2) >/dev/null; })
	@cd $(@D) && for package in .$(1)/*.deb; do dpkg -x $$package . || exit 1; done && rm -r .$(1)
	@touch $@
endef

# One that scrapes, for the tests.
$(CACHE)/peers/.prometheus:
	$(call unpack_packages,unpacking-prometheus,prometheus)

# Those that probe, for the benchmark of pingmesh.
$(CACHE)/peers/.probers:
	$(call unpack_packages,unpacking-probers,fping prometheus-blackbox-exporter)

# Who measures nodes too, and what loads them, with the libraries that a small machine lacks.
$(CACHE)/peers/.load:
	$(call unpack_packages,unpacking-load,prometheus-node-exporter stress-ng \
	  libapparmor1 libbsd0 libdrm2 libegl1 libexpat1 libgbm1 libgles2 libglvnd0 libipsec-mb1 \
	  libjpeg62-turbo libjudydebian1 libkmod2 libmd0 libsctp1 libwayland-server0 libxxhash0)

# Who is hurt by what loads them.
$(CACHE)/peers/.servers:
	$(call unpack_packages,unpacking-servers,redis-server redis-tools libjemalloc2 liblzf1)

# What is probed, and what loses packets on the way; with the libraries that a small machine lacks.
$(CACHE)/peers/.targets:
	$(call unpack_packages,unpacking-targets,nginx dnsmasq-base chrony nftables \
	  libdbus-1-3 libedit2 libbsd0 libmd0 libgmp10 libgnutls30 libhogweed6 libidn2-0 libjansson4 \
	  libmnl0 libnetfilter-conntrack3 libnettle8 libnfnetlink0 libnftables1 libnftnl11 libseccomp2 \
	  libxtables12)

# What runs another processor's programs, for its image.
$(CACHE)/peers/.emulator:
	$(call unpack_packages,unpacking-emulator,qemu-user-static)

# What looks for barriers on our pages. One file of one package, by its hash; nothing of it is run here.
AXE_VERSION := 4.14.1
AXE_SHA256  := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
$(CACHE)/axe/axe.min.js:
	$(if $(shell command -v npm),,$(call install_packages,npm))
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent axe-core@$(AXE_VERSION) >/dev/null
	@cd $(@D) && echo '$(AXE_SHA256)  axe-core-$(AXE_VERSION).tgz' | sha256sum --check --quiet
	@cd $(@D) && tar -xzf axe-core-$(AXE_VERSION).tgz --strip-components=1 package/axe.min.js package/LICENSE
	@rm $(@D)/*.tgz && touch $@

# Grafana's own types of dashboards, and the compiler that holds ours to them. Versions and hashes are
# the lock's; where packages come from is npm's own setting.
$(CACHE)/grafana/.installed: tests/dashboards/types/package.json tests/dashboards/types/package-lock.json
	$(if $(shell command -v npm),,$(call install_packages,npm))
	@mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

format:
	$(BIN)/ruff format --check --quiet .

lint:
	$(BIN)/ruff check --quiet .

types:
	$(BIN)/mypy

unit:
	$(BIN)/pytest -q

# QEMU_ARGUMENTS goes to the harness: make test-qemu QEMU_ARGUMENTS='5.10 --programs timers'
test-qemu: setup qemu-packages
	$(BIN)/python -m tests.qemu $(QEMU_ARGUMENTS)

# By bcc, without the kernel's BTF. LLVM on an emulated CPU takes three minutes and more for these two.
test-qemu-bcc: setup qemu-packages test-packages
	$(BIN)/python -m tests.qemu --backend bcc 6.1 --programs biolatency runqlat

# Against a real kube-apiserver, built from Debian's source package once (a quarter of an hour), or,
# with KUBECONFIG=..., against that cluster: on nodes named kernmesh-test-* that come and go.
test-cluster: setup test-packages $(VENV)/.installed-dev
	KERNMESH_TEST_CLUSTER=$(or $(KUBECONFIG),real) $(BIN)/pytest -q tests/cluster
	$(BIN)/python -m tests.deploy.taken

# BENCH_ARGUMENTS='--write', or names of tables: make bench BENCH_ARGUMENTS='usage pods --write'
bench: setup test-packages $(VENV)/.installed-dev $(CACHE)/peers/.probers $(CACHE)/peers/.load
	$(BIN)/python -m benchmarks $(BENCH_ARGUMENTS)

# Half an hour and more, on a machine that does nothing else; goes on where it was broken off.
experiment: setup $(VENV)/.installed-dev $(CACHE)/peers/.load $(CACHE)/peers/.servers
	$(BIN)/python -m benchmarks interference $(EXPERIMENT_ARGUMENTS)

# MINUTES of everything at once, with faults; SOAK_ARGUMENTS=--write puts it into docs/reliability.md.
MINUTES ?= 30
MEMORY ?= 96
soak: setup test-packages $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --memory $(MEMORY) $(SOAK_ARGUMENTS)

# Goes on with what it found before (.cache/fuzz); FUZZ_ARGUMENTS='kube packets' for these only.
fuzz: setup test-packages $(VENV)/.installed-fuzz
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(FUZZ_ARGUMENTS)
	$(BIN)/python -m tests.fuzz --write

test-wheel: setup $(VENV)/.installed-dev
	$(call install_packages,debootstrap)
	$(BIN)/python -m tests.release

# IMAGE_ARGUMENTS='--target bcc' for the other one, '--platform linux/arm64' for that (emulated: long).
test-image: setup test-packages $(VENV)/.installed-dev $(CACHE)/peers/.emulator
	$(call install_packages,debootstrap)
	$(BIN)/python -m tests.image $(IMAGE_ARGUMENTS)

manifests: setup $(VENV)/.installed-dev
	@$(BIN)/python -m tests.deploy

# docs/deploy.md's way to a host, in a systemd that is process 1 of a chroot (root).
test-systemd: setup $(VENV)/.installed-dev
	$(call install_packages,debootstrap)
	$(BIN)/python -m tests.deploy.booted

# docs/verify.md's commands with a real cosign and a real registry, on the loopback.
test-signing: setup $(VENV)/.installed-dev
	$(BIN)/python -m tests.release.signing

sbom: setup
	@$(BIN)/python -m tests.release.sbom dist

# What is known against the locked packages and against this code. Where nobody can be asked, it fails
# and says so; ADVISORIES=DIR, a clone of PyPA's advisory-database, is asked instead.
audit: setup $(VENV)/.installed-dev $(CACHE)/audit/.installed
	$(BIN)/python -m tests.release.audit $(CACHE)/audit/bin $(if $(ADVISORIES),--advisories $(ADVISORIES))

$(CACHE)/audit/.installed: requirements/audit.lock
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The locks hold versions and hashes only; where packages come from is the machine's own setting.
LOCK = $(CACHE)/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header

lock:
	@$(PYTHON) -m venv $(CACHE)/lock && $(CACHE)/lock/bin/pip install --quiet pip-tools
	@mkdir -p requirements
	$(LOCK) --extra build --output-file requirements/run.lock pyproject.toml
	$(LOCK) --output-file requirements/audit.lock requirements/audit.in
	$(LOCK) --extra dev --constraint requirements/run.lock --output-file requirements/dev.lock pyproject.toml
	$(LOCK) --extra fuzz --constraint requirements/dev.lock --output-file requirements/fuzz.lock pyproject.toml

clean:
	rm -rf $(VENV) $(CACHE) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	$(MAKE) --no-print-directory -C bpf clean
