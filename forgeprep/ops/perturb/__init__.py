"""Perturbations: a catalogue of names and severities, and what each does to a crop."""
