"""Named sets of metrics that are reported together.

The panels of a reference hold what it prints under its own names. Left out: ``clustering_agreement`` of
cell-eval, which clusters with Leiden and is not deterministic (two runs on one pair of files differ).
"""

from __future__ import annotations

import functools

from perturbcast import catalog
from perturbcast.errors import UsageError
from perturbcast.metrics.descriptor import Measure, Metric, measures

__all__ = ["PANELS", "SIGNATURES", "metric", "panel"]

# module names, in the order of a report
PANELS: dict[str, tuple[str, ...]] = {
    "spine": (
        "perturbench_rmse_average",
        "celleval_mae",
        "celleval_pearson_delta",
        "perturbench_cosine_logfc",
        "perturbench_cosine_rank_logfc",
        "energy_distance",
        "de_overlap_top50",
        "coverage_90",
    ),
    "perturbench": (
        "perturbench_rmse_average",
        "perturbench_mse_average",
        "perturbench_mae_average",
        "perturbench_pearson_average",
        "perturbench_r2_score_average",
        "perturbench_rmse_scaled",
        "perturbench_cosine_logfc",
        "perturbench_pearson_logfc",
        "perturbench_rmse_rank_average",
        "perturbench_cosine_rank_logfc",
    ),
    "celleval": (
        "celleval_mae",
        "celleval_mse",
        "celleval_mae_delta",
        "celleval_mse_delta",
        "celleval_pearson_delta",
        "celleval_discrimination_score",
        "celleval_pearson_edistance",
        "celleval_overlap_at",
        "celleval_precision_at",
        "celleval_de_sig_genes_recall",
        "celleval_de_direction_match",
        "celleval_de_spearman_lfc_sig",
        "celleval_de_spearman_sig",
        "celleval_de_nsig_counts",
        "celleval_pr_auc",
        "celleval_roc_auc",
    ),
    "scperturbench": (
        "scperturbench_mse",
        "scperturbench_pearson",
        "scperturbench_edistance",
        "scperturbench_sym_kldiv",
        "scperturbench_wasserstein",
        "scperturbench_common_degs",
    ),
    "systema": (
        "systema_pearson_delta",
        "systema_centroid_accuracy",
    ),
    "gears": (
        "gears_pearson_delta",
        "gears_mse_top20_de",
        "gears_l2_top1000",
        "gears_genetic_interaction",
    ),
    "perturbcast": (
        "weighted_mse",
        "weighted_r2_delta",
        "pearson_delta",
        "normalised_inverse_rank",
        "energy_distance",
        "sliced_wasserstein",
        "de_overlap_top50",
        "de_recovery",
    ),
    # of signatures (one row per condition, no cells): what asks for means alone and for no sampling error of the truth
    "signatures": (
        "perturbench_rmse_average",
        "celleval_mae",
        "celleval_pearson_delta",
        "systema_pearson_delta",
        "systema_centroid_accuracy",
        "normalised_inverse_rank",
    ),
    "uncertainty": (
        "gaussian_nll",
        "gaussian_crps",
        "coverage",
        "coverage_90",
        "interval_width",
        "interval_ece",
        "risk_coverage_area",
        "ood_auroc",
    ),
}
ALL = "all"
SIGNATURES = "signatures"  # the panel that can be asked of rows which are conditions


@functools.cache  # looking for other people's plugins reads the whole environment
def panel(name: str) -> tuple[Measure, ...]:
    """The metrics of a panel; those of every panel, each once, under the name ``all``.

    Raises:
        UsageError: no panel has the name.
    """
    if name != ALL and name not in PANELS:
        raise UsageError(f"A panel is a named set of metrics; {name!r} is unknown. Known: {', '.join(PANELS)}, {ALL}.")
    modules = dict.fromkeys(m for p in PANELS.values() for m in p) if name == ALL else PANELS[name]
    return tuple(measure for module in modules for measure in measures(catalog.load("metrics", module)))


def metric(metric_id: str) -> Metric:
    """The descriptor of a metric id.

    Raises:
        UsageError: no metric has the id.
    """
    # an id begins with the name of its panel: the others need not be imported
    near = metric_id.partition(".")[0]
    for measure in panel(near) if near in PANELS else ():
        if measure.metric.id == metric_id:
            return measure.metric
    known = _known()
    if metric_id not in known:
        raise UsageError(
            f"Metrics are named 'panel.name@version'; {metric_id!r} is unknown. Known: {', '.join(known)}."
        )
    return known[metric_id]


@functools.cache  # imports every metric
def _known() -> dict[str, Metric]:
    modules = [catalog.load("metrics", module) for module in catalog.names("metrics")]
    return {measure.metric.id: measure.metric for module in modules for measure in measures(module)}
