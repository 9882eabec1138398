# One image for the API, the worker and the scheduler; the command decides which it is.

FROM node:24-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM python:3.11-slim-bookworm AS packages
ENV UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /app
# The packages come before the sources, so that a change of ours does not install them again.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --no-install-project
COPY . .
COPY --from=web /src/web/static web/static
RUN uv sync --frozen --no-dev

# The tests of a running system (compose profile `tests`); their files are mounted.
FROM packages AS tests
RUN uv sync --frozen
ENV PATH=/app/.venv/bin:$PATH
CMD ["pytest", "-q", "tests/integration"]

FROM python:3.11-slim-bookworm AS runtime
RUN useradd --uid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin auspex \
    && install -d -o auspex -g auspex /data/models
COPY --from=packages /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    MODEL_DIR=/data/models
USER auspex
VOLUME /data/models
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "deploy/healthcheck.py"]
# As process 1 and without a shell between, so that SIGTERM reaches it.
CMD ["auspex", "serve"]
