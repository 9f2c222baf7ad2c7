"""Downloading from a server on this machine that behaves well, slowly, badly and with malice."""

import hashlib
import io
import random
import re
import shutil
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from tests.yolov3.local_server import Stalling, answering, trickling, without_length
from yolov3.data import manifest
from yolov3.data.download import PUBLIC_SETS, PublicSet, download
from yolov3.data.manifest import ManifestFile, ManifestPicture, read_manifest, thumbnail
from yolov3.errors import UserError

FILES = {
    "LICENSE": b"free",
    "labels/a.txt": b"0 0.5 0.5 0.1 0.1\n",
    "labels/b.txt": b"",
    "images/a.bin": b"\x00\x01" * 900,
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A public set of four small files: its manifest and its entry in the table."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    lines = [f"{hashlib.sha256(content).hexdigest()} {len(content)} {path}\n" for path, content in FILES.items()]
    (folder / "tiny.txt").write_text("".join(lines))
    monkeypatch.setattr(manifest, "MANIFESTS", folder)
    entry = PublicSet("http://127.0.0.1:9/", "four files", "a licence", 100_000, {"data.yaml": "names: [ä]\n"})
    monkeypatch.setitem(PUBLIC_SETS, "tiny", entry)


def archive_of(files, folder="repository-d272fb1/", compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, content in files.items():
            archive.writestr(folder + path, content)
    return buffer.getvalue()


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expect_error(folder, url, match, **options):
    """The download fails with one sentence and leaves nothing behind."""
    with pytest.raises(UserError, match=match) as caught:
        download("tiny", folder, url, **options)
    assert "\n" not in str(caught.value)
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_good_archive(tiny, serve, tmp_path, capsys, compression):
    url = serve(answering(archive_of({**FILES, "other/unwanted.txt": b"x"}, compression=compression)))
    target = download("tiny", tmp_path / "deep" / "data", url)
    assert target == tmp_path / "deep" / "data" / "tiny"
    assert content_of(target) == {**FILES, "data.yaml": "names: [ä]\n".encode()}
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    printed = capsys.readouterr().out
    assert str(target) in printed
    assert "a licence" in printed


def test_without_a_stated_length(tiny, serve, tmp_path):
    target = download("tiny", tmp_path / "data", serve(without_length(archive_of(FILES))))
    assert set(content_of(target)) == {*FILES, "data.yaml"}


def test_folders_inside_the_archive_do_not_matter(tiny, serve, tmp_path):
    flat = {PurePosixPath(path).name: content for path, content in FILES.items()}
    assert (download("tiny", tmp_path / "data", serve(answering(archive_of(flat, "")))) / "labels" / "a.txt").exists()


def test_of_two_files_with_one_name_the_published_one_is_taken(tiny, serve, tmp_path):
    files = {"old/a.txt": b"something else", **FILES, "new/a.txt": b"x" * 5000}
    target = download("tiny", tmp_path / "data", serve(answering(archive_of(files))))
    assert (target / "labels" / "a.txt").read_bytes() == FILES["labels/a.txt"]


def test_what_is_there_is_used_without_a_download(tiny, serve, tmp_path):
    target = download("tiny", tmp_path / "data", serve(answering(archive_of(FILES))))
    (target / "labels.cache").write_text("another program's")
    before = content_of(target)
    assert download("tiny", tmp_path / "data", "http://127.0.0.1:9/nobody-listens") == target
    assert content_of(target) == before


@pytest.mark.parametrize("path", ["labels/a.txt", "data.yaml"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"0 0.5 0.5 0.1 0.2\n"), Path.unlink])
def test_a_folder_with_other_content_is_not_touched(tiny, serve, tmp_path, damage, path):
    url = serve(answering(archive_of(FILES)))
    target = download("tiny", tmp_path / "data", url)
    damage(target / path)
    before = content_of(tmp_path / "data")
    with pytest.raises(UserError, match=rf"{path} in it is missing or not the published file"):
        download("tiny", tmp_path / "data", url)
    assert content_of(tmp_path / "data") == before


def test_the_set_appears_with_its_last_file(tiny, serve, tmp_path, monkeypatch):
    at_the_rename = []
    rename = Path.rename

    def note_and_rename(source, target):
        at_the_rename.append(content_of(source))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", note_and_rename)
    target = download("tiny", tmp_path / "data", serve(answering(archive_of(FILES))))
    assert at_the_rename == [content_of(target)] == [{**FILES, "data.yaml": "names: [ä]\n".encode()}]


def test_an_empty_folder_is_filled(tiny, serve, tmp_path):
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    assert (download("tiny", tmp_path / "data", serve(answering(archive_of(FILES)))) / "LICENSE").exists()


def test_a_slow_server_is_waited_for(tiny, serve, tmp_path):
    url = serve(trickling(archive_of(FILES), 60, pause=0.05))
    # Longer in all than the timeout, which is for silence.
    assert download("tiny", tmp_path / "data", url, timeout=0.3).is_dir()


def test_a_silent_server_is_not_waited_for(tiny, serve, tmp_path):
    server = Stalling(archive_of(FILES), 100)
    expect_error(tmp_path / "data", serve(server), "broke off", timeout=0.2)
    assert not server.gave_up.is_set()  # the server still holds the connection open
    server.release()


@pytest.mark.parametrize("received", [0, 100, -1])
def test_a_connection_that_breaks_off(tiny, serve, tmp_path, received):
    body = archive_of(FILES)
    expect_error(tmp_path / "data", serve(answering(body[:received], length=len(body))), "broke off")


def test_a_chunked_answer_that_breaks_off(tiny, serve, tmp_path):
    def answer(request):
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"1000\r\n" + archive_of(FILES)[:50])
        request.close_connection = True

    expect_error(tmp_path / "data", serve(answer), "broke off")


