#!/usr/bin/env bash
# Runs the tests that take too long for each change, one after the other. `tests/full.sh STEP...` runs only those steps.
# Needs root, Debian (it installs missing packages) and Go.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n== %s\n' "$*"; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sidecar-injector

packages() { # command package...
  local missing=()
  while [ $# -gt 0 ]; do
    command -v "$1" >/dev/null || missing+=("$2")
    shift 2
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing packages (Debian names): ${missing[*]}" >&2
    exit 2
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

helm_4() { # prints the path of Helm 4: on PATH, or built by the tests
  if [[ $(helm version --short 2>/dev/null) = v4.* ]]; then type -P helm; else ls "$cache"/helm/4.*/helm; fi
}

apiserver() {
  say "real API server, also with Helm 3"
  SIDECAR_INJECTOR_E2E=full cargo test --locked --test apiserver
}

# The rules and all scenarios with the next version of Kubernetes, and what that version changes for pods
# (tests/apiserver/next_version.txt).
next() {
  local version newest
  version=$(cat tests/control-plane/NEXT_VERSION)
  say "real API server, Kubernetes $version"
  newest=$(cd / && go list -m -versions k8s.io/kubernetes | tr ' ' '\n' | grep -E "^v${version%.*}\.[0-9]+$" | sort -V | tail -n 1)
  [ "$newest" = "v$version" ] || echo "tests/control-plane/NEXT_VERSION is $version, the newest patch release is ${newest:-unknown}"
  env -u KUBEBUILDER_ASSETS KUBERNETES_VERSION="$version" cargo test --locked --test apiserver
}

alerts() {
  say "alerts"
  local promtool
  promtool=$(command -v promtool || echo "$cache/prometheus/usr/bin/promtool")
  if [ ! -x "$promtool" ]; then
    # Installing the package would start a server, so it is only extracted.
    mkdir -p "$cache/prometheus"
    apt-get update -qq
    (cd "$cache/prometheus" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb)
  fi
  make --no-print-directory alerts PROMTOOL="$promtool"
}

node() {
  say "the image on a one-node cluster"
  tests/node/run.sh
}

supply() {
  say "licenses, sources, banned crates"
  make --no-print-directory deny
}

reproducible() {
  say "reproducible build"
  packages musl-gcc musl-tools
  release/reproducible.sh
}

# Makes a release from a clone, without publishing it. The version is one that no file contains.
release() {
  say "release, not published"
  packages musl-gcc musl-tools aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu qemu-aarch64-static qemu-user-static buildah buildah
  [ -d /usr/aarch64-linux-gnu/include/bits ] || packages "" libc6-dev-arm64-cross
  local work binary
  work=$(mktemp -d)
  # shellcheck disable=SC2064 # $work must be expanded now, because it is local
  trap "rm -rf '$work'" EXIT
  git clone -q . "$work/clone"
  (
    cd "$work/clone"
    HELM=$(helm_4)
    export HELM CARGO_TARGET_DIR=$work/target
    sed -i 's/^## Unreleased$/## Unreleased\n\n- added: a rehearsal./' CHANGELOG.md
    release/bump.sh 98.7.6
    git -c user.name=rehearsal -c user.email=rehearsal@example.com commit -qam "Rehearse"
    cargo test --locked --no-default-features --test golden
    if release/check.sh 98.7.7 2>/dev/null; then echo "release/check.sh accepts a wrong version" >&2 && exit 1; fi
    release/dist.sh 98.7.6
    (cd dist && sha256sum --quiet -c SHA256SUMS)
    tar -xOf dist/sidecar-injector-98.7.6.oci.tar ./index.json
    grep -q "a rehearsal" dist/notes.md
  )
  binary=$work/target/aarch64-unknown-linux-musl/release/sidecar-injector
  [ "$(qemu-aarch64-static "$binary" --version)" = "sidecar-injector 98.7.6" ]
  qemu-aarch64-static "$binary" inject -f tests/reviews/manifests/deployment.yaml --templates examples/templates >"$work/arm64"
  "$work/target/x86_64-unknown-linux-musl/release/sidecar-injector" inject -f tests/reviews/manifests/deployment.yaml --templates examples/templates >"$work/amd64"
  cmp "$work/arm64" "$work/amd64"
  echo "the arm64 and amd64 binaries give the same manifests"
}

steps=("$@")
[ $# -gt 0 ] || steps=(apiserver next alerts node supply reproducible release)
for step in "${steps[@]}"; do "$step"; done
say "all steps passed: ${steps[*]}"
