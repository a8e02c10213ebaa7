"""Small prior files over the genes G0 to G5 of ``make_data``."""

from __future__ import annotations

import gzip

import pytest

SETS = "S1\t\tG0\tG1\tG2\nS2\thttp://x\tG1\tG2\tX9\nS3\t\tG3\tG4\nS4\t\tG0\tG5\nALL\t\tG0\tG1\tG2\tG3\tG4\tG5\tX1\tX2\n"
TABLE = "tf,confidence,target,mor\nG0,A,G1,1\nG0,B,G2,-1\nG0,D,G3,-1\nX9,A,G0,1\nG1,A,G1,1\nG0,A,G1,-0.5\n"


@pytest.fixture
def files(tmp_path):
    """Paths of a gmt file, a table of factors, factors as gmt, and an edge list."""
    paths = {name: tmp_path / name for name in ("sets.gmt.gz", "factors.csv", "chip.gmt", "edges.tsv")}
    paths["sets.gmt.gz"].write_bytes(gzip.compress(SETS.encode()))
    paths["factors.csv"].write_text(TABLE)
    paths["chip.gmt"].write_text("G0 ENCODE\t\tG1\tG2,1.0\nG0 CHEA\t\tG2\tG3\n")
    paths["edges.tsv"].write_text("source\ttarget\tw\nG0\tG1\t0.5\nG5\tG4\t-2\nX\tG1\t1\n")
    return paths