def test_half_an_archive_of_unstated_length(tiny, serve, tmp_path):
    body = archive_of(FILES)
    url = serve(without_length(body[: len(body) // 2]))
    expect_error(tmp_path / "data", url, "damaged or broke off")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"<!DOCTYPE html><html>come back later</html>", "web page"),
        (b"\n  <html>", "web page"),
        (b"not found, sorry", "no zip archive"),
        (b"PK but nothing else", "damaged"),
    ],
)
def test_something_else_with_status_200(tiny, serve, tmp_path, body, match):
    expect_error(tmp_path / "data", serve(answering(body)), match)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_http_error(tiny, serve, tmp_path, status):
    expect_error(tmp_path / "data", serve(answering(b"", status)), str(status))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.zip", "http://no-such-host.invalid/a.zip", "nonsense"])
def test_no_network(tiny, tmp_path, url):
    expect_error(tmp_path / "data", url, "cannot be reached")


def test_a_server_that_speaks_no_http(tiny, serve, tmp_path):
    expect_error(tmp_path / "data", serve(lambda request: request.wfile.write(b"\x00\xff" * 50)), "cannot be reached")


@pytest.mark.parametrize("content", [b"0 0.5 0.5 0.1 0.2\n", b"short", b"long" * 1000])
def test_a_file_that_is_not_the_published_one(tiny, serve, tmp_path, content):
    url = serve(answering(archive_of({**FILES, "labels/a.txt": content})))
    expect_error(tmp_path / "data", url, r"another file than the published one as a\.txt")


def test_a_missing_file(tiny, serve, tmp_path):
    files = {path: content for path, content in FILES.items() if path != "labels/b.txt"}
    expect_error(tmp_path / "data", serve(answering(archive_of(files))), r"lacks the file b\.txt")


def test_paths_that_climb_out_reach_nothing(tiny, serve, tmp_path):
    files = {path: content for path, content in FILES.items() if path != "LICENSE"}
    evil = {"../../LICENSE": FILES["LICENSE"], "../../../evil.txt": b"evil", "/etc/evil.txt": b"evil"}
    (tmp_path / "one" / "two").mkdir(parents=True)
    target = download("tiny", tmp_path / "one" / "two", serve(answering(archive_of({**files, **evil}, ""))))
    written = set(content_of(tmp_path / "one"))
    assert written == {f"two/tiny/{path}" for path in [*FILES, "data.yaml"]}
    assert target.is_dir()


def test_a_member_that_unpacks_to_something_huge(tiny, serve, tmp_path):
    bomb = archive_of({**FILES, "images/a.bin": bytes(50_000_000)})
    assert len(bomb) < 100_000
    url = serve(answering(bomb))
    tracemalloc.start()
    expect_error(tmp_path / "data", url, r"another file than the published one as a\.bin")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_compressions_that_cannot_be_bounded_are_not_unpacked(tiny, serve, tmp_path):
    url = serve(answering(archive_of(FILES, compression=zipfile.ZIP_LZMA)))
    expect_error(tmp_path / "data", url, "another file than the published one as LICENSE")


def test_an_endless_answer_is_cut(tiny, serve, tmp_path):
    sent = []

    def answer(request):
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"PK\x03\x04")
        try:
            while len(sent) < 1000:
                request.wfile.write(bytes(65536))
                sent.append(1)
        except OSError:
            pass

    expect_error(tmp_path / "data", serve(answer), "more than 100000 bytes")


