# One image for every role: `hub up --role gateway|worker|console`, commands, and the sandboxes.
# What is installed is pinned by constraints.txt; the process runs without root and writes to /var/lib/hub alone.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/hub
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY hub ./hub
COPY connectors ./connectors
COPY mappings ./mappings
RUN /opt/hub/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:${PYTHON}-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/hub --no-create-home --shell /usr/sbin/nologin hub \
 && install -d -o hub -g hub -m 0700 /var/lib/hub
COPY --from=build /opt/hub /opt/hub
COPY hub.yaml /etc/hub/hub.yaml
COPY fields /etc/hub/fields
COPY mappings /etc/hub/mappings
ENV PATH=/opt/hub/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HUB_DATA_DIR=/var/lib/hub/data \
    HUB_PROJECT_DIR=/etc/hub \
    HUB_LISTEN_HOOKS=0.0.0.0:8081 \
    HUB_LISTEN_OPS=0.0.0.0:8080
USER 10001:10001
WORKDIR /var/lib/hub
VOLUME /var/lib/hub
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["hub"]
CMD ["up"]
