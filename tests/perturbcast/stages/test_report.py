"""Stage ``report``: one page that stands alone, and the same facts as JSON, from a whole small pipeline."""

from __future__ import annotations

import copy
import html.parser
import io
import json
import re

import jsonschema
import pandas as pd
import pytest
from rich.console import Console

from perturbcast import catalog, splits
from perturbcast.errors import UsageError
from perturbcast.evaluation import scorecard
from perturbcast.evaluation.page import render
from perturbcast.evaluation.report_schema import SCHEMA_FILE
from perturbcast.stages import evaluate, leaderboard, report
from perturbcast.stores import control_means, h5ad, predictions
from perturbcast.training import fit

METRIC = "celleval.pearson_delta@1"
MODELS = ("control", "mean_delta", "additive")
SINGLES = ("G0", "G1", "G2", "G3")
PAIRS = ("G0+G1", "G0+G2", "G0+G3", "G1+G2", "G1+G3", "G2+G3", "G0+G4", "G4+G5")


@pytest.fixture(scope="module")
def folder(make_data, tmp_path_factory):
    """Two splits, three models, scored and chosen."""
    folder = tmp_path_factory.mktemp("artifacts")
    data = make_data(perturbations=(*SINGLES, *PAIRS), contexts=("a", "b", "c", "d"), genes=8, cells=20)
    h5ad.write(data, folder / "data.h5ad")
    controls = control_means(data)
    for rule in ("unseen_context", "unseen_combination"):
        for split in splits.make(data, rule):
            splits.freeze(split, folder / "splits" / rule / f"fold_{split.fold}.json")
            for model in MODELS:
                config = catalog.load("models", model).Config()
                trained = fit(data, split, kind=model, plugin=model, config=config, seed=0)
                for part in ("validation", "test"):
                    conditions = split.conditions[part]
                    inputs = {c.context: controls[c.context] for c in conditions}
                    answer = trained.predict(conditions, control_means=inputs)
                    predictions.write(answer, folder / "predictions" / rule / model / f"fold_{split.fold}/{part}.npz")
        evaluate.command(
            split=folder / "splits" / rule,
            data=folder / "data.h5ad",
            prediction=[folder / "predictions" / rule],
            out=folder / "evaluations",
        )
    leaderboard.command(metric=METRIC, evaluations=folder / "evaluations/validation", out=folder / "leaderboard")
    _report(folder, folder / "report")
    return folder


def _report(folder, out, **options):
    given = {
        "evaluations": folder / "evaluations/test",
        "leaderboard": folder / "leaderboard/leaderboard.json",
        "split_folder": folder / "splits",
    }
    report.command(out=out, **(given | options))


@pytest.fixture(scope="module")
def facts(folder):
    return json.loads((folder / "report/report.json").read_text())


