"""Metrics, one file each, over one ``Comparison``; ``panels`` names the sets that belong together."""

from perturbcast.metrics.comparison import Cells, Comparison, Means, Truth, cell_count, drawn_genes
from perturbcast.metrics.descriptor import Measure, Metric
from perturbcast.metrics.panels import PANELS, metric, panel

__all__ = [
    "PANELS",
    "Cells",
    "Comparison",
    "Means",
    "Measure",
    "Metric",
    "Truth",
    "cell_count",
    "drawn_genes",
    "metric",
    "panel",
]
