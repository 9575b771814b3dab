"""What one sees of a training run: metrics, times, profiles, provenance, the terminal and TensorBoard."""
