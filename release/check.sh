#!/usr/bin/env bash
# Checks that all files have the version VERSION. Exits with 1 if one has not.
#
#   release/check.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: release/check.sh VERSION}
failed=0
has_version() { # file pattern
  grep -qE -- "$2" "$1" || { echo "release: $1 does not have version $version" >&2; failed=1; }
}
dotted=${version//./\\.}
has_version Cargo.toml "^version = \"$dotted\"$"
for lock in Cargo.lock fuzz/Cargo.lock; do
  grep -A1 '^name = "sidecar-injector"$' "$lock" | grep -q "^version = \"$dotted\"$" || { echo "release: $lock does not have version $version" >&2; failed=1; }
done
has_version charts/sidecar-injector/Chart.yaml "^version: $dotted$"
has_version charts/sidecar-injector/Chart.yaml "^appVersion: \"$dotted\"$"
has_version CHANGELOG.md "^## $dotted - [0-9]{4}-[0-9]{2}-[0-9]{2}$"
for file in manifests/*/sidecar-injector.yaml; do has_version "$file" "image: .*:$dotted$"; done
exit $failed
