"""Safety over HTTP: what is rated, what is withheld, and how both are told."""

import json
import threading
from dataclasses import replace

import pytest

from caller import caller_of, turn
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.rater import Activation, ClassifierModel
from tuningfork.domain.safety import BlockThreshold, HarmCategory
from tuningfork.safety.lexical import LexicalRater
from tuningfork.service.answering.model_rater import ModelRater
from tuningfork.service.quotas import Budget, Quotas
from tuningfork.wire.gemini.names import tuned_name
from workshop import ADA, BOB, number_request, with_rater

BASE = "/v1beta/models/echo-001"
SAID = {
    "NEGLIGIBLE": "Good morning to you.",
    "LOW": "What an idiot.",
    "MEDIUM": "You are an idiot.",
    "HIGH": "I will kill you.",
}
"""Texts by how likely they are harassment in the eyes of the lexical rater."""

BLOCKED_BY = {
    "BLOCK_LOW_AND_ABOVE": {"LOW", "MEDIUM", "HIGH"},
    "BLOCK_MEDIUM_AND_ABOVE": {"MEDIUM", "HIGH"},
    "BLOCK_ONLY_HIGH": {"HIGH"},
    "BLOCK_NONE": set(),
    "OFF": set(),
}
ORDER = [category.value for category in HarmCategory]
HARASSMENT = "HARM_CATEGORY_HARASSMENT"
TYPES = "type.googleapis.com/google.ai.generativelanguage.v1beta"
GEMINI_ONLY = (
    "element predicate failed: $.category in (HarmCategory.HARM_CATEGORY_HATE_SPEECH, "
    "HarmCategory.HARM_CATEGORY_SEXUALLY_EXPLICIT, HarmCategory.HARM_CATEGORY_DANGEROUS_CONTENT, "
    "HarmCategory.HARM_CATEGORY_HARASSMENT, HarmCategory.HARM_CATEGORY_CIVIC_INTEGRITY)"
)


@pytest.fixture
def rated(workshop):
    """A caller of a server with the lexical rater."""
    return caller_of(with_rater(workshop, LexicalRater()))


@pytest.fixture
def speaker(rated):
    """The path of a tuned model that answers each name of a probability with a text of this probability."""
    examples = (*(Conversation.pair(name, text) for name, text in SAID.items()), Conversation.pair("long", LONG))
    tuned = rated.workshop.tuning.create(ADA, number_request(examples=examples))
    rated.workshop.advance()
    return f"/v1beta/{tuned_name(tuned.model.id)}"


LONG = "This begins well and goes on for a while. Then you are an idiot and more of it follows."


def body(text, *settings, **config):
    wanted = [{"category": category, "threshold": threshold} for category, threshold in settings]
    return {
        "contents": [turn(text)],
        **({"safetySettings": wanted} if wanted else {}),
        **({"generationConfig": config} if config else {}),
    }


def all_at(threshold):
    return [(category, threshold) for category in ORDER]


def rating(category, probability="NEGLIGIBLE", *, blocked=False):
    return {"category": category, "probability": probability, **({"blocked": True} if blocked else {})}


def ratings(harassment="NEGLIGIBLE", *, blocked=False):
    return [rating(each, harassment, blocked=blocked) if each == HARASSMENT else rating(each) for each in ORDER]


def text_of(answer):
    return "".join(part["text"] for part in answer["candidates"][0]["content"]["parts"])


class TestOff:
    def test_nothing_is_rated_and_nothing_is_said_of_harm(self, caller):
        answer = caller.post(f"{BASE}:generateContent", body(SAID["HIGH"], *all_at("BLOCK_LOW_AND_ABOVE"))).json()

        assert text_of(answer) == SAID["HIGH"]
        assert "safetyRatings" not in answer["candidates"][0]
        assert "promptFeedback" not in answer

    @pytest.mark.parametrize("category", ["HARM_CATEGORY_CIVIC_INTEGRITY", 11])
    def test_a_category_that_nobody_rates_is_taken(self, caller, category):
        assert caller.post(f"{BASE}:generateContent", body("x", (category, "BLOCK_LOW_AND_ABOVE"))).is_success


