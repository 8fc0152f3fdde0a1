#!/bin/bash
# node.sh NUMBER: the first process of a node's sandbox, inside the cluster's. containerd, kubelet, kube-proxy and the
# agent that makes volumes; what they write goes to files of this cluster, never to the machine's own folders.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
number=$1
name=node$number
own=$STATE/$name
mount --make-rshared /
mount -t sysfs sysfs /sys
mount_cgroups
mount -t tmpfs tmpfs /run
hostname "$name"
ulimit -n "$(ulimit -Hn)"

# shown FILE FOLDER: FOLDER of this node in the place of the machine's, where mounts of pods are seen by all.
shown() {
  mkdir -p "$own/$1" "$2"
  mount --bind "$own/$1" "$2"
  mount --make-rshared "$2"
}
mount -t tmpfs tmpfs /var/lib
shown kubelet /var/lib/kubelet
shown containerd /var/lib/containerd
shown volumes /var/lib/volumes
shown log /var/log
mkdir -p /run/etc/upper /run/etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
# A kubelet sets these for the whole machine, unless it finds them set: it finds files of ours.
mkdir -p "$own/kernel"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$own/kernel/$(basename "${setting%=*}")
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

echo "nameserver $CONTROL_PLANE" > /etc/resolv.conf
echo "127.0.0.1 localhost $name" > /etc/hosts
ip link set lo up
ip addr add "$(node_address "$number")/24" dev eth0
ip link set eth0 up
ip route add default via "$CONTROL_PLANE"
for other in 1 2 3; do
  [ "$other" = "$number" ] || ip route add "$(pods_of "$other")" via "$(node_address "$other")"
done
echo 1 > /proc/sys/net/ipv4/ip_forward

mkdir -p /etc/cni/net.d /etc/containerd
cat > /etc/cni/net.d/pods.conflist << JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "$(pods_of "$number")"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
# An out-of-memory score below zero needs a right that a virtual machine's root may lack.
cat > /etc/containerd/config.toml << TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "localhost/nsqube/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["$PLUGINS"]
conf_dir = "/etc/cni/net.d"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
TOML
# Nobody is evicted for the disk of the machine that the test runs on.
cat > /etc/kubelet.yaml << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $KEYS/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
failCgroupV1: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDomain: cluster.local
clusterDNS: [$CONTROL_PLANE]
evictionHard:
  {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
failSwapOn: false
nodeStatusUpdateFrequency: 2s
nodeStatusReportFrequency: 5s
nodeLeaseDurationSeconds: 8
configMapAndSecretChangeDetectionStrategy: Watch
enforceNodeAllocatable: [pods]
maxPods: 60
YAML
cat > /etc/kube-proxy.yaml << YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KEYS/proxy.kubeconfig}
mode: nftables
hostnameOverride: $name
detectLocalMode: BridgeInterface
detectLocal: {bridgeInterface: cni0}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {minSyncPeriod: 100ms}
YAML

export PATH=$PROGRAMS:$PATH
keep "$name-containerd" containerd --config /etc/containerd/config.toml
until_true 30 ctr -a /run/containerd/containerd.sock version
for image in "$IMAGES"/*.tar; do
  ctr -n k8s.io images import "$image" >> "$LOGS/$name-images.log" 2>&1 || say "$name cannot import $image"
done
# The same programs under a second name: what a new version of an image is to Kubernetes.
for image in $(ctr -n k8s.io images list -q | grep '^localhost/nsqube/nsqd:'); do
  ctr -n k8s.io images tag --force "$image" "${image%:*}:next" >> "$LOGS/$name-images.log" 2>&1
done
keep "$name-kubelet" kube kubelet --config /etc/kubelet.yaml --kubeconfig "$KEYS/$name.kubeconfig" \
  --node-ip "$(node_address "$number")" --hostname-override "$name" --node-labels "topology.kubernetes.io/zone=zone$number"
keep "$name-proxy" kube kube-proxy --config /etc/kube-proxy.yaml
keep "$name-volumes" kube volumes --node "$name" --folder /var/lib/volumes --kubeconfig "$KEYS/volumes.kubeconfig"
touch "$own/started"
while :; do
  wait
  sleep 0.2
done
