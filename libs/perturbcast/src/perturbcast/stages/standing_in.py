"""How often a model answered by something that stands in for what was asked: a coarser mean, a missing single."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["standing_in"]

SHOWN = 2  # kinds of a line


def standing_in(notes: Sequence[Sequence[str]], *, what: str) -> list[str]:
    """A line that counts the conditions with a note, and its most frequent notes; none where no condition has one.

    Args:
        notes: of each condition, as predictions hold them.
        what: was predicted, the line's first words.
    """
    noted = [said for said in notes if said]
    if not noted:
        return []
    kinds = Counter(note for said in noted for note in said)
    shown = [f"{note} ({count})" for note, count in kinds.most_common(SHOWN)]
    more = [f"and {len(kinds) - SHOWN} more, in the notes of the predictions"] if len(kinds) > SHOWN else []
    return [f"{what}: {len(noted)} of {len(notes)} conditions by a stand-in: {'; '.join([*shown, *more])}"]
