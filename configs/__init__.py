"""What a run is: a file per family of experiments, each with `get_config()`; the keys stand in the defaults."""
