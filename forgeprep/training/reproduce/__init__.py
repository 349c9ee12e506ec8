"""The tables of the papers: each is a YAML file that says what is trained, what is tested, and what was published."""
