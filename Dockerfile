# One image for the API, the workers and the migrations. docker-compose.yml selects the command.
FROM docker.io/library/python:3.11-slim-trixie AS builder
ENV VIRTUAL_ENV=/opt/venv UV_TORCH_BACKEND=cpu UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/venv
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Tests, headers and test programs of packages are 300 MB that the service never reads.
RUN uv pip install -c constraints.txt -r pyproject.toml \
    && find /opt/venv -depth -type d \( -name test -o -name tests \) -exec rm -rf {} + \
    && rm -rf /opt/venv/lib/python3.11/site-packages/torch/include \
    && find /opt/venv/lib/python3.11/site-packages/torch/bin -type f ! -name torch_shm_manager -delete \
    && mkdir /models /exports
# The programs `sluice-server`, which finds the service in /app, and `sluice`.
COPY client client
WORKDIR /app
COPY pyproject.toml README.md ./
COPY pipeline pipeline
COPY workers workers
COPY api api
RUN uv pip install --no-deps --editable . /build/client

FROM docker.io/library/python:3.11-slim-trixie
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/models HF_HUB_OFFLINE=1 HOST=0.0.0.0 MODEL_CACHE=/exports
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder --chown=10001:10001 /models /models
COPY --from=builder --chown=10001:10001 /exports /exports
COPY alembic.ini ./
COPY migrations migrations
COPY pipeline pipeline
COPY workers workers
COPY api api
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "api"]
