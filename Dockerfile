FROM python:3.12-slim

# wget: the platform's compose file checks health with `wget --spider`.
RUN apt-get update \
    && apt-get install --no-install-recommends -y wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home connector

WORKDIR /app
COPY pyproject.toml README.md ./
COPY connector connector
COPY exchanges exchanges
COPY tasks tasks
COPY workers workers
COPY simulator simulator
COPY cli cli
# With the demo's in-process Redis: `docker run IMAGE connector run` needs no server.
RUN pip install --no-cache-dir '.[demo]'
COPY docker-entrypoint.sh /usr/local/bin/
RUN mkdir -p /app/var/outbox && chown -R connector /app/var
USER connector
VOLUME /app/var/outbox
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --retries=3 --start-period=10s \
    CMD wget --no-verbose --tries=1 --spider http://localhost:3000/health || exit 1
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["user"]
