"""Builds what setup.cfg describes, each time in a folder of its own.

In ./build lies what was built before, of an earlier commit perhaps, and setuptools packs whatever it has there: modules
that are gone, and configurations that are found by name.
"""

import tempfile

from setuptools import setup

with tempfile.TemporaryDirectory(prefix="spikejax_build_") as folder:
    setup(options={"build": {"build_base": folder}})
