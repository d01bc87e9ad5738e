FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What the image calls itself: docker build --build-arg VERSION=v1.2.3; left out, what git says of the checkout.
ARG VERSION
RUN version=${VERSION:-$(git describe --tags --always 2>/dev/null || true)} && CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$version" -o /out/tms ./cmd/tms && mkdir /out/data

# Nothing but the binary, the certificates that rediss:// is checked with, and an empty /data that its user owns.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tms /tms
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data

# Whoever publishes the port decides who reaches it; out of the box TMS asks nobody for a key.
ENV TMS_LISTEN=0.0.0.0:8080 TMS_INSECURE=true TMS_STORE=embedded:/data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/tms", "healthcheck"]
ENTRYPOINT ["/tms"]
CMD ["serve"]
