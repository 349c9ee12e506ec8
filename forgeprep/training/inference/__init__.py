"""From files to scores: clips and pictures in, a score a face out, drawn for people."""
