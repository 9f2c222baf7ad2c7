"""Tiny data sets on the disk."""

from PIL import Image

from yolov3.data.shapes import SHAPE_NAMES, ShapesDataset


def write_voc(folder, pictures, lists):
    """A VOC folder: ``pictures`` is {stem: (image, names, boxes_xyxy)}, ``lists`` such as {"trainval": [stems]}.

    An image is an array, or bytes for a ``.jpg`` with that content.
    """
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for stem, (image, names, boxes_xyxy) in pictures.items():
        if isinstance(image, bytes):
            (folder / "JPEGImages" / f"{stem}.jpg").write_bytes(image)
        else:
            Image.fromarray(image).save(folder / "JPEGImages" / f"{stem}.png")
        objects = []
        for name, corners in zip(names, boxes_xyxy, strict=True):
            tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
            box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
            objects.append(f"<object><name>{name}</name><bndbox>{box}</bndbox></object>")
        text = f"<annotation><filename>{stem}</filename>{''.join(objects)}</annotation>"
        (folder / "Annotations" / f"{stem}.xml").write_text(text)
    for name, stems in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return folder


def shapes_for_voc(count):
    """Generated shapes as :func:`write_voc` takes them: {"p0": (image, names, boxes_xyxy), ...}, 96x96."""
    dataset = ShapesDataset("train", size=count)
    return {
        f"p{index}": (dataset.load_image(index), [SHAPE_NAMES[label] for label in record.labels], record.boxes_xyxy)
        for index, record in enumerate(dataset.records)
    }
