"""Pictures of a detector at work: what it found (solid boxes) beside what is there (dashed boxes)."""

from yolov3.draw import draw_boxes, picture_grid, save_image

SHOWN_CONFIDENCE = 0.25
ROWS, MOST_COLUMNS, GRID_WIDTH = 3, 4, 1920  # of the grid; its width in pixels, about
SMALLEST_SIDE = 288  # smaller pictures are enlarged, so that names and scores can be read


def prediction_grid(path, dataset, detections, confidence=SHOWN_CONFIDENCE):
    """Write a grid of the first pictures of a data set with predicted and true boxes to ``path``.

    ``detections``: a :class:`yolov3.metrics.PictureDetections` per picture; those below ``confidence`` are not drawn.
    """
    columns = min(MOST_COLUMNS, max(1, GRID_WIDTH // dataset.records[0].width))
    drawn = []
    for index in range(min(ROWS * columns, len(dataset))):
        found, record = detections[index], dataset.records[index]
        sure = found.scores >= confidence
        drawn.append(
            draw_boxes(
                dataset.load_image(index),
                found.boxes_xyxy[sure],
                found.labels[sure],
                found.scores[sure],
                dataset.names,
                record.boxes_xyxy,
                smallest_side=SMALLEST_SIDE,
            )
        )
    save_image(path, picture_grid(drawn, columns))
