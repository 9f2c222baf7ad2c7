"""Pictures of a detector at work: what it found (solid boxes) beside what is there (dashed); and of its training."""

import numpy as np

from yolov3.boxes import cxcywh_to_xyxy
from yolov3.draw import draw_boxes, picture_grid, save_image
from yolov3.thresholds import SHOWN_CONFIDENCE

ROWS, MOST_COLUMNS, GRID_WIDTH = 3, 4, 1920  # of the grid; its width in pixels, about
SMALLEST_SIDE = 288  # smaller pictures are enlarged, so that names and scores can be read
LARGEST_SIDE = 640  # larger pictures are shrunk, or a dozen photographs would be a file of 100 megapixels


def prediction_grid(path, dataset, detections):
    """Write a grid of the first pictures of a data set with predicted and true boxes, all named, to ``path``.

    ``detections``: a :class:`yolov3.metrics.PictureDetections` per picture; those below SHOWN_CONFIDENCE are not drawn.
    """
    columns = min(MOST_COLUMNS, GRID_WIDTH // min(dataset.records[0].width, LARGEST_SIDE))
    drawn = []
    for index in range(min(ROWS * columns, len(dataset))):
        found, record = detections[index], dataset.records[index]
        sure = found.scores >= SHOWN_CONFIDENCE
        image, scale = _shrunk(dataset.load_image(index))
        drawn.append(
            draw_boxes(
                image,
                found.boxes_xyxy[sure] * scale,
                found.labels[sure],
                found.scores[sure],
                dataset.names,
                record.boxes_xyxy * scale,
                record.labels,
                smallest_side=_enlarged(image),
            )
        )
    save_image(path, picture_grid(drawn, columns))


def batch_grid(path, batch, names):
    """Write a grid of the first pictures of a training batch to ``path``, as the network and the loss see them.

    ``batch``: a :class:`yolov3.data.batches.Batch`.  Its pictures, after augmentation, and its truths as boxes with
    the ``names`` of their classes: labels that do not lie on objects, or bear the wrong name, are seen here.
    """
    height, width = batch.images.shape[1:3]
    columns = max(1, min(MOST_COLUMNS, GRID_WIDTH // min(width, LARGEST_SIDE)))
    drawn = []
    for pixels, truths in list(zip(batch.images, batch.truths, strict=True))[: ROWS * columns]:
        truths = truths[truths[:, 2] > 0]  # (boxes, 5); the rest is padding
        boxes_xyxy = cxcywh_to_xyxy(truths[:, :4]) * [width, height, width, height]
        image, scale = _shrunk(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
        labels = truths[:, 4].astype(int)
        drawn.append(draw_boxes(image, boxes_xyxy * scale, labels, None, names, smallest_side=_enlarged(image)))
    save_image(path, picture_grid(drawn, columns))


def _shrunk(image):
    """The picture with no side above LARGEST_SIDE, and the factors (4,) that take its boxes along."""
    from PIL import Image

    height, width = image.shape[:2]
    factor = LARGEST_SIDE / max(width, height)
    if factor >= 1:
        return image, np.ones(4)
    new_width, new_height = max(1, round(width * factor)), max(1, round(height * factor))
    small = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BOX)
    return np.asarray(small), np.array([new_width / width, new_height / height] * 2)


def _enlarged(image):
    """The side from which a small picture's shorter side is enlarged, so that the longer one stays within bounds."""
    room = LARGEST_SIDE // max(image.shape[:2])  # by how much it may be enlarged
    return min(SMALLEST_SIDE, room * min(image.shape[:2]))
