# The image of the host, without datakits: they come from a registry.
#
#   docker build --tag datakit/host .
#   docker run --rm --volume "$PWD/warehouse.toml:/etc/datakit/warehouse.toml:ro" datakit/host validate
#
# docs/deployment.md says what is where in it; ./image builds it and tries it.

FROM rust:1.95-bookworm AS build
# clang: the bindings to MIT krb5 are made from its headers.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends clang libclang-dev libkrb5-dev libssl-dev pkg-config && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# `dev` compiles in half the time, for trying the image.
ARG PROFILE=release
# What was compiled stays with BuildKit between builds, not in the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    cargo build --locked --profile "$PROFILE" --package datakit-cli --bin host --target-dir /target && \
    strip -o /host "/target/$(test "$PROFILE" = dev && echo debug || echo "$PROFILE")/host"

# Whole Debian packages, their licences and versions with them (scanners read /var/lib/dpkg/status.d), but no shell and no
# package manager: docs/decisions/0110.
FROM debian:bookworm-slim AS runtime
COPY scripts/image-root.sh /
RUN sh /image-root.sh /root-of-image libc6 libgcc-s1 libgssapi-krb5-2 libssl3

FROM scratch
COPY --from=runtime /root-of-image /
COPY --from=build /host /usr/local/bin/host
# Pulled datakits and compiled code; a volume there spares both to the next run.
ENV PATH=/usr/local/bin DATAKIT_CACHE=/var/cache/datakit
# Authorities are looked up in the directory; a file that somebody names instead of none is taken besides, by each TLS library.
ENV SSL_CERT_DIR=/etc/ssl/certs SSL_CERT_FILE=/dev/null
USER 65532:65532
WORKDIR /etc/datakit
# That it starts: no library is missing.
RUN ["host", "--version"]
ENTRYPOINT ["host"]
CMD ["--help"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="datakit host" \
    org.opencontainers.image.description="Runs datakits: WebAssembly components that move tables from databases into Bronze" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.base.name="scratch"
