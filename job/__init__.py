"""The tuning job: a job spec in, a tuned, evaluated and published Keras model out."""
