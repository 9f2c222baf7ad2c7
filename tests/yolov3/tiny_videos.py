"""Videos of a few small frames, written and read by PyAV alone."""

from fractions import Fraction

import av
import numpy as np

from tests.yolov3.stub_networks import picture_with_red


def moving_red(count=10, width=64, height=48):
    """Dark pictures with a red rectangle of 20x16 that moves by 2 pixels a frame; it begins at (8, 20)."""
    return [picture_with_red(width, height, (8 + 2 * i, 20, 28 + 2 * i, 36)) for i in range(count)]


def write_video(path, images, rate=25, codec="libx264", pixels="yuv420p", stamps=None, tick=None, aspect=None):
    """Write pictures of one size; ``stamps`` are their times in ticks, by default one after the other."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = tick or 1 / Fraction(rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for image, stamp in zip(images, stamps or range(len(images)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, tick or 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_video(path):
    """A file's pictures ``(count, height, width, 3)`` and their times in seconds, as PyAV gives them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [frame.time for frame in frames]
