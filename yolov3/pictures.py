"""Pictures of a detector at work: what it found (solid boxes) beside what is there (dashed boxes)."""

import numpy as np

from yolov3.draw import draw_boxes, picture_grid, save_image
from yolov3.thresholds import SHOWN_CONFIDENCE

ROWS, MOST_COLUMNS, GRID_WIDTH = 3, 4, 1920  # of the grid; its width in pixels, about
SMALLEST_SIDE = 288  # smaller pictures are enlarged, so that names and scores can be read
LARGEST_SIDE = 640  # larger pictures are shrunk, or a dozen photographs would be a file of 100 megapixels


def prediction_grid(path, dataset, detections):
    """Write a grid of the first pictures of a data set with predicted and true boxes to ``path``.

    ``detections``: a :class:`yolov3.metrics.PictureDetections` per picture; those below SHOWN_CONFIDENCE are not drawn.
    """
    columns = min(MOST_COLUMNS, GRID_WIDTH // min(dataset.records[0].width, LARGEST_SIDE))
    drawn = []
    for index in range(min(ROWS * columns, len(dataset))):
        found, record = detections[index], dataset.records[index]
        sure = found.scores >= SHOWN_CONFIDENCE
        image, scale = _shrunk(dataset.load_image(index))
        room = LARGEST_SIDE // max(image.shape[:2])  # by how much it may be enlarged
        drawn.append(
            draw_boxes(
                image,
                found.boxes_xyxy[sure] * scale,
                found.labels[sure],
                found.scores[sure],
                dataset.names,
                record.boxes_xyxy * scale,
                smallest_side=min(SMALLEST_SIDE, room * min(image.shape[:2])),
            )
        )
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
