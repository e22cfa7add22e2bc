# One image for the node. Nothing runs as root, and nothing but /var/lib/chartbridge and /tmp is written to.
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/chartbridge && /opt/chartbridge/bin/pip install --no-cache-dir '.[postgres]'

FROM python:3.11-slim
COPY --from=build /opt/chartbridge /opt/chartbridge
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/chartbridge
USER 65532:65532
ENV PATH=/opt/chartbridge/bin:$PATH CHARTBRIDGE_SITE=/var/lib/chartbridge/site
VOLUME /var/lib/chartbridge
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
CMD ["sh", "-c", "test -f $CHARTBRIDGE_SITE/chartbridge.toml || chartbridge init $CHARTBRIDGE_SITE; exec chartbridge serve"]
