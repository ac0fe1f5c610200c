"""Short clips of every codec, pixel format, colour description and time structure that vidmill promises to read.

All are encoded by the ffmpeg command from two real clips, so that pictures are pictures and not test bars: a street, and for
what is about colour a colourful film.
"""

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FRAMES = 24
SIZE = (320, 136)


@dataclass(frozen=True)
class Clip:
    """One clip: its file name, the pixel format and further filters before the encoder, and the encoder's options."""

    name: str
    encoder: str
    pixels: str = "yuv420p"
    options: tuple = ()
    filters: str = ""
    frames: int = FRAMES
    size: tuple = SIZE


def color(space, pixel_range):
    """Filter and tags of a stream whose matrix and range are these, and say so."""
    matrix = {"bt709": "bt709", "bt470bg": "bt601", "bt2020nc": "bt2020"}[space]
    filters = f"scale=out_color_matrix={matrix}:out_range={pixel_range}"
    # The encoder's option decides what the stream says; the filter has already made the samples so.
    return filters, ("-colorspace", space, "-color_range", pixel_range)


def tagged(name, encoder, space, pixel_range, pixels="yuv420p", options=()):
    filters, tags = color(space, pixel_range)
    return Clip(name, encoder, pixels, (*options, *tags), filters)


FAST = ("-preset", "veryfast", "-g", "12")
LOSSLESS = ("-g", "1")

# One for each codec and for each way in which samples can lie in memory.
FORMATS = [
    Clip("h264.mp4", "libx264", options=FAST),
    Clip("h264_10bit.mp4", "libx264", "yuv420p10le", FAST),
    Clip("h264_422.mp4", "libx264", "yuv422p", FAST),
    Clip("h264_422_10bit.mp4", "libx264", "yuv422p10le", FAST),
    Clip("h264_444.mp4", "libx264", "yuv444p", FAST),
    Clip("h264_gray.mp4", "libx264", "gray", FAST),
    Clip("h264_rgb.mkv", "libx264rgb", "rgb24", FAST),
    Clip("h264_odd.mp4", "libx264", "yuv444p", FAST, size=(201, 151)),
    Clip("hevc.mp4", "libx265", options=("-preset", "veryfast", "-x265-params", "log-level=error")),
    Clip("hevc_10bit.mp4", "libx265", "yuv420p10le", ("-preset", "ultrafast", "-x265-params", "log-level=error")),
    Clip("hevc_444_12bit.mkv", "libx265", "yuv444p12le", ("-preset", "ultrafast", "-x265-params", "log-level=error")),
    Clip("vp9.webm", "libvpx-vp9", options=("-deadline", "realtime", "-cpu-used", "8")),
    Clip("vp9_444_10bit.webm", "libvpx-vp9", "yuv444p10le", ("-deadline", "realtime", "-cpu-used", "8")),
    Clip("av1.mkv", "libsvtav1", options=("-preset", "12")),
    Clip("av1_10bit.mp4", "libsvtav1", "yuv420p10le", ("-preset", "12")),
    Clip("mpeg4.avi", "mpeg4", options=("-q:v", "3", "-bf", "2")),
    Clip("mjpeg.avi", "mjpeg", "yuvj420p", ("-q:v", "3")),
    Clip("mjpeg_422.mkv", "mjpeg", "yuvj422p", ("-q:v", "3")),
    Clip("mjpeg_444.mkv", "mjpeg", "yuvj444p", ("-q:v", "3")),
    Clip("ffv1_411.mkv", "ffv1", "yuv411p", LOSSLESS),
    Clip("ffv1_bgr0.mkv", "ffv1", "bgr0", LOSSLESS),
    Clip("ffv1_gray16.mkv", "ffv1", "gray16le", LOSSLESS),
    Clip("ffv1_gray.mkv", "ffv1", "gray", LOSSLESS),
    Clip("png_rgba.mkv", "png", "rgba", LOSSLESS),
    Clip("raw_nv12.nut", "rawvideo", "nv12", frames=6),
    Clip("raw_nv21.nut", "rawvideo", "nv21", frames=6),
    Clip("raw_rgb24.nut", "rawvideo", "rgb24", frames=6),
    Clip("raw_bgr24.nut", "rawvideo", "bgr24", frames=6),
    Clip("raw_gbrp10.nut", "rawvideo", "gbrp10le", frames=6),
    Clip("raw_odd.nut", "rawvideo", "yuv420p", frames=6, size=(203, 97)),
]

