#!/usr/bin/env bash
# Builds the files of a release in dist/: static binaries, an image for both architectures as an OCI archive, the chart,
# an SBOM, the release notes, and checksums of all files. The builds are reproducible: the same sources give the same
# bytes.
#
#   release/dist.sh VERSION        HELM is the path of Helm 4
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: release/dist.sh VERSION}
helm=${HELM:-helm}
revision=$(git rev-parse HEAD)
# All dates in the built files are the date of the commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
rm -rf dist
mkdir -p dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
store() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }

for pair in amd64:x86_64-unknown-linux-musl arm64:aarch64-unknown-linux-musl; do
  architecture=${pair%%:*}
  target=${pair#*:}
  make --no-print-directory static TARGET="$target"
  mkdir "$work/$architecture"
  cp "${CARGO_TARGET_DIR:-target}/$target/release/sidecar-injector" "$work/$architecture/sidecar-injector"
  tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$work/$architecture" -cf - sidecar-injector |
    gzip -n >"dist/sidecar-injector-$version-linux-$architecture.tar.gz"
  store bud -q --platform "linux/$architecture" --timestamp "$SOURCE_DATE_EPOCH" --build-arg FROM=prebuilt --build-arg BINARY=sidecar-injector \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" --manifest sidecar-injector -f "$PWD/Dockerfile" "$work/$architecture" >/dev/null
done
store manifest push -q --all sidecar-injector "oci:$work/oci:$version" >/dev/null
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$work/oci" -cf "dist/sidecar-injector-$version.oci.tar" .

"$helm" package charts/sidecar-injector --destination dist >/dev/null
make --no-print-directory sbom SBOM="dist/sidecar-injector-$version.cdx.json"
sed -n "/^## ${version//./\\.} /,/^## [0-9]/p" CHANGELOG.md | sed '1d;/^## /d' >dist/notes.md
(cd dist && sha256sum -- * >SHA256SUMS)
ls -l dist >&2
