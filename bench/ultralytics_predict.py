"""A detector over a video by Ultralytics' `predict`, the way its documentation does it; run by .venv-oracle's Python.

    python ultralytics_predict.py CLIP MODEL OUT [--every N] [--conf F] [--iou F]

cv2 decodes; frames are letterboxed to a square (`rect=False`), as everybody's are here. Writes the benchmark's JSON lines. Its
`vid_stride` keeps the last of every N frames, not the first. Times are computed from the declared rate: results have none. The
last line of standard error is a JSON object: frames written and seconds in the loop, without imports and model loading.
"""

import argparse
import json
import os
import sys
import time

os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=sys.prefix)

from ultralytics import YOLO

SIDE = 320


def predict(args):
    model = YOLO(args.model, task="detect")
    began = []
    model.add_callback("on_predict_start", lambda predictor: began.append(time.perf_counter()))
    asked = {"conf": args.conf, "iou": args.iou, "imgsz": SIDE, "rect": False, "vid_stride": args.every}
    results = model.predict(args.clip, stream=True, device="cpu", verbose=False, save=False, **asked)
    count = 0
    with open(args.out, "w") as out:
        for count, result in enumerate(results, 1):
            index = count * args.every - 1
            out.write(record(args.clip, index, index / model.predictor.dataset.fps, result.boxes.data.tolist()))
    return count, time.perf_counter() - began[0]


def record(source, index, seconds, rows):
    found = [
        {"xyxy": [round(v, 2) for v in corners], "confidence": round(confidence, 4), "class_id": int(class_id)}
        for *corners, confidence, class_id in rows
    ]
    return json.dumps({"source": source, "frame": index, "time": seconds, "status": "ok", "detections": found}) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.7)
    frames, seconds = predict(parser.parse_args())
    print(json.dumps({"frames": frames, "loop_seconds": seconds}), file=sys.stderr)


if __name__ == "__main__":
    main()
