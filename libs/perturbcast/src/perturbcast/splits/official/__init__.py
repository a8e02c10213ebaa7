"""Official splits of other projects, read from their own files and frozen as ours. Pickles are not loaded."""

from perturbcast.splits.official.read import FORMATS, import_split

__all__ = ["FORMATS", "import_split"]
