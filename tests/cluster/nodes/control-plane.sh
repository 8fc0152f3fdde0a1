#!/bin/bash
# The first process of a cluster's sandbox (its own mounts, processes, network, names and cgroups): when it ends, the
# kernel ends everything inside, nodes and pods included. It runs what a control plane runs.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
mount --make-rprivate /
mount -t sysfs sysfs /sys
mount_cgroups
mount -t tmpfs tmpfs /run
hostname control-plane
ip link set lo up
ip link add br0 type bridge
ip addr add "$CONTROL_PLANE/24" dev br0
ip link set br0 up
echo 1 > /proc/sys/net/ipv4/ip_forward
ulimit -n "$(ulimit -Hn)"
# Who starts this learns its pid, as the host counts, from here.
touch "$STATE/sandbox"

# Nothing of this outlives the sandbox, so there is nothing to sync for.
keep etcd "$PROGRAMS/kube" etcd --name=e --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
  --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
  --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
  --initial-cluster=e=http://127.0.0.1:2380
# A lost node is noticed within seconds, not minutes.
keep apiserver "$PROGRAMS/kube" kube-apiserver --bind-address=0.0.0.0 --advertise-address="$CONTROL_PLANE" \
  --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range="$SERVICES" --allow-privileged --profiling=false \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --enable-aggregator-routing \
  --client-ca-file="$KEYS/ca.crt" --tls-cert-file="$KEYS/apiserver.crt" --tls-private-key-file="$KEYS/apiserver.key" \
  --kubelet-client-certificate="$KEYS/kubelet-client.crt" --kubelet-client-key="$KEYS/kubelet-client.key" \
  --kubelet-preferred-address-types=InternalIP \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$KEYS/service-accounts.pub" --service-account-signing-key-file="$KEYS/service-accounts.key" \
  --requestheader-client-ca-file="$KEYS/front-ca.crt" --requestheader-allowed-names=front-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$KEYS/front-client.crt" --proxy-client-key-file="$KEYS/front-client.key" \
  --default-not-ready-toleration-seconds=20 --default-unreachable-toleration-seconds=20
export KUBECONFIG=$KEYS/admin.kubeconfig
until_true 60 "$PROGRAMS/kube" kubectl get --raw /readyz
# The controller manager ends at once when the roles are not there yet: hence after /readyz.
touch "$STATE/api-ready"
"$PROGRAMS/kube" kubectl apply --server-side -f "$HERE/defaults.yaml" > "$LOGS/defaults.log" 2>&1
DNS_KUBECONFIG=$KEYS/dns.kubeconfig keep dns "$PROGRAMS/coredns" -conf "$HERE/Corefile"
keep controllers "$PROGRAMS/kube" kube-controller-manager --bind-address=127.0.0.1 --leader-elect=false \
  --kubeconfig="$KEYS/controllers.kubeconfig" --authentication-kubeconfig="$KEYS/controllers.kubeconfig" \
  --authorization-kubeconfig="$KEYS/controllers.kubeconfig" --use-service-account-credentials --profiling=false \
  --service-account-private-key-file="$KEYS/service-accounts.key" --root-ca-file="$KEYS/ca.crt" \
  --cluster-signing-cert-file="$KEYS/ca.crt" --cluster-signing-key-file="$KEYS/ca.key" \
  --controllers='*,-nodeipam,-node-route-controller,-cloud-node-lifecycle-controller' \
  --kube-api-qps=500 --kube-api-burst=1000 --node-monitor-period=1s --node-monitor-grace-period=8s
keep scheduler "$PROGRAMS/kube" kube-scheduler --bind-address=127.0.0.1 --leader-elect=false --profiling=false \
  --kubeconfig="$KEYS/scheduler.kubeconfig" --authentication-kubeconfig="$KEYS/scheduler.kubeconfig" \
  --authorization-kubeconfig="$KEYS/scheduler.kubeconfig" --kube-api-qps=500 --kube-api-burst=1000
# The first process takes in orphans; it must never end by itself.
while :; do
  wait
  sleep 0.2
done
