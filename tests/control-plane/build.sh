#!/usr/bin/env bash
# Builds the binaries of Kubernetes from published Go modules, for tests. Needs only Go and its module proxy.
#
#   build.sh DIR KUBERNETES_VERSION [BINARY...]   for example: build.sh ~/.cache/x/1.36.3 1.36.3
#
# Without BINARY, the script builds a control plane: etcd, kube-apiserver and kube-controller-manager. A node also needs
# kube-scheduler, kubelet and kube-proxy. Binaries that are already in DIR are not built again. Each binary is moved
# into place when it is complete, so an interrupted run leaves no incomplete binary. Progress is printed to stderr, one
# line per step. If two runs use the same DIR, the second waits for the first (if flock(1) is available).
set -euo pipefail

usage="usage: build.sh DIR KUBERNETES_VERSION [etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy]..."
dir=${1:?$usage}
version=${2:?$usage}
shift 2
wanted=("$@")
if [ ${#wanted[@]} -eq 0 ]; then wanted=(etcd kube-apiserver kube-controller-manager); fi
kubernetes=k8s.io/kubernetes@v$version

say() { printf 'control plane %s: %s\n' "$version" "$*" >&2; }
if ! [[ $version =~ ^1\.([0-9]+)\.([0-9]+)$ ]]; then
  say "not a released version (write it as 1.36.3)"
  exit 2
fi
minor=${BASH_REMATCH[1]}
patch=${BASH_REMATCH[2]}

missing() {
  local name
  for name in "${wanted[@]}"; do [ -x "$dir/$name" ] || return 0; done
  return 1
}

mkdir -p "$dir"
if command -v flock >/dev/null; then
  exec 9>"$dir/.lock"
  flock -n 9 || { say "another run is building it; waiting for it to finish"; flock 9; }
fi
missing || exit 0

command -v go >/dev/null || {
  say "Go is required to build it (https://go.dev/dl). Or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kube-controller-manager"
  exit 1
}

module=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$module"' EXIT

say "reading the module's requirements"
gomod=$(go mod download -json "$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",\{0,1\}$/\1/p')
# The published module requires its staging modules at v0.0.0, a version that does not exist. The script replaces each
# of them with its released version. `k8s.io/utils`, `klog` and others have their own versions and are not replaced.
staging=$(sed -n 's/^\t\(k8s\.io\/[a-z0-9-]*\) v0\.0\.0\( .*\)\{0,1\}$/\1/p; s/^\t\(k8s\.io\/[a-z0-9-]*\) => \.\/staging\/.*$/\1/p' "$gomod" | sort -u)

cd "$module"
go mod init control-plane >/dev/null 2>&1
go mod edit -require "$kubernetes"
for name in $staging; do
  go mod edit -replace "$name=$name@v0.$minor.$patch"
done
for name in "${wanted[@]}"; do
  case $name in
    etcd) go mod edit -tool go.etcd.io/etcd/server/v3 ;;
    kube-apiserver | kube-controller-manager | kube-scheduler | kubelet | kube-proxy) go mod edit -tool "k8s.io/kubernetes/cmd/$name" ;;
    *) say "no such binary: $name ($usage)"; exit 2 ;;
  esac
done
say "resolving modules (downloads about 300 MB the first time)"
go mod tidy 2>tidy.log || { cat tidy.log >&2; exit 1; }

# Without these flags, /version returns v0.0.0.
stamp="-s -w -X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
build() { # binary package expected-time
  if [ -x "$dir/$1" ]; then return; fi
  say "building $1 (about $3 on two cores)"
  CGO_ENABLED=0 go build -trimpath -ldflags "$stamp" -o "$module/$1" "$2"
  mv "$module/$1" "$dir/$1"
}
for name in "${wanted[@]}"; do
  case $name in
    etcd) build etcd go.etcd.io/etcd/server/v3 "1 minute" ;;
    kube-apiserver) build "$name" "k8s.io/kubernetes/cmd/$name" "8 minutes" ;;
    *) build "$name" "k8s.io/kubernetes/cmd/$name" "2 minutes" ;;
  esac
done
say "ready in $dir"
