# Stands in for postgres:15-bookworm where no registry can be reached: Debian's PostgreSQL, and of that image's settings those that the
# example uses.
FROM debian:bookworm-slim
RUN apt-get update && \
    apt-get install --yes --no-install-recommends postgresql-15 && \
    rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
COPY postgres.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
