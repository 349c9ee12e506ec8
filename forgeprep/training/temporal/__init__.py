"""Forged spans in time: scores to proposals, figures and timelines."""
