"""Trainings judged on a split: figures, tables, plots and pictures."""
