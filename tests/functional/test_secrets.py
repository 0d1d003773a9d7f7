"""Whatever a model of somebody's own prints or raises, no secret is in what the job says or stores."""

import json
import textwrap

SECRETS = {"TRACKING_API_TOKEN": "tr4ck-me/not+", "DB_PASSWORD": "hunter2 and more"}
SIGNED = "https://bucket.example/data.npz?X-Amz-Signature=deadbeefdeadbeef&X-Amz-Credential=AKIDEXAMPLE"
MODEL = f"""
    import os
    import keras

    def build_model(hp):
        print(os.environ)
        print("the token is", os.environ["TRACKING_API_TOKEN"])
        if hp.Boolean("fails"):
            raise keras_error(f"cannot fetch {SIGNED} with {{os.environ['DB_PASSWORD']}}")
        model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    keras_error = ValueError
"""


def test_no_secret_is_said_or_stored(job, tmp_path):
    """Prints and errors of trials: in no line, no record, no report, in none of the run's objects."""
    (tmp_path / "model.py").write_text(textwrap.dedent(MODEL))
    spec = {
        "name": "secrets",
        "data": {"source": "digits"},
        "model": {"source": "model.py"},
        "search": {"algorithm": "grid", "max_epochs": 1},
        "limits": {"max_retries_per_trial": 0},
    }
    done = job(environment=SECRETS | {"JOB_SPEC": json.dumps(spec), "JOB_TERMINATION_LOG": str(tmp_path / "ended")})
    assert done.code == 0, done.stderr
    stored = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    record = next(data for path, data in stored.items() if path.parent.name == "trials" and b'"failed"' in data)
    assert b"cannot fetch https://bucket.example/data.npz?<redacted> with <redacted>" in record
    said = {"standard output": done.stdout.encode(), "standard error": done.stderr.encode()}
    for place, data in {**stored, **said, "message": (tmp_path / "ended").read_bytes()}.items():
        for secret in (*SECRETS.values(), "deadbeef", "AKIDEXAMPLE"):
            assert secret.encode() not in data, place
    assert "the token is <redacted>" in done.stdout
