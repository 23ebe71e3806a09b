#!/bin/bash
# Does what deploy/Dockerfile says, without an engine: each RUN, COPY, ENV, WORKDIR and USER as it stands, over this
# machine's files (kept in memory) in the place of the base image, whose Python is this one's in a venv. So it shows
# that the steps work and what comes out of them runs; not that the base image has what they need. As root, with
# the network (or pip's settings for a mirror) to fetch what the locks name:
#   unshare --mount --kill-child --fork tests/deploy/image.sh /usr/bin/python3 demo
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
python=$1
shift
scratch=$(mktemp -d)
mount --make-rprivate /
mount -t tmpfs image "$scratch"
mkdir "$scratch/context"

# The context, as Dockerfile.dockerignore leaves it
while read -r pattern; do
  [[ $pattern == !* ]] || continue
  (cd "$repository" && for item in ${pattern#!}; do cp -a --parents "$item" "$scratch/context"; done)
done <"$repository/deploy/Dockerfile.dockerignore"
find "$scratch/context" -name __pycache__ -prune -exec rm -rf {} +

stage=0 name='' root='' folder=/ user=0:0 environment=()
inside() { # COMMAND, in the stage as it is now
  chroot --userspec="$user" "$root" /usr/bin/env -i HOME=/tmp "PATH=$path" "${environment[@]}" \
    ${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} /bin/sh -euc "cd '$folder'; $1"
}
begin() { # NAME of a stage, on a base image that is this machine
  stage=$((stage + 1)) name=$1 folder=/ user=0:0 environment=() path=/usr/local/base/bin:/usr/sbin:/usr/bin:/sbin:/bin
  root=$scratch/$stage/root
  mkdir -p "$scratch/$stage"/{upper,work,root}
  mount -t overlay stage -o "lowerdir=/,upperdir=$scratch/$stage/upper,workdir=$scratch/$stage/work" "$root"
  mount -t tmpfs none "$root/tmp"
  chmod 1777 "$root/tmp"
  mount -t tmpfs none "$root/dev"
  for device in null zero urandom random; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
  ln -s /proc/self/fd "$root/dev/fd"
  mkdir "$root/dev/shm" && chmod 1777 "$root/dev/shm"
  mount -t proc proc "$root/proc"
  cp -L /etc/resolv.conf "$root/etc/resolv.conf.image" && mv "$root/etc/resolv.conf.image" "$root/etc/resolv.conf" || true
  rm -rf "$root/opt/syncer" "$root/var/lib/syncer"
  "$python" -m venv "$root/usr/local/base"
  sed -i "s|$root||g" "$root"/usr/local/base/bin/* 2>/dev/null || true
  [ -z "$name" ] || ln -s "$stage" "$scratch/$name"
}
copy() { # [--from=STAGE] SOURCE... TARGET
  local from=$scratch/context words=("$@")
  if [[ $1 == --from=* ]]; then from=$scratch/${1#--from=}/root words=("${@:2}"); fi
  local target=$root${words[-1]/#[^\/]/$folder/${words[-1]:0:1}}
  mkdir -p "$target"
  for source in "${words[@]::${#words[@]}-1}"; do
    if [ -d "$from/$source" ]; then cp -a "$from/$source/." "$target"; else cp -a "$from/$source" "$target"; fi
  done
}

entry=()
while IFS= read -r line; do
  rest=${line#* }
  case $line in
    "" | \#* | LABEL* | EXPOSE* | CMD*) ;;
    FROM*) begin "$(sed -n 's/.* AS //p' <<<"$line")" ;;
    ENV*) for each in $rest; do
        if [[ $each == PATH=* ]]; then path=$(PATH=$path && eval "echo ${each#PATH=}"); else environment+=("$each"); fi
      done ;;
    WORKDIR*) folder=$rest && mkdir -p "$root$folder" ;;
    USER*) user=$rest ;;
    COPY*) # shellcheck disable=SC2086
      copy $rest ;;
    RUN*) echo "--- $rest" >&2 && inside "$rest" ;;
    ENTRYPOINT*) read -ra entry <<<"$(tr -d '[],"' <<<"$rest")" ;;
    *) echo "what is this? $line" >&2 && exit 1 ;;
  esac
done < <(sed -e ':join' -e '/\\$/{N;s/\\\n/ /;b join' -e '}' "$repository/deploy/Dockerfile")
echo "--- ${entry[*]} $*, as $user" >&2
inside "${entry[*]} $*"
