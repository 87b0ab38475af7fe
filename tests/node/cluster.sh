#!/usr/bin/env bash
# Runs a one-node Kubernetes cluster on this machine, without a container engine: etcd, API server, controller manager,
# scheduler, containerd and kubelet are plain processes. Needs root. A machine can run only one such cluster.
#
#   cluster.sh up STATE BINARIES [IMAGE.tar...]   starts the cluster, and prints the path of its admin kubeconfig
#   cluster.sh down STATE                         stops the cluster, and removes STATE and its other traces
#
# STATE is a new folder with a short path, because it contains sockets. BINARIES is the folder that
# tests/control-plane/build.sh creates. Images come from archives. The first image must be named test.local/pause:1.
# With ROUTE=endpoints (the default), the API server calls webhooks at their endpoints. With ROUTE=clusterip, it calls
# them at the address of the Service, which kube-proxy translates.
set -euo pipefail
usage="usage: cluster.sh up STATE BINARIES [IMAGE.tar...] | cluster.sh down STATE"
command=${1:?$usage}
state=${2:?$usage}
route=${ROUTE:-endpoints}

bridge=si0
node_address=10.244.0.1
pods=10.244.0.0/24
services=10.96.0.0/24
# The API server listens on its own ClusterIP, so that pods reach it without kube-proxy.
api=10.96.0.1
node=node1
socket=$state/containerd.sock
# Folders outside STATE to which kubelet, containerd and CNI always write, and kernel settings that they change.
fixed="/var/lib/cni /var/lib/kubelet /var/log/containers /run/containerd"
settings="net.ipv4.ip_forward net.ipv4.conf.all.route_localnet vm.overcommit_memory kernel.panic kernel.panic_on_oops"

say() { printf 'cluster: %s\n' "$*" >&2; }

start() { # name command...
  local name=$1
  shift
  setsid nohup "$@" >"$state/log/$name.log" 2>&1 </dev/null &
  echo "$! $name" >>"$state/pids"
}

until_true() { # what command...
  local what=$1 i
  shift
  for i in $(seq 600); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  say "timed out waiting for $what; the logs are in $state/log"
  exit 1
}

remember() {
  local name folder
  for name in $settings; do echo "$name=$(sysctl -n "$name")"; done >"$state/settings"
  for folder in $fixed; do [ -e "$folder" ] || echo "$folder"; done >"$state/owned"
}

network() {
  ip link add $bridge type bridge
  ip addr add $node_address/24 dev $bridge
  ip addr add $api/32 dev $bridge
  ip link set $bridge up
  # kube-proxy translates only addresses that have a route.
  ip route add $services dev $bridge
}

identities() {
  local user
  openssl genrsa -out "$state/sa.key" 2048 2>/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout "$state/kubelet-client.key" \
    -out "$state/kubelet-client.crt" -subj /O=system:masters/CN=kube-apiserver -addext extendedKeyUsage=clientAuth 2>/dev/null
  for user in admin system:node:$node system:kube-controller-manager system:kube-scheduler system:kube-proxy; do
    case $user in
      admin) echo "$(openssl rand -hex 16),$user,$user,system:masters" ;;
      system:node:*) echo "$(openssl rand -hex 16),$user,$user,system:nodes" ;;
      *) echo "$(openssl rand -hex 16),$user,$user" ;;
    esac
  done >"$state/tokens.csv"
}

kubeconfig() { # file user
  cat >"$state/$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$api:443", certificate-authority: $state/api/apiserver.crt}}]
users: [{name: u, user: {token: $(awk -F, -v user="$2" '$2 == user {print $1}' "$state/tokens.csv")}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
EOF
}

control_plane() {
  local aggregator=true
  [ "$route" = clusterip ] && aggregator=false
  start etcd "$binaries/etcd" --data-dir "$state/etcd" --listen-client-urls http://127.0.0.1:22379 --advertise-client-urls http://127.0.0.1:22379 \
    --listen-peer-urls http://127.0.0.1:22380 --unsafe-no-fsync --log-level error
  start kube-apiserver "$binaries/kube-apiserver" --etcd-servers=http://127.0.0.1:22379 --bind-address=$api --advertise-address=$api \
    --secure-port=443 --cert-dir="$state/api" --service-cluster-ip-range=$services --authorization-mode=Node,RBAC \
    --token-auth-file="$state/tokens.csv" --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$state/sa.key" \
    --service-account-signing-key-file="$state/sa.key" --kubelet-client-certificate="$state/kubelet-client.crt" \
    --kubelet-client-key="$state/kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
    --enable-aggregator-routing=$aggregator --allow-privileged=true
  until_true "the API server's certificate" test -s "$state/api/apiserver.crt"
  kubeconfig admin admin
  kubeconfig kubelet system:node:$node
  kubeconfig controllers system:kube-controller-manager
  kubeconfig scheduler system:kube-scheduler
  kubeconfig proxy system:kube-proxy
  export KUBECONFIG=$state/admin.kubeconfig
  until_true "the API server" kubectl get --raw=/readyz
  start kube-controller-manager "$binaries/kube-controller-manager" --kubeconfig="$state/controllers.kubeconfig" --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port=0 --cert-dir="$state/controllers" --service-account-private-key-file="$state/sa.key" \
    --root-ca-file="$state/api/apiserver.crt" --use-service-account-credentials=true
  start kube-scheduler "$binaries/kube-scheduler" --kubeconfig="$state/scheduler.kubeconfig" --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port=0 --cert-dir="$state/scheduler"
}

containers() {
  local image
  mkdir -p "$state/cni"
  cat >"$state/cni/10-bridge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "bridge", "plugins": [{"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": false, "hairpinMode": true,
 "ipam": {"type": "host-local", "dataDir": "$state/addresses", "ranges": [[{"subnet": "$pods", "rangeStart": "10.244.0.10", "gateway": "$node_address"}]], "routes": [{"dst": "$services"}]}}]}