def test_damaged_archives_never_end_in_another_exception(tiny, serve, tmp_path):
    good, rng, outcomes = archive_of(FILES), random.Random(0), set()
    bodies = []
    for _ in range(300):
        body = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            body[rng.randrange(4, len(body))] = rng.randrange(256)
        bodies.append(bytes(body))
    answers = iter(bodies)
    url = serve(lambda request: answering(next(answers))(request))
    for _ in bodies:
        try:
            target = download("tiny", tmp_path / "data", url)
        except UserError:
            outcomes.add("refused")
            assert not list((tmp_path / "data").iterdir())
        else:
            outcomes.add("whole")  # the damage hit nothing that matters
            assert {path: content for path, content in content_of(target).items() if path in FILES} == FILES
            shutil.rmtree(target)
    assert outcomes == {"refused", "whole"}


def test_a_folder_that_cannot_be_written(tiny, serve, tmp_path):
    (tmp_path / "data").write_text("a file stands here")
    with pytest.raises(UserError, match="cannot be written"):
        download("tiny", tmp_path / "data", serve(answering(archive_of(FILES))))


def test_an_unknown_set():
    with pytest.raises(UserError, match=r"'coco'.*bccd"):
        download("coco")


def test_a_broken_manifest_is_named(tiny):
    (manifest.MANIFESTS / "tiny.txt").write_text("abc 12 name\n")
    with pytest.raises(UserError, match=r"tiny\.txt line 1"):
        read_manifest("tiny")


def test_a_picture_is_known_by_what_it_shows():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)

    def stored(array, file_format, **options):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, file_format, **options)
        return buffer.getvalue()

    entry = ManifestPicture("a.png", thumbnail(Image.fromarray(pixels)), 128, 96)
    assert entry.fits(stored(pixels, "PNG"))
    assert entry.fits(stored(pixels, "JPEG", quality=95))
    assert not entry.fits(stored(pixels[::-1], "PNG"))
    assert not entry.fits(stored(pixels[:, :-1], "PNG"))
    assert not entry.fits(stored(pixels, "PNG")[:-3000])
    assert not entry.fits(b"<html>")


@pytest.mark.parametrize(("name", "count", "pictures"), [("bccd", 364 * 2 + 5, 0), ("aerial", 65 * 2 + 1, 65)])
def test_the_manifests_of_the_public_sets(name, count, pictures):
    files = read_manifest(name)
    assert len({file.path for file in files}) == len(files) == count
    assert sum(isinstance(file, ManifestPicture) for file in files) == pictures
    assert (
        sum(file.largest_size for file in files if isinstance(file, ManifestFile)) < PUBLIC_SETS[name].largest_archive
    )
    for file in files:
        path = PurePosixPath(file.path)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert re.fullmatch(r"[\w./-]+", file.path)


def test_every_fourth_aerial_picture_is_held_out():
    pictures = [file for file in read_manifest("aerial") if isinstance(file, ManifestPicture)]
    splits = {PurePosixPath(file.path).stem: file.path.split("/")[1] for file in pictures}
    in_order = [splits[stem] for stem in sorted(splits)]
    assert in_order == (["train", "train", "train", "val"] * 17)[:65]
    labels = {file.path for file in read_manifest("aerial") if file.path.startswith("labels/")}
    assert labels == {f"labels/{split}/{stem}.txt" for stem, split in splits.items()}


def test_bccd_from_an_archive_of_the_real_files(shared, serve, tmp_path):
    source = shared / "data" / "bccd"
    files = {("" if path == "LICENSE" else "BCCD/") + path: content for path, content in content_of(source).items()}
    url = serve(answering(archive_of(files, "BCCD_Dataset-d272fb14/", zipfile.ZIP_STORED)))
    target = download("bccd", tmp_path, url)
    assert content_of(target) == content_of(source)


def test_aerial_from_an_archive_of_the_real_files(shared, serve, tmp_path):
    """The repository holds PNG pictures and labels side by side; only JPEG copies are at hand."""
    from yolov3.data.dataset import open_dataset

    source, files = shared / "data" / "aerial_kit", {}
    for path in source.rglob("*.*"):
        files["README.md" if path.name.startswith("README") else path.name] = path.read_bytes()
    for name in [name for name in files if name.endswith(".jpg")]:
        with Image.open(io.BytesIO(files.pop(name))) as picture:
            buffer = io.BytesIO()
            picture.save(buffer, "PNG", compress_level=0)
        files[name.replace(".jpg", ".png")] = buffer.getvalue()
    url = serve(answering(archive_of(files, "aerial-cars-dataset-d2ed927f/", zipfile.ZIP_STORED)))
    target = download("aerial", tmp_path, url)
    train, val = (open_dataset(target / "data.yaml", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (49, 16)
    assert sum(len(record.labels) for dataset in (train, val) for record in dataset.records) == 2593
    assert list(train.names) == (source / "aerial.names").read_text().split()
