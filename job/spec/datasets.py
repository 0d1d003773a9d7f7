"""The built-in data sets as facts: names, rows and shapes, known without loading anything.

Sources: `sklearn.datasets.load_digits` and the pages of `keras.datasets` (Keras 3.15).
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BuiltinDataset:
    """One built-in data set.

    Attributes:
        rows: rows that the training and validation rows (and, without `test_rows`, the test rows) come from.
        test_rows: rows of the set's own test split; None where it has none.
        shape: of one row's `x`.
        classes: number of labels, which are 0 to `classes - 1`; None where there is a number to predict.
        library: who provides it; what `keras.datasets` provides is downloaded at first use.
    """

    name: str
    meaning: str
    rows: int
    test_rows: int | None
    shape: tuple[int, ...]
    classes: int | None
    library: str

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What its targets are for."""
        return "regression" if self.classes is None else "classification"


DATASETS: dict[str, BuiltinDataset] = {
    dataset.name: dataset
    for dataset in (
        BuiltinDataset("digits", "hand-written digits, grey, 8 x 8; offline", 1797, None, (8, 8), 10, "scikit-learn"),
        BuiltinDataset("mnist", "hand-written digits, grey, 28 x 28", 60_000, 10_000, (28, 28), 10, "keras.datasets"),
        BuiltinDataset("fashion_mnist", "clothing, grey, 28 x 28", 60_000, 10_000, (28, 28), 10, "keras.datasets"),
        BuiltinDataset("cifar10", "photographs, colour, 32 x 32", 50_000, 10_000, (32, 32, 3), 10, "keras.datasets"),
        BuiltinDataset(
            "cifar100",
            "photographs, colour, 32 x 32, fine labels",
            50_000,
            10_000,
            (32, 32, 3),
            100,
            "keras.datasets",
        ),
        BuiltinDataset("boston_housing", "house prices; a table", 404, 102, (13,), None, "keras.datasets"),
        BuiltinDataset("california_housing", "house prices; a table", 16_512, 4128, (8,), None, "keras.datasets"),
    )
}

# Known by name, so that the message can say why they are refused.
UNSUPPORTED_DATASETS: dict[str, str] = {
    "imdb": "a set of texts, and texts are not supported",
    "reuters": "a set of texts, and texts are not supported",
}
