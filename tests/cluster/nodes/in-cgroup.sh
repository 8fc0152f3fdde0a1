#!/bin/bash
# in-cgroup.sh NAME COMMAND...: COMMAND in a cgroup NAME below the root that is seen here, of every controller.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
name=$1
shift
for controller in $CONTROLLERS; do
  folder=/sys/fs/cgroup/$controller/$name
  mkdir -p "$folder"
  if [ "$controller" = cpuset ]; then
    # A new cpuset has neither processors nor memory, and takes no process until it has.
    for file in cpuset.cpus cpuset.mems; do cat "/sys/fs/cgroup/cpuset/$file" > "$folder/$file"; done
    echo 1 > "$folder/cgroup.clone_children"
  fi
  echo $$ > "$folder/cgroup.procs"
done
exec "$@"
