#!/vm/busybox sh
# First process of the guest: makes it look like a small Debian, runs /vm/command, reports, leaves.
export PATH=/usr/sbin:/usr/bin:/vm HOME=/root TERM=dumb
/vm/busybox mkdir -p /vm/applets
/vm/busybox --install -s /vm/applets
export PATH=/usr/sbin:/usr/bin:/vm/applets
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
mkdir -p /dev/shm /dev/pts /run/netns
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp
hostname guest
ip link set lo up
stty -F /dev/ttyS1 raw -echo
cd /tmp
sh /vm/command > /dev/ttyS1 2>&1 < /dev/null
echo "exit=$?" > /dev/ttyS2
# isa-debug-exit leaves at once; a kernel that is locked down has no /dev/port and powers off.
printf '\0' | dd of=/dev/port bs=1 count=1 seek=1281 conv=notrunc 2>/dev/null
poweroff -f
