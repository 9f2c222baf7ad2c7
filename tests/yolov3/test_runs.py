"""Run folders get the next free name, and a file is written whole or not at all."""

import json
import os

import pytest

from yolov3.errors import UserError
from yolov3.runs import new_run_folder, write_file, write_json, write_text, writing


def test_folders_are_numbered_from_2(tmp_path):
    project = tmp_path / "runs" / "train"
    assert [new_run_folder(project, "exp").name for _ in range(3)] == ["exp", "exp2", "exp3"]
    assert new_run_folder(project, "mine") == project / "mine"
    (project / "exp2").rmdir()
    assert new_run_folder(str(project), "exp") == project / "exp2"


def test_a_file_in_the_way_counts_as_taken(tmp_path):
    (tmp_path / "exp").write_text("")
    assert new_run_folder(tmp_path, "exp") == tmp_path / "exp2"


def test_a_project_that_cannot_hold_folders_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    for project in (file, file / "below", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="--project") as error:
            new_run_folder(project, "exp")
        assert str(project) in str(error.value)
    assert file.read_text() == "kept"


@pytest.mark.parametrize("name", ["nul\0", "half a character \ud800"])
def test_names_that_no_file_system_has(tmp_path, name):
    with pytest.raises(UserError, match=r"cannot be made \(.*\): choose another with --project"):
        new_run_folder(tmp_path, name)


def test_a_link_to_nothing_is_no_project(tmp_path):
    try:
        (tmp_path / "link").symlink_to(tmp_path / "absent")
    except OSError as error:
        pytest.skip(f"this system makes no links here ({error})")
    with pytest.raises(UserError, match="link is a file: choose another folder with --project"):
        new_run_folder(tmp_path / "link", "exp")


def test_a_folder_without_the_right_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere, so it is only said
    with pytest.raises(UserError, match=r"exp cannot be written to: choose another folder with --project"):
        new_run_folder(tmp_path, "exp")


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.csv"
    write_text(path, "old\n")

    def fail(file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"results.csv cannot be written \(No space left on device\)"):
        write_file(path, fail)
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["results.csv"]


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "absent" / "results.csv"
    with pytest.raises(UserError, match=r"results.csv cannot be written \(No such file or directory\)"):
        write_text(path, "text")


def test_only_failures_of_the_system_are_translated(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        _ = 1 / 0


def test_json_keeps_letters_of_all_languages(tmp_path):
    path = tmp_path / "detections.json"
    write_json(path, {"péňa.jpg": [1, 2.5, None]})
    assert "péňa.jpg" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"péňa.jpg": [1, 2.5, None]}


def test_json_with_a_file_name_that_is_no_text(tmp_path):
    name = "\udcff.jpg"  # how Python hands us the byte 255 in a name
    write_json(tmp_path / "detections.json", {name: []})
    assert json.loads((tmp_path / "detections.json").read_text(encoding="utf-8")) == {name: []}
