"""Gene graphs, one source per file; the graph itself and its files are in ``gene_graph``."""

from perturbcast.graphs.gene_graph import Coverage, GeneGraph
from perturbcast.graphs.gene_graph_files import load, save

__all__ = ["Coverage", "GeneGraph", "load", "save"]
