"""The published weights: the table's facts, and fetching a small stand-in from servers on this machine."""

import hashlib
import os
import random
import threading
from pathlib import Path

import pytest

from tests.yolov3.local_server import NOBODY, FileServer, Stalling, answering, trickling, without_length
from yolov3.darknet.published import PUBLISHED, PublishedFile, fetch_weights, identify
from yolov3.errors import UserError

BODY = bytes(20) + random.Random(1).randbytes(150_000)  # begins like a file of weights; several chunks
WRONG = bytes(20) + random.Random(2).randbytes(150_000)
HTML = b"<!DOCTYPE html><title>Survival Strategies</title>"


@pytest.fixture
def mini(monkeypatch):
    """A small file of weights in the table."""
    md5, sha1 = hashlib.md5(BODY).hexdigest(), hashlib.sha1(BODY).hexdigest()
    entry = PublishedFile("mini.weights", (len(BODY),), (NOBODY,), "mini", md5, sha1)
    monkeypatch.setitem(PUBLISHED, "mini", entry)


@pytest.fixture
def unchecked(monkeypatch):
    """A small file whose checksum nobody knows."""
    monkeypatch.setitem(PUBLISHED, "unchecked", PublishedFile("mini.conv.3", (len(BODY),), (NOBODY,), None))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "weights"


@pytest.fixture
def fcntl():
    """The module of the system's locks, which Windows lacks."""
    return pytest.importorskip("fcntl")


