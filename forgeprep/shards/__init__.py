"""Write, read and verify shards (Parquet and WebDataset)."""
