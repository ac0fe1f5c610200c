"""The unavoidable stages, each measured alone on one thread: CPU milliseconds for a frame of the clip."""

import re
import subprocess
import time

import cv2
import meter
import numpy as np
import pipeline


def decode_alone(clip, frames):
    """FFmpeg's decoder without any conversion."""
    cost = meter.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-threads", "1", "-i", clip, "-f", "null", "-"])
    return cost.cpu * 1000 / frames


def inference_alone(model, clip, repeats=60):
    """ONNX Runtime's Python face, one thread, on real pictures."""
    session = pipeline.open_session(str(model), threads=1)
    name = session.get_inputs()[0].name
    pictures = [picture for _, _, picture in pipeline.read_frames(str(clip), 60)]
    tensors = [pipeline.tensor(pipeline.letterbox(picture)[0]) for picture in pictures]
    session.run(None, {name: tensors[0]})
    times = [cpu_time(lambda: session.run(None, {name: tensors[i % len(tensors)]})) for i in range(repeats)]
    return float(np.median(times)) * 1000


def cv2_preprocess_alone(clip, frames=200):
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


def vidmill_preprocess_alone(example, clip):
    """vidmill's fused pass from the decoded YUV picture to the same tensor."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", clip, "-vf", "select=eq(n\\,100)", "-frames:v", "1"]
    command += ["-f", "rawvideo", "-"]
    frame = subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout
    side = pipeline.SIDE
    command = [example, "--format", "yuv420p", "--size", "1920x1080", "--target", f"{side}x{side}", "--matrix", "bt601"]
    done = subprocess.run([*map(str, command), "--repeat", "300"], input=frame, check=True, capture_output=True)
    return float(re.search(r"median ([0-9.]+) ms", done.stderr.decode()).group(1))


def cpu_time(call):
    started = time.process_time()
    call()
    return time.process_time() - started
