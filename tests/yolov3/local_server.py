"""Servers on this machine that behave well, slowly and badly: what they answer is a function of the request."""

import contextlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOBODY = "http://127.0.0.1:9/nobody-listens"


class LocalServers:
    """Starts servers and stops all of them again; the fixture ``serve`` is their ``start``."""

    def __init__(self):
        self.servers = []

    def start(self, answer):
        """Start a server that answers every request by the given function; returns its address."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with contextlib.suppress(ConnectionError):  # the other side may leave at any time
                    answer(self)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/file"

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


def begin(request, length, status=200, **headers):
    """Send the head of an answer; ``length`` is None where none is stated."""
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    if length is not None:
        request.send_header("Content-Length", str(length))
    request.end_headers()


def answering(body, status=200, length=None):
    """Send ``body``, stating its length or another one."""

    def answer(request):
        begin(request, len(body) if length is None else length, status)
        request.wfile.write(body)

    return answer


def without_length(body):
    """Send ``body`` and end the connection, as old servers do."""

    def answer(request):
        begin(request, None)
        request.wfile.write(body)

    return answer


def trickling(body, piece, pause):
    """Send ``body`` in pieces of so many bytes, with so many seconds after each."""

    def answer(request):
        begin(request, len(body))
        for start in range(0, len(body), piece):
            request.wfile.write(body[start : start + piece])
            request.wfile.flush()
            time.sleep(pause)

    return answer


class Stalling:
    """Sends ``sent`` bytes of ``body`` and then nothing, with the connection open, until ``release()``."""

    def __init__(self, body, sent):
        self.body, self.sent = body, sent
        self.done, self.gave_up = threading.Event(), threading.Event()
        self.release = self.done.set

    def __call__(self, request):
        begin(request, len(self.body))
        request.wfile.write(self.body[: self.sent])
        request.wfile.flush()
        if not self.done.wait(60):
            self.gave_up.set()


class FileServer:
    """Sends ``body`` as servers of files do, ranges included, and notes what it was asked for.

    - ``breaks``: after how many bytes of the body each answer breaks off; the answers after these are whole;
    - ``ranges``: "as asked"; "ignored": the whole body is sent; "refused": status 416; "shifted": one byte too late;
      "unnamed": status 206 without saying which part.
    """

    def __init__(self, body, breaks=(), ranges="as asked"):
        self.body, self.breaks, self.ranges = body, list(breaks), ranges
        self.asked = []  # the Range header of every request, or None
        self.sent = []  # bytes of the body sent in every answer

    def __call__(self, request):
        asked = request.headers["Range"]
        self.asked.append(asked)
        if asked and self.ranges == "refused":
            self.sent.append(0)
            return begin(request, 0, 416)
        if not asked or self.ranges == "ignored":
            part = self.body
            begin(request, len(part))
        else:
            first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + (self.ranges == "shifted")
            part, size = self.body[first:], len(self.body)
            span = {} if self.ranges == "unnamed" else {"Content_Range": f"bytes {first}-{size - 1}/{size}"}
            begin(request, len(part), 206, **span)
        if self.breaks:
            part = part[: self.breaks.pop(0)]
        self.sent.append(len(part))
        request.wfile.write(part)
