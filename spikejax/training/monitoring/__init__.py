"""What one sees of a training run: metrics, loggers, times, profiles, provenance and the terminal."""
