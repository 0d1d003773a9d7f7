"""A job whose trials train for as long as a test wants, on data made up for it."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

FEATURES, CLASSES = 64, 4


def synthetic_npz(rows: int) -> bytes:
    """An `.npz` file with `rows` training rows and a tenth of that for the test, of classes that can be told apart."""
    drawing = np.random.default_rng(0)
    centres = drawing.standard_normal((CLASSES, FEATURES), np.float32) * 10
    y = drawing.integers(0, CLASSES, rows + rows // 10)
    x = (centres[y] + drawing.standard_normal((len(y), FEATURES), np.float32) * 60 + 128).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    np.savez(file, x_train=x[:rows], y_train=y[:rows], x_test=x[rows:], y_test=y[rows:])
    return file.getvalue()


@dataclass(frozen=True)
class SyntheticJob:
    """Seven trials of three rungs: 4 to epoch 1, 2 to epoch 2, 1 to epoch 4; then the retraining.

    Attributes:
        rows: of training data; decides how long an epoch takes.
        batch_size: likewise; small ones cost more.
    """

    rows: int
    batch_size: int = 4
    name: str = "synthetic"

    def environment(self, s3: Any, bucket: str) -> dict[str, str]:
        """Put the data into the bucket; the variables that make this job of it."""
        s3.put_object(Bucket=bucket, Key="datasets/synthetic.npz", Body=synthetic_npz(self.rows))
        spec = {
            "name": self.name,
            "seed": 3,
            "data": {"source": f"s3://{bucket}/datasets/synthetic.npz", "validation_fraction": 0.1},
            "space": {
                "units": [192, 256],
                "hidden_layers": 3,
                "learning_rate": [0.001, 0.0003],
                "batch_size": self.batch_size,
            },
            "search": {"max_epochs": 4, "factor": 2},
            "limits": {"max_total_trials": 7, "max_concurrent_trials": 2, "checkpoint_interval": "1s"},
            "output": f"s3://{bucket}/tuning",
        }
        return {"JOB_SPEC": json.dumps(spec)}

    def prefix(self, run_id: str) -> str:
        """Where a run's objects are in the bucket."""
        return f"tuning/{self.name}/runs/{run_id}/"
