"""What would keep a site's jobs from running, found before anything is submitted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from perturbcast.cluster.site import Site
from perturbcast.stores.data_folders import VARIABLE

__all__ = ["diagnose"]

SECONDS = 60  # that a command may take: sinfo of a controller that is down hangs
BUILD = "import torch; print(torch.version.cuda or 'CPU build', torch.cuda.device_count())"


def diagnose(site: Site, *, stages: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Rows of (what, found, to do); nothing to do where it is well.

    Args:
        site: the cluster.
        stages: stage names whose resources are looked at.
    """
    rows = [_program("sbatch", "submit from a login node of the cluster")]
    partitions = _partitions()
    if partitions is None:
        rows.append(("sinfo", "no answer", "ask the administrators whether SLURM's controller is up"))
    else:
        rows.append(("partitions", ", ".join(sorted(partitions)), ""))
        asked = {site.resources(stage).partition for stage in stages} - {None}
        absent = sorted(filter(None, asked - partitions))
        rows += [(f"partition {name}", "absent", "name one of the above in the site file") for name in absent]
    wants_gpu = [stage for stage in stages if site.resources(stage).gpus]
    if site.image is not None:
        found = Path(site.image).is_file()
        todo = "" if found else f"build {site.image} with 'make images', or name another in the site file"
        rows.append(("image", site.image if found else "absent", todo))
        rows.append(_program("apptainer", "install it, or name its module in the site file"))
    for bind in site.binds:
        outside = bind.partition(":")[0]
        there = Path(outside).exists()
        rows.append((f"bind {outside}", "there" if there else "absent", "" if there else "make it, or take it out"))
    if VARIABLE in site.environment:
        rows.append(_data(site, Path(site.environment[VARIABLE])))
    if wants_gpu:
        rows.append(_torch(site, wants_gpu))
    return rows


def _data(site: Site, folder: Path) -> tuple[str, str, str]:
    """A folder that is absent, or that the image does not see, fails every import after it has waited."""
    what = f"{VARIABLE} {folder}"
    if not folder.is_dir():
        return what, "absent", f"name the folder of the measured data under {VARIABLE} in the site file"
    place = folder if folder.is_absolute() else folder.resolve()
    inside = [bind.split(":")[1 if ":" in bind else 0] for bind in site.binds]
    seen = [Path.cwd(), Path.home(), *map(Path, ("/tmp", *inside))]  # Apptainer mounts the first three by itself
    if site.image is not None and not any(place.is_relative_to(one) for one in seen):
        return what, "not in the image", f"add {folder} to binds in the site file"
    return what, "there", ""


def _program(name: str, remedy: str) -> tuple[str, str, str]:
    path = shutil.which(name)
    return name, path or "absent", "" if path else remedy


def _partitions() -> set[str] | None:
    said = _say(["sinfo", "--noheader", "--format=%R"])
    return None if said is None else set(said.split())


def _torch(site: Site, stages: list[str]) -> tuple[str, str, str]:
    """A CPU build of torch would train on the GPU's node without the GPU."""
    look = ["-c", BUILD]
    said = _say(["apptainer", "exec", "--nv", site.image, "python", *look] if site.image else [sys.executable, *look])
    what = f"torch for {', '.join(stages)}"
    if said is None:
        return what, "absent", "install the extra that trains, or build the image with it"
    cpu = said.startswith("CPU build")
    return what, said.strip(), "these stages ask for GPUs: install a CUDA build of torch" if cpu else ""


def _say(words: list[str]) -> str | None:
    """What a command prints, or None where it fails, is not there, or does not answer in time."""
    if shutil.which(words[0]) is None:
        return None
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
