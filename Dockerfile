# Both stages have the same interpreter. To pin it: --build-arg PYTHON=python:3.12-slim@sha256:…
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
WORKDIR /src
# What it depends on first, so that a change of the code alone builds in seconds. Pinned, each file by its hash: `make pins`.
# With the demo's in-process Redis: `docker run IMAGE connector run` needs no server.
COPY requirements.txt requirements-build.txt ./
RUN python -m venv --without-pip /opt/connector \
    && pip install --no-cache-dir --require-hashes -r requirements-build.txt \
    && pip --python /opt/connector/bin/python install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY connector connector
COPY exchanges exchanges
COPY tasks tasks
COPY workers workers
COPY simulator simulator
COPY cli cli
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && pip --python /opt/connector/bin/python install --no-cache-dir --no-deps --no-index /wheel/*.whl

# The code is here once: what is installed.
FROM ${PYTHON}
LABEL org.opencontainers.image.title="websocket-connector" \
      org.opencontainers.image.description="Exchange accounts and markets in step with a trading backend" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"

# wget: the platform's compose file checks health with `wget --spider`.
RUN apt-get update \
    && apt-get install --no-install-recommends -y wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home connector \
    && install -d -o connector -g connector /app/var/outbox
COPY --from=build /opt/connector /opt/connector
COPY docker-entrypoint.sh /usr/local/bin/
ENV PATH=/opt/connector/bin:$PATH
WORKDIR /app
# By its number, so that Kubernetes sees that it is not root.
USER 1000
# Nothing else is written to but /tmp: the root may be read-only.
VOLUME /app/var/outbox
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --retries=3 --start-period=10s \
    CMD ["wget", "--no-verbose", "--tries=1", "--spider", "http://localhost:3000/health"]
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["user"]