def expect_error(folder, *places, says=(), left=(), name="mini", **options):
    """One sentence with all of these words; the folder then holds the files ``left`` and nothing else."""
    with pytest.raises(UserError) as caught:
        fetch_weights(name, folder, places, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for words in says:
        assert words in sentence, sentence
    assert sorted(os.listdir(folder)) == sorted(left)
    return sentence


# --- the table ----------------------------------------------------------------------------------


def test_the_table_is_what_the_web_says():
    mirror, author = "https://github.com/hank-ai/darknet/releases/download/v2.0", "https://pjreddie.com/media/files"
    facts = {name: (f.file, f.sizes, f.md5, f.sha1, f.cfg) for name, f in PUBLISHED.items()}
    assert facts == {
        "yolov3": (
            "yolov3.weights",
            (248007048,),
            "c84e5b99d0e52cd466ae710cadf6d84c",
            "520878f12e97cf820529daea502acca380f1cb8e",
            "yolov3",
        ),
        "yolov3-tiny": (
            "yolov3-tiny.weights",
            (35434956,),
            "3bcd6b390912c18924b46b26a9e7ff53",
            None,
            "yolov3-tiny-published",
        ),
        "yolov2": (
            "yolov2.weights",
            (203934260, 203934264),
            "70d89ba2e180739a1c700a9ff238e354",
            None,
            "yolov2",
        ),
        "darknet53.conv.74": ("darknet53.conv.74", (162482580,), None, None, None),
    }
    assert PUBLISHED["yolov3"].places == (f"{mirror}/yolov3.weights", f"{author}/yolov3.weights")
    assert PUBLISHED["yolov3-tiny"].places == (f"{mirror}/yolov3-tiny.weights", f"{author}/yolov3-tiny.weights")
    assert PUBLISHED["yolov2"].places == (f"{mirror}/yolov2.weights", f"{author}/yolov2.weights")
    assert PUBLISHED["darknet53.conv.74"].places == (f"{author}/darknet53.conv.74",)


def test_sizes_are_a_header_and_the_numbers_of_the_network():
    """20 bytes of header (16 in old files) and 4 for every number, counted in the spec's section 10."""
    assert PUBLISHED["yolov3"].sizes == (20 + 4 * 62_001_757,)
    assert PUBLISHED["yolov3-tiny"].sizes == (20 + 4 * 8_858_734,)
    assert PUBLISHED["yolov2"].sizes == (16 + 4 * 50_983_561, 20 + 4 * 50_983_561)
    assert PUBLISHED["darknet53.conv.74"].sizes == (20 + 4 * 40_620_640,)


def test_unknown_names(tmp_path):
    with pytest.raises(UserError, match=r"'yolov9'.*yolov3, yolov3-tiny, yolov2, darknet53\.conv\.74"):
        fetch_weights("yolov9", tmp_path)


# --- good servers -------------------------------------------------------------------------------


def test_a_good_server(mini, serve, folder, capsys):
    server = FileServer(BODY)
    path = fetch_weights("mini", folder, [serve(server)])
    assert path == folder / "mini.weights"
    assert path.read_bytes() == BODY
    assert os.listdir(folder) == ["mini.weights"]
    assert server.sent == [len(BODY)]
    assert capsys.readouterr() == ("", "")


def test_the_places_of_the_table_are_used_without_others(mini, serve, folder, monkeypatch):
    entry = PublishedFile("mini.weights", (len(BODY),), (NOBODY, serve(FileServer(BODY))), None)
    monkeypatch.setitem(PUBLISHED, "mini", entry)
    assert fetch_weights("mini", folder).read_bytes() == BODY


def test_what_is_there_is_used_without_the_network(mini, folder):
    folder.mkdir(parents=True)
    (folder / "mini.weights").write_bytes(BODY)
    folder.chmod(0o500)  # nothing need be written
    assert fetch_weights("mini", folder, [NOBODY]) == folder / "mini.weights"


@pytest.mark.parametrize(
    ("content", "says"), [(WRONG, "md5"), (BODY[:-1], "150019 bytes instead of 150020"), (b"", "0")]
)
def test_another_file_of_that_name_is_not_touched(mini, serve, folder, content, says):
    folder.mkdir(parents=True)
    (folder / "mini.weights").write_bytes(content)
    server = FileServer(BODY)
    says = [str(folder / "mini.weights"), says, "move it away"]
    expect_error(folder, serve(server), says=says, left=["mini.weights"])
    assert (folder / "mini.weights").read_bytes() == content
    assert not server.asked


def test_the_name_appears_with_the_last_byte(mini, serve, folder, monkeypatch):
    before = []

    def note_and_replace(source, target):
        before.append((Path(source).read_bytes(), Path(target).exists()))
        os.replace(source, target)
        return Path(target)

    monkeypatch.setattr(Path, "replace", note_and_replace)
    fetch_weights("mini", folder, [serve(FileServer(BODY))])
    assert before == [(BODY, False)]


def test_one_of_two_sizes(serve, folder, monkeypatch):
    sizes = (len(BODY) - 4, len(BODY))
    monkeypatch.setitem(PUBLISHED, "mini", PublishedFile("m", sizes, (), None, hashlib.md5(BODY).hexdigest()))
    assert fetch_weights("mini", folder, [serve(FileServer(BODY))]).read_bytes() == BODY
    (folder / "m").unlink()
    says = ["has the md5"]
    expect_error(folder, serve(FileServer(BODY[:-4])), says=says)


def test_without_a_known_checksum_the_user_is_told(unchecked, serve, folder, capsys):
    for _ in range(2):  # fetched, then found
        path = fetch_weights("unchecked", folder, [serve(FileServer(BODY))])
        assert path.read_bytes() == BODY
        (line,) = capsys.readouterr().err.splitlines()
        assert "only its size was checked" in line
        assert str(path) in line


def test_without_a_known_checksum_the_size_is_checked(unchecked, serve, folder):
    expect_error(folder, serve(FileServer(BODY[:-1])), says=["150019 bytes"], name="unchecked")


# --- bad servers --------------------------------------------------------------------------------

BAD = {
    "a web page": (answering(HTML), "web page"),
    "wrong bytes of the right size": (answering(WRONG), hashlib.md5(WRONG).hexdigest()),
    "too many": (answering(BODY + b"\0"), "more than 150020 bytes"),
    "too many, of unstated length": (without_length(BODY + bytes(1_000_000)), "more than 150020 bytes"),
    "too few": (answering(BODY[:-1]), "150019 bytes instead of 150020"),
    "too few, of unstated length": (without_length(BODY[:-1]), "150019 bytes instead of 150020"),
    "nothing": (answering(b"", length=len(BODY)), "broke off"),
    "not found": (answering(b"", 404), "404 Not Found"),
    "out of order": (answering(b"", 500), "500 Internal Server Error"),
    "no http": (lambda request: request.wfile.write(b"\x00\xff" * 50), "cannot be reached"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_server_leaves_nothing(mini, serve, folder, kind):
    answer, says = BAD[kind]
    expect_error(folder, serve(answer), says=[says])


@pytest.mark.parametrize("kind", BAD)
def test_after_a_bad_place_the_next_one_is_tried(mini, serve, folder, kind):
    path = fetch_weights("mini", folder, [serve(BAD[kind][0]), serve(FileServer(BODY))])
    assert path.read_bytes() == BODY
    assert os.listdir(folder) == ["mini.weights"]


def test_wrong_by_its_sha1_alone(serve, folder, monkeypatch):
    entry = PublishedFile("mini.weights", (len(BODY),), (), None, hashlib.md5(BODY).hexdigest(), "0" * 40)
    monkeypatch.setitem(PUBLISHED, "mini", entry)
    expect_error(folder, serve(FileServer(BODY)), says=["sha1", hashlib.sha1(BODY).hexdigest()])


def test_all_places_are_named_with_what_they_said(mini, serve, folder):
    places = {serve(answer): says for answer, says in BAD.values()} | {NOBODY: "refused"}
    says = ["mini.weights could not be fetched", *places, *places.values()]
    expect_error(folder, *places, says=says)


# --- going on -----------------------------------------------------------------------------------


def test_a_broken_connection_is_gone_on_with_by_the_next_call(mini, serve, folder):
    server = FileServer(BODY, breaks=[100_000, 20_000])
    url = serve(server)
    expect_error(folder, url, says=["broke off after 100000 bytes", "mini.weights.part"], left=["mini.weights.part"])
    assert (folder / "mini.weights.part").read_bytes() == BODY[:100_000]
    expect_error(folder, url, says=["broke off after 120000 bytes"], left=["mini.weights.part"])
    assert fetch_weights("mini", folder, [url]).read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=120000-"]
    assert server.sent == [100_000, 20_000, 30_020]
    assert os.listdir(folder) == ["mini.weights"]


def test_another_place_goes_on_with_it(mini, serve, folder):
    first, second = FileServer(BODY, breaks=[100_000]), FileServer(BODY)
    assert fetch_weights("mini", folder, [serve(first), serve(second)]).read_bytes() == BODY
    assert (first.sent, second.sent) == ([100_000], [50_020])


def test_a_silent_server_leaves_what_it_sent(mini, serve, folder):
    server = Stalling(BODY, 90_000)
    expect_error(folder, serve(server), says=["broke off (timed out)"], left=["mini.weights.part"], timeout=0.3)
    server.release()
    other = FileServer(BODY)
    assert fetch_weights("mini", folder, [serve(other)]).read_bytes() == BODY
    assert other.asked == ["bytes=90000-"]


@pytest.mark.parametrize("kind", ["a web page", "not found", "too many", "nothing"])
def test_what_came_outlives_a_place_that_has_nothing(mini, serve, folder, kind):
    url = serve(BAD[kind][0])
    left = ["mini.weights.part"]
    expect_error(folder, serve(FileServer(BODY, breaks=[100_000])), url, says=[BAD[kind][1]], left=left)
    assert (folder / "mini.weights.part").read_bytes() == BODY[:100_000]


@pytest.mark.parametrize("ranges", ["ignored", "refused", "shifted", "unnamed"])
def test_a_server_without_ranges_sends_all_again(mini, serve, folder, ranges):
    server = FileServer(BODY, breaks=[100_000], ranges=ranges)
    url = serve(server)
    expect_error(folder, url, left=["mini.weights.part"])
    assert fetch_weights("mini", folder, [url]).read_bytes() == BODY
    assert server.asked[:2] == [None, "bytes=100000-"]


def test_wrong_bytes_that_were_gone_on_with_are_fetched_anew(mini, serve, folder):
    bad, good = FileServer(WRONG, breaks=[100_000]), FileServer(BODY)
    assert fetch_weights("mini", folder, [serve(bad), serve(good)]).read_bytes() == BODY
    assert good.asked == ["bytes=100000-", None]
    assert os.listdir(folder) == ["mini.weights"]


def test_wrong_bytes_anew_are_not_asked_for_again(mini, serve, folder):
    server = FileServer(WRONG, breaks=[100_000])
    url = serve(server)
    expect_error(folder, url, left=["mini.weights.part"])
    expect_error(folder, url, says=["does not send the published file"])
    assert server.asked == [None, "bytes=100000-", None]


def test_a_part_that_is_whole_is_used_without_the_network(mini, folder):
    folder.mkdir(parents=True)
    (folder / "mini.weights.part").write_bytes(BODY)
    assert fetch_weights("mini", folder, [NOBODY]).read_bytes() == BODY
    assert os.listdir(folder) == ["mini.weights"]


@pytest.mark.parametrize("content", [WRONG, BODY + b"\0"])
def test_a_part_that_is_no_part_is_removed(mini, serve, folder, content):
    folder.mkdir(parents=True)
    (folder / "mini.weights.part").write_bytes(content)
    server = FileServer(BODY)
    assert fetch_weights("mini", folder, [serve(server)]).read_bytes() == BODY
    assert server.asked == [None]


def test_stopping_by_hand_keeps_what_came(mini, serve, folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    server = FileServer(BODY)
    url = serve(server)
    with monkeypatch.context() as patch:
        patch.setattr("tqdm.tqdm.update", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch_weights("mini", folder, [url])
    assert os.listdir(folder) == ["mini.weights.part"]
    assert fetch_weights("mini", folder, [url]).read_bytes() == BODY
    assert server.asked == [None, "bytes=512-"]


# --- two at once --------------------------------------------------------------------------------


def test_two_at_once(fcntl, mini, serve, folder):
    """Of several that begin together one fetches; the others are refused, or find the file when they look later."""
    server_url, outcomes = serve(trickling(BODY, 10_000, pause=0.02)), []

    def run():
        try:
            outcomes.append(fetch_weights("mini", folder, [server_url]).read_bytes() == BODY)
        except UserError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) >= 1
    for outcome in outcomes:
        assert outcome is True or "by another process" in outcome
    assert os.listdir(folder) == ["mini.weights"]


def test_another_process_is_not_disturbed(fcntl, mini, serve, folder):
    folder.mkdir(parents=True)
    (folder / "mini.weights.part").write_bytes(BODY[:1000])
    server = FileServer(BODY)
    with open(folder / "mini.weights.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left = ["mini.weights.lock", "mini.weights.part"]
        expect_error(folder, serve(server), says=["being fetched by another process"], left=left)
    assert (folder / "mini.weights.part").read_bytes() == BODY[:1000]
    assert not server.asked
    # That process has ended without tidying up: its lock is gone with it, its file is used.
    assert fetch_weights("mini", folder, [serve(server)]).read_bytes() == BODY
    assert os.listdir(folder) == ["mini.weights"]


def test_a_lock_that_was_removed_while_it_was_opened(fcntl, mini, folder, monkeypatch):
    lock = fcntl.flock

    def lock_after_its_removal(file, operation):
        (folder / "mini.weights.lock").unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_after_its_removal)
    expect_error(folder, NOBODY, says=["being fetched by another process"])


def test_a_file_that_another_process_just_finished(fcntl, mini, serve, folder, monkeypatch):
    lock = fcntl.flock

    def lock_a_little_later(file, operation):
        (folder / "mini.weights").write_bytes(BODY)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_a_little_later)
    server = FileServer(BODY)
    assert fetch_weights("mini", folder, [serve(server)]).read_bytes() == BODY
    assert not server.asked


# --- the disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be(mini, serve, tmp_path, place):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match="cannot be written") as caught:
        fetch_weights("mini", tmp_path / place, [serve(FileServer(BODY))])
    assert str(tmp_path / place / "mini.weights") in str(caught.value)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk(mini, serve, folder):
    folder.mkdir(parents=True)
    (folder / "mini.weights.part").symlink_to("/dev/full")
    expect_error(folder, serve(FileServer(BODY)), says=["cannot be written", "No space left"])


def test_a_folder_of_that_name(mini, folder):
    (folder / "mini.weights").mkdir(parents=True)
    expect_error(folder, NOBODY, says=["move it away"], left=["mini.weights"])


# --- recognising --------------------------------------------------------------------------------


def test_identify(mini, unchecked, tmp_path):
    path = tmp_path / "of any name"
    path.write_bytes(BODY)
    assert identify(path) == "mini"
    assert identify(str(path)) == "mini"
    for content in (WRONG, BODY[:-1], b""):  # WRONG has the size of both
        path.write_bytes(content)
        assert identify(path) is None


def test_identify_what_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read") as caught:
        identify(tmp_path / "absent")
    assert str(tmp_path / "absent") in str(caught.value)
