"""A folder of images through the command, and a photo made a row as documented, in the published model."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs/data-images.md"

WRITE_PHOTOS = """
import pathlib, sys, numpy as np, tensorflow as tf
draw = np.random.default_rng(0)
for name, mean in (("blue", (60, 90, 190)), ("red", (190, 90, 60))):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True)
    for number in range(20):
        image = np.clip(draw.normal(mean, 30, (100 + number, 120, 3)), 0, 255).astype(np.uint8)
        (folder / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
"""

PREDICT = """
import sys, keras
names = {}
exec(sys.argv[1], names)
assert names["rows"].shape == (1, 96, 96, 3)
model = keras.saving.load_model("model.keras", safe_mode=True)
print(model.predict(names["rows"], verbose=0).argmax())
assert "job" not in sys.modules
"""


def test_photos_become_a_model_that_takes_photos(job, tmp_path, clean_environment):
    """Class folders of JPEG files of several sizes become a model; the documented lines make a row of a photo."""
    command = [sys.executable, "-c", WRITE_PHOTOS, tmp_path / "photos"]
    subprocess.run(command, check=True, capture_output=True, env=clean_environment)
    settings = (
        "data.source=photos",
        "data.format=images",
        "search.algorithm=random",
        "search.max_trials=1",
        "search.max_epochs=9",
        "space.units=[16]",
        "space.learning_rate=1e-4",
        "space.batch_size=4",
    )
    quick = [part for one in settings for part in ("--set", one)]
    refused = job("run", "--run-id", "r1", *quick)
    assert refused.code == 12
    assert "data.image_size must say which one they are brought to" in refused.stderr
    done = job("run", "--run-id", "r2", *quick, "--set", "data.image_size=[96, 96]", "--set", "export=[onnx]")
    assert done.code == 0, done.stdout + done.stderr
    folder = tmp_path / "runs/quickstart/runs/r2"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["signature"]["class_names"] == ["blue", "red"]
    assert manifest["signature"]["inputs"][0]["shape"] == [None, 96, 96, 3]
    assert manifest["exports"][0]["inputs"] == [{"name": "rows", "shape": [None, 96, 96, 3], "dtype": "uint8"}]
    assert manifest["scores"]["test"]["accuracy"] == 1.0

    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "model/photo.jpg").write_bytes((tmp_path / "photos/red/3.jpg").read_bytes())
    bare = subprocess.run(
        [sys.executable, "-c", PREDICT, lines],
        cwd=folder / "model",
        env=clean_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 0, bare.stderr
    assert bare.stdout.split() == ["1"]
    assert np.isfinite(manifest["seconds"]["export"])
