"""Saving and loading: round trip, damage of every kind, no code is run, nothing half written."""

import os
import pickle
import stat

import numpy as np
import pytest

from minidl.device import to_device
from minidl.serialize import FileFormatError, load, remove_unfinished, save, write_atomically

ARRAYS = {
    "model/stem.conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "model/bias": np.array([1.5, -2.5]),
    "step_count": np.array(7),
    "file": np.zeros((0, 3), np.float32),  # a name that numpy.savez has other plans for
    "allow_pickle": np.array([True, False]),
}
SETTINGS = {"names": ["red cell", "größer"], "size": [192, 256], "rate": 1e-3, "nothing": None}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "last.npz"
    save(path, ARRAYS, SETTINGS)
    return path


def test_round_trip(checkpoint):
    arrays, settings = load(checkpoint)
    assert settings == SETTINGS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert [each.name for each in checkpoint.parent.iterdir()] == ["last.npz"]


def test_arrays_of_every_device_make_the_same_file(tmp_path, device):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save(tmp_path / "file.npz", {"array": to_device(array, device)})
    save(tmp_path / "cpu.npz", {"array": array})
    np.testing.assert_array_equal(load(tmp_path / "file.npz")[0]["array"], array)
    assert load(tmp_path / "file.npz")[0]["array"].dtype == np.float32


def test_settings_may_be_left_out_and_arrays_lie_in_memory_anyhow(tmp_path):
    array = np.arange(12.0).reshape(3, 4).T[::-1]
    save(tmp_path / "x.npz", {"a": array})
    arrays, settings = load(tmp_path / "x.npz")
    np.testing.assert_array_equal(arrays["a"], array)
    assert settings == {}


def test_numpy_alone_can_read_it(checkpoint):
    with np.load(checkpoint, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["model/bias"], ARRAYS["model/bias"])


def test_truncated_anywhere(checkpoint):
    content = checkpoint.read_bytes()
    for length in [*range(0, len(content), 37), len(content) - 1]:
        checkpoint.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=r"last\.npz"):
            load(checkpoint)


def test_damaged_anywhere(checkpoint):
    content = checkpoint.read_bytes()
    noticed = 0
    for position in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        checkpoint.write_bytes(damaged)
        try:
            arrays, _ = load(checkpoint)
        except FileFormatError as error:
            assert "last.npz" in str(error)  # noqa: PT017
            noticed += 1
        else:  # a byte that says nothing, such as the archive's dates
            for name in arrays.keys() & ARRAYS.keys():
                np.testing.assert_array_equal(arrays[name], ARRAYS[name])
    assert noticed > len(content) / 5 / 2


class Bomb:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_refused_and_not_run(tmp_path):
    mark = tmp_path / "executed"
    plain, inside, settings = (tmp_path / f"{name}.npz" for name in ("plain", "inside", "settings"))
    plain.write_bytes(pickle.dumps(Bomb(mark)))
    bomb = np.empty(1, object)
    bomb[0] = Bomb(mark)
    np.savez(inside, **{"weights": bomb, "settings.json": np.frombuffer(b"{}", np.uint8)})
    np.savez(settings, **{"settings.json": bomb})
    for path in (plain, inside, settings):
        with pytest.raises(FileFormatError, match=path.name):
            load(path)
    assert not mark.exists()


def test_objects_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save(tmp_path / "x.npz", {"a": np.array([object()])})
    assert list(tmp_path.iterdir()) == []


def other_files(folder):
    """Files that are something else."""
    (folder / "text.npz").write_text("this is no checkpoint\n")
    (folder / "empty.npz").write_bytes(b"")
    np.save(folder / "single.npy", np.arange(3))
    np.savez(folder / "foreign.npz", a=np.arange(3))
    np.savez(folder / "badjson.npz", **{"settings.json": np.frombuffer(b"{not json", np.uint8)})
    np.savez(folder / "badtype.npz", **{"settings.json": np.array(3.5)})
    return sorted(folder.iterdir())


def test_other_files_are_refused(tmp_path):
    for path in other_files(tmp_path):
        with pytest.raises(FileFormatError, match=path.name):
            load(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_a_failing_write_leaves_the_old_file_and_no_temporary(checkpoint):
    before = checkpoint.read_bytes()

    def fail(file):
        file.write(b"half of it")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_atomically(checkpoint, fail)
    with pytest.raises(TypeError, match="JSON"):
        save(checkpoint, ARRAYS, {"a": object()})
    assert checkpoint.read_bytes() == before
    assert [each.name for each in checkpoint.parent.iterdir()] == ["last.npz"]


def test_an_interrupted_write_leaves_the_old_file_too(checkpoint):
    before = checkpoint.read_bytes()

    def interrupt(file):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(checkpoint, interrupt)
    assert checkpoint.read_bytes() == before
    assert len(list(checkpoint.parent.iterdir())) == 1


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "none" / "x.npz", {})


@pytest.mark.skipif(os.name != "posix", reason="permissions are a POSIX matter")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    save(tmp_path / "x.npz", {})
    assert stat.S_IMODE((tmp_path / "x.npz").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("hard_links", [True, False])
def test_the_old_file_can_be_kept(checkpoint, monkeypatch, hard_links):
    if not hard_links:

        def refuse(source, target):
            raise OSError("not on this file system")

        monkeypatch.setattr(os, "link", refuse)
    kept = checkpoint.with_name("previous.npz")
    for number in range(3):
        before = checkpoint.read_bytes()
        save(checkpoint, {"number": np.array(number)}, keep=kept)
        assert kept.read_bytes() == before
        assert load(checkpoint)[0]["number"] == number
    assert sorted(os.listdir(checkpoint.parent)) == ["last.npz", "previous.npz"]


@pytest.mark.skipif(not hasattr(os, "link"), reason="this system knows no second names")
def test_both_names_of_one_file(checkpoint):
    """What a process leaves that is killed between the two renames."""
    before, kept = checkpoint.read_bytes(), checkpoint.with_name("previous.npz")
    os.link(checkpoint, kept)
    save(checkpoint, {}, keep=kept)
    assert kept.read_bytes() == before
    assert load(checkpoint) == ({}, {})
    assert sorted(os.listdir(checkpoint.parent)) == ["last.npz", "previous.npz"]


def test_nothing_to_keep_and_nowhere_to_write(tmp_path):
    save(tmp_path / "x.npz", {}, keep=tmp_path / "y.npz")
    assert os.listdir(tmp_path) == ["x.npz"]

    def fail(file):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "x.npz", fail, keep=tmp_path / "y.npz")
    assert os.listdir(tmp_path) == ["x.npz"]


def test_unfinished_files_are_removed_and_no_others(checkpoint):
    folder = checkpoint.parent
    (folder / ".writing-abc.tmp").write_bytes(b"half")
    (folder / "notes.tmp").write_text("mine")
    remove_unfinished(folder)
    assert sorted(os.listdir(folder)) == ["last.npz", "notes.tmp"]
