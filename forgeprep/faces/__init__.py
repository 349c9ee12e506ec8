"""Faces: detectors, the search for them in clips, and tracks."""
