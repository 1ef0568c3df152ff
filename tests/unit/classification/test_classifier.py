"""Text classifiers of three architectures, whose answers are known."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from rating_models import CLASSIFIERS, WINDOW, save_classifier
from tuningfork.classification.base import load_rater
from tuningfork.classification.loading import RaterUnusable
from tuningfork.domain.conversation import Speaker
from tuningfork.domain.errors import InternalError
from tuningfork.domain.rater import Activation, ClassifierModel, CutPoints, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, HarmCategory, HarmProbability

HARASSMENT, DANGEROUS, EXPLICIT = (
    HarmCategory.HARASSMENT,
    HarmCategory.DANGEROUS_CONTENT,
    HarmCategory.SEXUALLY_EXPLICIT,
)
HIGH = HarmProbability.HIGH


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    return {kind: save_classifier(kind, tmp_path_factory.mktemp(kind)) for kind in CLASSIFIERS}


@pytest.fixture
def described(directories):
    """The BERT, described as usual."""
    return describe(directories["bert"])


def describe(directory, **changes):
    usual = ClassifierModel(
        location=str(directory),
        labels=(("insult", (HARASSMENT,)), ("threat", (HARASSMENT, DANGEROUS)), ("porn", (EXPLICIT,))),
        activation=Activation.SIGMOID,
    )
    return replace(usual, **changes)


def rate(described, *texts):
    passages = [Passage(text=text, speaker=Speaker.USER) for text in texts]
    return load_rater(described).rate(passages)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_every_text_of_a_batch_is_what_its_words_are(directories, kind):
    assert rate(
        describe(directories[kind]),
        "some harmless words of no meaning at all",
        "an insulting word",
        "threatening",
        "",
        "pornographic and insulting",
    ) == [
        HARMLESS,
        Assessment.of({HARASSMENT: HIGH}),
        Assessment.of({HARASSMENT: HIGH, DANGEROUS: HIGH}),
        HARMLESS,
        Assessment.of({EXPLICIT: HIGH, HARASSMENT: HIGH}),
    ]


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("place", [0, 27, 28, 29, 30, 31, 60, 199])
def test_a_long_text_is_rated_to_its_last_word(directories, kind, place):
    words = ["word"] * 200
    words[place] = "insulting"

    assert rate(describe(directories[kind]), " ".join(words)) == [Assessment.of({HARASSMENT: HIGH})]


def test_the_longest_prompt_is_rated_in_pieces(described):
    assert rate(described, "word " * 32_000 + "insulting") == [Assessment.of({HARASSMENT: HIGH})]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((("insult", (HARASSMENT,)), ("threat", (HARASSMENT,))), {HARASSMENT: HIGH}),
        (
            (("insult", (HARASSMENT,)), ("threat", (DANGEROUS,))),
            {HARASSMENT: HarmProbability.LOW, DANGEROUS: HarmProbability.LOW},
        ),
    ],
)
def test_labels_that_exclude_each_other_share_their_probability(described, labels, expected):
    shared = replace(described, labels=labels, activation=Activation.SOFTMAX)

    assert rate(shared, "insulting threatening") == [Assessment.of(expected)]


def test_cut_points_say_what_a_score_is_called(described):
    # A word takes the score of its label to 0.9975, and its absence to 0.0025.
    strict = replace(described, cut_points=CutPoints(low=0.001, medium=0.9, high=0.999))

    assert rate(strict, "insulting")[0].probabilities == (
        HarmProbability.LOW,
        HarmProbability.NEGLIGIBLE,
        HarmProbability.MEDIUM,
        HarmProbability.LOW,
    )


def test_names_of_control_tokens_in_a_text_are_text(described):
    assert rate(described, "[SEP] [PAD] insulting [CLS]") == [Assessment.of({HARASSMENT: HIGH})]


def test_a_model_without_a_padding_token_rates_one_by_one(tmp_path):
    directory = save_classifier("bert", tmp_path, padding=False)

    assert rate(describe(directory), "a b c d", "insulting", "c") == [
        HARMLESS,
        Assessment.of({HARASSMENT: HIGH}),
        HARMLESS,
    ]


def test_a_smaller_window_than_the_models_is_kept(described):
    assert rate(replace(described, window_tokens=8), "word " * 50 + "insulting") == [Assessment.of({HARASSMENT: HIGH})]


class TestRefusals:
    def refused(self, described):
        with pytest.raises(RaterUnusable) as caught:
            load_rater(described)
        return caught.value.message

    def test_a_label_that_the_model_does_not_have(self, described):
        wrong = replace(described, labels=(("rude", (HARASSMENT,)),))
        assert "no label 'rude'; its labels are harmless, insult, porn, threat" in self.refused(wrong)

    def test_a_directory_that_is_not_there(self, described, tmp_path):
        assert "could not be loaded" in self.refused(replace(described, location=str(tmp_path / "nothing")))

    def test_pickled_weights(self, described, directories, tmp_path):
        directory = save_classifier("bert", tmp_path)
        (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
        assert "Pickled weights" in self.refused(replace(described, location=str(directory)))

    def test_a_model_that_was_never_trained_to_classify(self, described, tmp_path):
        save_classifier("bert", tmp_path)
        BertModel(
            BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
        ).save_pretrained(tmp_path)
        message = self.refused(replace(described, location=str(tmp_path)))
        assert "lacks 2 of the weights of a BertForSequenceClassification" in message
        assert "random numbers" in message

    def test_a_window_that_holds_no_text(self, described):
        assert "window_tokens" in self.refused(replace(described, window_tokens=4))

    def test_a_model_with_fewer_positions_than_it_says(self, described, tmp_path):
        directory = save_classifier("roberta", tmp_path)
        tokenizer = directory / "tokenizer_config.json"
        tokenizer.write_text(tokenizer.read_text().replace(f'"model_max_length": {WINDOW}', '"model_max_length": 34'))
        message = self.refused(replace(described, location=str(directory)))
        assert "cannot take 34 tokens at once" in message


def test_numbers_that_are_none_are_not_taken_for_harmless(described, tmp_path):
    directory = save_classifier("bert", tmp_path)
    rater = load_rater(replace(described, location=str(directory)))
    weights = load_file(directory / "model.safetensors")
    weights["classifier.bias"] = torch.full_like(weights["classifier.bias"], float("nan"))
    save_file(weights, directory / "model.safetensors", {"format": "pt"})

    with pytest.raises(InternalError, match="not finite"):
        load_rater(replace(described, location=str(directory)))
    assert rater.rate([Passage(text="fine", speaker=Speaker.USER)]) == [HARMLESS]
