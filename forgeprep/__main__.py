"""``python -m forgeprep``."""

from forgeprep.cli import main

if __name__ == "__main__":
    main()
