# One image for web workers and supervisors; it serves examples/main.py.
# For your own app, a Dockerfile of three lines: FROM htagweb, COPY . /app, ENV UVICORN_APP=server:app
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY htagweb htagweb
COPY broker broker
RUN python -m venv /opt/htagweb && /opt/htagweb/bin/pip install .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin htagweb
COPY --from=build /opt/htagweb /opt/htagweb
COPY deploy/supervisor-alive /usr/local/bin/supervisor-alive
COPY examples /app
WORKDIR /app
ENV PATH=/opt/htagweb/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# uvicorn's options. Its access log is off: addresses carry what users type into them.
ENV UVICORN_APP=main:app UVICORN_HOST=0.0.0.0 UVICORN_PORT=8000 UVICORN_ACCESS_LOG=false
ENV UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=10
EXPOSE 8000
USER htagweb
CMD ["uvicorn"]
