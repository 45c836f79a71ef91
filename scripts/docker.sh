# Sourced by ./image: a docker daemon, and base images where no registry gives them.
# shellcheck shell=bash

: "${work:?a folder for temporary files}"
daemon=''
docker_home=''
builder=()

# Uses the daemon that answers, or starts one for as long as this script runs.
need_docker() {
    if command -v docker >/dev/null && docker info >/dev/null 2>&1; then return; fi
    [ "$(id -u)" -eq 0 ] || fail "no docker daemon answers" "start one, or run this as root: it starts its own"
    need_packages docker.io debootstrap iptables
    # Below /var/tmp: images are too large for a /tmp in memory.
    docker_home=$(mktemp -d /var/tmp/datakit-docker.XXXXXX)
    export DOCKER_HOST=unix://$docker_home/socket
    say "starting a docker daemon in $docker_home"
    dockerd --data-root "$docker_home/data" --exec-root "$docker_home/run" --host "$DOCKER_HOST" --pidfile "$docker_home/pid" \
        >"$docker_home/log" 2>&1 &
    daemon=$!
    local tries
    for tries in $(seq 120); do
        ! docker info >/dev/null 2>&1 || return 0
        kill -0 $daemon 2>/dev/null || break
        sleep 0.5
    done
    tail -5 "$docker_home/log" >&2
    fail "the docker daemon does not start, after $tries looks" "see above; the whole log is $docker_home/log"
}

# Stops the daemon that was started here, and removes all it kept.
stop_docker() {
    [ -n "$daemon" ] || return 0
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" || true
    rm -rf "$docker_home"
}

# BuildKit where there is a client for it: built into old ones, a plugin of new ones. Debian's is beside others that were installed.
find_builder() {
    local client
    for client in docker /usr/bin/docker; do
        if "$client" buildx version >/dev/null 2>&1 || [ "$("$client" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -lt 23 ]; then
            builder=(env DOCKER_BUILDKIT=1 "$client" build --progress plain)
            buildkit=yes
            return
        fi
    done
    builder=(env DOCKER_BUILDKIT=0 docker build)
    buildkit=''
}

# `docker build` of a Dockerfile in a folder. Without BuildKit there is no cache between builds, and the options that ask for one are
# taken out.
#   build DOCKERFILE FOLDER OPTION…
build() {
    local dockerfile=$1 folder=$2
    shift 2
    [ ${#builder[@]} -gt 0 ] || find_builder
    if [ -z "$buildkit" ]; then
        sed 's/--mount=[^ ]* *//g' "$dockerfile" >"$work/Dockerfile.plain"
        dockerfile=$work/Dockerfile.plain
    fi
    "${builder[@]}" --file "$dockerfile" "$@" "$folder" >&2
}

# A base image: the one that is here, else the registry's, else one made here; that only for a daemon of our own, as the name is another's.
#   need_base NAME FUNCTION
need_base() {
    if docker image inspect "$1" >/dev/null 2>&1; then return; fi
    if timeout 300 docker pull --quiet "$1" >/dev/null 2>&1; then return; fi
    [ -n "$daemon" ] || [ -n "${IMAGE_MAKE_BASES:-}" ] ||
        fail "$1 is neither here nor to be pulled" "IMAGE_MAKE_BASES=1 makes an image of that name of Debian packages"
    say "making $1"
    "$2" "$1"
}

make_debian() {
    local root=$work/debian
    need_packages debootstrap
    debootstrap --variant=minbase bookworm "$root" >"$work/debootstrap.log" || fail "debootstrap failed" "$(tail -1 "$work/debootstrap.log")"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    cat >"$root/etc/apt/sources.list" <<'END'
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
END
    tar -C "$root" -c . | docker import - "$1" >/dev/null
    rm -rf "$root"
}

make_rust() {
    local folder=$work/rust sysroot
    sysroot=$(rustc --print sysroot)
    mkdir -p "$folder/certificates" "$folder/toolchain/bin" "$folder/toolchain/lib"
    cp -a /usr/local/share/ca-certificates/. "$folder/certificates/" 2>/dev/null || true
    cp -aL "$sysroot/bin/cargo" "$sysroot/bin/rustc" "$folder/toolchain/bin/"
    cp -a "$sysroot/lib/." "$folder/toolchain/lib/"
    build scripts/base-images/rust.Dockerfile "$folder" --tag "$1"
    rm -rf "$folder"
}

make_postgres() { build scripts/base-images/postgres.Dockerfile scripts/base-images --tag "$1"; }

make_registry() { build scripts/base-images/registry.Dockerfile scripts/base-images --tag "$1"; }
