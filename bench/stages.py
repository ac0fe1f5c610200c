"""The unavoidable stages, each alone, by vidmill and by others: milliseconds for a frame of the clip.

On one thread that is CPU time; with default threads, time on the clock.
"""

import re
import subprocess
import time

import cv2
import material
import meter
import numpy as np
import pipeline

EXAMPLES = meter.TARGET / "examples"


def decode_by_ffmpeg(clip, frames, threads):
    """FFmpeg's decoder without any conversion; `threads` is a number, or 0 for FFmpeg's default."""
    number = ["-threads", threads] if threads else []
    return spent(["ffmpeg", "-nostdin", "-loglevel", "error", *number, "-i", clip, "-f", "null", "-"], frames, threads)


def decode_by_vidmill(clip, frames, threads):
    return spent([EXAMPLES / "decode", clip, threads], frames, threads)


def spent(command, frames, threads):
    cost = meter.run(command)
    return (cost.cpu if threads == 1 else cost.wall) * 1000 / frames


def inference_by_python(model, clip, repeats=60):
    """ONNX Runtime's Python face, one thread, on real pictures."""
    session = pipeline.open_session(str(model), threads=1)
    name = session.get_inputs()[0].name
    tensors = material.tensors(clip)
    session.run(None, {name: tensors[0]})
    times = [cpu_time(lambda: session.run(None, {name: tensors[i % len(tensors)]})) for i in range(repeats)]
    return float(np.median(times)) * 1000


def inference_by_vidmill(model, clip, repeats=60):
    """The same through vidmill's face of ONNX Runtime, on one of the pictures."""
    command = [EXAMPLES / "predict_raw", model, "--device", "cpu", "--precision", "f32", "--threads", 1, "--repeat", repeats]
    return median_of(command, material.tensors(clip)[0].tobytes())


def preprocess_by_cv2(clip, frames=200):
    """What cv2 does between the decoded YUV picture and the tensor: convert to BGR, resize, pad, swap, to float."""
    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(clip))
    convert, fit = [], []
    for _ in range(frames):
        if not capture.grab():
            break
        started = time.thread_time()
        _, picture = capture.retrieve()
        converted = time.thread_time()
        pipeline.tensor(pipeline.letterbox(picture)[0])
        fit.append(time.thread_time() - converted)
        convert.append(converted - started)
    return float(np.median(convert) + np.median(fit)) * 1000


def preprocess_by_vidmill(clip):
    """vidmill's fused pass from the decoded YUV picture to the same tensor."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", clip, "-vf", "select=eq(n\\,100)", "-frames:v", "1"]
    command += ["-f", "rawvideo", "-"]
    frame = subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout
    side = pipeline.SIDE
    command = [EXAMPLES / "preprocess_raw", "--format", "yuv420p", "--size", "1920x1080", "--target", f"{side}x{side}"]
    return median_of([*command, "--matrix", "bt601", "--repeat", "300"], frame)


def median_of(command, given):
    """The median that one of vidmill's examples tells, on one of its outputs."""
    done = subprocess.run(list(map(str, command)), input=given, check=True, capture_output=True)
    return float(re.search(rb"median ([0-9.]+) ms", done.stderr + done.stdout).group(1))


def cpu_time(call):
    started = time.process_time()
    call()
    return time.process_time() - started
