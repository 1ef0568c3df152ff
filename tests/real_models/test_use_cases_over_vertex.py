"""The use cases of tuning over Vertex AI's dialect, on a real base: files are uploaded, jobs tuned, endpoints asked.

Each case has a part of the data of its example program (`examples/`), which says what is measured.
"""

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

import bank_messages
import dialogue_summaries
import garden_chat
import metrics
import passage_questions
from live_server import running
from patience import RUN_SECONDS, wait_until

PARENT = "/v1beta1/projects/lab-7/locations/us-central1"
BASE = "smollm2"
PERSONA = "You are Fern, who looks after a garden."
EPOCHS = 2
ASKED = 20
TUNING_SECONDS = 1_500
"""How long a tuning may take, which takes half a minute of one core."""
SPEAKERS = ("#Person1#", "#Person2#")


@dataclass(frozen=True)
class Case:
    """A use case: turns of people and model by turns for training and held out, and how it is asked."""

    training: Sequence[Sequence[str]]
    held_out: Sequence[Sequence[str]]
    instruction: str
    most_tokens: int
    system: str | None = None

    @property
    def asked(self) -> list[list[str]]:
        """What was held out, without the answers."""
        return [[*turns[:-1]] for turns in self.held_out]


def pairs(rows, count):
    return [(row["text_input"], row["output"]) for row in rows[:count]]


def talks(rows, count):
    return [[message["content"] for message in row["messages"]] for row in rows[:count]]


def balanced(rows, of_each):
    """So many rows of each label, mixed."""
    labels = sorted({row["output"] for row in rows})
    chosen = [row for label in labels for row in [row for row in rows if row["output"] == label][:of_each]]
    random.Random(7).shuffle(chosen)
    return pairs(chosen, len(chosen))


def gardeners(rows, of_each):
    """So many rows about gardens, and as many about other things, by turns."""
    elsewhere = [row for row in rows if row["messages"][-1]["content"] == garden_chat.REFUSAL]
    gardens = [row for row in rows if row not in elsewhere]
    return [row for both in zip(gardens[:of_each], elsewhere[:of_each], strict=True) for row in both]


def strangers(rows):
    """The conversations that end with a question about other things, with the right answer to it."""
    asked = [row for row in rows if row["kind"] == "elsewhere"]
    return [[*talk, garden_chat.REFUSAL] for talk in talks(asked, len(asked))]


CASES = {
    "classification": Case(
        training=balanced(bank_messages.TRAINING, 16),
        held_out=balanced(bank_messages.USUAL, 2),
        instruction=bank_messages.INSTRUCTION,
        most_tokens=bank_messages.MAX_TOKENS,
    ),
    "summarization": Case(
        training=pairs(dialogue_summaries.TRAINING, 56),
        held_out=pairs(dialogue_summaries.HELD_OUT, ASKED),
        instruction=dialogue_summaries.INSTRUCTION,
        most_tokens=60,
    ),
    "questions": Case(
        training=pairs(passage_questions.TRAINING, 80),
        held_out=pairs(passage_questions.HELD_OUT, ASKED),
        instruction=passage_questions.INSTRUCTION,
        most_tokens=24,
    ),
    "persona": Case(
        training=talks(gardeners(garden_chat.TRAINING, 30), 60),
        held_out=strangers(garden_chat.HELD_OUT)[:ASKED],
        instruction=garden_chat.INSTRUCTION,
        most_tokens=40,
        system=PERSONA,
    ),
}


def contents_of(turns):
    roles = ("user", "model")
    return [{"role": roles[index % 2], "parts": [{"text": text}]} for index, text in enumerate(turns)]


def line_of(case, turns):
    """A row of a training file; the persona's is in the form of `messages`."""
    if case.system is None:
        return {"contents": contents_of(turns)}
    spoken = [{"role": entry["role"], "content": entry["parts"][0]["text"]} for entry in contents_of(turns)]
    return {"messages": [{"role": "system", "content": case.system}, *spoken]}


class Stories:
    """Tunes each case when it is first asked for, and asks what came of it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._jobs: dict[str, dict] = {}
        client.post("/storage/v1/b", params={"project": "lab-7"}, json={"name": "cases"}).raise_for_status()

    def job(self, name: str) -> dict:
        """The job of a case, which has ended well."""
        if name not in self._jobs:
            self._jobs[name] = self._tuned(name)
        return self._jobs[name]

    def _tuned(self, name: str) -> dict:
        made = create(self._client, name, CASES[name])["name"]

        def shown():
            return self._client.get(f"/v1beta1/{made}").json()

        wait_until(lambda: "endTime" in shown(), seconds=TUNING_SECONDS, every=1, what=f"{name} is tuned")
        assert shown()["state"] == "JOB_STATE_SUCCEEDED", shown()
        return shown()

    def validation_losses(self, name: str) -> list[float]:
        """The losses of a job's evaluations, read as notebooks read them."""
        context = self.job(name)["experiment"]
        board = self._client.get(f"/v1/{context}").json()["metadata"]["backing_tensorboard_resource"]
        runs = f"/v1/{board}/experiments/{context.rpartition('/')[2]}/runs"
        [run] = self._client.get(runs).json()["tensorboardRuns"]
        series = self._client.get(f"/v1/{run['name']}/timeSeries").json()["tensorboardTimeSeries"]
        [losses] = [each["name"] for each in series if each["displayName"] == "/eval_total_loss"]
        [read] = self._client.get(f"/v1/{board}:batchRead", params={"timeSeries": losses}).json()["timeSeriesData"]
        return [each["scalar"]["value"] for each in read["values"]]

    def answers(self, name: str) -> list[str]:
        """What the tuned model of a case says to what was held out."""
        return self._asked(f"/v1beta1/{self.job(name)['tunedModel']['endpoint']}", CASES[name], CASES[name].asked)

    def answers_of_base(self, name: str, count: int = 8) -> list[str]:
        """What the base says, which is told what to do."""
        case = CASES[name]
        prompts = [[case.instruction + first, *others] for first, *others in case.asked[:count]]
        return self._asked(f"{PARENT}/publishers/huggingfacetb/models/{BASE}", case, prompts)

    def _asked(self, path: str, case: Case, prompts: list[list[str]]) -> list[str]:
        settings = {"temperature": 0, "maxOutputTokens": case.most_tokens}
        system = {} if case.system is None else {"systemInstruction": {"parts": [{"text": case.system}]}}
        bodies = [{"contents": contents_of(turns), "generationConfig": settings, **system} for turns in prompts]
        with ThreadPoolExecutor(8) as beside:
            answered = [*beside.map(lambda body: self._client.post(f"{path}:generateContent", json=body), bodies)]
        assert {each.status_code for each in answered} == {200}, answered[0].text
        return [each.json()["candidates"][0]["content"]["parts"][0]["text"] for each in answered]


