# What the scripts of a test cluster agree on: where things are, addresses, and the few verbs that all of them need.
# 198.18.0.0/15 is kept for measurements and never routed: the sandbox has no way out, and nothing clashes with it.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# `kube`, coredns, containerd and the rest; the folder that holds everything this cluster writes; images as OCI archives.
PROGRAMS=${NSQUBE_NODES_PROGRAMS:?start this with \`cargo xtask kube\`}
STATE=${NSQUBE_NODES_STATE:?start this with \`cargo xtask kube\`}
IMAGES=${NSQUBE_NODES_IMAGES:?start this with \`cargo xtask kube\`}
# The end of the path is not enough: each cache may have its own.
CGROUP=nsqube-$(basename "$STATE")-$(cksum <<< "$STATE" | cut -d' ' -f1)
CONTROLLERS="cpu cpuacct cpuset memory devices freezer blkio pids systemd"
KEYS=$STATE/keys
LOGS=$STATE/logs
CONTROL_PLANE=198.18.0.1
SERVICES=198.18.64.0/20
KUBERNETES=198.18.64.1
PLUGINS=/usr/lib/cni

node_address() { echo "198.18.0.$((10 + $1))"; }
pods_of() { echo "198.19.$1.0/24"; }
say() { printf '%s\n' "$*" >&2; }
now() { echo $(($(date +%s%N) / 1000000)); }

# until_true SECONDS COMMAND...: tries 20 times a second.
until_true() {
  local left=$(($1 * 20))
  shift
  until "$@" > /dev/null 2>&1; do
    ((left-- > 0)) || return 1
    sleep 0.05
  done
}

# keep NAME COMMAND...: runs it in the background, again whenever it ends, with its log and its pid in files.
keep() {
  local name=$1
  shift
  (
    while :; do
      "$@" >> "$LOGS/$name.log" 2>&1 &
      echo $! > "$STATE/$name.pid"
      wait $!
      echo "== ended with $?, starts again" >> "$LOGS/$name.log"
      sleep 0.3
    done
  ) &
}

# A new cgroup namespace shows the host's mounts until it has its own.
mount_cgroups() {
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  local controller options
  for controller in $CONTROLLERS; do
    options=$controller
    [ "$controller" = systemd ] && options=none,name=systemd
    mkdir -p "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$controller"
  done
}

# Only once its processes are gone; the kernel may need a moment for that.
remove_cgroup() {
  local controller folder
  for controller in $CONTROLLERS; do
    folder=/sys/fs/cgroup/$controller/$1
    until_true 5 remove_tree "$folder" || say "cannot remove $folder"
  done
}

remove_tree() {
  [ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} +
}
