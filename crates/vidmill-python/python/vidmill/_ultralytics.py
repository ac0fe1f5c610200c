"""What ultralytics gives, of the same results: `Results.summary()`."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vidmill._detections import Detections


def summary(found: "Detections", decimals: int) -> list[dict[str, Any]]:
    """One entry a detection: pixels, rounded."""
    corners = found.xyxy.reshape(-1, 2, 2) if found.corners is None else found.corners
    rows = zip(found.class_name.tolist(), found.class_id.tolist(), found.confidence.tolist(), corners.tolist(), strict=True)
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "class": class_id,
            "confidence": round(confidence, decimals),
            "box": {
                f"{axis}{number}": round(value, decimals)
                for number, point in enumerate(points, 1)
                for axis, value in zip("xy", point, strict=True)
            },
        }
        for name, class_id, confidence, points in rows
    ]
    for row, entry in enumerate(entries):
        if found.track_id is not None and found.track_id[row] >= 0:
            entry["track_id"] = int(found.track_id[row])
        if found.masks is not None:
            entry["segments"] = _xy(outline(found.masks[row]), decimals)
        if found.keypoints is not None:
            points = found.keypoints[row]
            entry["keypoints"] = _xy(points, decimals)
            if points.shape[1] == 3:
                entry["keypoints"]["visible"] = _rounded(points[:, 2], decimals)
    return entries


def _xy(points: NDArray[Any], decimals: int) -> dict[str, list[float]]:
    return {"x": _rounded(points[:, 0], decimals), "y": _rounded(points[:, 1], decimals)}


def _rounded(numbers: NDArray[Any], decimals: int) -> list[float]:
    rounded: list[float] = numbers.astype(np.float64).round(decimals).tolist()
    return rounded


def outline(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The outer border of a mask as one closed line, [points, 2] in pixels: OpenCV's contours, each joined to the next where they are
    closest. Needs cv2."""
    import cv2

    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours = [np.asarray(contour, np.int32).reshape(-1, 2) for contour in found]
    if len(contours) < 2:
        return contours[0] if contours else np.zeros((0, 2), np.int32)
    return _joined(contours)


def _joined(contours: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """One line there and back: each contour's way from where it is entered to where the next one begins; the last one whole; then what is
    left of each, backwards."""
    doors = [_closest(before, after) for before, after in pairwise(contours)]
    there, back = [_closed_from(contours[0], doors[0][0])], []
    for contour, (_, entered), (left, _) in zip(contours[1:-1], doors, doors[1:], strict=False):
        if entered > left:
            contour, entered, left = contour[::-1], len(contour) - 1 - entered, len(contour) - 1 - left
        whole = _closed_from(contour, entered)
        there.append(whole[: left - entered + 1])
        back.append(whole[left - entered :])
    return np.concatenate([*there, _closed_from(contours[-1], doors[-1][1]), *reversed(back)])


def _closest(before: NDArray[np.int32], after: NDArray[np.int32]) -> tuple[int, int]:
    """The positions of the two points that are closest to each other."""
    apart = before[:, None].astype(np.int64) - after[None]
    row, column = divmod(int((apart**2).sum(-1).argmin()), len(after))
    return row, column


def _closed_from(contour: NDArray[np.int32], start: int) -> NDArray[np.int32]:
    return np.concatenate([contour[start:], contour[: start + 1]])