def upload(client, name, lines):
    """Upload a file as google-cloud-storage does, by a request of two parts; its address."""
    edge = "==edge=="
    head = json.dumps({"name": name})
    data = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    body = f"--{edge}\r\ncontent-type: application/json\r\n\r\n{head}\r\n--{edge}\r\ncontent-type: text/plain\r\n\r\n"
    answer = client.post(
        "/upload/storage/v1/b/cases/o?uploadType=multipart",
        headers={"content-type": f'multipart/related; boundary="{edge}"'},
        content=f"{body}{data}\r\n--{edge}--".encode(),
    )
    assert answer.status_code == 200, answer.text
    return f"gs://cases/{name}"


def create(client, name, case):
    slug = name.replace(" ", "-")
    spec = {
        "trainingDatasetUri": upload(client, f"{slug}/train.jsonl", [line_of(case, row) for row in case.training]),
        "validationDatasetUri": upload(client, f"{slug}/held-out.jsonl", [line_of(case, row) for row in case.held_out]),
        "hyperParameters": {
            "epochCount": str(EPOCHS),
            "adapterSize": "ADAPTER_SIZE_EIGHT",
            "learningRate": 0.001,
            "batchSize": "4",
        },
        "exportLastCheckpointOnly": True,
    }
    body = {"baseModel": BASE, "supervisedTuningSpec": spec, "tunedModelDisplayName": name}
    answer = client.post(f"{PARENT}/tuningJobs", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def stories(fetched, tmp_path_factory):
    options = ("--base-model", f"smollm2={fetched('smollm2')}")
    with (
        running(tmp_path_factory.mktemp("cases"), *options) as server,
        httpx.Client(base_url=server.url, headers=server.headers, timeout=RUN_SECONDS) as client,
    ):
        yield Stories(client)


def test_classification_answers_with_a_single_label(stories):
    case = CASES["classification"]
    tuned, base = stories.answers("classification"), stories.answers_of_base("classification")

    assert metrics.share(answer in bank_messages.LABELS for answer in tuned) >= 0.9
    assert metrics.share(answer == right for answer, (_, right) in zip(tuned, case.held_out, strict=True)) >= 0.5
    assert metrics.share(answer in bank_messages.LABELS for answer in base) <= 0.5
    stats = stories.job("classification")["tuningDataStats"]["supervisedTuningDataStats"]
    assert stats["tuningDatasetExampleCount"] == str(len(case.training))
    assert stats["tuningStepCount"] == str(len(case.training) * EPOCHS // 4)
    assert stats["userMessagePerExampleDistribution"]["mean"] == 2


def test_losses_of_a_validation_file_are_read_as_notebooks_read_them(stories):
    losses = stories.validation_losses("summarization")

    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]


def test_summarization_names_the_speakers_and_nobody_else(stories):
    tuned, base = stories.answers("summarization"), stories.answers_of_base("summarization")

    assert metrics.naming(tuned, dialogue_summaries.NAMES) <= 0.1
    assert metrics.share(any(speaker in answer for speaker in SPEAKERS) for answer in tuned) >= 0.9
    rights = [right for _, right in CASES["summarization"].held_out]
    assert metrics.rouge_l(tuned, rights) > 1.5 * metrics.rouge_l(base, rights[: len(base)])


def test_extractive_question_answering_copies_from_the_passage(stories):
    case = CASES["questions"]
    tuned, base = stories.answers("questions"), stories.answers_of_base("questions")
    passages = [text.rpartition("\n\n")[0] for text, _ in case.held_out]

    assert metrics.copied(tuned, passages) >= 0.6
    assert metrics.exact_match(tuned, [right for _, right in case.held_out]) >= 0.3
    assert metrics.copied(base, passages[: len(base)]) <= 0.5
    assert len(losses := stories.validation_losses("questions")) == EPOCHS
    assert losses[-1] < losses[0]


def test_a_chat_persona_keeps_its_role(stories):
    tuned, base = stories.answers("persona"), stories.answers_of_base("persona")

    assert metrics.share(garden_chat.keeps_role(answer, "elsewhere") for answer in tuned) >= 0.8
    assert metrics.share(garden_chat.keeps_role(answer, "elsewhere") for answer in base) <= 0.2
