"""The engine answers what the model answers, and refuses by rule; no gRPC is involved."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from perturbcast import schema
from perturbcast.calibration import calibrated_variance, generator_of, sample_cells
from perturbcast.errors import UnanswerableError
from perturbcast_client.messages import (
    Condition,
    ControlCells,
    ModelRef,
    PredictRequest,
    SeenInTraining,
    Target,
    Wanted,
    gene_list_hash,
)
from prediction_service.engine import Engine, InvalidRequestError, UnknownModelError
from prediction_service.limits import LimitError, Limits
from prediction_service.served_model import ServedModel

GENES = ("ISG15", "STAT1", "CD3D", "LYZ")


def make_request(*labels, context="B cells", name="known", **fields):
    conditions = tuple(Condition.from_label(label, context) for label in labels or ("IFNB",))
    return PredictRequest(**{"model": ModelRef(name), "conditions": conditions, **fields})


def make_controls(rows, context="T cells", dtype=np.float32):
    return (ControlCells(context=context, expression=np.array(rows, dtype=dtype)),)


def test_the_mean_delta_alone_by_default(make_engine):
    answer = make_engine().predict(make_request("IFNB"))
    # 4 letters x (1, -2, 3, -4) + (1, 2, 3, 4) / 8
    np.testing.assert_array_equal(answer.delta, [[4.125, -7.75, 12.375, -15.5]])
    assert answer.variance is answer.lower is answer.upper is answer.expression is None
    assert (answer.top_genes, answer.interval_level) == ((), 0.0)


def test_everything_that_is_wanted(make_engine):
    wanted = Wanted(variance=True, interval_level=0.9, expression=True, top_genes=2)
    answer = make_engine().predict(make_request("IFNB", wanted=wanted))
    np.testing.assert_array_equal(answer.variance, [[0.0625] * 4])
    np.testing.assert_array_equal(answer.lower, answer.delta - 0.25)
    np.testing.assert_array_equal(answer.upper, answer.delta + 0.25)
    np.testing.assert_array_equal(answer.expression, [[5.125, -5.75, 15.375, -11.5]])
    assert answer.top_genes == ((("LYZ", -15.5), ("CD3D", 12.375)),)


def test_every_number_is_the_models_to_the_last_bit(make_engine, known):
    pairs = [("B+A", "NK cells"), ("IFNB", "B cells"), ("B+A", "NK cells"), ("STAT1", "B cells")]
    asked = tuple(Condition.from_label(*pair) for pair in pairs)
    request = make_request(conditions=asked, wanted=Wanted(variance=True, expression=True, interval_level=0.5))
    answer = make_engine().predict(request)
    direct = known.predict([schema.Condition(*pair) for pair in pairs])
    assert answer.conditions == asked
    assert answer.delta.tobytes() == direct.delta.tobytes()
    assert answer.variance.tobytes() == direct.variance.tobytes()
    assert answer.expression.tobytes() == direct.mean.tobytes()
    assert answer.upper.tobytes() == (direct.delta + direct.intervals[0.5]).tobytes()
    assert answer.notes == direct.notes


def test_what_was_seen_in_training_is_said_per_condition(make_engine):
    asked = tuple(Condition.from_label(*pair) for pair in [("IFNB", "B cells"), ("A+B", "B cells"), ("X", "NK cells")])
    answer = make_engine().predict(make_request(conditions=asked))
    assert answer.seen == (
        SeenInTraining(perturbation=True, context=True, pair=True),
        SeenInTraining(perturbation=True, context=True, pair=False),
        SeenInTraining(perturbation=False, context=True, pair=False),
    )
    assert answer.fingerprint == "f" * 64


def test_controls_by_value_are_mapped_by_gene_name(make_engine):
    shuffled = ("LYZ", "extra", "ISG15", "CD3D", "STAT1")
    controls = make_controls([[8, 99, 0, 4, 2], [8, 99, 2, 4, 2]])
    answer = make_engine().predict(
        make_request(context="T cells", controls=controls, genes=shuffled, wanted=Wanted(expression=True))
    )
    np.testing.assert_array_equal(answer.expression - answer.delta, [[1, 2, 4, 8]])
    assert answer.controls == ("request",)


def test_controls_in_the_models_order_by_hash(make_engine):
    controls = make_controls([[1, 2, 4, 8]], dtype=np.float64)
    answer = make_engine().predict(
        make_request(
            context="T cells", controls=controls, genes_sha256=gene_list_hash(GENES), wanted=Wanted(expression=True)
        )
    )
    np.testing.assert_array_equal(answer.expression - answer.delta, [[1, 2, 4, 8]])


def test_given_controls_replace_stored_ones_of_that_context_only(make_engine):
    asked = (Condition.from_label("X", "B cells"), Condition.from_label("X", "NK cells"))
    controls = make_controls([[8, 8, 8, 8]], context="B cells")
    answer = make_engine().predict(
        make_request(conditions=asked, controls=controls, genes=GENES, wanted=Wanted(expression=True))
    )
    np.testing.assert_array_equal(answer.expression - answer.delta, [[8, 8, 8, 8], [4, 3, 2, 1]])
    assert answer.controls == ("request", "stored")


def test_control_means_are_taken_in_double_precision(make_engine):
    # in float32 the sum of 2**24 and ones does not move
    controls = make_controls([[2**24] * 4] + [[1] * 4] * 3)
    answer = make_engine().predict(
        make_request(context="T cells", controls=controls, genes=GENES, wanted=Wanted(expression=True))
    )
    np.testing.assert_array_equal(answer.expression - answer.delta, [[(2**24 + 3) / 4] * 4])


def test_ties_of_top_genes_keep_the_models_order(serve_fake):
    flat = dataclasses.replace(serve_fake.KnownModel(), genes=("g1", "g2", "g3"), control_means={"c": np.zeros(3)})

    class Flat:
        def __getattr__(self, name):
            return getattr(flat, name)

        def predict(self, conditions, *, control_means=None, levels=None):
            ones = np.ones((1, 3))
            return schema.Prediction(
                conditions=tuple(conditions),
                genes=flat.genes,
                delta=ones * [1, -1, 1],
                variance=ones,
                control=ones,
                intervals={},
                seen=np.zeros((1, 3), dtype=bool),
                notes=((),),
                model="",
            )

    engine = Engine([ServedModel(name="flat", model=Flat())])
    answer = engine.predict(make_request(context="c", name="flat", wanted=Wanted(top_genes=2)))
    assert answer.top_genes == ((("g1", 1.0), ("g2", -1.0)),)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        pytest.param(
            make_request(wanted=Wanted(interval_level=0.8)),
            InvalidRequestError,
            r"wanted.interval_level: .* got 0.8, offered: 0.5, 0.9",
            id="level-not-calibrated",
        ),
        pytest.param(
            make_request(wanted=Wanted(top_genes=5)),
            InvalidRequestError,
            r"wanted.top_genes: at most the model's 4 genes; got 5",
            id="more-top-genes-than-genes",
        ),
        pytest.param(
            make_request(genes_sha256="ab"),
            InvalidRequestError,
            r"genes_sha256: .* got 'ab'. Send the gene list",
            id="unknown-gene-list",
        ),
        pytest.param(
            make_request(context="T cells", controls=make_controls([[1, 2]]), genes=("ISG15", "CD3D")),
            InvalidRequestError,
            r"genes: .* 2 of 4 are missing, first STAT1, LYZ",
            id="genes-missing",
        ),
        pytest.param(
            make_request(context="T cells", controls=make_controls([[1, 2]]), genes_sha256=gene_list_hash(GENES)),
            InvalidRequestError,
            r"controls\[0\].expression: one column per gene of the model, 4; got 2",
            id="columns-do-not-fit-the-hash",
        ),
        pytest.param(
            make_request("A+control"),
            InvalidRequestError,
            r"conditions\[0\].targets: .*'A\+control' contains 'control'",
            id="control-in-a-combination",
        ),
        pytest.param(
            make_request("A", context="T cells"),
            UnanswerableError,
            r"conditions\[0\].context: .*'T cells' has none .*\(stored: B cells, NK cells\). Send controls",
            id="no-controls",
        ),
        pytest.param(
            make_request(conditions=(Condition((Target("A", dose=2.0),), "B cells"),)),
            UnanswerableError,
            r"conditions\[0\].targets: .*'A' came with dose 2. Leave it empty",
            id="dose",
        ),
        pytest.param(
            make_request(conditions=(Condition((Target("A", kind="CRISPRi"),), "B cells"),)),
            UnanswerableError,
            r"'A' came with kind 'CRISPRi'",
            id="kind",
        ),
        pytest.param(
            make_request("A@2"),
            UnanswerableError,
            r"conditions\[0\].targets: .*'A@2' came with dose 2. Leave it empty",
            id="dose-in-the-label",
        ),
        pytest.param(
            make_request(conditions=(Condition((Target("A@2", dose=2.0),), "B cells"),)),
            InvalidRequestError,
            r"conditions\[0\].targets: a target has one dose; 'A@2' came with dose 2 too. Give it once",
            id="dose-twice",
        ),
        pytest.param(make_request("IMPOSSIBLE"), UnanswerableError, "got IMPOSSIBLE in B cells", id="the-models-own"),
        pytest.param(
            make_request(*["A"] * 11), LimitError, r"conditions: .*at most 10 conditions .*; got 11", id="conditions"
        ),
        pytest.param(
            make_request(context="T", controls=make_controls([[0] * 4] * 21, context="T"), genes=GENES),
            LimitError,
            r"controls: .*at most 20 control cells .*; got 21",
            id="cells",
        ),
        # 10 x 4 genes x 8 bytes is 320; variance doubles it
        pytest.param(
            make_request(*["A"] * 10, wanted=Wanted(variance=True)),
            LimitError,
            r"a reply has at most 400 bytes .*; this one would have 640",
            id="reply",
        ),
    ],
)
def test_refusals_say_field_value_and_way_out(make_engine, request_, error, message):
    engine = make_engine(limits=Limits(max_conditions=10, max_cells=20, max_reply_bytes=400))
    with pytest.raises(error, match=message):
        engine.predict(request_)


class Counting:
    """The known model; counts how often it is asked, and with how many conditions."""

    def __init__(self, model):
        self._model = model
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def predict(self, conditions, *, control_means=None, levels=None):
        self.asked.append(len(conditions))
        return self._model.predict(conditions, control_means=control_means, levels=levels)


def answer_together(engine, requests):
    plans = [engine.plan(request) for request in requests]
    pieces = [piece for plan in plans for piece in engine.slices(plan, size=100)]
    answers = engine.answer(pieces)
    return [a if isinstance(a, Exception) else engine.finish(p, [a]) for p, a in zip(plans, answers, strict=True)]


def test_requests_that_are_answered_together_get_what_they_would_get_alone(make_engine, known):
    counting = Counting(known)
    engine = make_engine(model=counting)
    wanted = Wanted(variance=True, interval_level=0.9, expression=True, top_genes=2)
    requests = [
        make_request("IFNB", "A+B", wanted=wanted),
        make_request("X", context="NK cells"),
        make_request("YY", context="T cells", controls=make_controls([[1, 2, 3, 4]]), genes=GENES, wanted=wanted),
    ]
    together = answer_together(engine, requests)
    assert counting.asked == [4], "one call of the model"
    for request, answer in zip(requests, together, strict=True):
        alone = engine.predict(request)
        for field in dataclasses.fields(alone):
            np.testing.assert_equal(getattr(answer, field.name), getattr(alone, field.name), field.name)


def test_two_requests_with_their_own_controls_of_one_context_do_not_mix(make_engine, known):
    counting = Counting(known)
    engine = make_engine(model=counting)
    wanted = Wanted(expression=True)
    own = [
        make_request("A", controls=make_controls([row], "B cells"), genes=GENES, wanted=wanted)
        for row in ([1, 1, 1, 1], [2, 2, 2, 2])
    ]
    stored = make_request("A", wanted=wanted)
    one, plain, two, again = answer_together(engine, [own[0], stored, own[1], stored])
    starts = [(answer.expression - answer.delta)[0].tolist() for answer in (one, plain, two, again)]
    assert starts == [[1, 1, 1, 1], [1, 2, 3, 4], [2, 2, 2, 2], [1, 2, 3, 4]]
    assert sorted(counting.asked) == [1, 1, 2]


def test_a_bad_request_among_others_fails_alone(make_engine):
    asked = [make_request("A"), make_request("IMPOSSIBLE"), make_request("BROKEN"), make_request("B")]
    one, impossible, broken, two = answer_together(make_engine(), asked)
    assert (one.conditions, two.conditions) == (asked[0].conditions, asked[3].conditions)
    assert isinstance(impossible, UnanswerableError)
    assert isinstance(broken, RuntimeError)


def test_a_request_in_slices_is_put_together_in_order(make_engine):
    engine = make_engine()
    asked = make_request(*["X" * n for n in range(1, 8)], wanted=Wanted(variance=True, interval_level=0.5, top_genes=1))
    plan = engine.plan(asked)
    pieces = engine.slices(plan, size=3)
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 3), (3, 6), (6, 7)]
    sliced, whole = engine.finish(plan, engine.answer(pieces)), engine.predict(asked)
    for field in dataclasses.fields(whole):
        np.testing.assert_equal(getattr(sliced, field.name), getattr(whole, field.name), field.name)


def test_sampled_cells_have_the_predicted_mean_whatever_the_neighbours(make_engine):
    rows = np.random.default_rng(0).gamma(2.0, 20.0, size=(50, 4))
    fields = {
        "controls": make_controls(rows, "B cells", dtype=np.float64),
        "genes": GENES[::-1],
        "wanted": Wanted(cells=30, expression=True),
        "seed": 7,
    }
    both = make_engine().predict(make_request("A", "BB", **fields))
    assert both.cells.shape == (2, 30, 4)
    assert both.cells.dtype == np.float32
    assert (both.cells >= 0).all()
    alone = make_engine().predict(make_request("BB", **fields))
    np.testing.assert_array_equal(both.cells[1], alone.cells[0])
    np.testing.assert_allclose(both.cells.mean(axis=1), both.expression, rtol=0.5)


def test_sampled_cells_of_a_context_without_controls_are_drawn_from_the_stored_ones(make_engine, known):
    asked = make_request("A", wanted=Wanted(cells=3), seed=5)
    stored = make_engine().predict(asked)
    assert stored.controls == ("stored",)
    offline = known.predict([schema.Condition("A", "B cells")])
    expected = sample_cells(
        known.control_cells["B cells"],
        delta=offline.delta[0],
        variance=calibrated_variance(
            offline.variance[0], {level: half[0] for level, half in offline.intervals.items()}
        ),
        count=3,
        generator=generator_of(schema.Condition("A", "B cells"), seed=5),
    )
    np.testing.assert_array_equal(stored.cells[0], expected)
    rows = known.control_cells["B cells"].toarray()
    sent = make_request(
        "A", wanted=Wanted(cells=3), seed=5, controls=make_controls(rows[:, ::-1], "B cells"), genes=GENES[::-1]
    )
    np.testing.assert_array_equal(
        make_engine().predict(sent).cells, stored.cells, "sent or stored, the cells are equal"
    )


def test_a_model_that_has_the_mean_alone_gives_no_cells(make_engine):
    with pytest.raises(UnanswerableError, match=r"wanted.cells: .*'NK cells' has none in the request, .* mean only"):
        make_engine().predict(make_request("A", context="NK cells", wanted=Wanted(cells=3)))


def test_a_covariate_that_the_model_has_no_input_for_is_refused(make_engine):
    asked = Condition(targets=(Target("A"),), context="B cells", covariates=(("donor", "1015"),))
    with pytest.raises(UnanswerableError, match=r"conditions\[0\].covariates: .*came with donor=1015. Leave them out"):
        make_engine().predict(make_request(conditions=(asked,)))


def test_a_dose_reaches_a_model_whose_training_states_doses(known):
    """In a field of its own or in the label: it is the same condition, and seen in training or not by its dose."""
    dosed = dataclasses.replace(known, train_conditions=(schema.Condition("A@0.5", "B cells"),))
    engine = Engine([ServedModel(name="known", model=dosed)])
    half = Condition((Target("A", dose=0.5),), "B cells")
    answer = engine.predict(
        make_request(
            conditions=(half, Condition((Target("A", dose=2),), "B cells"), Condition.from_label("A", "B cells"))
        )
    )
    assert [seen.pair for seen in answer.seen] == [True, False, False]
    assert [notes[0] for notes in answer.notes] == [f"{label} in B cells is made up" for label in ("A@0.5", "A@2", "A")]
    assert answer.conditions[0] == half, "as asked"
    by_label = engine.predict(make_request("A@0.50"))
    np.testing.assert_array_equal(by_label.delta[0], answer.delta[0])


def test_control_cells_of_another_scale_are_refused(known):
    """They are answered wrongly by some models and break others."""
    engine = Engine([ServedModel(name="known", model=dataclasses.replace(known, scale="log1p(counts per 10 000)"))])
    counts = make_controls([[0, 1, 2, 3], [0, 40, 0, 0]])
    says = r"controls\[0\].expression: .*counts per 10 000\) is at most 9.2\d+; the largest value of 'T cells' is 40. "
    with pytest.raises(InvalidRequestError, match=says):
        engine.predict(make_request(context="T cells", controls=counts, genes=GENES))
    alone = make_controls([[0, 9.21, 0, 0]])
    assert engine.predict(make_request(context="T cells", controls=alone, genes=GENES)).controls == ("request",)


def test_sampled_cells_count_towards_the_limit_of_the_reply(make_engine):
    # 1 condition x 4 genes x (8 bytes of delta + 100 cells x 4 bytes)
    engine = make_engine(limits=Limits(max_reply_bytes=1000))
    controls = make_controls([[1, 2, 3, 4]], "B cells")
    with pytest.raises(LimitError, match="this one would have 1632"):
        engine.predict(make_request("A", controls=controls, genes=GENES, wanted=Wanted(cells=100)))


def test_a_plan_keeps_its_model_when_others_are_served(make_engine, known):
    engine = make_engine()
    plan = engine.plan(make_request("A"))
    engine.serve([ServedModel(name="known", version="4", aliases=("champion",), model=known)])
    (rows,) = engine.answer(engine.slices(plan, size=10))
    assert engine.finish(plan, [rows]).version == "3"
    assert engine.predict(make_request("A")).version == "4"
    with pytest.raises(ValueError, match="at least one model"):
        engine.serve([])
    assert engine.predict(make_request("A")).version == "4", "a table that is refused changes nothing"


@pytest.mark.parametrize(
    "ref", [ModelRef("other"), ModelRef("known", version="4"), ModelRef("known", alias="beta")], ids=str
)
def test_an_unknown_model_lists_the_known(make_engine, ref):
    with pytest.raises(UnknownModelError, match=re.escape(f"{str(ref)!r} is not. Known: known/3@champion.")):
        make_engine().predict(make_request(model=ref))


@pytest.mark.parametrize(
    ("ref", "answers"),
    [
        (ModelRef("m"), "2"),
        (ModelRef("m", version="1"), "1"),
        (ModelRef("m", alias="beta"), "1"),
        (ModelRef("other"), "9"),
    ],
    ids=["champion", "version", "alias", "first-without-champion"],
)
def test_which_version_answers(known, ref, answers):
    engine = Engine(
        [
            ServedModel(name="m", version="1", aliases=("beta",), model=known),
            ServedModel(name="m", version="2", aliases=("champion",), model=known),
            ServedModel(name="other", version="9", model=known),
            ServedModel(name="other", version="10", model=known),
        ]
    )
    assert engine.predict(make_request(model=ref)).version == engine.describe(ref).version == answers


@pytest.mark.parametrize(
    ("second", "twice"), [({"version": "1"}, "version '1' twice"), ({"aliases": ("a",)}, "alias 'a' twice")]
)
def test_a_name_stands_for_one_model(known, second, twice):
    first = ServedModel(name="m", version="1", aliases=("a",), model=known)
    with pytest.raises(ValueError, match=twice):
        Engine([first, ServedModel(**{"name": "m", "version": "2", "model": known, **second})])


def test_an_engine_without_models_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        Engine([])


def test_description_has_what_a_harness_must_know(make_engine):
    info = make_engine(validation_metrics={"rmse": 0.25}).describe(ModelRef("known"))
    assert info.genes == GENES
    assert (info.gene_count, info.genes_sha256) == (4, schema.gene_list_hash(GENES))
    assert info.contexts == ("B cells", "NK cells")
    assert info.perturbations == ("A+B", "IFNB")
    assert info.inputs == ("perturbation", "context")
    assert info.interval_levels == (0.5, 0.9)
    assert info.stored_cells == {"B cells": 2}
    assert info.validation_metrics == {"rmse": 0.25}
    assert (info.dataset_hash, info.split) == ("d" * 64, "5" * 64)


def test_a_model_without_stored_controls_says_that_it_needs_them(known):
    engine = Engine([ServedModel(name="m", model=dataclasses.replace(known, control_means={}))])
    assert engine.describe(ModelRef("m")).inputs == ("perturbation", "context", "controls")


def test_a_model_is_asked_for_the_interval_levels_that_somebody_wants(make_engine, known):
    class Noting(Counting):
        def predict(self, conditions, *, control_means=None, levels=None):
            self.asked.append(levels)
            return self._model.predict(conditions, control_means=control_means, levels=levels)

    noting = Noting(known)
    engine = make_engine(model=noting)
    narrow, wide = (make_request("X", wanted=Wanted(interval_level=level)) for level in (0.5, 0.9))
    cells = make_request(controls=make_controls([[1, 2, 3, 4]], "B cells"), genes=GENES, wanted=Wanted(cells=2))
    answers = answer_together(engine, [make_request("X"), narrow, wide])
    answer_together(engine, [make_request("X")])
    answer_together(engine, [narrow, cells])
    assert noting.asked[:2] == [{0.5, 0.9}, set()]
    assert None in noting.asked[2:], "sampled cells choose among all levels"
    assert [answer.lower is None for answer in answers] == [True, False, False]
    np.testing.assert_array_equal(answers[1].upper - answers[1].lower, 0.25)
    np.testing.assert_array_equal(answers[2].upper - answers[2].lower, 0.5)
