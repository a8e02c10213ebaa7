"""Generated from protos/; regenerate it, never edit it (the command is in pyproject.toml)."""
