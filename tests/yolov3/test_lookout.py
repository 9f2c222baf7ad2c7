"""The process beside the ranks: whom it believes, and what it says when one of them ends."""

import json
import socket
import threading
import time

import pytest

from yolov3 import lookout
from yolov3.lookout import Lookout


class Watched:
    """A lookout in a thread, and sockets in the place of ranks."""

    def __init__(self, size):
        server = socket.create_server(("127.0.0.1", 0))
        self.address = server.getsockname()
        self.lookout, self.outcome = Lookout(server, size, "secret"), []
        self._thread = threading.Thread(target=lambda: self.outcome.append(self.lookout.watch()), daemon=True)
        self._thread.start()

    def connect(self, **message):
        """A connection on which one message has been sent."""
        connection = socket.create_connection(self.address, timeout=10)
        send(connection, **message)
        return connection

    def rank(self, number):
        """A rank that has introduced itself and is known."""
        known = len(self.lookout.ranks)
        connection = self.connect(token="secret", rank=number, process=f"{4711 + number} on here")
        while len(self.lookout.ranks) == known:
            time.sleep(0.001)
        return connection

    def end(self):
        """What the lookout has found, when it has."""
        self._thread.join(timeout=10)
        (outcome,) = self.outcome
        return outcome


def send(connection, **message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def test_all_finish():
    watched = Watched(2)
    for connection in (watched.rank(0), watched.rank(1)):
        send(connection, finished=True)
        connection.close()
    assert watched.end() is None


def test_one_dies(tmp_path):
    watched = Watched(3)
    ranks = [watched.rank(number) for number in range(3)]
    checkpoint = tmp_path / "last.npz"
    checkpoint.touch()
    send(ranks[0], checkpoint=str(checkpoint), resume="resume it")
    send(ranks[0], finished=True)
    ranks[0].close()
    ranks[2].close()
    text, code = watched.end()
    assert text.startswith("yolov3 train: rank 2 of 3 (process 4713 on here) ended without a word")
    assert text.endswith("go on from the last checkpoint with: resume it")
    assert code == 1


@pytest.mark.parametrize(("may_resume", "says"), [(True, "it broke; go on from the last"), (False, "it broke")])
def test_one_fails(tmp_path, may_resume, says):
    watched = Watched(2)
    ranks = [watched.rank(number) for number in range(2)]
    (tmp_path / "last.npz").touch()
    send(ranks[0], checkpoint=str(tmp_path / "last.npz"), resume="resume it")
    send(ranks[0], failed="it broke", code=7, may_resume=may_resume)
    text, code = watched.end()
    assert text.startswith(says)
    assert ("resume it" in text) == may_resume
    assert code == 7
    watched.lookout.end(code)
    assert [each.recv(10) for each in ranks] == [b"7\n", b"7\n"]


def test_there_is_no_checkpoint_yet(tmp_path):
    watched = Watched(1)
    rank = watched.rank(0)
    send(rank, checkpoint=str(tmp_path / "last.npz"), resume="resume it")
    rank.close()
    assert watched.end()[0].endswith("there is no checkpoint yet: start it again")


def test_strangers_are_not_heard():
    watched = Watched(1)
    strangers = [watched.connect(**each) for each in ({"failed": "no"}, {"token": "guess", "rank": 0}, {})]
    noise = socket.create_connection(watched.address, timeout=10)
    noise.sendall(b"GET / HTTP/1.1\r\n\xff\n[1]\n")
    deep = socket.create_connection(watched.address, timeout=10)
    deep.sendall(b"[" * 50_000 + b"\n")
    for each in (*strangers, noise, deep):
        assert each.recv(10) == b""  # it hangs up
    rank = watched.rank(0)
    send(rank, finished=True)
    assert watched.end() is None


def test_a_rank_that_never_comes(monkeypatch):
    monkeypatch.setattr(lookout, "PATIENCE", 0.2)
    watched = Watched(2)
    rank = watched.rank(0)
    assert watched.end() == ("yolov3 train: only 1 of 2 processes have begun", 1)
    rank.close()
