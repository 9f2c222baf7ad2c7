"""Streaming a file from a server on this machine, from its start and from where an earlier try ended."""

import http.client
import random
import time

import pytest

from tests.yolov3.local_server import (
    NOBODY,
    FileServer,
    Stalling,
    answering,
    begin,
    trickling,
    without_length,
)
from yolov3.errors import UserError
from yolov3.fetch import fetch

BODY = random.Random(0).randbytes(300_000)  # several chunks
LIMIT = len(BODY)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.part"


def expect_error(url, path, match, largest_size=LIMIT, **options):
    """One sentence that names the address."""
    with pytest.raises(UserError, match=match) as caught:
        fetch(url, path, largest_size, "weights file", **options)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [answering(BODY), without_length(BODY), FileServer(BODY)])
@pytest.mark.parametrize("resume", [False, True])
def test_a_whole_file(serve, path, answer, resume):
    assert fetch(serve(answer), path, LIMIT, "weights file", resume=resume) == 0
    assert path.read_bytes() == BODY


def test_chunked_answers(serve, path):
    def answer(request):
        request.protocol_version = "HTTP/1.1"
        begin(request, None, Transfer_Encoding="chunked", Connection="close")
        for start in range(0, len(BODY), 7000):
            piece = BODY[start : start + 7000]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    fetch(serve(answer), path, LIMIT, "weights file")
    assert path.read_bytes() == BODY


def test_without_resume_what_stood_there_is_replaced(serve, path):
    server = FileServer(BODY)
    path.write_bytes(BODY[:1000])
    assert fetch(serve(server), path, LIMIT, "weights file") == 0
    assert path.read_bytes() == BODY
    assert server.asked == [None]


def test_a_slow_server_is_waited_for(serve, path):
    begun = time.monotonic()
    fetch(serve(trickling(BODY[:2000], 200, pause=0.05)), path, LIMIT, "weights file", timeout=0.3)
    assert time.monotonic() - begun > 0.3  # the timeout is for silence
    assert path.read_bytes() == BODY[:2000]


@pytest.mark.parametrize("sent", [0, 100, 200_000])
def test_a_silent_server_is_not_waited_for(serve, path, sent):
    server = Stalling(BODY, sent)
    expect_error(serve(server), path, "broke off", timeout=0.3)
    assert not server.gave_up.is_set()
    server.release()
    if sent > 512:  # less is not written: it may be a web page
        assert path.read_bytes() == BODY[:sent]


def test_a_server_that_never_answers(serve, path):
    server = Stalling(BODY, 0)
    waiting = serve(lambda request: server.done.wait(60))
    expect_error(waiting, path, r"cannot be reached \(timed out\)", timeout=0.2)
    server.release()
    assert not path.exists()


# --- going on -----------------------------------------------------------------------------------


def test_a_broken_connection_is_gone_on_with(serve, path):
    server = FileServer(BODY, breaks=[100_000, 50_001])
    url = serve(server)
    expect_error(url, path, "broke off after 100000 bytes", resume=True)
    assert path.read_bytes() == BODY[:100_000]
    expect_error(url, path, "broke off after 150001 bytes", resume=True)
    assert path.read_bytes() == BODY[:150_001]
    assert fetch(url, path, LIMIT, "weights file", resume=True) == 150_001
    assert path.read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=150001-"]
    assert server.sent == [100_000, 50_001, 149_999]  # nothing twice


def test_a_size_that_is_not_told_is_taken_from_the_length(serve, path):
    def answer(request):  # "/*": the server does not know how long the whole is
        begin(request, 2000, 206, Content_Range="bytes 1000-2999/*")
        request.wfile.write(BODY[1000:2000])

    path.write_bytes(BODY[:1000])
    expect_error(serve(answer), path, "broke off after 2000 bytes", resume=True)


def test_less_than_all_of_the_rest(serve, path):
    def answer(request):  # the answer is whole, the file is not
        begin(request, 500, 206, Content_Range="bytes 1000-1499/3000")
        request.wfile.write(BODY[1000:1500])

    path.write_bytes(BODY[:1000])
    expect_error(serve(answer), path, "broke off after 1500 bytes", resume=True)
    assert path.read_bytes() == BODY[:1500]


def test_the_rest_may_begin_with_anything(serve, path):
    body = BODY[:1000] + b"<html>" + BODY[:1000]  # numbers, by chance
    path.write_bytes(body[:1000])
    assert fetch(serve(FileServer(body)), path, LIMIT, "weights file", signature=BODY[:4], resume=True) == 1000
    assert path.read_bytes() == body