class TestSettings:
    """Checked alike with a rater and without."""

    @pytest.fixture(params=[False, True], ids=["off", "lexical"])
    def either(self, request, workshop):
        return caller_of(with_rater(workshop, LexicalRater()) if request.param else workshop)

    @pytest.mark.parametrize("category", ["HARM_CATEGORY_TOXICITY", "HARM_CATEGORY_MEDICAL", 0, "4"])
    def test_categories_that_gemini_models_lack_are_refused_in_the_words_of_the_original(self, either, category):
        answer = either.post(
            f"{BASE}:generateContent", body("x", (HARASSMENT, "OFF"), (category, "OFF"), (category, "BLOCK_NONE"))
        )

        assert answer.status_code == 400
        assert answer.json()["error"] == {
            "code": 400,
            "message": f"* GenerateContentRequest.safety_settings[1]: {GEMINI_ONLY}\n"
            f"* GenerateContentRequest.safety_settings[2]: {GEMINI_ONLY}\n",
            "status": "INVALID_ARGUMENT",
        }

    @pytest.mark.parametrize(
        ("setting", "field", "said"),
        [
            ({"category": HARASSMENT}, "safety_settings[0].threshold", "got HARM_BLOCK_THRESHOLD_UNSPECIFIED"),
            ({"category": HARASSMENT, "threshold": 0}, "safety_settings[0].threshold", "BLOCK_ONLY_HIGH, BLOCK_NONE"),
            (
                {"category": HARASSMENT, "threshold": "BLOCK_SOME"},
                "safety_settings[0].threshold",
                f"'safety_settings[0].threshold' ({TYPES}.SafetySetting.HarmBlockThreshold), \"BLOCK_SOME\"",
            ),
            (
                {"category": "HARM_CATEGORY_RUDENESS", "threshold": "OFF"},
                "safety_settings[0].category",
                f"'safety_settings[0].category' ({TYPES}.HarmCategory), \"HARM_CATEGORY_RUDENESS\"",
            ),
        ],
    )
    def test_a_setting_that_says_nothing_known_is_refused_by_its_path(self, either, setting, field, said):
        error = either.post(f"{BASE}:generateContent", {"contents": [turn("x")], "safetySettings": [setting]})

        assert error.status_code == 400
        assert said in error.json()["error"]["message"]
        assert [v["field"] for d in error.json()["error"]["details"] for v in d["fieldViolations"]] == [field]

    def test_a_category_has_one_setting(self, either):
        error = either.post(f"{BASE}:generateContent", body("x", (HARASSMENT, "OFF"), (7, "BLOCK_NONE"))).json()

        assert error["error"]["message"] == (
            "* GenerateContentRequest.safety_settings[1].category: HARM_CATEGORY_HARASSMENT has a setting already, at "
            "safety_settings[0]; send one for each category\n"
        )

    @pytest.mark.parametrize(
        "settings",
        [[], [{"category": 7, "threshold": 4}], [{"category": "harm_category_harassment", "threshold": "off"}]],
    )
    def test_what_sdks_send_is_taken(self, either, settings):
        assert either.post(f"{BASE}:generateContent", {"contents": [turn("x")], "safetySettings": settings}).is_success


def test_every_threshold_withholds_every_probability_from_its_own_on(rated, speaker):
    expected, got = {}, {}
    for threshold, withheld in BLOCKED_BY.items():
        others = [(category, "OFF") for category in ORDER if category != HARASSMENT]
        for probability, text in SAID.items():
            prompt = rated.post(f"{BASE}:generateContent", body(text, (HARASSMENT, threshold), *others)).json()
            answer = rated.post(
                f"{speaker}:generateContent", body(probability, (HARASSMENT, threshold), *others)
            ).json()
            (candidate,) = answer["candidates"]
            got[threshold, probability] = (
                prompt.get("promptFeedback", {}).get("blockReason"),
                candidate["finishReason"],
                "content" in candidate,
                candidate.get("safetyRatings"),
            )
            blocked = probability in withheld
            expected[threshold, probability] = (
                "SAFETY" if blocked else None,
                "SAFETY" if blocked else "STOP",
                not blocked,
                None if threshold == "OFF" else [rating(HARASSMENT, probability, blocked=blocked)],
            )

    assert got == expected


