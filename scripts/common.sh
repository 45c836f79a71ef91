# Sourced by the scripts of the top level: where things are kept, and how missing things are installed.
# shellcheck shell=bash

datakit_cache=${XDG_CACHE_HOME:-$HOME/.cache}/datakit
# Outside the checkout, so that a fresh clone does not build everything again.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$datakit_cache/target}
export DATAKIT_VENV=$datakit_cache/venv

say() { printf '\n\033[1m==> %s\033[0m\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# Installs the Debian packages that are missing; a machine that has them all needs neither root nor network.
need_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "these packages are missing: ${missing[*]}" "install them as root, then run this again"
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# What builds the host and the datakits.
need_build_tools() {
    command -v cargo >/dev/null || fail "there is no Rust toolchain" "install one from https://rustup.rs"
    # clang: the bindings to MIT krb5 are made from its headers.
    need_packages gcc g++ libc6-dev libssl-dev libkrb5-dev libclang-dev clang pkg-config ca-certificates
    local target=wasm32-unknown-unknown
    if ! ls "$(rustc --print target-libdir --target $target 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; then
        # `rustup target add wasm32-unknown-unknown` spares this; see docs/decisions.
        need_packages rustc-web rust-web-src
    fi
}

# A Python with the independent readers that check what the sinks wrote.
need_python() {
    need_packages python3 python3-venv
    local wanted have=$DATAKIT_VENV/requirements.sha256
    wanted=$(sha256sum <tests/requirements.txt)
    if [ "$(cat "$have" 2>/dev/null)" != "$wanted" ]; then
        say "installing Python packages for the tests"
        rm -rf "$DATAKIT_VENV"
        python3 -m venv "$DATAKIT_VENV"
        "$DATAKIT_VENV/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt
        printf '%s\n' "$wanted" >"$have"
    fi
    export DATAKIT_TEST_PYTHON=$DATAKIT_VENV/bin/python
}

# An emulator of Azure's storage, for the tests.
need_azurite() {
    local home=$datakit_cache/azurite-3.35.0
    command -v npm >/dev/null || need_packages nodejs npm
    if [ ! -e "$home/complete" ]; then
        say "installing the emulator of Azure's storage"
        rm -rf "$home"
        npm install --silent --no-fund --no-audit --prefix "$home" azurite@3.35.0 >&2
        touch "$home/complete"
    fi
    export DATAKIT_TEST_AZURITE=$home/node_modules/.bin/azurite-blob
}

# What builds datakits in Python and JavaScript, for the tests.
need_languages() {
    need_packages python3 python3-venv
    command -v npm >/dev/null || need_packages nodejs npm
    local wanted home=$datakit_cache/languages sources=tests/languages
    wanted=$(cat $sources/requirements.txt $sources/package-lock.json | sha256sum)
    if [ "$(cat "$home/complete" 2>/dev/null)" != "$wanted" ]; then
        say "installing what builds datakits in Python and JavaScript"
        rm -rf "$home"
        python3 -m venv "$home/venv"
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r $sources/requirements.txt
        cp $sources/package.json $sources/package-lock.json "$home"
        npm ci --silent --no-fund --no-audit --prefix "$home" >&2
        printf '%s\n' "$wanted" >"$home/complete"
    fi
    export DATAKIT_TEST_LANGUAGES=$home
}

# Readers of changes that are not ours, 240 MB: for scripts/third-witness alone.
need_third_witness() {
    need_packages python3 python3-venv openjdk-17-jre-headless
    local wanted home=$datakit_cache/third-witness requirements=tests/third-witness/requirements.txt
    wanted=$(sha256sum <$requirements)
    if [ "$(cat "$home/complete" 2>/dev/null)" != "$wanted" ]; then
        say "installing Debezium"
        rm -rf "$home"
        python3 -m venv "$home"
        "$home/bin/pip" install --quiet --disable-pip-version-check -r $requirements
        printf '%s\n' "$wanted" >"$home/complete"
    fi
    export DATAKIT_TEST_WITNESS=$home/bin/python
}

build_datakits() {
    say "building the datakits"
    cargo xtask build-datakits
}

# Runs tests, then searches all they have written for their canary secrets, and tells which were skipped and why.
run_tests() {
    local status=0 report=target/nextest/default/junit.xml
    DATAKIT_TEST_KEPT=$(mktemp -d)
    export DATAKIT_TEST_KEPT
    # A script with a trap of its own removes it there.
    [ -n "$(trap -p EXIT)" ] || trap 'rm -rf "$DATAKIT_TEST_KEPT"' EXIT
    if cargo nextest --version >/dev/null 2>&1; then
        rm -f "$report"
        cargo nextest run --no-fail-fast "$@" || status=$?
    else
        # Output of passing tests is part of what is searched.
        report=$DATAKIT_TEST_KEPT/tests.log
        cargo test --no-fail-fast "$@" -- --show-output 2>&1 | tee "$report" || status=$?
    fi
    say "canary secrets, and skipped tests"
    [ ! -e "$report" ] || set -- "$report"
    [ -e "$report" ] || set --
    cargo run --quiet -p datakit-canary --bin search-canaries -- "$DATAKIT_TEST_KEPT" "$@" || status=1
    return "$status"
}

# What kills and cuts of runs need.
need_exactly_once() {
    need_build_tools
    need_packages postgresql-15
    need_python
    build_datakits
}

# Kills and cuts runs, so many of both, in rounds from a seed on (docs/exactly-once.md). Prints the figures; LOG has a line a round.
exactly_once() {
    local seed=$1 kills=$2 cuts=$3 log=$4 status=0
    say "exactly once: $kills kills and $cuts cuts from seed $seed on"
    mkdir -p "$(dirname "$log")"
    rm -f "$log"
    DATAKIT_EXACTLY_ONCE_SEED=$seed DATAKIT_EXACTLY_ONCE_KILLS=$kills DATAKIT_EXACTLY_ONCE_CUTS=$cuts \
        DATAKIT_EXACTLY_ONCE_LOG=$(realpath "$log") run_tests --workspace --bins --test exactly_once || status=$?
    [ ! -e "$log" ] || sed '/^\(kills\|cuts\) /,$d' "$log"
    return "$status"
}
