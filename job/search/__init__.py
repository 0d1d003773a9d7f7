"""The search: an oracle that decides, executors that train, and the driver that owns both.

Executors are importable without TensorFlow, so that workers start while the driver still imports it.
"""
