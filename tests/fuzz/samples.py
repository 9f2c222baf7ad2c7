"""Small valid files of every kind, ``{path: content}``, to be damaged."""

import io
import json
import struct
import zipfile
from dataclasses import asdict

import numpy as np
from PIL import Image, TiffImagePlugin

from minidl.optim import Adam
from minidl.serialize import save
from tests.fuzz.memory import put
from tests.hashing import hash_image
from yolov3.checkpoint import Checkpoint, save_checkpoint
from yolov3.darknet.cfg import parse_cfg
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.weights import write_weights
from yolov3.data.dataset import open_dataset
from yolov3.image import EXIF_ORIENTATION
from yolov3.model import build_model
from yolov3.resume import fingerprint
from yolov3.train_settings import TrainSettings

WIDTH, HEIGHT = 24, 16


def picture(format="PNG", mode="RGB", **options):
    """A small picture as the bytes of a file."""
    image = Image.fromarray(hash_image(WIDTH, HEIGHT, 1)).convert(mode)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pictures():
    """``{file name: bytes}``: every format that is read, in the modes that are treated apart."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    exif[0x010E] = "a picture"
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    ifd[EXIF_ORIENTATION] = 3
    second = Image.fromarray(hash_image(WIDTH, HEIGHT, 2))
    grey16 = Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 99)
    floats = Image.fromarray(np.linspace(0, 1, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH))
    files = {
        "plain.jpg": picture("JPEG"),
        "exif.jpg": picture("JPEG", exif=exif),
        "progressive.jpg": picture("JPEG", progressive=True),
        "grey.jpg": picture("JPEG", "L"),
        "cmyk.jpg": picture("JPEG", "CMYK"),
        "plain.png": picture(),
        "exif.png": picture(exif=exif),
        "rgba.png": picture(mode="RGBA"),
        "palette.png": picture(mode="P", transparency=3),
        "bits.png": picture(mode="1"),
        "plain.gif": picture("GIF", "P"),
        "animated.gif": picture("GIF", "P", save_all=True, append_images=[second], transparency=1),
        "plain.bmp": picture("BMP"),
        "palette.bmp": picture("BMP", "P"),
        "plain.tif": picture("TIFF", tiffinfo=ifd),
        "lzw.tif": picture("TIFF", compression="tiff_lzw"),
        "jpeg.tif": picture("TIFF", compression="jpeg"),
        "plain.webp": picture("WEBP"),
        "lossless.webp": picture("WEBP", lossless=True, exif=exif),
        "plain.ppm": picture("PPM"),
    }
    for name, image, form in (
        ("grey16.png", grey16, "PNG"),
        ("grey16.tif", grey16, "TIFF"),
        ("float.tif", floats, "TIFF"),
    ):
        file = io.BytesIO()
        image.save(file, form)
        files[name] = file.getvalue()
    return files


VOC_XML = """<?xml version="1.0" encoding="utf-8"?>
<annotation verified="no">
  <folder>JPEGImages</folder><filename>a.png</filename><!-- made by hand -->
  <size><width>24</width><height>16</height><depth>3</depth></size>
  <object><name>red cell</name><pose>Left</pose><difficult>0</difficult>
    <bndbox><xmin>2</xmin><ymin>3.5</ymin><xmax>12</xmax><ymax>10</ymax></bndbox></object>
  <object><name>Zelle &amp; Ü</name><difficult>1</difficult>
    <bndbox><xmin>1e1</xmin><ymin>3</ymin><xmax>24</xmax><ymax>16</ymax></bndbox></object>
</annotation>
"""


def voc():
    """A VOC folder of two pictures and its lists."""
    return {
        "Annotations/a.xml": VOC_XML.encode(),
        "Annotations/b.xml": VOC_XML.replace("a.png", "b.png").encode(),
        "JPEGImages/a.png": picture(),
        "JPEGImages/b.png": picture(),
        "ImageSets/Main/trainval.txt": b"a\nb\n",
        "ImageSets/Main/test.txt": b"b  1\n",
    }


YAML = """# a comment
path: .
train: [images, more.txt]
val: ../images
test:
  - more.txt
