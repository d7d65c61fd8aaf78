FROM python:3.12-slim
LABEL org.opencontainers.image.title="websocket-connector" \
      org.opencontainers.image.description="Exchange accounts and markets in step with a trading backend" \
      org.opencontainers.image.licenses="MIT"

# wget: the platform's compose file checks health with `wget --spider`.
RUN apt-get update \
    && apt-get install --no-install-recommends -y wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home connector

WORKDIR /app
# What it depends on first, so that a change of the code alone builds in seconds. With the demo's in-process Redis:
# `docker run IMAGE connector run` needs no server.
COPY pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['demo'], sep='\n')" > /tmp/requirements.txt \
    && pip install --no-cache-dir -r /tmp/requirements.txt
COPY connector connector
COPY exchanges exchanges
COPY tasks tasks
COPY workers workers
COPY simulator simulator
COPY cli cli
# One copy of the code: what is installed. Somebody's folder beside it is not looked at.
RUN pip install --no-cache-dir --no-deps . \
    && rm -rf connector exchanges tasks workers simulator cli build *.egg-info
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
