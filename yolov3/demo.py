"""The demonstration: from random numbers to a detector of generated shapes, while you watch."""

import time

from yolov3.data.shapes import ShapesDataset
from yolov3.progress import progress_bar
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings

PICTURE_SIZE = 96
BATCH = 8
EPOCHS = 10


def run_demo(folder, steps, seed, device="cpu", precision="fp32"):
    """Train the smallest preset on generated pictures for ``steps`` steps, and judge it on 200 others.

    Leaves in ``folder``: predictions.png, curves.png, results.csv and the detector, last.npz.  Prints what it does; the
    last line but the folder is ``mAP@0.5 0.xx``.  ``device`` and ``precision``: of :class:`yolov3.train.TrainingRun`.
    Returns the Evaluation.
    """
    begin = time.perf_counter()
    epochs = min(EPOCHS, steps)
    train_set = ShapesDataset("train", size=steps // epochs * BATCH, image_size=PICTURE_SIZE, seed=seed)
    validation_set = ShapesDataset("val", image_size=PICTURE_SIZE)
    settings = TrainSettings(
        model="yolov3-nano",
        image_size=(PICTURE_SIZE, PICTURE_SIZE),
        epochs=epochs,
        batch=BATCH,
        learning_rate=5e-3,
        anchors="published",
        augmentation="none",
        seed=seed,
    )
    run = TrainingRun(settings, train_set, validation_set, {}, device=device, precision=precision)
    print(
        f"A YOLOv3 of {run.model.parameter_count():,} parameters starts from random numbers: {run.total_steps} steps "
        f"on {len(train_set)} generated pictures of {', '.join(train_set.names)}; {len(validation_set)} more judge it."
    )
    with progress_bar(run.total_steps, "step") as bar:
        evaluation = run.run(folder, bar)
    print(f"{time.perf_counter() - begin:.0f} seconds.  Look at:")
    print(f"  {folder / 'predictions.png'}  predicted boxes (solid) and true ones (dashed)")
    print(f"  {folder / 'curves.png'}  loss and mAP over the training")
    print(f"  yolov3 detect --weights {folder / 'last.npz'} PICTURE")
    print(f"mAP@0.5 {evaluation.voc.mean_ap:.3f}")
    return evaluation
