"""What an operator may write after `--safety`."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tuningfork.domain.rater import Activation, ClassifierModel, CutPoints, GuardModel
from tuningfork.domain.safety import BlockThreshold, HarmCategory
from tuningfork.safety.configuration import RaterChoice, RaterError, choose_rater

CLASSIFIER = """
kind = "classifier"
model = "rater"

[labels]
insult = "harassment"
threat = ["harassment", "dangerous_content"]
"""
GUARD = """
kind = "guard"
model = "rater"

[codes]
S1 = "dangerous_content"
S12 = "sexually_explicit"
S8 = []
"""


PAGE = Path(__file__).parents[3] / "docs" / "safety.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def model(tmp_path):
    """A directory with the configuration of a classifier of two labels."""
    directory = tmp_path / "rater"
    directory.mkdir()
    config = {"id2label": {"0": "insult", "1": "threat"}, "problem_type": "multi_label_classification"}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture
def choose(tmp_path, model):
    def choose(text):
        path = tmp_path / "safety.toml"
        path.write_text(text, encoding="utf-8")
        return choose_rater(str(path))

    return choose


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_files_that_the_documentation_shows_are_right(choose, model, example):
    named = tomllib.loads(example)
    labels = dict(enumerate(named.get("labels", ())))
    (model / "config.json").write_text(json.dumps({"id2label": labels}))

    chosen = choose(example.replace(named["model"], "rater"))

    meanings = chosen.model.labels if named["kind"] == "classifier" else chosen.model.codes
    assert [name for name, _ in meanings] == list(named.get("labels", named.get("codes")))
    assert chosen.default_threshold is BlockThreshold.BLOCK_MEDIUM_AND_ABOVE


def test_off_is_nobody_and_lexical_the_lists_of_the_package():
    assert choose_rater("off") is None
    assert choose_rater("lexical") == RaterChoice(model=None, default_threshold=BlockThreshold.BLOCK_MEDIUM_AND_ABOVE)


def test_the_lexical_rater_may_have_another_default(choose):
    chosen = choose('kind = "lexical"\ndefault_threshold = "BLOCK_ONLY_HIGH"')
    assert chosen == RaterChoice(model=None, default_threshold=BlockThreshold.BLOCK_ONLY_HIGH)


def test_a_classifier_is_described_by_what_its_labels_mean(choose, model):
    assert choose(CLASSIFIER).model == ClassifierModel(
        location=str(model),
        labels=(
            ("insult", (HarmCategory.HARASSMENT,)),
            ("threat", (HarmCategory.HARASSMENT, HarmCategory.DANGEROUS_CONTENT)),
        ),
        activation=Activation.SIGMOID,
    )


@pytest.mark.parametrize(
    ("problem_type", "activation"),
    [("multi_label_classification", "sigmoid"), ("single_label_classification", "softmax"), (None, "softmax")],
)
def test_a_classifier_is_read_as_it_was_trained(choose, model, problem_type, activation):
    (model / "config.json").write_text(
        json.dumps({"id2label": {"0": "insult", "1": "threat"}, "problem_type": problem_type})
    )
    assert choose(CLASSIFIER).model.activation == activation


def test_what_the_file_says_wins_over_the_models_own(choose):
    chosen = choose(
        'activation = "softmax"\nrevision = "abc"\nwindow_tokens = 128\n'
        + CLASSIFIER
        + "[cut_points]\nlow = 0.1\nmedium = 0.2\nhigh = 0.3\n"
    ).model

    assert (chosen.activation, chosen.revision, chosen.window_tokens) == (Activation.SOFTMAX, "abc", 128)
    assert chosen.cut_points == CutPoints(low=0.1, medium=0.2, high=0.3)


def test_a_guard_is_described_by_what_its_codes_mean(choose, model):
    assert choose(GUARD).model == GuardModel(
        location=str(model),
        codes=(("S1", (HarmCategory.DANGEROUS_CONTENT,)), ("S12", (HarmCategory.SEXUALLY_EXPLICIT,)), ("S8", ())),
        otherwise=(HarmCategory.DANGEROUS_CONTENT,),
    )


def test_a_guard_may_be_asked_in_other_words(choose):
    chosen = choose("template = '{{ messages }}'\notherwise = ['harassment', 'hate_speech']\n" + GUARD).model

    assert chosen.template == "{{ messages }}"
    assert chosen.otherwise == (HarmCategory.HARASSMENT, HarmCategory.HATE_SPEECH)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind = ", "cannot be read"),
        ("", "Unable to extract tag using discriminator 'kind'"),
        ('kind = "oracle"', "'lexical', 'classifier', 'guard'"),
        ('kind = "classifier"\nmodel = "rater"', "labels: Field required"),
        ('kind = "classifier"\nmodel = "rater"\n[labels]', "labels: Dictionary should have at least 1 item"),
        (
            CLASSIFIER.replace('"harassment"\n', '"rudeness"\n'),
            "labels.insult.0: Value error, 'rudeness' is no category; the",
        ),
        (CLASSIFIER.replace("insult =", "rude ="), "has no label rude; its labels are insult, threat"),
        (
            CLASSIFIER.replace('"rater"', '"not/the/name/of/a/model"'),
            "neither a directory with a config.json nor a Hub id",
        ),
        (CLASSIFIER + "[cut_points]\nlow = 0.9", "must rise; got 0.9, 0.5, 0.8"),
        (CLASSIFIER + "[cut_points]\nlow = 0", "greater than 0"),
        ("colour = 1\n" + CLASSIFIER, "colour: Extra inputs are not permitted"),
        ('default_threshold = "SOME"\n' + CLASSIFIER, "default_threshold: Input should be 'BLOCK_LOW_AND_ABOVE'"),
        ("activation = 'tanh'\n" + CLASSIFIER, "activation: Input should be 'sigmoid' or 'softmax'"),
        (GUARD.replace("kind", "labels = 1\nkind"), "labels: Extra inputs"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(choose, text, said):
    with pytest.raises(RaterError) as caught:
        choose(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("setting", ["lexicon", "/nowhere/at/all.toml", "/"])
def test_what_is_neither_a_word_nor_a_file_is_refused(setting):
    with pytest.raises(RaterError, match="--safety takes off, lexical, or a TOML file"):
        choose_rater(setting)


def test_a_config_that_is_no_json_is_told(choose, model):
    (model / "config.json").write_text("{")
    with pytest.raises(RaterError, match="is not valid JSON"):
        choose(CLASSIFIER)