nc: 2
names: {0: red cell, 1: "Zelle \\xdc"}
kpt_shape: [2, 3]
"""


def yolo():
    """A ``data.yaml`` with a folder, a list, and labels: boxes, an outline, key points."""
    return {
        "data.yaml": YAML.replace("../", "").encode(),
        "more.txt": b"images/a.png\n./images/b.png\nimages\\b.png\n",
        "images/a.png": picture(),
        "images/b.png": picture(),
        "labels/a.txt": b"0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.4 0.2 0.4 0.9\n0 .5 .5 .1 .1 .4 .4 2 .5 .5 0\n",
        "labels/b.txt": b"1 0.25 0.25 0.1 0.1 0.2 0.2 1 0.3 0.3 0\n",
    }


def coco():
    """A COCO file with boxes, polygons, masks in both forms, crowds and areas."""
    size = {"width": WIDTH, "height": HEIGHT}
    runs = {"size": [HEIGHT, WIDTH], "counts": [100, 10, WIDTH * HEIGHT - 110]}
    text = {"size": [HEIGHT, WIDTH], "counts": "T3:b8"}
    entries = [
        {"bbox": [2, 3, 10, 8], "area": 70.5, "iscrowd": 0},
        {"segmentation": [[1, 1, 9, 2, 5, 8.5]], "ignore": 1},
        {"segmentation": runs, "iscrowd": 1},
        {"segmentation": text, "iscrowd": 1, "bbox": []},
    ]
    content = {
        "info": {"year": 2020},
        "images": [{"id": 7, "file_name": "a.png", **size}, {"id": 9, "file_name": "images/b.png", **size}],
        "categories": [{"id": 3, "name": "red cell"}, {"id": 11, "name": "猫"}],
        "annotations": [
            {"id": number, "image_id": (7, 9)[number % 2], "category_id": (3, 11)[number % 2], **entry}
            for number, entry in enumerate(entries, 1)
        ],
    }
    return {"instances_train.json": json.dumps(content).encode(), "a.png": picture(), "images/b.png": picture()}


def darknet():
    """A ``.data`` file, its names, its list and a label file."""
    return {
        "obj.data": b"classes = 2\ntrain = train.txt\nvalid = train.txt\nnames = obj.names\nbackup = backup/\n",
        "obj.names": "red cell\nZelle Ü\n".encode(),
        "train.txt": b"images/a.png\n",
        "images/a.png": picture(),
        "labels/a.txt": b"0 0.5 0.5 0.25 0.5\n1 0.2 0.2 0.1 0.1\n",
    }


def roboflow():
    """Roboflow's Darknet export: labels beside the pictures."""
    return {
        "train/_darknet.labels": b"cell\ncar\n",
        "train/a.png": picture(),
        "train/a.txt": b"0 0.5 0.5 0.25 0.5\n",
        "valid/_annotations.coco.json": coco()["instances_train.json"],
        "valid/a.png": picture(),
    }


CFG = """[net]
width=32
height=32
channels=3
batch=64
learning_rate=0.001
steps=400000,450000

[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[route]
layers=-2

[reorg]
stride=2

[route]
layers=-1,-3

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=10,13, 16,30, 33,23
num=3
classes=2
ignore_thresh=.7
"""


def network(folder):
    """A tiny ``.cfg`` with its ``.weights`` and ``.names``."""
    write_weights(folder / "n.weights", ConfiguredNetwork(parse_cfg(CFG, "n.cfg"), seed=0))
    return {"n.cfg": CFG.encode(), "n.weights": (folder / "n.weights").read_bytes(), "n.names": b"cell\ncar\n"}


def arrays(folder):
    """A small file of :mod:`minidl.serialize`."""
    some = {"model/w": np.arange(6, dtype=np.float32).reshape(2, 3), "model/b": np.zeros(3), "step": np.array(7)}
    save(folder / "arrays.npz", some, {"format": 1, "names": ["a"], "rows": [{"loss": 0.5}], "size": [64, 64]})
    return {"arrays.npz": (folder / "arrays.npz").read_bytes()}


def checkpoint(folder):
    """The smallest detector's checkpoint."""
    model = build_model("yolov3-nano", 2, seed=1)
    save_checkpoint(folder / "last.npz", Checkpoint(model, "yolov3-nano", "concat", ["cell", "猫"], (64, 96)))
    return {"last.npz": (folder / "last.npz").read_bytes()}


def run(folder):
    """The checkpoint of a training run on :func:`voc` in a folder ``voc``, after the first step of its second epoch.

    Leaves such data in ``folder``.
    """
    put(folder / "voc", voc())
    records = [open_dataset(folder / "voc", split).records for split in ("train", "val")]
    model = build_model("yolov3-nano", 2, seed=1)
    optimizer = Adam(model.parameters(), 0.1)
    optimizer.step_count = 3
    training = {
        "settings": asdict(TrainSettings(image_size=(64, 96), batch=1)),
        "data": {"data": "voc", "strict": False},
        "epoch": 1,
        "part": {"steps": 1, "sums": {"loss": 3.5}, "seconds": 1.5},
        "pictures": len(records[0]),
        "fingerprints": [fingerprint(each) for each in records],
        "rows": [{"epoch": 1, "loss": 2.5, "mAP50": 0.1}],
        "best": 0.1,
        "loss_scale": None,
    }
    names = ["Zelle & Ü", "red cell"]
    whole = Checkpoint(model, "yolov3-nano", "concat", names, (64, 96), training, optimizer.state_dict())
    save_checkpoint(folder / "run.npz", whole)
    return {"last.npz": (folder / "run.npz").read_bytes()}


def zipped():
    """An archive as the download command unpacks it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("set/a.txt", b"0 0.5 0.5 0.1 0.1\n"), ("set/images/b.bin", bytes(300)), ("set/x", b"x")):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def mp4():
    """A video of a few frames; None where PyAV is not installed."""
    try:
        import av
    except ImportError:
        return None
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 32, 32
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(hash_image(32, 32, index)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def eps(mark):
    """A PostScript picture that writes the file ``mark`` when it is drawn, if anything draws it."""
    program = f"({mark}) (w) file closefile showpage"
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n{program}\n%%EOF\n".encode()


def gif_header(width, height):
    """A GIF of this size without pixels."""
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\0\0\0,\0\0\0\0"
        + struct.pack("<HH", width, height)
        + b"\0\2\0;"
    )