class _Page(html.parser.HTMLParser):
    """Counts elements and collects what would be fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.count, self.fetched, self.text = {}, [], []

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        given = dict(attrs)
        links = [given.get(name) or "" for name in ("src", "href", "xlink:href", "data")]
        self.fetched += [link for link in links if link and not link.startswith("#")]
        if tag in ("script", "link", "iframe", "img"):
            self.fetched.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_page_stands_alone_and_holds_tables_and_plots(folder):
    text = (folder / "report/report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.fetched == []
    assert "url(http" not in text
    assert "@import" not in text
    assert page.count["svg"] >= 2 * 4, "ranking, ranges, scatters and trust of two splits"
    assert page.count["table"] >= 7
    words = " ".join("".join(page.text).split())
    assert "out of distribution: combination" in words
    for model in MODELS:
        assert model in words
    assert not re.search(r"\b(nan|None|inf|undefined)\b", words)


def test_labels_are_text_not_markup(facts):
    split = facts["splits"]["unseen_context"]
    fold = split["folds"][0] | {"held_out": "<b>CD4+</b> & <script>x</script>"}
    text = render(facts | {"splits": {"<i>s</i>": split | {"folds": [fold]}}})
    assert "&lt;b&gt;CD4+&lt;/b&gt; &amp; &lt;script&gt;" in text
    assert "<script" not in text
    assert "<i>s" not in text


def test_the_champion_is_the_leaderboards(folder, facts):
    board = json.loads((folder / "leaderboard/leaderboard.json").read_text())
    assert facts["rule"] == board["rule"]
    for name, split in facts["splits"].items():
        assert split["champion"] == board["splits"][name]["selected"]
        assert split["validation"] == {m: c["value"] for m, c in board["splits"][name]["candidates"].items()}


def test_scores_are_those_of_the_evaluations(folder, facts):
    for name, split in facts["splits"].items():
        for model in MODELS:
            stored = json.loads((folder / "evaluations/test" / name / model / "metrics.json").read_text())
            assert split["models"][model] == stored
    scores = json.loads((folder / "report/scores.json").read_text())
    assert scores["unseen_context"]["control"][METRIC] == 0.0


def test_the_report_has_the_published_shape(facts):
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.validate(facts, schema, cls=jsonschema.Draft202012Validator)
    wrong = copy.deepcopy(facts)
    del wrong["splits"]["unseen_context"]["leaks"][0]["passed"]
    with pytest.raises(jsonschema.ValidationError, match="'passed' is a required property"):
        jsonschema.validate(wrong, schema, cls=jsonschema.Draft202012Validator)


def test_answers_and_checks_are_at_the_top(facts):
    split = facts["splits"]["unseen_combination"]
    assert split["champion"] == "additive"
    assert split["answers"]["versus_control"]["verdict"] == "better", "effects add up, and that was learned"
    assert split["answers"]["versus_train_mean"]["verdict"] == "unknown", "train_mean was not evaluated"
    judged = {check["check"]: check["passed"] for check in split["leaks"]}
    assert judged["No cell is in two parts of a fold"] is True
    assert judged["Every test condition is new: combination"] is True
    assert judged["The champion's intervals were fitted on those cells"] is None, "no models are at hand here"
    assert judged["A constant answer scores chance where conditions are told apart"] is True
    assert 0 < split["answers"]["share_of_range"] < 2, "between the floors and the ceiling, within the error of both"


def test_tables_say_what_the_report_says(folder, facts):
    tables = folder / "report/tables"
    scores = pd.read_csv(tables / "scores.csv").set_index(["split", "model", "metric_id"])["value"]
    for name, split in facts["splits"].items():
        assert scores[name, "additive", METRIC] == split["models"]["additive"][METRIC]["value"]
    worst = pd.read_csv(tables / "worst_conditions.csv")
    rows = worst.loc[worst["split"] == "unseen_combination", "additive"].tolist()
    assert rows == sorted(rows), "Pearson: the worst is the lowest"
    text = (tables / "summary.tex").read_text()
    assert "\\toprule" in text
    assert "unseen\\_combination & additive &" in text


def test_strata_are_reported_apart(facts):
    strata = facts["splits"]["unseen_combination"]["strata"]
    assert sorted(strata) == ["0 of 2 singles seen", "1 of 2 singles seen", "2 of 2 singles seen"]
    counts = {name: by_metric[METRIC]["additive"]["n"] for name, by_metric in strata.items()}
    assert counts == {"0 of 2 singles seen": 4, "1 of 2 singles seen": 4, "2 of 2 singles seen": 24}
    both, none = (strata[f"{k} of 2 singles seen"][METRIC]["additive"]["value"] for k in (2, 0))
    assert both > 0.9 > none, "effects add up: with both singles seen the sum is right"
    assert facts["splits"]["unseen_context"]["strata"] == {}


def test_per_context_means_average_to_the_value(facts):
    split = facts["splits"]["unseen_context"]
    by_context = [row["mean_delta"] for row in split["per_context"][METRIC].values()]
    assert len(by_context) == 4
    assert sum(by_context) / 4 == pytest.approx(split["models"]["mean_delta"][METRIC]["value"])


def test_provenance_names_data_folds_and_models(facts):
    split = facts["splits"]["unseen_context"]
    assert re.fullmatch(r"[0-9a-f]{64}", split["dataset"]["dataset_hash"])
    assert len({fold["sha256"] for fold in split["folds"]}) == len(split["folds"]) == 4
    record = split["provenance"]["mean_delta"]
    assert record["command"].startswith("perturbcast evaluate --split")
    assert len(record["models"]) == 4
    assert {"perturbcast", "numpy"} <= set(record["versions"])


def test_running_again_gives_the_same_bytes(folder, tmp_path):
    _report(folder, tmp_path)
    for name in ("report.html", "report.json", "scores.json", "scores.csv"):
        assert (tmp_path / name).read_bytes() == (folder / "report" / name).read_bytes(), name


def test_scorecard_says_what_was_chosen_and_what_was_best(facts):
    console = Console(width=200, file=io.StringIO())
    console.print(scorecard(facts))
    text = console.file.getvalue()
    for name, split in facts["splits"].items():
        rule = name.removeprefix(f"{split['dataset']['dataset']}-")
        line = next(line for line in text.splitlines() if line.strip().startswith(rule))
        best = split["champion"] in split["best_on_test"]
        assert (f"{split['champion']}*" in line, split["champion"] in line) == (not best, True)
        assert (f"{name}: {', '.join(split['best_on_test'])}" in text) == (not best)


def test_validation_scores_are_no_test_scores(folder, tmp_path):
    with pytest.raises(ValueError, match="holds scores of 'validation'"):
        _report(folder, tmp_path, evaluations=folder / "evaluations/validation")
    assert not list(tmp_path.iterdir())


def test_scores_of_other_folds_are_refused(folder, tmp_path):
    for path in (folder / "splits/unseen_combination").iterdir():
        for rule in ("unseen_context", "unseen_combination"):
            (tmp_path / "splits" / rule).mkdir(parents=True, exist_ok=True)
            (tmp_path / "splits" / rule / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="was scored on other folds than those of 'unseen_context'"):
        _report(folder, tmp_path / "out", split_folder=tmp_path / "splits")


def test_a_leaderboard_is_needed(folder, tmp_path):
    with pytest.raises(UsageError, match=r"Run 'perturbcast leaderboard' first"):
        _report(folder, tmp_path, leaderboard=tmp_path / "nowhere.json")


def test_a_browser_shows_the_tables_and_the_plots(folder, look_at):
    seen = look_at(folder / "report/report.html")
    assert (seen["requests"], seen["console"], seen["dead_links"]) == ([], [], [])
    assert seen["overflow"] <= 0, "nothing is cut off at laptop width"
    heads = [table["heads"] for table in seen["tables"]]
    assert any("better than no change?" in table for table in heads), "the four answers come first"
    assert all(min(table["box"]) > 0 and table["rows"] > 1 for table in seen["tables"])
    for kind in ("Models ranked", "Share of the range", "Predicted over measured", "Coverage and width"):
        assert sum(plot["label"].startswith(kind) for plot in seen["plots"]) >= 2, kind
    rankings = [plot for plot in seen["plots"] if plot["label"].startswith("Models ranked")]
    assert len(rankings) == 2, "one ranking per split"
    for plot in seen["plots"]:
        width, height = plot["box"]
        assert width > 900, plot["label"]
        assert 60 < height < 900, plot["label"]
        assert plot["marks"] > 20, plot["label"]
    for model in MODELS:
        assert any(model in words for words in rankings[0]["words"])
