#!/usr/bin/env bash
# Runs tests/node on its own cluster: builds Kubernetes, Helm, cert-manager and the image, starts a one-node cluster
# twice (with webhook calls to the endpoints, and through kube-proxy), and removes it.
#
# Needs root. On Debian, it installs missing packages. Otherwise, use an existing cluster that can pull the images:
#   KUBECONFIG=… IMAGE=REGISTRY/sidecar-injector:TAG APP_IMAGE=docker.io/library/busybox:1.37 cargo test --locked --test node
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf 'node: %s\n' "$*" >&2; }

if [ "$(id -u)" != 0 ]; then
  sed -n 's/^# \{0,1\}//p' "$0" | sed -n 4,6p >&2
  exit 2
fi
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need containerd containerd
need runc runc
need iptables iptables
need ip iproute2
need openssl openssl
need buildah buildah
need kubectl kubernetes-client
need musl-gcc musl-tools
[ -x /bin/busybox ] || missing+=(busybox-static)
[ -d /usr/lib/cni ] || missing+=(containernetworking-plugins)
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { say "missing packages (Debian names): ${missing[*]}"; exit 2; }
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

version=$(cat tests/control-plane/VERSION)
binaries=${XDG_CACHE_HOME:-$HOME/.cache}/sidecar-injector/kubernetes/$version
tests/control-plane/build.sh "$binaries" "$version" etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy

make --no-print-directory static
work=$(mktemp -d /tmp/si.XXXXXX)
trap 'tests/node/cluster.sh down "$work/c" || true; rm -rf "$work"' EXIT
target=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-musl/release
mkdir "$work/context" "$work/pause"
cp "$target/sidecar-injector" "$work/context"
cp /bin/busybox "$work/pause"
printf 'FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT ["/bin/busybox", "sleep", "infinity"]\n' >"$work/pause/Dockerfile"
image() { # name context flag...
  local name=$1 context=$2
  shift 2
  buildah --storage-driver vfs --root "$work/images" --runroot "$work/run" bud -q "$@" -t "$name" "$context" >&2
  buildah --storage-driver vfs --root "$work/images" --runroot "$work/run" push -q "$name" "docker-archive:$work/$(basename "$context").tar:$name"
}
image test.local/pause:1 "$work/pause"
image test.local/sidecar-injector:e2e "$work/context" -f "$PWD/Dockerfile" --build-arg FROM=prebuilt --build-arg BINARY=sidecar-injector
say "image: $(stat -c %s "$work/context.tar") bytes"

for route in endpoints clusterip; do
  ROUTE=$route tests/node/cluster.sh up "$work/c" "$binaries" "$work/pause.tar" "$work/context.tar" >/dev/null
  KUBECONFIG=$work/c/admin.kubeconfig cargo test --locked --test node -- --nocapture
  tests/node/cluster.sh down "$work/c"
done
