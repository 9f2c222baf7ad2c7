"""Finding objects in pictures, from a file's path to boxes in its pixels."""

import os
from contextlib import closing
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np

from yolov3.boxes import xyxy_to_cxcywh
from yolov3.data.files import pictures_in
from yolov3.devices import choose_device, enough_memory
from yolov3.draw import draw_boxes, save_image
from yolov3.errors import UserError
from yolov3.image import Letterbox, letterbox, load_image
from yolov3.loading import load_detector
from yolov3.postprocess import MOST_DETECTIONS, find_objects
from yolov3.prefetch import prefetch
from yolov3.runs import write_json, write_text, writing
from yolov3.thresholds import NMS_IOU, SHOWN_CONFIDENCE


@dataclass(frozen=True)
class Detection:
    """One object: its class by number and name, how sure (0 to 1), and left, top, right, bottom in pixels."""

    class_id: int
    name: str
    score: float
    box_xyxy: tuple[float, float, float, float]

    def as_json(self):
        """The detection as JSON values."""
        return {"class_id": self.class_id, "class": self.name, "score": self.score, "box_xyxy": list(self.box_xyxy)}


@dataclass(frozen=True)
class PreparedPicture:
    """A picture (height, width, 3) uint8 with its letterboxed form (net_height, net_width, 3) float32 and its frame."""

    image: np.ndarray
    network_input: np.ndarray
    frame: Letterbox


class Detector:
    """A trained detector: ``Detector("last.npz")("photo.jpg")`` gives a list of :class:`Detection`, surest first.

    Parameters
    ----------
    weights, image_size, network: as for :func:`yolov3.loading.load_detector`, such as ``cfg="my.cfg"``
    confidence: least score of a detection
    iou_threshold: above which the less sure of two boxes of a class is dropped
    most_detections: only so many of the surest are given
    speed: :class:`minidl.inference.FuseSettings`; default: all tricks
    device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``emulated``
    precision: ``fp32``, or on a GPU ``tf32`` or ``fp16`` (:func:`minidl.inference.fuse`)

    Raises UserError for a network, a size or a picture that cannot be used, DeviceError for a device.
    """

    def __init__(
        self,
        weights,
        image_size=None,
        confidence=SHOWN_CONFIDENCE,
        iou_threshold=NMS_IOU,
        most_detections=MOST_DETECTIONS,
        speed=None,
        device="auto",
        precision="fp32",
        **network,
    ):
        device = choose_device(device, precision)
        loaded = load_detector(weights, image_size=image_size, **network)
        self.names, self.image_size = loaded.names, loaded.image_size
        with enough_memory(device, 1, self.image_size):
            self.model = loaded.model.to(device).fuse(speed, precision)
        self.confidence, self.iou_threshold, self.most_detections = confidence, iou_threshold, most_detections

    def __call__(self, picture):
        """The objects in one picture, given by its path or as an array (height, width, 3) uint8 RGB."""
        return self.find(self.prepare(picture))

    def prepare(self, picture):
        """A picture, by its path or as an array, made ready for the network; any thread may do it."""
        image = _checked_image(picture) if isinstance(picture, np.ndarray) else load_image(picture)
        height, width = self.image_size
        return PreparedPicture(image, *letterbox(image, width, height))

    def find(self, prepared):
        """The objects in a prepared picture."""
        thresholds = self.confidence, self.iou_threshold, self.most_detections
        with enough_memory(self.model.device, 1, self.image_size):
            (found,) = find_objects(self.model, prepared.network_input[None], [prepared.frame], *thresholds)
        return as_detections(found, self.names)


def _checked_image(image):
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UserError(f"a picture is an array (height, width, 3) uint8 RGB, not {image.shape} {image.dtype}")
    return image


def as_detections(found, names):
    """The boxes of a :class:`yolov3.metrics.PictureDetections` as a list of :class:`Detection`."""
    return [
        Detection(int(label), names[label], float(score), tuple(map(float, box)))
        for box, score, label in zip(found.boxes_xyxy, found.scores, found.labels, strict=True)
    ]


