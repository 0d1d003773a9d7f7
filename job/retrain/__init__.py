"""Retraining: from the best hyperparameters to the model to publish."""

from job.retrain.retraining import Retraining, TrainedModel

__all__ = ["Retraining", "TrainedModel"]
