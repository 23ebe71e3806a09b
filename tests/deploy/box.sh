#!/bin/bash
# A box to boot systemd in, on a machine that runs another init: this machine's files, those of INSTALLED
# over them, and whatever is written kept in memory; processes, mounts and a network of its own. As root:
#   unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child box.sh FOLDER INSTALLED PACKAGES PLACE
# PLACE in the box shows PACKAGES, wherever they lie: its units see neither /home nor /root.
# Nothing of it is left when its first process ends.
set -eu
mount --make-rprivate /
mount -t tmpfs box "$1"
cd "$1"
mkdir upper work root empty
cp -a "$2/." upper
chmod 755 upper  # it becomes the mode of /
mount -t overlay box -o lowerdir=/,upperdir=upper,workdir=work root
empty=$PWD/empty
cd root

mount -t proc proc proc
mount --bind proc/sys proc/sys  # the kernel's settings are the machine's
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 box sys/fs/cgroup
mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
if mount -t cgroup -o none,name=systemd box sys/fs/cgroup/systemd 2>/dev/null; then
  mount -t cgroup2 box sys/fs/cgroup/unified
else  # where there is only the unified hierarchy
  umount sys/fs/cgroup
  mount -t cgroup2 box sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 box run
mount -t tmpfs -o mode=755 box dev
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 box dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 box dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in null zero full random urandom tty; do
  touch "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mkdir -p ".$4"
mount --bind "$3" ".$4"
ip link set lo up

# Of the machine's own services none is started.
: >etc/fstab
for target in sysinit.target basic.target local-fs.target sockets.target timers.target; do
  [ ! -d "lib/systemd/system/$target.wants" ] || mount --bind "$empty" "lib/systemd/system/$target.wants"
  rm -rf "etc/systemd/system/$target.wants"
done
printf '[Unit]\nRequires=basic.target systemd-journald.socket dbus.socket\nAfter=basic.target\n' \
  >etc/systemd/system/box.target

mkdir box
pivot_root . box
umount -l box
mount --make-rshared /  # systemd takes that for done in a container, and hands credentials out as mounts
cd /
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=box.target --show-status=false