def test_redirects_are_followed_with_the_range(serve, path):
    server = FileServer(BODY)
    target = serve(server)
    path.write_bytes(BODY[:1000])
    assert fetch(serve(redirecting(target)), path, LIMIT, "weights file", resume=True) == 1000
    assert path.read_bytes() == BODY
    assert server.asked == ["bytes=1000-"]


@pytest.mark.parametrize(
    ("ranges", "asked"),
    [
        ("ignored", ["bytes=1000-"]),
        ("refused", ["bytes=1000-", None]),
        ("shifted", ["bytes=1000-", None]),
        ("unnamed", ["bytes=1000-", None]),
    ],
)
@pytest.mark.parametrize("before", [BODY[:1000], bytes(1000)])
def test_servers_that_cannot_go_on_send_all(serve, path, ranges, asked, before):
    server = FileServer(BODY, ranges=ranges)
    path.write_bytes(before)
    assert fetch(serve(server), path, LIMIT, "weights file", resume=True) == 0
    assert path.read_bytes() == BODY
    assert server.asked == asked


def test_more_than_all_is_there_already(serve, path):
    """The server has nothing after that, says 416 in truth, and is asked for everything."""
    path.write_bytes(bytes(len(BODY) + 1))
    url = serve(lambda request: FileServer(BODY, ranges="refused")(request))
    assert fetch(url, path, LIMIT, "weights file", resume=True) == 0
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (answering(b"<html>gone</html>"), "web page"),
        (answering(b"", 404), "404"),
        (answering(b"", length=9), "broke off after 0 bytes"),
    ],
)
def test_what_is_here_outlives_a_place_that_has_nothing(serve, path, answer, match):
    path.write_bytes(BODY[:1000])
    expect_error(serve(answer), path, match, resume=True)
    assert path.read_bytes() == BODY[:1000]


# --- something else -----------------------------------------------------------------------------


def redirecting(target):
    return lambda request: begin(request, 0, 302, Location=target)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"<!DOCTYPE html><html>come back later</html>", "web page, not a weights file"),
        (b"\xef\xbb\xbf\r\n <html>", "web page"),
        (b"not found, sorry", "no weights file"),
        (b"", "broke off after 0 bytes"),
    ],
)
def test_something_else_with_status_200(serve, path, body, match):
    expect_error(serve(answering(body)), path, match, signature=b"\0\0")
    assert not path.exists()


def test_a_web_page_that_comes_in_small_pieces(serve, path):
    expect_error(serve(trickling(b"\n\n<html></html>", 1, pause=0.01)), path, "web page")


@pytest.mark.parametrize("status", [403, 404, 416, 500, 503])
def test_an_http_error(serve, path, status):
    expect_error(serve(answering(b"<html>", status)), path, f"answers {status} {http.client.responses[status]}")
    assert not path.exists()


def test_redirects_in_a_circle(serve, path):
    expect_error(serve(redirecting("/again")), path, "answers 302")


@pytest.mark.parametrize("url", [NOBODY, "http://no-such-host.invalid/a", "nonsense", "http://"])
def test_an_address_that_cannot_be_reached(path, url):
    expect_error(url, path, "cannot be reached")
    assert not path.exists()


def test_a_length_that_is_too_long_is_refused_before_a_byte_is_read(serve, path):
    path.write_bytes(b"before")
    expect_error(serve(answering(BODY)), path, f"more than {LIMIT - 1} bytes", largest_size=LIMIT - 1)
    assert path.read_bytes() == b"before"


def test_an_endless_answer_is_cut(serve, path):
    sent = []

    def answer(request):
        begin(request, None)
        while len(sent) < 1000:
            request.wfile.write(bytes(65536))
            sent.append(1)

    expect_error(serve(answer), path, f"more than {LIMIT} bytes")
    assert len(sent) < 1000
    assert not path.exists()


def test_the_bar_begins_where_the_file_ends(serve, path, monkeypatch):
    import tqdm

    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, **options):
            super().__init__(**{**options, "disable": False})
            bars.append(self)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    path.write_bytes(BODY[:1000])
    fetch(serve(FileServer(BODY)), path, LIMIT, "weights file", resume=True)
    (bar,) = bars
    assert (bar.initial, bar.n, bar.total, bar.desc) == (1000, LIMIT, LIMIT, "weights file")
