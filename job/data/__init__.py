"""Sources to `Dataset(train, validation, test)`: read, checked, split and prepared before any training starts.

    dataset = load_dataset(spec.data, seed=spec.seed, scratch=folder)

Arrays live in memory-mapped files under the scratch folder and pass through memory in pieces. TensorFlow is
imported only where a source needs it (`keras.datasets`), inside the function that does.
"""

from job.data.dataset import Dataset, Split
from job.data.load import load_dataset
from job.data.pins import ObjectPins
from job.data.preparation import Preparation, Rescaling
from job.data.row_files import RowFiles, Rows
from job.data.standardisation import Standardisation

__all__ = [
    "Dataset",
    "ObjectPins",
    "Preparation",
    "Rescaling",
    "RowFiles",
    "Rows",
    "Split",
    "Standardisation",
    "load_dataset",
]
