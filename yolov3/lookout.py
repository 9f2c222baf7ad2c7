"""Watches the processes of one training: when one ends too early, it says why, once, and ends the others.

A process that is killed cannot say so itself; the others would wait for its numbers for ever; and a launcher that
notices kills them before they can speak.  So one more process, started by the first rank, sits beside them and computes
nothing.  Each rank holds a connection to it, and when a process dies, however it does, the system closes that.

This file is that program.  It uses the standard library alone, so that it needs little memory and starts at once.

    python lookout.py RANKS HOST

It reads a TOKEN from stdin, prints the port at which it listens (HOST empty: on all networks), and then hears lines of
JSON from each rank:

    {"token": TOKEN, "rank": 1, "process": "4711 on host"}      first; who does not know the token is not one of them
    {"checkpoint": PATH, "resume": COMMAND}                     how to go on, once there is a checkpoint
    {"failed": TEXT, "code": 1, "may_resume": true}             what ended this rank
    {"finished": true}                                          all is done: from now on it may end

To all it answers one line, the exit code with which to end.
"""

import json
import os
import selectors
import socket
import sys
import time
from contextlib import suppress

LONGEST = 1 << 20  # bytes of a message
PATIENCE = 60.0  # seconds within which all ranks must have come
SILENCE = 10  # seconds without a sign of life from another computer, after which to ask for one


class Rank:
    """What is known of one rank, and the connection to it."""

    def __init__(self, connection):
        self.connection, self.rank, self.process = connection, None, None
        self.finished = False
        self._received = b""

    def hear(self):
        """The messages that have come, as dicts; None at the end of the connection."""
        try:
            received = self.connection.recv(1 << 16)
        except OSError:
            received = b""
        if not received or len(self._received) > LONGEST:
            return None
        *lines, self._received = (self._received + received).split(b"\n")
        return [_parsed(line) for line in lines]

    def tell(self, code):
        """That it shall end, with this exit code."""
        with suppress(OSError):  # it may be gone
            self.connection.sendall(b"%d\n" % code)


def _parsed(line):
    """A message; an empty one for what is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


class Lookout:
    """Listens to ``size`` ranks until all have finished or one has failed."""

    def __init__(self, server, size, token):
        self.server, self.size, self.token = server, size, token
        self.ranks, self.finished = [], 0
        self.checkpoint = self.resume = None
        self.selector = selectors.DefaultSelector()
        self.selector.register(server, selectors.EVENT_READ)

    def watch(self):
        """(what to say, exit code) as soon as a rank has failed; None when all have finished.

        Of several that have ended the first is named: Linux reports events in the order in which they came.
        """
        until = time.monotonic() + PATIENCE
        while self.finished < self.size:
            everyone_is_here = len(self.ranks) == self.size
            for key, _ in self.selector.select(None if everyone_is_here else max(0, until - time.monotonic())):
                failure = self._meet() if key.data is None else self._attend(key.data)
                if failure:
                    return failure
            if len(self.ranks) < self.size and time.monotonic() > until:
                return f"yolov3 train: only {len(self.ranks)} of {self.size} processes have begun", 1
        return None

    def end(self, code):
        """Tell all ranks to end."""
        for each in self.ranks:
            each.tell(code)

    def _meet(self):
        connection, _ = self.server.accept()
        keep_alive(connection)
        self.selector.register(connection, selectors.EVENT_READ, Rank(connection))

    def _attend(self, rank):
        messages = rank.hear()
        if messages is None:
            self.selector.unregister(rank.connection)
            return self._death(rank) if rank in self.ranks and not rank.finished else None
        for message in messages:
            if rank.rank is None:
                if message.get("token") != self.token:
                    self.selector.unregister(rank.connection)
                    rank.connection.close()
                    return None
                rank.rank, rank.process = message["rank"], message["process"]
                self.ranks.append(rank)
            elif "failed" in message:
                return message["failed"] + (self._how_to_go_on() if message["may_resume"] else ""), message["code"]
            elif "resume" in message:
                self.checkpoint, self.resume = message["checkpoint"], message["resume"]
            elif "finished" in message:
                rank.finished = True
                self.finished += 1
        return None

    def _death(self, rank):
        going_on = self._how_to_go_on() or "; there is no checkpoint yet: start it again"
        return (
            f"yolov3 train: rank {rank.rank} of {self.size} (process {rank.process}) ended without a word, as one does "
            f"that is killed, by a person or for want of memory; the others were stopped{going_on}"
        ), 1

    def _how_to_go_on(self):
        if self.checkpoint and os.path.exists(self.checkpoint):
            return f"; go on from the last checkpoint with: {self.resume}"
        return ""


def keep_alive(connection):
    """Have the system notice within a minute that the computer at the other end is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", SILENCE), ("TCP_KEEPINTVL", SILENCE), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def main():
    """Watch, and say once what went wrong."""
    size, host = sys.argv[1:]
    token = sys.stdin.readline().strip()
    server = socket.create_server((host, 0))
    print(server.getsockname()[1], flush=True)
    lookout = Lookout(server, int(size), token)
    failure = lookout.watch()
    if failure:
        text, code = failure
        try:
            print(text, file=sys.stderr, flush=True)
        finally:
            lookout.end(code)


if __name__ == "__main__":
    main()
