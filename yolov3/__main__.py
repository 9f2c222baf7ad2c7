"""``python -m yolov3`` is the command ``yolov3``."""

from yolov3.cli import main

if __name__ == "__main__":
    main()
