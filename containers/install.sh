#!/bin/sh
# Fills /opt/perturbcast for one image: install.sh train|prediction|harness TORCH EXTRAS. Both kinds of build run it.
#
# /src holds constraints.txt, containers/, libs/ and services/. TORCH is the package index, or the folder of wheels, that
# torch comes from; without it there is no torch. EXTRAS are those of the image's own distribution, as "[anndata]".
# What the machine that builds needs to reach its package index lies in /mnt meanwhile (pip.conf and what it names):
# mounted, so that it is not in the image.
set -eu
image=$1 torch=$2 extras=$3
root=/opt/perturbcast
if [ -f /mnt/pip.conf ]; then export PIP_CONFIG_FILE=/mnt/pip.conf; fi
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONSTRAINT=/src/constraints.txt

python3.11 -m venv "$root"
pip() { "$root/bin/python" -m pip --quiet "$@"; }
pip install pip
case $torch in
    "") ;;
    /*) pip install --no-deps --no-index --find-links "$torch" torch ;;
    *) pip install --no-deps --index-url "$torch" torch ;;
esac

cd /src
case $image in
    train)
        pip install ./libs/perturbcast-client "./libs/perturbcast[pipeline,train]" ./services/prediction
        ;;
    prediction)
        # what answering imports, a third of what the whole platform needs
        pip install -r containers/prediction/requirements.txt
        pip install --no-deps ./libs/perturbcast-client ./libs/perturbcast ./services/prediction
        if [ -n "$torch" ]; then pip install torch pytorch-lightning; fi
        ;;
    harness) pip install "./libs/perturbcast-client$extras" ;;
    *)
        echo "install.sh makes train, prediction or harness; got '$image'" >&2
        exit 2
        ;;
esac
cp "containers/$image"/*.py "$root/"
pip uninstall --yes pip setuptools
rm -rf /src /root/.cache
