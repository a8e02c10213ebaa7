"""Scores predictions beside their floors, with intervals; then the leaderboard and the report of many.

``report`` is imported by its module (``perturbcast.evaluation.report``): it draws plots, which takes a
second to import.
"""

from perturbcast.evaluation.bootstrap import mean_interval
from perturbcast.evaluation.comparison import compare
from perturbcast.evaluation.directory import Stored, read_directory, write_directory
from perturbcast.evaluation.files import evaluate_files
from perturbcast.evaluation.held_out import evaluate_prediction, evaluate_predictions, train_profile
from perturbcast.evaluation.leaderboard import leaderboard
from perturbcast.evaluation.scorecard import scorecard
from perturbcast.evaluation.scoring import Scored, score
from perturbcast.evaluation.summary import Evaluation, summarise

__all__ = [
    "Evaluation",
    "Scored",
    "Stored",
    "compare",
    "evaluate_files",
    "evaluate_prediction",
    "evaluate_predictions",
    "leaderboard",
    "mean_interval",
    "read_directory",
    "score",
    "scorecard",
    "summarise",
    "train_profile",
    "write_directory",
]
