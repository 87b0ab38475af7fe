#!/usr/bin/env bash
# Builds the controllers of cert-manager for tests, from its published Go module, and copies its CRDs.
#
#   build.sh DIR VERSION     for example: build.sh ~/.cache/x/cert-manager/1.21.2 1.21.2
#
# Creates DIR/cert-manager and DIR/crds.yaml. If both exist, they are not built again. An interrupted run leaves no
# incomplete files.
set -euo pipefail
usage="usage: build.sh DIR VERSION"
dir=${1:?$usage}
version=${2:?$usage}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -x "$dir/cert-manager" ] && [ -f "$dir/crds.yaml" ] && exit 0
command -v go >/dev/null || { echo "cert-manager $version: Go is required to build it (https://go.dev/dl)" >&2; exit 1; }

module=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$module"' EXIT
cp "$here/main.go" "$module"
cd "$module"
echo "cert-manager $version: building (about 3 minutes on two cores)" >&2
go mod init cert-manager-for-tests 2>/dev/null
go mod edit -require "github.com/cert-manager/cert-manager@v$version"
go mod tidy 2>tidy.log || { cat tidy.log >&2; exit 1; }
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o cert-manager .
source=$(go list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)
for file in "$source"/deploy/crds/*.yaml; do
  echo ---
  cat "$file"
done >crds.yaml
mv crds.yaml cert-manager "$dir"
