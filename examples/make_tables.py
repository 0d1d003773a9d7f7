"""Writes scikit-learn's wine, breast-cancer and diabetes data as CSV files: python examples/make_tables.py FOLDER."""

import argparse
import csv
from pathlib import Path
from typing import Any

from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

TABLES = {
    "wine": (load_wine, "cultivar", {}),
    "breast_cancer": (load_breast_cancer, "diagnosis", {}),
    "diabetes": (load_diabetes, "progression", {"scaled": False}),
}


def write_table(path: Path, data: Any, target: str) -> None:
    """Write a table: the features, then the target, classes by their names."""
    names = getattr(data, "target_names", None)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*data.feature_names, target])
        for row, label in zip(data.data, data.target, strict=True):
            written = f"{label:g}" if names is None else names[label]
            writer.writerow([*(f"{value:.10g}" for value in row), written])


def main() -> None:
    """Write all tables into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (load, target, settings) in TABLES.items():
        write_table(folder / f"{name}.csv", load(**settings), target)


if __name__ == "__main__":
    main()
