"""Frames of a video as arrays."""

from vidmill._types import PixelFormat, Rate, StrPath, Time
from vidmill._vidmill import Frames


def frames(
    source: StrPath,
    *,
    every: int | None = None,
    fps: Rate | None = None,
    start: Time | None = None,
    end: Time | None = None,
    size: tuple[int, int] | None = None,
    format: PixelFormat = "rgb",
    threads: int = 0,
) -> Frames:
    """The frames of a video (or of one image), decoded one by one.

        >>> with vidmill.frames("street.mp4", every=100) as frames:
        ...     for frame in frames:
        ...         print(frame.index, frame.time, frame.array.shape)
        0 0.0 (272, 640, 3)
        100 4.0 (272, 640, 3)
        200 8.0 (272, 640, 3)

    Indices are counted as cv2 does, times are seconds: the container's own timestamps. Arrays are uint8 [height, width, 3].

    `async for frame in frames` is the same in a coroutine (asyncio), decoding in a thread.

    `frames[120]` is the frame whose index is 120, `frames.at(4.8)` the one that is shown at 4.8 seconds: both exactly those
    that reading from the beginning gives, whatever `every` and the other choices of frames are. The first way there is
    decoded, ways back are short. Iteration goes on where it was.

        >>> frames = vidmill.frames("street.mp4", size=(320, 136), format="gray")
        >>> frames.at("0:04.8").index, frames[120].array.shape
        (120, (136, 320))

    Args:
        source: A video or image file, a URL, or "-" for standard input.
        every: Every Nth decoded frame, from frame 0.
        fps: At most so many frames a second: the first at or after each tick. Not together with `every`.
        start: From this time on.
        end: Up to, not including, this time.
        size: (width, height) in pixels to resize to, bilinear as cv2.INTER_LINEAR; by default as displayed.
        format: What arrays hold. "rgb", "bgr": uint8 [height, width, 3]. "gray": uint8 [height, width], 0 is black, 255
            white. "yuv": uint8 [height * 3 // 2, width], planar 4:2:0 (I420) of 8 bits with the matrix and range that `probe`
            tells; even sides only.
        threads: Of the decoder; 0 for as many as there are cores. Frames are the same for any number.

    Raises:
        FileNotFoundError: There is no such file.
        MediaError: It is no video or image that can be read.
        ValueError: An argument does not serve.

    Indices and rotation are those of cv2.VideoCapture. On purpose different are: RGB unless asked otherwise; colours by the
    matrix and range that the file is tagged with (OpenCV 4 takes all for BT.601), untagged ones as BT.709 from 720 lines on;
    times that are the container's, not since the first frame. docs/PYTHON.md has the whole list.
    """
    return Frames(
        source, every=every, fps=fps, start=start, end=end, size=size, format=format, threads=threads
    )
