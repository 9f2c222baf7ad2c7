"""Pictures and videos that claim to be huge, that unpack to gigabytes, or that are programs: refused, and cheaply."""

import os
import shutil
import struct
import zlib

import numpy as np
import pytest

from tests.fuzz import samples
from tests.fuzz.memory import LITTLE, at_most, cheap_refusal, put
from tests.yolov3.local_server import LocalServers
from tests.yolov3.refusals import refusal_of
from yolov3.checkpoint import load_checkpoint
from yolov3.darknet.cfg import read_cfg
from yolov3.data.dataset import open_dataset
from yolov3.data.files import picture_size
from yolov3.data.manifest import ManifestPicture
from yolov3.frames import open_frames
from yolov3.image import LARGEST_PICTURE, load_image


def read_train(path):
    return open_dataset(path, "train")


def png_header(width, height):
    """A PNG of this size that ends where its pixels should begin."""
    size = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # RGBA, a byte each
    chunks = [png_chunk(b"IHDR", size), png_chunk(b"IDAT", zlib.compress(b"")), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bmp_header(width, height):
    """A BMP of this size without pixels."""
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def tiff_header(width, height):
    """A TIFF of this size whose one strip is short."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 12) + bytes(4) + struct.pack("<H", len(tags)) + entries + bytes(4)


def jpeg_header(width, height):
    """A JPEG with another size than it was made with."""
    content = bytearray(samples.picture("JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


FORGED = {
    "png": png_header(100_000, 100_000),
    "second.png": png_header(12_000, 12_000),
    "long.png": png_header(2**31 - 1, 1),
    "gif": samples.gif_header(65_535, 65_535),
    "bmp": bmp_header(2**31 - 1, 2**31 - 1),
    "tif": tiff_header(60_000, 60_000),
    "jpg": jpeg_header(65_500, 65_500),
    "second.jpg": jpeg_header(13_000, 12_000),
    "ppm": b"P6 99999 99999 255\n" + bytes(100),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("read", [load_image, picture_size])
def test_pictures_of_forged_size(tmp_path, name, read):
    path = tmp_path / f"forged.{name}"
    path.write_bytes(FORGED[name])
    assert "pixels" in cheap_refusal(read, path)


def test_a_picture_of_nothing_but_zeros_unpacks_to_a_bomb(tmp_path):
    """Not forged: all pixels are there, a thousand times smaller than they will be."""
    side = 12_000
    row, packer = bytes(1 + 4 * side), zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = png_header(side, side)
    content = header[:33] + png_chunk(b"IDAT", data) + header[-12:]
    assert len(content) < 4_000_000 < 576_000_000 == 4 * side**2
    (tmp_path / "bomb.png").write_bytes(content)
    for read in (load_image, picture_size):
        assert "pixels" in cheap_refusal(read, tmp_path / "bomb.png")


@pytest.mark.parametrize("kind", ["gif", "tif", "png", "webp"])
def test_of_many_frames_one_is_read(tmp_path, kind):
    form = {"gif": "GIF", "tif": "TIFF", "png": "PNG", "webp": "WEBP"}[kind]
    first = samples.Image.new("RGB", (640, 480))
    frames = [samples.Image.new("RGB", (640, 480), (number, 0, 0)) for number in range(63)]
    first.save(tmp_path / f"film.{kind}", form, save_all=True, append_images=frames)
    with at_most(60):  # all 64 frames are 79 MB
        assert load_image(tmp_path / f"film.{kind}").shape == (480, 640, 3)
        assert picture_size(tmp_path / f"film.{kind}") == (640, 480)


def test_the_largest_picture_is_read_with_a_few_times_its_memory(tmp_path):
    side = int(LARGEST_PICTURE**0.5)
    samples.Image.new("L", (side, side)).save(tmp_path / "large.png")
    with at_most(LARGEST_PICTURE * 12 // 2**20):
        assert load_image(tmp_path / "large.png").shape == (side, side, 3)


@pytest.mark.parametrize("name", ["photo.jpg", "drawing.eps"])
def test_postscript_is_never_drawn(tmp_path, name, monkeypatch):
    """Pillow would start Ghostscript, whatever the file is called: a picture must not be a program."""
    tools = put(tmp_path / "tools", {"gs": f"#!/bin/sh\ntouch {tmp_path}/executed\n".encode()})
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("gs") == str(tools / "gs")
    content = samples.eps(tmp_path / "executed")
    (tmp_path / name).write_bytes(content)
    for read in (load_image, picture_size):
        assert "format" in refusal_of(read, tmp_path / name)
    assert not ManifestPicture("photo.jpg", bytes(256), 16, 16).fits(content)
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    pictures, data = (load_image, picture_size), (read_train,)
    readers = {"p.png": pictures, "p.json": data, "p.yaml": data, "p.cfg": (read_cfg,), "p.npz": (load_checkpoint,)}
    for name, reads in readers.items():
        os.mkfifo(tmp_path / name)
        for read in reads:
            assert "no file" in cheap_refusal(read, tmp_path / name)
    for read in pictures:
        assert "no file" in cheap_refusal(read, "/dev/zero")


@pytest.fixture
def avi(tmp_path):
    """The path of a video of plain pixels, 64x32."""
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "v.avi"), "w", format="avi") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "bgr24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return tmp_path / "v.avi"


def read_video(path):
    with open_frames(path) as frames:
        return [frame.image.shape for frame in frames]


def test_a_video_of_forged_size(avi):
    assert read_video(avi) == [(32, 64, 3)]
    size, content = struct.pack("<ii", 64, -32), avi.read_bytes()  # negative: the first row is the upper one
    assert content.count(size) == 1
    avi.write_bytes(content.replace(size, struct.pack("<ii", 16_000, -16_000)))
    assert "16000x16000 are more than 134,217,728 pixels" in cheap_refusal(read_video, avi)
    avi.write_bytes(content.replace(size, struct.pack("<ii", 60_000, -60_000)))  # more than FFmpeg itself takes
    with at_most(LITTLE):
        assert read_video(avi) == []


@pytest.fixture
def servers():
    servers = LocalServers()
    yield servers
    servers.stop()


def test_a_playlist_reaches_no_address(tmp_path, servers):
    pytest.importorskip("av")
    asked = []
    address = servers.start(lambda request: asked.append(request.path))
    lists = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}/a.ts\n#EXT-X-ENDLIST\n",
        "list.mp4": f"ffconcat version 1.0\nfile '{address}/a.mp4'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        refusal_of(read_video, tmp_path / name)
    assert asked == []
