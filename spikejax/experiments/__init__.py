"""Experiments: variants of a configuration trained alike, measured alike, and compared in a table and on a page."""