COLORS = [
    tagged("bt709.mp4", "libx264", "bt709", "tv", options=FAST),
    tagged("bt709_full.mp4", "libx264", "bt709", "pc", options=FAST),
    tagged("bt601.mp4", "libx264", "bt470bg", "tv", options=FAST),
    tagged("bt601_full.mp4", "libx264", "bt470bg", "pc", options=FAST),
    tagged("bt2020_10bit.mp4", "libx264", "bt2020nc", "tv", "yuv420p10le", FAST),
    tagged("bt709_444_full.mp4", "libx264", "bt709", "pc", "yuv444p", FAST),
]

# Timestamps that no formula with a frame rate would give.
UNEVEN = "settb=1/1000,setpts='(N*40+mod(N*N*7\\,23)+floor(N/5)*90)'"
TIMES = [
    Clip("vfr.mp4", "libx264", options=(*FAST, "-vsync", "passthrough", "-enc_time_base", "1/1000"), filters=UNEVEN),
    Clip("vfr.mkv", "libx264", options=(*FAST, "-vsync", "passthrough", "-enc_time_base", "1/1000"), filters=UNEVEN),
    Clip("late_start.mp4", "libx264", options=(*FAST, "-output_ts_offset", "3.5")),
    Clip("stream.ts", "libx264", options=FAST),
    Clip("ntsc.mp4", "libx264", options=FAST, filters="setpts=N*1001/30000/TB,fps=30000/1001"),
    Clip("bframes.mp4", "libx264", options=("-preset", "slow", "-bf", "8", "-b_strategy", "2", "-g", "100")),
    Clip("open_gop.mp4", "libx264", options=("-preset", "fast", "-bf", "3", "-g", "8", "-x264-params", "open-gop=1")),
    Clip("fragmented.mp4", "libx264", options=(*FAST, "-movflags", "frag_keyframe+empty_moov")),
    Clip("faststart.mp4", "libx264", options=(*FAST, "-movflags", "faststart")),
]

ROTATIONS = {"rotate90.mp4": 90, "rotate180.mp4": 180, "rotate270.mp4": 270}


def ffmpeg(*arguments):
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def encode(clip, source, folder):
    width, height = clip.size
    filters = ",".join(filter(None, [f"scale={width}:{height}:flags=bicubic", clip.filters, f"format={clip.pixels}"]))
    ffmpeg(
        *("-i", source, "-an", "-vf", filters, "-frames:v", clip.frames, "-c:v", clip.encoder, "-threads", "1"),
        *("-map_metadata", "-1", *clip.options, folder / clip.name),
    )


def rotate(name, degrees, folder):
    """The plain clip with a display matrix; its packets are copied."""
    ffmpeg("-i", folder / "h264.mp4", "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", folder / name)


def damage(folder):
    """Files cut short and files with bytes overwritten, always the same ones."""
    for name, share in (("faststart.mp4", 0.6), ("stream.ts", 0.6), ("vp9.webm", 0.5)):
        data = (folder / name).read_bytes()
        (folder / f"truncated_{name}").write_bytes(data[: int(len(data) * share)])
    chance = random.Random(7)
    for name in ("faststart.mp4", "stream.ts"):
        data = bytearray((folder / name).read_bytes())
        for _ in range(6):
            at = chance.randrange(len(data) * 3 // 10, len(data))
            data[at : at + 40] = chance.randbytes(len(data[at : at + 40]))
        (folder / f"corrupted_{name}").write_bytes(data)


def write_images(source, folder):
    """The same three frames as JPEG, PNG and WebP, in a folder each."""
    for extension, options in (("jpg", ("-q:v", "2")), ("png", ()), ("webp", ("-c:v", "libwebp", "-lossless", "1"))):
        images = folder / f"images_{extension}"
        images.mkdir(exist_ok=True)
        ffmpeg("-i", source, "-vf", "scale=320:136", "-frames:v", "3", *options, images / f"%02d.{extension}")


def write_clips(folder: Path, street: Path, film: Path):
    """Makes everything in `folder`, two encoders at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(clip, street) for clip in FORMATS + TIMES] + [(clip, film) for clip in COLORS]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: encode(*job, folder), jobs))
    for name, degrees in ROTATIONS.items():
        rotate(name, degrees, folder)
    write_images(street, folder)
    damage(folder)
