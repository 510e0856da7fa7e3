# Boots systemd as the first process of namespaces of its own, on a layer above this host's files.
# $1 folder, $2 what is put into the new root before, $3 what is run there before.
set -e
disk=$1 files=$2 first=$3 name=packhorse-machine-$$
groups=/sys/fs/cgroup
[ -d $groups/unified ] && kinds="systemd unified" || kinds=.
for kind in $kinds; do
    mkdir "$groups/$kind/$name"
    echo $$ >"$groups/$kind/$name/cgroup.procs"
done
export disk files first kinds
exec unshare --pid --mount --cgroup --uts --ipc --net --fork --kill-child /bin/sh -ec '
mount --make-rprivate /
mount -t tmpfs tmpfs "$disk"
mkdir "$disk/upper" "$disk/work" "$disk/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
cd "$disk/root"
mount -t proc proc proc
# As the first process of a machine systemd would set what belongs to the whole kernel.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mount -t sysfs -o ro sysfs sys
groups=sys/fs/cgroup
for kind in $kinds; do
    case $kind in
        .) mount -t cgroup2 cgroup2 $groups ;;
        systemd)
            mount -t tmpfs tmpfs $groups -o mode=755
            mkdir $groups/systemd
            mount -t cgroup -o none,name=systemd cgroup $groups/systemd ;;
        unified)
            mkdir $groups/unified
            mount -t cgroup2 cgroup2 $groups/unified ;;
    esac
done
# Nothing of this host is started: only what is enabled from here on.
rm -rf lib/systemd/system/*.wants usr/lib/systemd/system/*.wants etc/systemd/system/*.wants etc/rc?.d etc/init.d
mkdir -p run/systemd/system run/lock before
cp -a "$files/." .
printf "[Unit]\nRequires=basic.target\nAfter=basic.target\n" >etc/systemd/system/multi-user.target
chroot . /bin/sh -ec "$first"
pivot_root . before
umount -l /before
ip link set lo up
exec env container=packhorse /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=false </dev/null
'
