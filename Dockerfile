# Build: Swift 6.3 on Debian 12.
FROM swift:6.3-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
    libssl-dev libnghttp2-dev zlib1g-dev libsqlite3-dev libyaml-dev pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN swift build -c release --static-swift-stdlib && strip -o /sluice .build/release/sluice

# Run: one binary, its C libraries, no root.
FROM debian:bookworm-slim
# runtime-packages: scripts/bare-root-test.sh reads the next line.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 libnghttp2-14 libsqlite3-0 libyaml-0-2 zlib1g libstdc++6 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --home-dir /var/lib/sluice --create-home sluice
COPY --from=build /sluice /usr/local/bin/sluice
USER sluice
WORKDIR /var/lib/sluice
VOLUME /var/lib/sluice
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /readyz HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3"]
ENTRYPOINT ["sluice"]
CMD ["serve", "--config", "/etc/sluice/gateway.yaml"]
