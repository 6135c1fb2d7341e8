# The gateway alone, to stand in front of any container:
#
#   docker build -f conf/docker/gateway.Dockerfile -t aragora-proxy .
#   docker run --read-only --tmpfs /tmp -p 80:8000 aragora-proxy --bind 0.0.0.0:8000 --upstream app:8080
#
# What is kept (certificates, what was deployed) is in the volume; nothing else is written to, but for /tmp.
# BASE is any Debian-like image that has Python 3.11 or newer with its venv module.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
WORKDIR /source
COPY conf/requirements requirements
# Only the gateway's hot path is compiled: every dependency is a wheel whose hash is known.
RUN headers=$(python3 -c 'import os, sysconfig as s; print("" if os.path.exists(s.get_path("include") + "/Python.h") else "python3-dev")') \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc libc6-dev ${headers}
RUN python3 -m venv /opt/gateway \
    && /opt/gateway/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements/build.txt -r requirements/gateway.txt \
    && /opt/gateway/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements/compile.txt --target /compile
COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY aragora aragora
COPY proxy proxy
COPY conf/gunicorn.conf.py conf/proxy.toml conf/
# Neither the installer is needed again, nor the debate service, whose libraries are not here. A gateway that was not
# compiled is no image to ship.
RUN COMPILE_GATEWAY=1 PYTHONPATH=/compile /opt/gateway/bin/python -m pip install --no-cache-dir \
        --disable-pip-version-check --no-deps --no-build-isolation . \
    && cd / && /opt/gateway/bin/aragora-proxy --version | grep '(compiled)' \
    && rm -rf /opt/gateway/bin/aragora /opt/gateway/share /opt/gateway/lib/python3*/site-packages/aragora \
    && /opt/gateway/bin/python -m pip uninstall --yes --quiet pip setuptools

FROM ${BASE}
# Numbers, not names: Kubernetes can see that they are not root's.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --no-create-home --home-dir /var/lib/gateway \
               --shell /usr/sbin/nologin gateway \
    && install --directory --owner=gateway --group=gateway --mode=0750 /var/lib/gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/gateway
USER 10001:10001
WORKDIR /var/lib/gateway
VOLUME ["/var/lib/gateway"]
STOPSIGNAL SIGTERM
# On the admin address, which listens inside the container alone.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9180, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["aragora-proxy"]
