#!/usr/bin/env bash
# Whether everything in the tree says VERSION.
#
#   release/check.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: release/check.sh VERSION}
failed=0
says() { # file pattern
  grep -qE -- "$2" "$1" || { echo "release: $1 does not say $version" >&2; failed=1; }
}
dotted=${version//./\\.}
says Cargo.toml "^version = \"$dotted\"$"
for lock in Cargo.lock fuzz/Cargo.lock; do
  grep -A1 '^name = "sidecar-injector"$' "$lock" | grep -q "^version = \"$dotted\"$" || { echo "release: $lock does not say $version" >&2; failed=1; }
done
says charts/sidecar-injector/Chart.yaml "^version: $dotted$"
says charts/sidecar-injector/Chart.yaml "^appVersion: \"$dotted\"$"
says CHANGELOG.md "^## $dotted - [0-9]{4}-[0-9]{2}-[0-9]{2}$"
for file in manifests/*/sidecar-injector.yaml; do says "$file" "image: .*:$dotted$"; done
exit $failed