class TestPrompt:
    def test_a_harmful_prompt_is_answered_without_candidates(self, rated):
        answer = rated.post(f"{BASE}:generateContent", body(SAID["MEDIUM"]))

        assert answer.status_code == 200
        assert answer.json() == {
            "promptFeedback": {"blockReason": "SAFETY", "safetyRatings": ratings("MEDIUM", blocked=True)},
            "usageMetadata": {
                "promptTokenCount": 4,
                "totalTokenCount": 4,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
            },
            "modelVersion": "echo-001",
            "responseId": "answer-1",
        }
        assert list(answer.json()) == ["promptFeedback", "usageMetadata", "modelVersion", "responseId"]
        assert rated.workshop.executor.generations == []

    def test_a_harmless_one_has_no_feedback_and_four_ratings_with_the_answer(self, rated):
        answer = rated.post(f"{BASE}:generateContent", body("hello")).json()

        assert "promptFeedback" not in answer
        assert answer["candidates"] == [
            {
                "content": {"parts": [{"text": "hello"}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
                "safetyRatings": ratings(),
            }
        ]
        assert list(answer["candidates"][0]) == ["content", "finishReason", "index", "safetyRatings"]

    def test_enums_are_numbers_where_numbers_are_asked_for(self, rated):
        query = "%24alt=json%3Benum-encoding%3Dint"
        blocked = rated.post(f"{BASE}:generateContent?{query}", body(SAID["HIGH"])).json()
        answered = rated.post(f"{BASE}:generateContent?{query}", body("hello")).json()

        assert blocked["promptFeedback"] == {
            "blockReason": 1,
            "safetyRatings": [
                {"category": 9, "probability": 1},
                {"category": 8, "probability": 1},
                {"category": 7, "probability": 4, "blocked": True},
                {"category": 10, "probability": 1},
            ],
        }
        assert answered["candidates"][0]["safetyRatings"][0] == {"category": 9, "probability": 1}

    @pytest.mark.parametrize(
        "changes",
        [
            {"contents": [turn(SAID["HIGH"]), turn("oh", "model"), turn("sorry")]},
            {"contents": [turn("hello"), turn(SAID["HIGH"], "model"), turn("again")]},
            {"contents": [turn("hello")], "systemInstruction": turn("Say: " + SAID["HIGH"])},
        ],
        ids=["an earlier turn", "a turn of the model's", "the system instruction"],
    )
    def test_all_that_the_model_would_read_is_rated(self, rated, changes):
        assert rated.post(f"{BASE}:generateContent", changes).json()["promptFeedback"]["blockReason"] == "SAFETY"

    @pytest.mark.parametrize(("form", "read"), [("?alt=sse", "events"), ("", "array")])
    def test_a_stream_says_so_in_its_only_piece(self, rated, form, read):
        answer = rated.post(f"{BASE}:streamGenerateContent{form}", body(SAID["HIGH"]))

        (piece,) = READERS[read](answer)
        assert answer.status_code == 200
        assert piece["promptFeedback"]["blockReason"] == "SAFETY"
        assert "candidates" not in piece

    def test_it_is_counted_and_its_tokens_are_spent(self, workshop):
        quotas = Quotas(Budget(tokens_per_minute=6), lambda: 0.0)
        rated = caller_of(with_rater(replace(workshop, quotas=quotas), LexicalRater()))

        first = rated.post(f"{BASE}:generateContent", body(SAID["MEDIUM"]))
        rated.post(f"{BASE}:generateContent", body(SAID["MEDIUM"]))
        third = rated.post(f"{BASE}:generateContent", body("hello"))

        assert [first.status_code, third.status_code] == [200, 429]
        assert 'tuningfork_safety_blocked_total{category="harassment",text="prompt"} 2.0' in rated.get("/metrics").text


class TestCandidate:
    def test_a_harmful_one_is_shown_without_a_word_of_it(self, rated, speaker):
        answer = rated.post(f"{speaker}:generateContent", body("long"))

        assert answer.json()["candidates"] == [
            {"finishReason": "SAFETY", "index": 0, "safetyRatings": ratings("MEDIUM", blocked=True)}
        ]
        assert "idiot" not in answer.text
        assert "begins well" not in answer.text
        assert "promptFeedback" not in answer.json()

    def test_its_generation_ends_with_it(self, rated, speaker):
        answer = rated.post(f"{speaker}:generateContent", body("long", candidateCount=2)).json()

        assert [each["finishReason"] for each in answer["candidates"]] == ["SAFETY", "SAFETY"]
        assert rated.workshop.executor.unwanted_candidates == [0, 1]
        # The fourteenth word of seventeen shows what it is.
        assert answer["usageMetadata"]["candidatesTokenCount"] == 2 * 14
        assert (
            'tuningfork_safety_blocked_total{category="harassment",text="candidate"} 2.0' in rated.get("/metrics").text
        )

    def test_the_operators_default_holds_where_the_caller_says_nothing(self, workshop):
        strict = caller_of(with_rater(workshop, LexicalRater(), default_threshold=BlockThreshold.BLOCK_LOW_AND_ABOVE))
        assert "candidates" not in strict.post(f"{BASE}:generateContent", body(SAID["LOW"])).json()

    def test_without_one_it_is_medium_and_above(self, rated):
        assert rated.post(f"{BASE}:generateContent", body(SAID["LOW"])).json()["candidates"]
        assert "candidates" not in rated.post(f"{BASE}:generateContent", body(SAID["MEDIUM"])).json()


def read_events(answer):
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\r\n\r\n") if line]


READERS = {"events": read_events, "array": lambda answer: answer.json()}


@pytest.mark.parametrize(("form", "read"), [("?alt=sse", "events"), ("", "array")])
class TestStream:
    def test_every_piece_is_rated_before_it_is_sent(self, rated, speaker, form, read):
        *pieces, last = READERS[read](rated.post(f"{speaker}:streamGenerateContent{form}", body("long")))

        assert (
            "".join(text_of(piece) for piece in pieces) == "This begins well and goes on for a while. Then you are an "
        )
        assert all(piece["candidates"][0]["safetyRatings"] == ratings() for piece in pieces)
        assert last["candidates"] == [
            {"finishReason": "SAFETY", "index": 0, "safetyRatings": ratings("MEDIUM", blocked=True)}
        ]
        assert rated.workshop.executor.unwanted_candidates == [0]

    def test_a_harmless_text_comes_whole(self, rated, form, read):
        text = "Drop me a line. I'll see you at the b.o.m.b.e. shelter, she said, and d r o p"
        pieces = READERS[read](rated.post(f"{BASE}:streamGenerateContent{form}", body(text)))

        assert "".join(text_of(piece) for piece in pieces) == text
        assert pieces[-1]["candidates"][0]["finishReason"] == "STOP"
        assert len(pieces) > 10


class TestOffCategories:
    def test_a_category_that_is_off_has_no_rating(self, rated):
        answer = rated.post(f"{BASE}:generateContent", body(SAID["HIGH"], (HARASSMENT, "OFF"))).json()

        assert text_of(answer) == SAID["HIGH"]
        assert [each["category"] for each in answer["candidates"][0]["safetyRatings"]] == [
            each for each in ORDER if each != HARASSMENT
        ]

    def test_where_all_are_off_nobody_looks(self, caller_with_model):
        answer = caller_with_model.post(f"{BASE}:generateContent", body("an insult", *all_at("OFF"))).json()

        assert "safetyRatings" not in answer["candidates"][0]
        assert caller_with_model.workshop.executor.ratings == []


class TestUnratedCategory:
    def test_a_threshold_that_could_not_be_kept_is_refused(self, rated):
        civic = ("HARM_CATEGORY_CIVIC_INTEGRITY", "BLOCK_MEDIUM_AND_ABOVE")
        error = rated.post(f"{BASE}:generateContent", body("x", (HARASSMENT, "OFF"), civic)).json()["error"]

        assert error["status"] == "INVALID_ARGUMENT"
        assert error["message"].startswith(
            "* GenerateContentRequest.safety_settings[1].category: no text is rated for HARM_CATEGORY_CIVIC_INTEGRITY"
        )
        assert error["details"][0]["fieldViolations"][0]["field"] == "safety_settings[1].category"

    @pytest.mark.parametrize("threshold", ["BLOCK_NONE", "OFF"])
    def test_one_that_withholds_nothing_is_taken(self, rated, threshold):
        assert rated.post(f"{BASE}:generateContent", body("x", ("HARM_CATEGORY_CIVIC_INTEGRITY", threshold))).is_success


@pytest.fixture
def caller_with_model(workshop):
    """A caller of a server whose rater is a model that sees an insult where it reads the word."""
    model = ClassifierModel(
        location="anywhere", labels=(("insult", (HarmCategory.HARASSMENT,)),), activation=Activation.SIGMOID
    )
    return caller_of(with_rater(workshop, ModelRater(workshop.executor, model, workshop.metrics)))


class TestModel:
    def test_prompts_are_rated_by_it(self, caller_with_model):
        answer = caller_with_model.post(f"{BASE}:generateContent", body("an insult")).json()
        assert answer["promptFeedback"]["safetyRatings"] == ratings("HIGH", blocked=True)

    def test_prompts_and_answers_are_rated_on_behalf_of_whoever_asks(self, caller_with_model):
        for key in (caller_with_model.key, caller_with_model.bobs_key):
            caller_with_model.post(f"{BASE}:generateContent", body("hello"), key=key)
        owners = [each.owner for each in caller_with_model.workshop.executor.ratings]
        assert owners == [ADA.email, ADA.email, BOB.email, BOB.email]

    def test_a_rater_that_died_is_asked_again(self, caller_with_model):
        caller_with_model.workshop.executor.break_rating()
        assert text_of(caller_with_model.post(f"{BASE}:generateContent", body("hello")).json()) == "hello"

    @pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"])
    def test_without_a_rating_no_text_passes(self, caller_with_model, method):
        caller_with_model.workshop.executor.break_rating(times=2)

        answer = caller_with_model.post(f"{BASE}:{method}", body("hello"))

        assert answer.status_code == 503
        assert "could not be rated" in answer.json()["error"]["message"]
        assert answer.json()["error"]["status"] == "UNAVAILABLE"
        assert "hello" not in answer.text

    def test_a_rater_that_fails_on_the_way_ends_the_stream_with_an_error(self, caller_with_model):
        text = "word " * 40
        executor = caller_with_model.workshop.executor
        gate = executor.hold_generation(before_chunk=30)

        # The prompt and the first eighty characters are rated; then the rater dies for good.
        def break_when_reached():
            gate.wait_until_reached()
            executor.break_rating(times=2)
            gate.open()

        breaking = threading.Thread(target=break_when_reached)
        breaking.start()
        answer = caller_with_model.post(f"{BASE}:streamGenerateContent?alt=sse", body(text))
        breaking.join()

        *pieces, last = read_events(answer)
        assert "".join(text_of(piece) for piece in pieces) == "word " * 16
        assert last["error"]["status"] == "UNAVAILABLE"

    def test_where_nothing_would_be_withheld_a_text_passes_unrated(self, caller_with_model):
        caller_with_model.workshop.executor.break_rating(times=4)

        answer = caller_with_model.post(f"{BASE}:generateContent", body("hello", *all_at("BLOCK_NONE"))).json()

        assert text_of(answer) == "hello"
        assert "safetyRatings" not in answer["candidates"][0]


class TestGenerateText:
    """The PaLM generation's method, with its own categories."""

    def ask(self, caller, text, *settings, path=BASE, **fields):
        wanted = [{"category": category, "threshold": threshold} for category, threshold in settings]
        return caller.post(f"{path}:generateText", {"prompt": {"text": text}, "safetySettings": wanted, **fields})

    def test_candidates_are_rated_in_palms_categories(self, rated):
        answer = self.ask(rated, SAID["LOW"]).json()

        assert answer == {
            "candidates": [
                {
                    "output": SAID["LOW"],
                    "safetyRatings": [
                        rating("HARM_CATEGORY_DEROGATORY"),
                        rating("HARM_CATEGORY_TOXICITY", "LOW"),
                        rating("HARM_CATEGORY_SEXUAL"),
                        rating("HARM_CATEGORY_DANGEROUS"),
                    ],
                }
            ]
        }

    def test_a_withheld_prompt_is_told_with_the_setting_that_withheld_it(self, rated):
        answer = self.ask(rated, SAID["LOW"], ("HARM_CATEGORY_TOXICITY", "BLOCK_LOW_AND_ABOVE")).json()

        assert answer == {
            "filters": [{"reason": "SAFETY"}],
            "safetyFeedback": [
                {
                    "rating": rating("HARM_CATEGORY_TOXICITY", "LOW", blocked=True),
                    "setting": {"category": "HARM_CATEGORY_TOXICITY", "threshold": "BLOCK_LOW_AND_ABOVE"},
                }
            ],
        }

    def test_categories_of_gemini_are_taken_too(self, rated):
        assert "candidates" in self.ask(rated, SAID["HIGH"], (HARASSMENT, "BLOCK_NONE")).json()

    def test_one_kind_of_harm_by_two_names_has_two_settings(self, rated):
        answer = self.ask(rated, "x", (HARASSMENT, "OFF"), ("HARM_CATEGORY_TOXICITY", "OFF"))
        assert answer.status_code == 400
        assert "has a setting already" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("category", ["HARM_CATEGORY_VIOLENCE", "HARM_CATEGORY_MEDICAL"])
    def test_what_nobody_rates_is_refused_only_where_it_would_matter(self, rated, category):
        assert self.ask(rated, "x", (category, "BLOCK_NONE")).is_success
        error = self.ask(rated, "x", (category, "BLOCK_ONLY_HIGH")).json()["error"]
        assert error["message"].startswith("* GenerateTextRequest.safety_settings[0].category: no text is rated for")


def test_tokens_are_counted_of_any_prompt(rated):
    assert rated.post(f"{BASE}:countTokens", {"contents": [turn(SAID["HIGH"])]}).json()["totalTokens"] == 4