EOF
  # Without CAP_SYS_RESOURCE, runc cannot start a pod unless restrict_oom_score_adj is set.
  cat >"$state/containerd.toml" <<EOF
version = 2
root = "$state/containerd"
state = "$state/run"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "test.local/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$state/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "$state/runc"
EOF
  start containerd containerd -c "$state/containerd.toml"
  until_true containerd ctr -a "$socket" version
  for image in "$@"; do ctr -a "$socket" -n k8s.io images import "$image" >&2; done
}

kubelet() {
  # Images cannot be pulled again, so the kubelet must not remove any.
  cat >"$state/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
port: 20250
healthzPort: 0
containerRuntimeEndpoint: unix://$socket
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/kubelet-client.crt}}
authorization: {mode: Webhook}
resolvConf: ""
clusterDomain: cluster.local
podLogsDir: $state/pod-logs
volumePluginDir: $state/volume-plugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
nodeStatusUpdateFrequency: 2s
syncFrequency: 10s
oomScoreAdj: 0
maxOpenFiles: 20000
EOF
  start kubelet "$binaries/kubelet" --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" --hostname-override=$node \
    --node-ip=$node_address --root-dir="$state/kubelet" --cert-dir="$state/kubelet/pki"
}

proxy() {
  cat >"$state/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $state/proxy.kubeconfig}
mode: iptables
iptables: {localhostNodePorts: false}
nodePortAddresses: [primary]
clusterCIDR: $pods
hostnameOverride: $node
bindAddress: $node_address
healthzBindAddress: 127.0.0.1:20256
metricsBindAddress: 127.0.0.1:20255
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF
  echo "$binaries/kube-proxy" >"$state/proxy-binary"
  start kube-proxy "$binaries/kube-proxy" --config="$state/proxy.yaml"
}

up() {
  binaries=${1:?$usage}
  shift
  [ "$(id -u)" = 0 ] || { say "root is required"; exit 2; }
  if ip link show $bridge >/dev/null 2>&1; then
    say "$bridge exists: another such cluster runs on this machine; stop it with cluster.sh down"
    exit 2
  fi
  mkdir -p "$state/log"
  remember
  network
  identities
  containers "$@"
  control_plane
  kubelet
  if [ "$route" = clusterip ]; then proxy; fi
  until_true "the node" kubectl wait --for=condition=Ready node/$node --timeout=5s
  until_true "the default ServiceAccount" kubectl get serviceaccount default
  say "ready; route of webhook calls: $route"
  echo "$state/admin.kubeconfig"
}

stop() { # name
  local pid i
  pid=$(awk -v name="$1" '$2 == name {print $1}' "$state/pids")
  # The ID may belong to another process by now. Only processes of this cluster have the state folder in their
  # arguments.
  [ -n "$pid" ] && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$state/" || return 0
  kill "$pid" || return 0
  for i in $(seq 100); do
    [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

containers_end() {
  local id process
  for id in $(timeout 20 ctr -a "$socket" -n k8s.io tasks ls -q 2>/dev/null); do
    # A container can stop together with another container of its pod.
    timeout 20 ctr -a "$socket" -n k8s.io tasks rm -f "$id" >/dev/null 2>&1 || true
  done
  # Stop only the shims of this cluster's containerd.
  for process in /proc/[0-9]*; do
    if { tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null | grep -qF -e "-address $socket"; then kill -9 "${process#/proc/}" || true; fi
  done
  stop containerd
  cat /sys/fs/cgroup/*/kubepods/cgroup.procs /sys/fs/cgroup/*/kubepods/*/*/*/cgroup.procs 2>/dev/null | sort -u | xargs -r kill -9 || true
}

clean() {
  local mount folder setting
  awk -v state="$state/" 'index($2, state) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
  ip link del $bridge || true
  for folder in /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/kubepods; do
    if [ -d "$folder" ]; then find "$folder" -depth -type d -exec rmdir {} \; || true; fi
  done
  while read -r folder; do
    case $folder in /var/lib/cni | /var/lib/kubelet | /var/log/containers | /run/containerd) rm -rf --one-file-system "$folder" ;; esac
  done <"$state/owned"
  while IFS= read -r setting; do sysctl -qw "$setting" || true; done <"$state/settings"
  rm -rf --one-file-system "$state"
}

down() {
  local name family chain
  [ -f "$state/pids" ] || { say "no cluster runs in $state"; exit 0; }
  for name in kubelet kube-scheduler kube-controller-manager; do stop $name; done
  if grep -q ' kube-proxy$' "$state/pids"; then
    stop kube-proxy
    "$(cat "$state/proxy-binary")" --cleanup --config="$state/proxy.yaml" >"$state/log/cleanup.log" 2>&1 || true
    # kube-proxy does not remove these chains.
    for family in iptables ip6tables; do
      for chain in INPUT OUTPUT; do $family -D $chain -j KUBE-FIREWALL 2>/dev/null || true; done
      { $family -F KUBE-FIREWALL && $family -X KUBE-FIREWALL; } 2>/dev/null || true
    done
  fi
  containers_end
  stop kube-apiserver
  stop etcd
  clean
  say "stopped"
}

case $command in
  up) shift 2; up "$@" ;;
  down) down ;;
  *) say "$usage"; exit 2 ;;
esac
