#!/usr/bin/env bash
# 'make images': builds what this machine can build of train, prediction and harness, and says what it skipped and why.
#
#   build.sh [IMAGE...]                    SIF files in artifacts/images by Apptainer, OCI images by Buildah
#   BASE=oci-archive:FILE                  a base image instead of docker://docker.io/library/python:3.11-slim-bookworm;
#                                          containers/make_base.py writes one where no registry can be reached
#   TORCH=URL or FOLDER                    where torch comes from: train has the CPU build by default, prediction none;
#                                          a folder of wheels is mounted while the image is built
#   EXTRAS=[anndata]                       of the client in the harness image
set -euo pipefail
cd "$(dirname "$0")/.."
images=("$@")
[ ${#images[@]} -gt 0 ] || images=(train prediction harness)
out=artifacts/images
base=${BASE:-docker://docker.io/library/python:3.11-slim-bookworm}
mkdir -p "$out"

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' libs/perturbcast/src/perturbcast/__init__.py)
commit=$(git rev-parse HEAD)$(git diff --quiet HEAD -- constraints.txt containers apptainer libs services || echo -changed)
source=$(git remote get-url origin 2> /dev/null || echo unknown)

# What this machine's pip is told (certificates, wheels), for the time of the build: mounted, never copied into an image.
index=$(mktemp -d "$out/index.XXXXXX")
trap 'rm -rf "$index"' EXIT
config() { python3 -m pip config list | sed -n "s/^.*\.$1='\(.*\)'$/\1/p" | tail -n 1; }
echo "[global]" > "$index/pip.conf"
certificates=$(config cert)
if [ -n "$certificates" ]; then
    cp "$certificates" "$index/certificates.pem"
    echo "cert = /mnt/certificates.pem" >> "$index/pip.conf"
fi
for name in index-url timeout; do
    value=$(config "$name")
    [ -z "$value" ] || echo "$name = $value" >> "$index/pip.conf"
done
torch=${TORCH-default}
if [ -d "$torch" ]; then
    cp -l "$torch"/torch-*.whl "$index" 2> /dev/null || cp "$torch"/torch-*.whl "$index"
    torch=/mnt
fi

skipped=()
options() { # the build arguments of an image, each as NAME=VALUE
    echo "VERSION=$version" && echo "COMMIT=$commit" && echo "SOURCE=$source"
    case $1 in
        train) [ "$torch" = default ] || echo "TORCH=$torch" ;;
        prediction) [ "$torch" = default ] || [ -z "${TORCH_IN_PREDICTION-}" ] || echo "TORCH=$torch" ;;
        harness) [ -z "${EXTRAS-}" ] || echo "EXTRAS=$EXTRAS" ;;
    esac
}

with_apptainer() {
    local words=(--force --bind "$PWD/$index:/mnt" --build-arg "BOOTSTRAP=${base%%:*}")
    local place=${base#*:} option
    while read -r option; do words+=(--build-arg "$option"); done < <(options "$1")
    nice -n 5 apptainer build "${words[@]}" --build-arg "BASE=${place#//}" "$out/$1.partial.sif" "apptainer/$1.def"
    mv "$out/$1.partial.sif" "$out/$1.sif"
    echo "built $out/$1.sif ($(stat -c %s "$out/$1.sif" | numfmt --to=si)B)"
}

with_buildah() {
    local words=(--format docker --network host --volume "$PWD/$index:/mnt:ro" --ignorefile .dockerignore) option
    while read -r option; do words+=(--build-arg "$option"); done < <(options "$1")
    nice -n 5 buildah bud --layers=false --isolation "${BUILDAH_ISOLATION:-chroot}" "${words[@]}" --build-arg "BASE=$base" \
        --file "containers/$1/Containerfile" --tag "perturbcast-$1:$version" .
    echo "built perturbcast-$1:$version (buildah images)"
}

for builder in apptainer buildah; do
    case ",${BUILDERS:-apptainer,buildah}," in *",$builder,"*) ;; *) continue ;; esac
    if ! command -v "$builder" > /dev/null; then
        case $builder in
            apptainer) skipped+=("SIF files: apptainer is absent; https://apptainer.org/docs/admin/main/installation.html, or on Debian as root: apptainer/bootstrap.sh .apptainer && PATH=\$PWD/.apptainer/bin:\$PATH") ;;
            buildah) skipped+=("OCI images: buildah is absent; apt-get install buildah, or build containers/*/Containerfile with docker or podman") ;;
        esac
    elif [ "$builder" = apptainer ] && ! unshare --user true 2> /dev/null; then
        skipped+=("SIF files: this machine gives no user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)")
    else
        for image in "${images[@]}"; do "with_$builder" "$image"; done
    fi
done
for line in "${skipped[@]}"; do echo "skipped $line"; done
