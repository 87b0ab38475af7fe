# syntax=docker/dockerfile:1
# From source:                    docker build .
# From a static binary:           docker build --build-arg FROM=prebuilt --build-arg BINARY=path/in/context .
#                                 (needs no network access, because the source stage is not built)
ARG FROM=source
ARG RUST=1.95

FROM rust:${RUST}-alpine AS source
RUN apk add --no-cache musl-dev
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --locked --release --bin sidecar-injector && cp target/release/sidecar-injector /sidecar-injector

FROM scratch AS prebuilt
ARG BINARY=sidecar-injector
COPY ${BINARY} /sidecar-injector

FROM ${FROM} AS binary

FROM scratch
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="sidecar-injector" \
      org.opencontainers.image.source="https://github.com/sidecar-injector/sidecar-injector" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.description="A Kubernetes mutating admission webhook that adds sidecars to pods" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=binary /sidecar-injector /sidecar-injector
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/sidecar-injector"]