def draw_detections(image, detections):
    """A copy of the picture (height, width, 3) with the detections drawn in."""
    names = {each.class_id: each.name for each in detections}
    boxes = np.array([each.box_xyxy for each in detections]).reshape(-1, 4)
    return draw_boxes(image, boxes, [each.class_id for each in detections], [each.score for each in detections], names)


def find_pictures(sources):
    """The picture files meant by paths, folders and globs, each once, in order.

    Raises UserError for a source that is not there, a folder without pictures, or a glob that matches nothing.
    """
    pictures = []
    for source in map(str, sources):
        # os.path, because Path raises for a name too long to exist.
        if os.path.isdir(source):
            found = pictures_in(Path(source))
            if not found:
                raise UserError(f"{source}: this folder holds no pictures")
        elif os.path.exists(source):
            found = [Path(source)]
        else:
            found = [Path(each) for each in sorted(glob(source, recursive=True)) if os.path.isfile(each)]
            if not found:
                raise UserError(f"{source}: no such file, folder or pattern")
        pictures += found
    return list(dict.fromkeys(pictures))


def detect_files(detector, pictures, folder, save_txt=False, save_json=False, report=print):
    """Detect in picture files; write each with its boxes drawn to ``folder``, and what else is asked for.

    ``save_txt``: per picture a YOLO label file, ``class x y w h score`` with fractions of the picture.
    ``save_json``: ``detections.json``, a list of detections (boxes in pixels) per picture.
    ``report`` is called with a line per picture.  A picture that cannot be read is reported and passed over; if none
    can, nothing is written.  After Ctrl-C all that was found so far is written.  UserError where a file cannot be
    written.  Returns ({path: [Detection]}, [messages about unreadable pictures]).
    """
    results, problems = {}, []
    taken = set()

    def prepare(picture):
        try:
            return picture, detector.prepare(picture)
        except UserError as error:
            return picture, error

    def find_in(pictures):
        for picture, prepared in pictures:
            if isinstance(prepared, UserError):
                problems.append(str(prepared))
                report(f"skipped: {prepared}")
                continue
            results[str(picture)] = detections = detector.find(prepared)
            yield _free_name(picture, taken), prepared.image, detections  # first, so that what is reported is written
            more = " (only the surest: --max-det shows more)" if len(detections) == detector.most_detections else ""
            report(f"{picture}: {_counts(detections)}{more}")

    def write(found):
        _write_result(folder, *found, save_txt)

    # Three pictures at a time: one is being read, one is in the network (in this thread), one is being written.
    try:
        with closing(prefetch(prepare, pictures)) as read, closing(find_in(read)) as found:
            for _ in prefetch(write, found):
                pass
    finally:  # also where a person stops it: what was found so far is not lost
        if save_json and results:
            write_json(folder / "detections.json", {k: [each.as_json() for each in v] for k, v in results.items()})
    return results, problems


def _write_result(folder, name, image, detections, save_txt):
    save_image(folder / name, draw_detections(image, detections))
    if save_txt:
        with writing(folder / "labels"):
            (folder / "labels").mkdir(exist_ok=True)
        write_text(folder / "labels" / f"{Path(name).stem}.txt", _yolo_lines(detections, image.shape))


def _free_name(picture, taken):
    """``name.png`` that no picture of this run has yet: two folders may hold files of the same name."""
    stem, number = picture.stem, 1
    # In lower case, because for some file systems A.png and a.png are one file.
    while (name := f"{stem}.png" if number == 1 else f"{stem}-{number}.png").lower() in taken:
        number += 1
    taken.add(name.lower())
    return name


def _yolo_lines(detections, image_shape):
    """Lines ``class x y w h score``, the box as fractions of the picture."""
    height, width = image_shape[:2]
    lines = []
    for each in detections:
        box_cxcywh = xyxy_to_cxcywh(np.array(each.box_xyxy)) / (width, height, width, height)
        numbers = " ".join(f"{value:.6f}" for value in (*box_cxcywh, each.score))
        lines.append(f"{each.class_id} {numbers}\n")
    return "".join(lines)


def _counts(detections):
    """Such as ``2 circle, 1 square`` or ``nothing``."""
    names = [each.name for each in detections]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "nothing"
