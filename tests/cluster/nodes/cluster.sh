#!/bin/bash
# A Kubernetes of one to three nodes in namespaces of this machine; `cargo xtask kube` prepares what it needs.
#   with NODES -- COMMAND...   COMMAND beside a new cluster, in its network, with its KUBECONFIG; it ends with the command,
#                              and also when this script is killed
#   up NODES, down             a cluster that stays
#   kubectl ...                with its administrator's rights
#   load ARCHIVE...            an image for every node
#   run COMMAND...             in its network
#   kill-node N, start-node N  a node without power, whose disks keep what the kernel had yet to write
#   cut-power N                the same, and its disks keep only what had reached them
#   kill-container NODE/ID     kill -9 of a container's first process
#   kill PROGRAM               kill -9 of apiserver, etcd, controllers, scheduler, nodeN-kubelet, nodeN-containerd
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

first_child() {
  local child
  child=$(cut -d' ' -f1 "/proc/$1/task/$1/children") && [ -n "$child" ] && echo "$child"
}
sandbox() { cat "$STATE/sandbox.pid"; }
# join PID COMMAND...: COMMAND inside a sandbox.
join() {
  local pid=$1
  shift
  nsenter -t "$pid" -m -n -p -u -i -C -- "$@"
}
kubectl() { KUBECONFIG=$KEYS/admin.kubeconfig run "$PROGRAMS/kube" kubectl "$@"; }
run() { nsenter --net="/proc/$(sandbox)/ns/net" -- "$@"; }
new_sandbox() { echo unshare --cgroup --mount --pid --uts --ipc --fork --kill-child --mount-proc; }

start_control_plane() {
  if [ -f "$STATE/sandbox.pid" ] && kill -0 "$(sandbox)" 2> /dev/null; then
    say "there is a cluster already: $STATE; \`down\` ends it"
    return 1
  fi
  remove_cgroup "$CGROUP"
  rm -rf "$STATE"
  mkdir -p "$LOGS"
  "$HERE/credentials.sh" 2> "$LOGS/credentials.log" || { cat "$LOGS/credentials.log" >&2; return 1; }
  # shellcheck disable=SC2046 # words
  setsid "$HERE/in-cgroup.sh" "$CGROUP" $DIES_WITH_US $(new_sandbox) --net "$HERE/control-plane.sh" \
    > "$LOGS/control-plane.log" 2>&1 < /dev/null &
  local outer=$!
  echo "$outer" > "$STATE/outer.pid"
  until_true 10 test -f "$STATE/sandbox" || { cat "$LOGS/control-plane.log" >&2; return 1; }
  first_child "$outer" > "$STATE/sandbox.pid"
  # Whoever ends the sandbox, and however: what the kernel does not take back by itself is taken back then.
  setsid "$0" sweep "$outer" > /dev/null 2>&1 < /dev/null &
  until_true 60 test -f "$STATE/api-ready" || { tail "$LOGS/apiserver.log" >&2; return 1; }
}

start_node() {
  local number=$1 outer entered
  rm -f "$STATE/node$number/started"
  join "$(sandbox)" bash -c "ip netns del node$number; ip link del v$number; ip netns add node$number" 2> /dev/null
  join "$(sandbox)" bash -ec "
    ip link add v$number type veth peer name eth0 netns node$number
    ip link set v$number master br0 up
    ip route replace $(pods_of "$number") via $(node_address "$number")" || return 1
  # shellcheck disable=SC2046 # words
  setsid nsenter -t "$(sandbox)" -m -n -p -u -i -C -- "$HERE/in-cgroup.sh" "node$number" \
    nsenter --net="/run/netns/node$number" $(new_sandbox) "$HERE/node.sh" "$number" \
    > "$LOGS/node$number.log" 2>&1 < /dev/null &
  outer=$!
  until_true 60 test -f "$STATE/node$number/started" || { cat "$LOGS/node$number.log" >&2; return 1; }
  # nsenter and unshare each leave a parent behind.
  entered=$(first_child "$outer")
  first_child "$entered" > "$STATE/node$number.pid"
}

