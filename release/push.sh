#!/usr/bin/env bash
# Pushes the image and the chart from dist/ (see release/dist.sh) and prints their digests for signing, as
# image=sha256:… and chart=sha256:…
#
#   REGISTRY_USER=… REGISTRY_PASSWORD=… release/push.sh REGISTRY VERSION     for example ghcr.io/OWNER 0.2.0
set -euo pipefail
cd "$(dirname "$0")/.."
registry=${1:?usage: release/push.sh REGISTRY VERSION}
version=${2:?usage: release/push.sh REGISTRY VERSION}
helm=${HELM:-helm}
host=${registry%%/*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s' "${REGISTRY_PASSWORD:?}" | skopeo login --username "${REGISTRY_USER:?}" --password-stdin --authfile "$work/auth" "$host" >&2
printf '%s' "$REGISTRY_PASSWORD" | "$helm" registry login --username "$REGISTRY_USER" --password-stdin "$host" >&2
skopeo copy --quiet --all --authfile "$work/auth" --digestfile "$work/image" \
  "oci-archive:dist/sidecar-injector-$version.oci.tar" "docker://$registry/sidecar-injector:$version" >&2
"$helm" push "dist/sidecar-injector-$version.tgz" "oci://$registry/charts" >"$work/chart" 2>&1
cat "$work/chart" >&2
echo "image=$(cat "$work/image")"
echo "chart=$(sed -n 's/^Digest: *//p' "$work/chart")"
