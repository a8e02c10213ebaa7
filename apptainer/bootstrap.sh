#!/usr/bin/env bash
# Apptainer on a Debian machine whose release does not package it: bootstrap.sh FOLDER, as root.
#
# A root of Debian unstable is made in FOLDER/root, and FOLDER/bin/apptainer enters it by its own mount namespace with the
# machine's own files in sight. Its root is pivoted, not chrooted: the kernel gives no user namespace inside a chroot.
set -euo pipefail
folder=$(realpath -m "${1:?bootstrap.sh FOLDER}")
[ "$(id -u)" = 0 ] || { echo "making a root for Apptainer takes root on this machine; ask for the package apptainer instead" >&2; exit 2; }
for program in mmdebstrap unshare pivot_root; do
    command -v "$program" > /dev/null || { echo "$program is absent: apt-get install mmdebstrap util-linux" >&2; exit 2; }
done
mkdir -p "$folder/bin"
if [ ! -e "$folder/root/usr/bin/apptainer" ]; then
    rm -rf "$folder/root.partial"
    # a mirror that is a snapshot has a date of its own
    mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --include=apptainer,ca-certificates,fakeroot,fuse-overlayfs,squashfuse,tzdata,uidmap \
        unstable "$folder/root.partial" http://deb.debian.org/debian
    mkdir "$folder/root.partial/.outside"
    for file in subuid subgid; do echo root:100000:65536 > "$folder/root.partial/etc/$file"; done
    mv "$folder/root.partial" "$folder/root"
fi
cat > "$folder/bin/apptainer.partial" <<WRAPPER
#!/usr/bin/env bash
# Written by apptainer/bootstrap.sh: Apptainer from a root of its own, on this machine's files.
set -euo pipefail
# A root that lacks capabilities, as in a virtual machine of a build farm, gets them in a user namespace alone.
case \${1-} in
    build) set -- build --fakeroot "\${@:2}" ;;
    *) export APPTAINER_USERNS=1 ;;
esac
export PERTURBCAST_CWD=\$PWD
exec unshare --mount --propagation private bash "$folder/bin/enter.sh" "$folder/root" /usr/bin/apptainer "\$@"
WRAPPER
cat > "$folder/bin/enter.sh" <<'ENTER'
set -euo pipefail
root=/media # a folder that what is mounted below it does not lie in: else mounts would hold themselves
mount --bind "$1" "$root"
shift
# everything of the machine but what makes a system of its own
for path in /*; do
    case $path in
        /bin | /boot | /etc | /lib | /lib32 | /lib64 | /libx32 | /lost+found | /media | /sbin | /usr | /var) continue ;;
    esac
    if [ -d "$path" ] && [ ! -L "$path" ]; then
        mkdir -p "$root$path"
        mount --rbind "$path" "$root$path"
    fi
done
for file in /etc/resolv.conf /etc/hosts /etc/passwd /etc/group; do
    touch "$root$file"
    mount --bind "$(realpath "$file")" "$root$file"
done
cd "$root"
pivot_root . .outside
umount -l /.outside
cd "$PERTURBCAST_CWD"
unset PERTURBCAST_CWD
exec "$@"
ENTER
chmod 755 "$folder/bin/apptainer.partial"
mv "$folder/bin/apptainer.partial" "$folder/bin/apptainer"
"$folder/bin/apptainer" --version
