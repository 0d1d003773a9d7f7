"""`model.keras` loaded as a reader would: by Keras alone, or with the user's code."""

from pathlib import Path

import keras

from job.own_code import OwnCode, load_object, objects_by_name


def load_published(path: Path, code: OwnCode | None) -> keras.Model:
    """Load a published file.

    Args:
        path: of `model.keras`.
        code: the user's own, where Keras refuses the file without it.

    Raises:
        Exception: whatever Keras or the user's code raises where it cannot be loaded.
    """
    if code is None:
        return keras.saving.load_model(path, safe_mode=True)
    load_object(code)
    known = objects_by_name(code)
    try:
        return keras.saving.load_model(path, custom_objects=known, safe_mode=True)
    except Exception:  # noqa: BLE001 - raised again below, unless it was for a lambda, which is code as well
        return keras.saving.load_model(path, custom_objects=known, safe_mode=False)