node_is_ready() {
  [ "$(kubectl get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}
await_node() { until_true 60 node_is_ready "node$1" || { say "node$1 does not become ready"; tail "$LOGS/node$1-kubelet.log" >&2; return 1; }; }

kill_node() {
  kill -9 "$(cat "$STATE/node$1.pid")"
  remove_cgroup "$CGROUP/node$1"
  rm -f "$STATE/node$1.pid"
}

# The kernel writes what it still holds when a disk is unmounted, as it is when a node is killed. So the disks are copied
# as they are while nothing on the node runs, and the copies are what it finds when it comes back.
cut_power() {
  local disk state=/sys/fs/cgroup/freezer/$CGROUP/node$1/freezer.state
  echo FROZEN > "$state"
  until_true 5 grep -q FROZEN "$state"
  for disk in "$STATE/node$1"/volumes/*.disk; do
    [ -f "$disk" ] && cp --sparse=always "$disk" "$disk.left"
  done
  kill -9 "$(cat "$STATE/node$1.pid")"
  echo THAWED > "$state"
  remove_cgroup "$CGROUP/node$1"
  rm -f "$STATE/node$1.pid"
  until_true 10 no_disk_is_held "$1"
  for disk in "$STATE/node$1"/volumes/*.disk.left; do
    [ -f "$disk" ] && mv "$disk" "${disk%.left}"
  done
}
no_disk_is_held() {
  local disk held
  held=$(losetup --list --noheadings --output BACK-FILE)
  for disk in "$STATE/node$1"/volumes/*.disk; do
    [[ "$held" != *"$(basename "$disk")"* ]] || return 1
  done
}

# Its pid is the one that its own sandbox counts.
kill_program() {
  local inside
  inside=$(sandbox)
  [[ $1 != node?-* ]] || inside=$(cat "$STATE/${1%%-*}.pid")
  join "$inside" bash -c "kill -9 $(cat "$STATE/$1.pid")"
}

up() {
  local began node jobs=()
  began=$(now)
  start_control_plane || return 1
  for node in $(seq "$1"); do
    { start_node "$node" && await_node "$node"; } &
    jobs+=($!)
  done
  for node in "${jobs[@]}"; do wait "$node" || return 1; done
  until_true 30 kubectl get serviceaccount default || return 1
  say "a cluster of $1 nodes is ready after $(($(now) - began)) ms"
}

down() {
  local outer
  outer=$(cat "$STATE/outer.pid" 2> /dev/null) || return 0
  kill -9 "$(sandbox)" 2> /dev/null
  until_true 10 gone "$outer"
  sweep "$outer"
}
gone() { ! kill -0 "$1"; }

# Once the sandbox is gone: its cgroups and its files.
sweep() {
  until gone "$1" 2> /dev/null; do sleep 0.2; done
  remove_cgroup "$CGROUP"
  [ -n "${NSQUBE_NODES_KEEP:-}" ] || rm -rf "$STATE"
}

with() {
  local nodes=$1
  shift 2
  DIES_WITH_US="setpriv --pdeathsig KILL"
  trap down EXIT
  trap 'exit 143' TERM INT
  up "$nodes" || exit 1
  export KUBECONFIG=$KEYS/admin.kubeconfig NSQUBE_NODES="$HERE/cluster.sh"
  setpriv --pdeathsig KILL nsenter --net="/proc/$(sandbox)/ns/net" -- "$@" &
  wait $!
  exit $?
}

DIES_WITH_US=
command=${1:-}
shift
case $command in
  with | up | down | run | kubectl | sweep) "$command" "$@" ;;
  start-node) start_node "$1" && await_node "$1" ;;
  kill-node) kill_node "$1" ;;
  cut-power) cut_power "$1" ;;
  kill) kill_program "$1" ;;
  kill-container)
    join "$(cat "$STATE/${1%%/*}.pid")" "$PROGRAMS/ctr" -n k8s.io tasks kill --signal SIGKILL "${1##*/}"
    ;;
  load)
    for node in "$STATE"/node?.pid; do
      for archive in "$@"; do
        join "$(cat "$node")" "$PROGRAMS/ctr" -n k8s.io images import "$(realpath "$archive")" > /dev/null 2>> "$LOGS/load.log" || { tail "$LOGS/load.log" >&2; exit 1; }
      done
    done
    ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
