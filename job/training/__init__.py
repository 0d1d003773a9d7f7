"""One trial's training: the device, seeds, epochs, checkpoints. All that is TensorFlow's own stays here."""
