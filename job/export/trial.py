"""The trial export: whether every format can hold a model, found out before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

from job.data import Dataset
from job.data.nested import Nested
from job.export.model import Exported, export_model
from job.export.refusal import refused
from job.export.saved_model import layer_names
from job.export.wanted import formats_of
from job.logs import get_logger
from job.models import TunableModel, publishable_model
from job.records import ExportFormat, Hyperparameters
from job.training.building import build_model
from job.training.engine import Precision, computing_in
