"""What a run is: a file per family of experiments, each with `get_config()`; common.py lists every key and its unit."""
