"""Streaming one address of the web into a file, with everything that can go wrong on the way.

Nothing from the network is believed: not its length, not that it is what was asked for, not that it goes on where the
bytes already here end.  Whether the whole file is the right one is for the caller to check.
"""

import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from yolov3.errors import UserError

CHUNK = 1 << 16  # bytes read at a time
START = 512  # bytes by which something else than the file is recognised


def fetch(url, path, largest_size, expected, signature=b"", timeout=30, resume=False):
    """Stream ``url`` into the file ``path``.  Returns how many of the bytes that stood there before were kept.

    - ``largest_size``: bytes; more are not read.
    - ``expected``: what should come, for the bar and for sentences: "zip archive".
    - ``signature``: the bytes that it begins with.
    - ``timeout``: seconds without any answer after which the server counts as gone.
    - ``resume``: ask only for what is missing at the end of ``path`` (an HTTP Range).  Where the server sends all,
      another part, or answers that there is no such part, everything is fetched anew and 0 returned.

    UserError for an address that cannot be reached, an HTTP error, a web page, a wrong signature, a promise of too many
    bytes (``path`` is then as before), too many bytes without a promise (``path`` is removed), and a connection that
    ends or falls silent before the promised length (``path`` holds what came, for the next try).  OSError of the disk.
    """
    from tqdm import tqdm

    path = Path(path)
    here = path.stat().st_size if resume and path.exists() else 0
    response, kept = _answer(url, here, timeout)
    with response:
        size = _promised_size(response, kept)  # of the whole file; None where the server names none
        _check_size(size or 0, largest_size, expected, url)
        start = _next_chunk(response.read, START, url)  # waits for all of them, other than read1
        if kept == 0:  # before the file is touched: what stands there may still be of use with another server
            _check_start(start, expected, signature, url)
        received = kept + len(start)
        if start:
            with (
                open(path, "ab" if kept else "wb") as file,
                tqdm(desc=expected, total=size, initial=kept, unit="B", unit_scale=True, disable=None) as bar,
            ):
                chunk = start
                while chunk and received <= largest_size:
                    file.write(chunk)
                    bar.update(len(chunk))
                    chunk = _next_chunk(response.read1, CHUNK, url)
                    received += len(chunk)
    if received > largest_size:
        path.unlink()
    _check_size(received, largest_size, expected, url)
    if received == 0 or (size is not None and received < size):
        raise UserError(f"{url}: the connection broke off after {received} bytes: try again")
    return kept


def _answer(url, here, timeout):
    """The server's response, and how many of the ``here`` bytes it goes on after: all of them or 0."""
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={here}-"} if here else {})
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if here and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _answer(url, 0, timeout)
        reason = " ".join(error.reason.split())  # urllib says three lines about redirects that run in a circle
        raise UserError(f"{url}: the server answers {error.code} {reason}: try again later") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{url} cannot be reached ({reason}): check the connection and try again") from error
    if not here or response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return response, 0
    if _content_range(response)[0] == here:
        return response, here
    response.close()  # another part than the one asked for
    return _answer(url, 0, timeout)


def _content_range(response):
    """``(first byte, size of the whole file)`` of "bytes 100-999/1000"; None for what is not said."""
    match = re.fullmatch(r"bytes (\d{1,15})-\d+/(?:(\d{1,15})|\*)", response.headers.get("Content-Range", ""))
    return tuple(number and int(number) for number in match.groups()) if match else (None, None)


def _promised_size(response, kept):
    if kept and (size := _content_range(response)[1]) is not None:
        return size
    return None if response.length is None else kept + response.length


def _check_size(size, largest_size, expected, url):
    if size > largest_size:
        raise UserError(f"{url} sends more than {largest_size} bytes, too many for this {expected}")


def _next_chunk(read, size, url):
    try:
        return read(size)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{url}: the connection broke off ({reason}): try again") from error


def _check_start(start, expected, signature, url):
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise UserError(f"{url} answers with a web page, not a {expected}: look at that address in a browser")
    if start and not start.startswith(signature):
        raise UserError(f"{url} answers with something that is no {expected}: look at that address in a browser")
