"""Which variants of a configuration `python -m spikejax.experiment` compares: a file per question."""
