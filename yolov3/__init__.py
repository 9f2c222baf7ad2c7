"""YOLOv3 from scratch, composed from minidl: ``Detector("last.npz")("photo.jpg")`` finds the objects in a photo."""

__all__ = ["Detection", "Detector"]


def __getattr__(name):
    # Looked up on first use, so that `import yolov3` and `yolov3 --help` load neither NumPy nor Pillow.
    if name in __all__:
        from yolov3 import detect

        return getattr(detect, name)
    raise AttributeError(f"module 'yolov3' has no attribute {name!r}")
