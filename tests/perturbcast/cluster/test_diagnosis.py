"""What 'perturbcast doctor --slurm' finds."""

from perturbcast.cluster import Site, diagnose


def make_program(folder, name, text):
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{text}'\n")
    file.chmod(0o755)


def found(rows):
    return {what: (said, todo) for what, said, todo in rows}


def test_a_sound_site_has_nothing_to_do(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    for name, text in (("sbatch", ""), ("sinfo", "cpu\ngpu"), ("inside/python", "12.8 4")):
        make_program(tmp_path, name, text)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    monkeypatch.setattr("sys.executable", f"{tmp_path}/inside/python")  # of this environment, not on the path
    site = Site(
        defaults={"partition": "cpu"}, stages={"train": {"partition": "gpu", "gpus": 1}}, binds=(str(tmp_path),)
    )
    rows = diagnose(site, stages=("train", "gather"))
    assert [todo for _, _, todo in rows] == [""] * len(rows)
    assert found(rows)["torch for train"][0] == "12.8 4"


def test_each_fault_is_named(tmp_path, monkeypatch):
    for name, text in (("sinfo", "cpu"), ("apptainer", "CPU build 0")):
        make_program(tmp_path, name, text)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    site = Site(
        defaults={"partition": "big"}, stages={"train": {"gpus": 1}}, image=f"{tmp_path}/none.sif", binds=("/none:/in",)
    )
    rows = found(diagnose(site, stages=("train",)))
    assert rows["partition big"][0] == "absent"
    assert rows["image"][1].startswith("build ")
    assert rows["bind /none"][1] == "make it, or take it out"
    assert rows["torch for train"] == ("CPU build 0", "these stages ask for GPUs: install a CUDA build of torch")


def test_the_data_folder_is_there_and_seen_by_the_image(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "data").mkdir()

    def data(folder, **rest):
        return found(diagnose(Site(environment={"PERTURBCAST_DATA": folder}, **rest), stages=()))[
            f"PERTURBCAST_DATA {folder}"
        ]

    assert data("/none")[0] == "absent"
    assert "under PERTURBCAST_DATA in the site file" in data("/none")[1]
    assert data(str(tmp_path / "data")) == ("there", "")
    assert data("/usr/share", image="t.sif") == ("not in the image", "add /usr/share to binds in the site file")
    assert data("/usr/share", image="t.sif", binds=("/usr",)) == ("there", "")


def test_a_controller_that_hangs_is_no_answer(tmp_path, monkeypatch):
    make_program(tmp_path, "sinfo", "cpu")
    (tmp_path / "sinfo").write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    monkeypatch.setattr("perturbcast.cluster.diagnosis.SECONDS", 0.2)
    assert found(diagnose(Site(), stages=("train",)))["sinfo"][0] == "no answer"
