# Stands in for rust:1.95-bookworm where no registry can be reached: Debian and this machine's toolchain (the folder that is given).
FROM debian:bookworm-slim
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates gcc g++ libc6-dev make && \
    rm -rf /var/lib/apt/lists/*
# Authorities that this machine trusts on its way to the registries; they stay in the builder.
COPY certificates /usr/local/share/ca-certificates
RUN update-ca-certificates
COPY toolchain /usr/local
ENV CARGO_HOME=/usr/local/cargo
