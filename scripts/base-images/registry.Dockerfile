# Stands in for registry:2 where no registry can be reached: Debian's build of it.
FROM debian:bookworm-slim
RUN apt-get update && \
    apt-get install --yes --no-install-recommends docker-registry && \
    rm -rf /var/lib/apt/lists/*
COPY registry.yml /etc/docker/registry/config.yml
ENTRYPOINT ["docker-registry"]
CMD ["serve", "/etc/docker/registry/config.yml"]
