"""The pipeline that people write by hand: OpenCV, NumPy and ONNX Runtime in Python, done with care.

    python pipeline.py CLIP MODEL OUT [--form workers|single] [--every N] [--workers N] [--conf F] [--iou F]

workers  the reader decodes and letterboxes; processes with a session of one thread each (spinning off) take pictures
         from a bounded queue as uint8, a quarter of the bytes of float; a thread puts their lines into order
single   one loop; ONNX Runtime with its default threads

Both grab() what they skip, so that it is decoded but not converted, and write the same JSON lines. The last line of
standard error is a JSON object: frames read, frames written and seconds in the loop, without imports and model loading.
"""

import argparse
import json
import multiprocessing
import sys
import threading
import time

import cv2
import numpy as np
import onnxruntime

SIDE = 320
PAD = 114
QUEUE_LENGTH = 8


def read_frames(path, every):
    """Yields (index, seconds, BGR picture) of every Nth frame."""
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise SystemExit(f"cannot open {path}")
    index = 0
    while capture.grab():
        if index % every == 0:
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            _, picture = capture.retrieve()
            yield index, seconds, picture
        index += 1


def letterbox(picture):
    """The picture scaled into SIDE x SIDE (uint8 BGR), and (scale, left, top) to map boxes back."""
    height, width = picture.shape[:2]
    scale = min(SIDE / width, SIDE / height)
    new_width, new_height = round(width * scale), round(height * scale)
    left, top = (SIDE - new_width) // 2, (SIDE - new_height) // 2
    canvas = np.full((SIDE, SIDE, 3), PAD, np.uint8)
    inside = canvas[top : top + new_height, left : left + new_width]
    cv2.resize(picture, (new_width, new_height), dst=inside, interpolation=cv2.INTER_LINEAR)
    return canvas, (scale, left, top)


def tensor(canvas):
    """uint8 BGR to the model's input: RGB, float, 0..1, `[1, 3, SIDE, SIDE]`."""
    return cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)


def detections(output, geometry, size, conf, iou):
    """YOLOv8's output `[1, 4 + classes, anchors]` as a list of boxes in pixels of the frame."""
    output = output[0]
    scores = output[4:].max(0)
    kept = np.flatnonzero(scores > conf)
    scores, classes = scores[kept], output[4:, kept].argmax(0)
    boxes = output[:4, kept].T
    boxes[:, :2] -= boxes[:, 2:] / 2
    order = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), conf, iou)
    scale, left, top = geometry
    result = []
    for i in np.asarray(order, dtype=int).ravel()[:300]:
        x, y, w, h = boxes[i]
        corners = np.array([x - left, y - top, x + w - left, y + h - top]) / scale
        corners = np.clip(corners, 0, [size[0], size[1], size[0], size[1]])
        result.append(
            {
                "xyxy": [round(float(v), 2) for v in corners],
                "confidence": round(float(scores[i]), 4),
                "class_id": int(classes[i]),
            }
        )
    return result


def record(source, index, seconds, found):
    return json.dumps({"source": source, "frame": index, "time": seconds, "status": "ok", "detections": found}) + "\n"


def open_session(path, threads):
    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_single(args):
    session = open_session(args.model, threads=None)
    name = session.get_inputs()[0].name
    started = time.perf_counter()
    count = 0
    with open(args.out, "w") as out:
        for index, seconds, picture in read_frames(args.clip, args.every):
            canvas, geometry = letterbox(picture)
            (output,) = session.run(None, {name: tensor(canvas)})
            size = picture.shape[1], picture.shape[0]
            found = detections(output, geometry, size, args.conf, args.iou)
            out.write(record(args.clip, index, seconds, found))
            count += 1
    return count, time.perf_counter() - started


def worker(args, tasks, results):
    cv2.setNumThreads(1)
    session = open_session(args.model, threads=1)
    name = session.get_inputs()[0].name
    results.put(None)  # ready
    while (task := tasks.get()) is not None:
        order, index, seconds, canvas, geometry, size = task
        (output,) = session.run(None, {name: tensor(canvas)})
        found = detections(output, geometry, size, args.conf, args.iou)
        results.put((order, record(args.clip, index, seconds, found)))
    results.put(None)


def write_in_order(path, results, workers):
    """Writes the workers' lines in the order of their frames, until every worker has said that it is done."""
    waiting, due = {}, 0
    with open(path, "w") as out:
        while workers:
            result = results.get()
            if result is None:
                workers -= 1
                continue
            waiting[result[0]] = result[1]
            while due in waiting:
                out.write(waiting.pop(due))
                due += 1


def run_workers(args):
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(QUEUE_LENGTH), context.Queue()
    workers = [context.Process(target=worker, args=(args, tasks, results)) for _ in range(args.workers)]
    for process in workers:
        process.start()
    for _ in workers:
        results.get()
    started = time.perf_counter()
    writer = threading.Thread(target=write_in_order, args=(args.out, results, len(workers)))
    writer.start()
    count = 0
    for index, seconds, picture in read_frames(args.clip, args.every):
        canvas, geometry = letterbox(picture)
        tasks.put((count, index, seconds, canvas, geometry, (picture.shape[1], picture.shape[0])))
        count += 1
    for _ in workers:
        tasks.put(None)
    writer.join()
    took = time.perf_counter() - started
    for process in workers:
        process.join()
    return count, took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--form", choices=["workers", "single"], default="workers")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.7)
    args = parser.parse_args()
    frames, seconds = {"workers": run_workers, "single": run_single}[args.form](args)
    print(json.dumps({"frames": frames, "loop_seconds": seconds}), file=sys.stderr)


if __name__ == "__main__":
    main()
