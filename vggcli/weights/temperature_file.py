"""The temperature that `vgg evaluate --calibrate` found for a network: one number that its logits are divided by.

Networks are surer than they are right.  Dividing the logits by one temperature mends most of that and changes no order
of the classes (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).  The number belongs to the weights and
to the way in which images reach them, so the file names both, and is used with nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vggcli import files
from vggcli.errors import UsageError
from vggcli.json_reader import read_json, shown, why_unread
from vggcli.weights import store

LEAST, MOST = 1e-3, 1e3  # temperatures; a network that is trained is between 0.5 and 5
_KIND = "vgg temperature"
_WHAT = "cannot use the calibration"
_AGAIN = "Make one with vgg evaluate --calibrate"


def save(path: Path, temperature: float, weights: Path, preprocessing: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the file, in the place of an earlier one.

    Args:
        path: of the file.
        temperature: above 0.
        weights: the file that the logits came from.
        preprocessing: how images were brought to it, `Classifier.preparation`.
        about: for people: how many images, what was measured.

    Returns:
        What it holds.

    Raises:
        OSError: it cannot be written; WeightsError: the weights cannot be read.
    """
    identity = {"weights": weights.name, "weights_fingerprint": store.fingerprint(weights)}
    entries = {"kind": _KIND, "temperature": temperature, **identity, "preprocessing": preprocessing, **about}
    data = (json.dumps(entries, indent=2, allow_nan=False) + "\n").encode()
    files.replace_file(path, lambda file: file.write(data))
    return entries


def read(path: str, weights: Path, preprocessing: str) -> float:
    """The temperature in a file that is of these weights and this preprocessing.

    Raises:
        UsageError: it cannot be read, is no such file, or is of others.
    """
    try:
        entries = read_json(Path(path))
    except (OSError, ValueError) as error:
        raise UsageError(_WHAT, path, why_unread(error), _AGAIN) from error
    if not isinstance(entries, dict) or entries.get("kind") != _KIND:
        raise UsageError(_WHAT, path, "it is no file of vgg evaluate --calibrate", _AGAIN)
    temperature = entries.get("temperature")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not LEAST <= temperature <= MOST:
        raise UsageError(_WHAT, path, f"its temperature is {shown(temperature)}", _AGAIN)
    if entries.get("weights_fingerprint") != store.fingerprint(weights):
        why = f"it is of other weights, {shown(entries.get('weights'))}, and not of {weights.name}"
        raise UsageError(_WHAT, path, why, _AGAIN)
    if entries.get("preprocessing") != preprocessing:
        why = f"it was made with {shown(entries.get('preprocessing'))}, and this run has {shown(preprocessing)}"
        raise UsageError(_WHAT, path, why, f"Prepare images in the same way. {_AGAIN}")
    return float(temperature)
