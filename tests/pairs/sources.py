"""Small data of every kind that a job takes, each a function that writes it and says how a spec names it."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROWS, TEST_ROWS, FEATURES, CLASSES = 60, 18, 6, 3
WORDS = ("sun", "rain", "snow", "wind")


@dataclass(frozen=True)
class Source:
    """Data as it lies in a folder.

    Attributes:
        data: the spec's `data`.
        inputs: what a model gets: `array`, `image`, `text` or `dict`.
        outputs: what it is to answer: `classes`, `one_hot`, `number` or `list`.
        x_test: raw test rows as a published model takes them; None where only the job knows which rows it tests on.
        y_test: their targets; class numbers for `classes`.
    """

    data: dict[str, Any]
    inputs: str
    outputs: str
    x_test: Any = None
    y_test: Any = None
    needed: dict[str, Any] = field(default_factory=dict)


def _draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes that can be told apart: (rows, 6) float32, and class numbers."""
    draw = np.random.default_rng(seed)
    y = np.arange(rows) % CLASSES
    x = draw.normal(size=(rows, FEATURES)).astype(np.float32)
    x[np.arange(rows), y] += 3
    return x, y.astype(np.int64)


def arrays(folder: Path) -> Source:
    """An `.npz` file with class numbers."""
    (x, y), (x_test, y_test) = _draw(ROWS, 0), _draw(TEST_ROWS, 1)
    np.savez(folder / "arrays.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return Source({"source": "arrays.npz"}, "array", "classes", x_test, y_test)


def column(folder: Path) -> Source:
    """An `.npz` file whose numbers to predict stand in one column."""
    (x, _), (x_test, _) = _draw(ROWS, 0), _draw(TEST_ROWS, 1)
    y, y_test = (rows[:, :1] * 2 + rows[:, 1:2] for rows in (x, x_test))
    np.savez(folder / "column.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return Source({"source": "column.npz"}, "array", "number", x_test, y_test)


def words(folder: Path) -> Source:
    """An `.npz` file of strings: the class is the first word."""

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(rows) % CLASSES
        return np.array([[f"{WORDS[one]} {WORDS[3]}"] for one in y]), y

    (x, y), (x_test, y_test) = drawn(ROWS), drawn(TEST_ROWS)
    np.savez(folder / "words.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return Source({"source": "words.npz"}, "text", "classes", x_test, y_test)


def table(folder: Path) -> Source:
    """CSV files with numbers, strings and a missing value; the classes have names."""

    def write(name: str, rows: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        x, y = _draw(rows, seed)
        sky = [WORDS[one] for one in y]
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["height", "width", "sky", "kind"])
            for number in range(rows):
                height = "" if number == 0 else f"{x[number, 0]:.4f}"
                writer.writerow([height, f"{x[number, 1]:.4f}", sky[number], "abc"[y[number]]])
        columns = {
            "height": np.array([np.nan, *np.round(x[1:, 0].astype(float), 4)]),
            "width": np.round(x[:, 1].astype(float), 4),
            "sky": np.array(sky),
        }
        return columns, y

    write("train.csv", ROWS, 0)
    x_test, y_test = write("test.csv", TEST_ROWS, 1)
    data = {"source": "train.csv", "test_source": "test.csv", "target": "kind"}
    return Source(data, "array", "classes", x_test, y_test)


def photos(folder: Path) -> Source:
    """Class folders of PNG files, divided into `train` and `test`."""
    import tensorflow as tf  # noqa: PLC0415 - seconds, for whoever asks for images

    test = []
    for split, rows, seed in (("train", ROWS, 0), ("test", TEST_ROWS, 1)):
        draw = np.random.default_rng(seed)
        for number in range(rows):
            image = draw.integers(0, 100, (8, 8, 3), dtype=np.uint8)
            image[:, :, number % CLASSES] += 120
            place = folder / "photos" / split / "abc"[number % CLASSES]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:03}.png").write_bytes(tf.io.encode_png(image).numpy())
            if split == "test":
                test.append(image)
    y_test = np.arange(TEST_ROWS) % CLASSES
    return Source({"source": "photos", "format": "images"}, "image", "classes", np.stack(test), y_test)


def records(folder: Path) -> Source:
    """A TFRecord file of raw arrays and class numbers."""
    import tensorflow as tf  # noqa: PLC0415 - likewise

    x, y = _draw(ROWS, 0)
    with tf.io.TFRecordWriter(str(folder / "rows.tfrecord")) as writer:
        for row, label in zip(x, y, strict=True):
            features = {
                "row": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row.astype("<f4").tobytes()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    fields = {"row": {"encoding": "raw", "dtype": "float32", "shape": [FEATURES]}, "label": {"dtype": "int64"}}
    return Source({"source": "rows.tfrecord", "record": fields, "target": "label"}, "array", "classes")


def _code(folder: Path, body: str) -> dict[str, Any]:
    (folder / "data.py").write_text(f"import numpy as np\n\n\ndef load_data():\n    draw = np.load('rows.npz')\n{body}")
    (x, y), (x_test, y_test) = _draw(ROWS, 0), _draw(TEST_ROWS, 1)
    np.savez(folder / "rows.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    return {"source": "data.py"}


def one_hot(folder: Path) -> Source:
    """Data code that returns one-hot targets."""
    data = _code(
        folder,
        "    hot = np.eye(3, dtype='float32')\n"
        "    return (draw['x'], hot[draw['y']]), (draw['x_test'], hot[draw['y_test']])\n",
    )
    x_test, y_test = _draw(TEST_ROWS, 1)
    return Source(data, "array", "one_hot", x_test, np.eye(3, dtype=np.float32)[y_test])


def nested(folder: Path) -> Source:
    """Data code that returns a dictionary of inputs and a list of targets."""
    data = _code(
        folder,
        "    def both(end):\n"
        "        x = draw['x' + end]\n"
        "        return {'a': x[:, :3], 'b': x[:, 3:]}, [x[:, :1], x[:, 1:3]]\n"
        "    x, y = both('')\n"
        "    x_test, y_test = both('_test')\n"
        "    return {'x_train': x, 'y_train': y, 'x_test': x_test, 'y_test': y_test}\n",
    )
    x_test, _ = _draw(TEST_ROWS, 1)
    inputs = {"a": x_test[:, :3], "b": x_test[:, 3:]}
    return Source(data, "dict", "list", inputs, [x_test[:, :1], x_test[:, 1:3]])


def weighted(folder: Path) -> Source:
    """Data code that returns `tf.data.Dataset`s of rows, class numbers and weights."""
    data = _code(
        folder,
        "    import tensorflow as tf\n\n"
        "    def dataset(end):\n"
        "        x, y = draw['x' + end], draw['y' + end]\n"
        "        return tf.data.Dataset.from_tensor_slices((x, y, np.linspace(0.5, 1.5, len(x)))).batch(7)\n"
        "    return dataset(''), dataset('_test')\n",
    )
    # Weighted scores are the job's own: there is nothing to compare them with here.
    return Source(data, "array", "classes")


SOURCES: dict[str, Callable[[Path], Source]] = {
    one.__name__: one for one in (arrays, column, words, table, photos, records, one_hot, nested, weighted)
}
