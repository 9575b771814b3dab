"""Evaluating a network: on which data, cut up how, measured by what, and what comes of it."""
