# First program of a lab host with a kernel of its own: mounts an overlay of the disk that all
# hosts share (ubda) and of the host's own disk (ubdb) as the root, and starts systemd there.

set -e
PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
modprobe overlay
mount -t tmpfs tmpfs /mnt
mkdir /mnt/disk /mnt/root
mount -t ext4 /dev/ubdb /mnt/disk
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/disk/upper,workdir=/mnt/disk/work /mnt/root
# The kernel refuses an overlay as the upper layer of another one, which Docker's images are.
mkdir -p /mnt/root/var/lib/docker
mount --bind /mnt/disk/docker /mnt/root/var/lib/docker
ip link set dev vec0 name host0
ip link set dev vec1 name eth1
# As in a container: without a writable /sys systemd starts no udev, and networkd waits for none.
mount -o remount,ro /sys
# These are the steps of switch_root, which Debian sid has in another package. /proc moves last, since
# `mount` reads it; without -n, `mount` would also write a table in /run, and fail.
for path in dev sys proc; do
  ! mountpoint -q "/$path" || mount -n --move "/$path" "/mnt/root/$path"
done
cd /mnt/root
mount -n --move . /
exec chroot . /sbin/init
