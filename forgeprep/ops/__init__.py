"""The arithmetic: pure functions on arrays, without files, Ray or configuration."""
