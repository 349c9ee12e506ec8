"""Benchmark protocols: train rows by test columns, each cell a training."""
