"""What crosses a boundary: clips, samples, drops and the run configuration."""
