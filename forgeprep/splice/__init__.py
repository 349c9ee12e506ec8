"""Clips that are forged in spans: pieces of a fake in its original, with spans and frame labels as ground truth."""
