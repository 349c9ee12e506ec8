"""forgeprep: raw face-forgery datasets in, verified training shards out.

The command line is :mod:`forgeprep.cli`; the Python entry points are :func:`forgeprep.pipeline.run.run`,
:func:`forgeprep.shards.read.read_samples` and :func:`forgeprep.ops.noise.noise_residual`.
"""

__version__ = "0.1.0"
