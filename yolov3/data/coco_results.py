"""Detections and objects as COCO's own files, so that pycocotools can check our figures.

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    truth = COCO("coco_truth.json")
    evaluation = COCOeval(truth, truth.loadRes("coco_detections.json"), "bbox")

``evaluate()``, ``accumulate()`` and ``summarize()`` then give the twelve numbers of ``results.json``.  Numbers are
written in full: rounded scores would become equal, and equal scores have no order.
"""

import json
from pathlib import Path

from yolov3.data.coco import is_whole, load_json, picture_folders, read_categories
from yolov3.errors import UserError

NEVER_ASKED = -1.0  # an area outside every range of sizes: how pycocotools is told to ignore a difficult object


def coco_ids(dataset):
    """``(image id of each picture, {label: category id})`` of a data set.

    Those of its own file where the data set is a COCO one, so that the results can be handed in with that file; a
    class that the file does not know has no id.  For all others the pictures and the classes count from 1.
    UserError where the file is no longer the one that the data set was read from.
    """
    sources = {record.annotation for record in dataset.records}
    if len(sources) != 1 or (source := Path(*sources)).suffix.lower() != ".json":
        return list(range(1, len(dataset) + 1)), {label: label + 1 for label in range(len(dataset.names))}
    content = load_json(source)
    category_names, parent = read_categories(content, source)
    categories = {name: number for number, name in category_names.items()}
    if parent:  # a class after all where another split uses it
        categories.setdefault(parent[1], parent[0])
    folders, ids = picture_folders(source), {}
    for image in content["images"]:
        for folder in folders if _is_image(image) else ():
            ids.setdefault(folder / image["file_name"], []).append(image["id"])
    # The records are in the order of the file; a picture that is listed twice gives its ids in that order, too.
    try:
        image_ids = [ids[record.picture].pop(0) for record in dataset.records]
    except (KeyError, IndexError):
        raise UserError(f"{source}: its list of pictures changed since it was read; evaluate again") from None
    return image_ids, {label: categories[name] for label, name in enumerate(dataset.names) if name in categories}


def coco_detections(dataset, detections, image_ids, category_ids):
    """COCO's results: a dict per detection, ``image_id``, ``category_id``, ``bbox`` (left, top, width, height), score.

    ``detections`` are one :class:`yolov3.metrics.PictureDetections` per picture, boxes in its pixels; the ids are those
    of :func:`coco_ids`.  Detections of a class without an id are left out, as nothing of that class can be found.
    """
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[int(label)],
            "bbox": _left_top_width_height(box),
            "score": float(score),
        }
        for image_id, found in zip(image_ids, detections, strict=True)
        for box, score, label in zip(found.boxes_xyxy, found.scores, found.labels, strict=True)
        if int(label) in category_ids
    ]


def coco_truth(dataset, image_ids, category_ids):
    """The checked objects of a data set as a COCO ground truth, for :func:`coco_detections` with the same ids.

    COCO knows no difficult objects: ours get the area -1, which lies outside every range of sizes, so that nobody need
    find them and whoever does is not blamed; ``ignore`` says why, as in COCO's versions of Pascal VOC.
    """
    images, annotations = [], []
    for image_id, record in zip(image_ids, dataset.records, strict=True):
        size = {"width": int(record.width), "height": int(record.height)}
        images.append({"id": image_id, "file_name": record.picture.name, **size})
        for index, label in enumerate(record.labels):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # from 1: pycocotools takes an id of 0 for "no match"
                    "image_id": image_id,
                    "category_id": category_ids[int(label)],
                    "bbox": _left_top_width_height(record.boxes_xyxy[index]),
                    "area": NEVER_ASKED if record.difficult[index] else float(record.areas[index]),
                    "iscrowd": int(record.crowd[index]),
                    "ignore": int(record.difficult[index]),
                }
            )
    categories = [{"id": number, "name": dataset.names[label]} for label, number in category_ids.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def one_a_line(rows):
    """A list as JSON text with one entry a line: a hundred thousand detections, and still readable."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def _is_image(image):
    return isinstance(image, dict) and isinstance(image.get("file_name"), str) and is_whole(image.get("id"))


def _left_top_width_height(box_xyxy):
    left, top, right, bottom = map(float, box_xyxy)
    return [left, top, right - left, bottom - top]
