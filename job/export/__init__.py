"""The published model in other formats: written, loaded by each format's own runtime, and compared with Keras.

    Keras model -> SavedModel with named inputs and outputs -> a process of its own: ONNX, TFLite, comparison

Every format comes from the SavedModel: Keras's own ONNX export writes files that answer wrongly for `Normalization` and
`StringLookup`, without an error (Keras 3.15, tf2onnx 1.17). What converts runs in a process of its own, because it
prints, keeps global state, and may abort.

Nothing here is imported unless something is to be exported; the packages that ONNX needs are imported by that process
alone. So this module imports none of its own: `job.export.requirements` is for the start of a job, `job.export.stages`
for what follows.
"""
