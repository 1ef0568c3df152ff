"""The client against a network that is a function: what it sends, and what it makes of the answers."""

import io
import json
import tarfile

import httpx
import pytest

from tuningfork.client import Client, ClientError, ServerUnreachable, ServiceRefusal, UnexpectedAnswer
from tuningfork.client.address import is_loopback
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.references import CheckpointRef, TunedRef
from tuningfork.domain.tuned_model import Changeable, ModelChange, TunedModelId
from tuningfork.domain.tuning_job import TuningRequest

NAME = "tunedModels/m-1"
OPERATION = f"{NAME}/operations/o1"
URL = "http://127.0.0.1:8000"


def operation(step=0, *, total=2, error=None):
    snapshots = [{"step": n, "meanLoss": 1.0 / n, "computeTime": "2024-03-14T15:09:41Z"} for n in range(1, step + 1)]
    answer = {"name": OPERATION, "metadata": {"totalSteps": total, "tunedModel": NAME, "snapshots": snapshots}}
    if error is not None:
        answer |= {"done": True, "error": {"code": 13, "message": error}}
    elif step == total:
        answer |= {"done": True, "response": {"name": NAME}}
    return answer


def refusal(http_status, status, message, **details):
    return httpx.Response(
        http_status,
        json={"error": {"code": http_status, "message": message, "status": status, "details": [details]}},
    )


class Server:
    """Answers in order with what it was given, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.waited_seconds = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def client(self, api_key="secret", url=URL):
        return Client(
            url,
            api_key,
            transport=httpx.MockTransport(self),
            sleep=self.waited_seconds.append,
            clock=lambda: sum(self.waited_seconds),
        )

    @property
    def asked(self):
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def streamed(*chunks):
    return httpx.Response(200, content=iter(chunks))


def chunk(text):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}


def test_a_creation_is_posted_with_the_key():
    server = Server(operation())
    request = TuningRequest(base_model="models/a", examples=(Conversation.pair("七", "八"),), tuned_model_id="mine")

    created = server.client().create_tuned_model(request)

    assert created.name == OPERATION
    assert server.asked == ["POST /v1beta/tunedModels?tunedModelId=mine"]
    assert server.requests[0].headers["x-goog-api-key"] == "secret"
    assert json.loads(server.requests[0].content)["tuningTask"]["trainingData"] == {
        "examples": {"examples": [{"textInput": "七", "output": "八"}]}
    }


def test_without_a_key_none_is_sent():
    server = Server({})

    server.client(api_key=None).tuned_models()

    assert "x-goog-api-key" not in server.requests[0].headers


def test_watching_ends_with_the_state_that_is_done():
    server = Server(operation(), operation(1), operation(2))
    client = server.client()
    first = client.operation(OPERATION)

    assert [state.completed_steps for state in client.watch(first)] == [1, 2]
    assert len(server.waited_seconds) == 2


def test_watching_a_finished_run_asks_nothing():
    server = Server(operation(2))
    client = server.client()

    assert list(client.watch(client.operation(OPERATION))) == []
    assert len(server.requests) == 1


def test_watching_outlives_a_restart_of_the_server():
    away = [httpx.ConnectError("refused"), refusal(503, "UNAVAILABLE", "starting"), httpx.ReadError("reset")]
    server = Server(operation(), *away, operation(2))
    client = server.client()

    assert [state.done for state in client.watch(client.operation(OPERATION))] == [True]


def test_watching_gives_up_on_a_server_that_stays_away_for_more_than_a_minute():
    server = Server(operation(), *[httpx.ConnectError("refused")] * 1_000)
    client = server.client()

    with pytest.raises(ServerUnreachable):
        list(client.watch(client.operation(OPERATION)))

    assert 60 <= sum(server.waited_seconds) < 61


def test_watching_asks_seldom_where_answers_take_long():
    def slow(_request):
        server.waited_seconds.append(2.0)
        return httpx.Response(200, json=operation(2 if len(server.waited_seconds) > 3 else 1))

    server = Server()
    client = Client(
        URL,
        None,
        transport=httpx.MockTransport(slow),
        sleep=server.waited_seconds.append,
        clock=lambda: sum(server.waited_seconds),
    )

    states = list(client.watch(client.operation(OPERATION)))

    assert [state.completed_steps for state in states] == [1, 2]
    assert server.waited_seconds == [2.0, 0.2, 2.0, 18.0, 2.0]


def test_watching_does_not_outlive_a_refusal():
    server = Server(operation(), refusal(404, "NOT_FOUND", "Tuned model tunedModels/m-1 does not exist."))
    client = server.client()

    with pytest.raises(ServiceRefusal, match="does not exist"):
        list(client.watch(client.operation(OPERATION)))


def test_lists_are_read_to_their_last_page():
    first = {"models": [{"name": "models/a"}], "nextPageToken": "t 1"}
    second = {"models": [{"name": "models/b", "inputTokenLimit": 7}]}
    server = Server(first, second)

    entries = server.client().base_models()

    assert [(entry.name, entry.input_tokens) for entry in entries] == [("models/a", 0), ("models/b", 7)]
    assert server.asked == ["GET /v1beta/models?pageSize=1000", "GET /v1beta/models?pageSize=1000&pageToken=t+1"]


def test_no_tuned_models_at_all_is_an_empty_list():
    assert Server({}).client().tuned_models() == []


def test_names_cannot_change_the_path():
    server = Server({})

    server.client().delete_tuned_model("tunedModels/a?key=b#c")

    assert server.asked == ["DELETE /v1beta/tunedModels/a%3Fkey%3Db%23c"]


def test_cancelling_posts_to_the_operation():
    server = Server({})

    server.client().cancel(OPERATION)

    assert server.asked == [f"POST /v1beta/{OPERATION}:cancel"]


def test_an_answer_is_generated():
    server = Server(chunk("LXIV"))

    text = server.client().generate(NAME, "LXIII", RequestedSampling(temperature=0.0))

    assert text == "LXIV"
    assert server.asked == [f"POST /v1beta/{NAME}:generateContent"]
    assert json.loads(server.requests[0].content)["generationConfig"] == {"temperature": 0.0}


@pytest.mark.parametrize("end_of_line", ["\r\n", "\n"])
@pytest.mark.parametrize("piece_size", [1, 7, 10_000])
def test_a_stream_is_read_event_by_event_however_it_is_cut(end_of_line, piece_size):
    texts = ["七", "\u2028\x85", ""]
    events = "".join(
        f"data: {json.dumps(chunk(text), ensure_ascii=False)}{end_of_line}{end_of_line}" for text in texts
    ).encode()
    pieces = [events[start : start + piece_size] for start in range(0, len(events), piece_size)]
    server = Server(streamed(*pieces))

    assert list(server.client().stream(NAME, "六")) == texts
    assert server.asked == [f"POST /v1beta/{NAME}:streamGenerateContent?alt=sse"]


def test_an_error_in_the_middle_of_a_stream_is_raised_after_what_came_before():
    error = {"error": {"code": 503, "message": "the generator ended", "status": "UNAVAILABLE"}}
    events = (f"data: {json.dumps(event)}\r\n\r\n".encode() for event in (chunk("one"), error))
    texts = Server(streamed(*events)).client().stream(NAME, "x")

    assert next(texts) == "one"
    with pytest.raises(ServiceRefusal, match="the generator ended"):
        next(texts)


def test_half_a_character_is_refused_before_it_is_sent():
    server = Server()

    with pytest.raises(ClientError, match="half a character"):
        server.client().generate(NAME, "\udcff")

    assert server.requests == []


def test_an_adapter_is_exported(tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("adapter_config.json"))
    server = Server(streamed(archive.getvalue()))

    directory = server.client().export(NAME, tmp_path / "adapter")

    assert [path.name for path in directory.iterdir()] == ["adapter_config.json"]
    assert server.asked == [f"GET /tuningfork/v1/{NAME}/adapter"]


@pytest.mark.parametrize(
    ("answer", "kind", "message", "advice"),
    [
        (httpx.ConnectError("refused"), ServerUnreachable, "No server answers at http://127.0.0.1:8000", "serve"),
        (httpx.ConnectTimeout("slow"), ServerUnreachable, "broke: slow", "try again"),
        (httpx.RemoteProtocolError("cut"), ServerUnreachable, "broke: cut", "try again"),
        (refusal(404, "NOT_FOUND", "Tuned model x does not exist."), ServiceRefusal, "does not exist", ""),
        (
            refusal(400, "INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID"),
            ServiceRefusal,
            "API key not valid",
            "keys create",
        ),
        (
            refusal(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers (callers …)."),
            ServiceRefusal,
            "unregistered callers",
            "--api-key",
        ),
        (httpx.Response(200, html="<html>"), UnexpectedAnswer, "not like a Tuningfork server", "--url"),
        (httpx.Response(502, text="Bad gateway"), UnexpectedAnswer, "status 502", "--url"),
        (httpx.Response(200, json=[1]), UnexpectedAnswer, "not like a Tuningfork server", "--url"),
        (httpx.Response(200, json={"tunedModels": [{}]}), UnexpectedAnswer, "not like", "--url"),
        (httpx.Response(404, json={"detail": "Not Found"}), UnexpectedAnswer, "not like", "--url"),
    ],
)
def test_every_failure_says_what_happened_and_what_to_do(answer, kind, message, advice):
    with pytest.raises(kind) as caught:
        Server(answer).client().tuned_models()

    assert message in caught.value.message
    assert advice in caught.value.advice


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "", "http://host:port"])
def test_an_url_that_names_no_server_is_refused(url):
    with pytest.raises(ClientError, match=r"is not a URL|names no server"):
        Client(url, None)


@pytest.mark.parametrize("api_key", ["", "a b", "schlüssel", "a\nb"])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(api_key):
    with pytest.raises(ClientError, match="API key is empty, or holds"):
        Client(URL, api_key)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.1.2.3", True),
        ("http://[::1]:8000", True),
        ("http://localhost:1", True),
        ("http://192.168.0.7:8000", False),
        ("https://localhost.example.org", False),
        ("not a url\n", False),
    ],
)
def test_only_this_machine_is_loopback(url, expected):
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(httpx.Response(200), True), (httpx.Response(503), False), (httpx.ConnectError("refused"), False)],
)
def test_health_is_a_plain_yes_or_no(answer, expected):
    assert Server(answer).client().is_healthy() is expected


def previewed(**changes):
    segments = [{"text": "1", "trained": False, "tokenCount": 4}, {"text": "2", "trained": True, "tokenCount": 2}]
    answer = {
        "baseModel": "models/a",
        "totalSteps": 2,
        "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
        "exampleCount": 1,
        "totalTokenCount": 6,
        "trainedTokenCount": 2,
        "longestExampleTokenCount": 6,
        "longestExample": 0,
        "contextTokenCount": 512,
        "examples": [{"segments": segments, "tokenCount": 6, "trainedTokenCount": 2}],
    }
    return {**answer, **changes}


def test_a_preview_posts_what_creating_would_post():
    server = Server(previewed(), operation())
    request = TuningRequest(base_model="models/a", examples=(Conversation.pair("1", "2"),), tuned_model_id="mine")

    seen = server.client().preview(request, examples=1)
    server.client().create_tuned_model(request)

    assert server.asked[0] == "POST /tuningfork/v1/tunedModels:preview?tunedModelId=mine&examples=1"
    assert server.requests[0].content == server.requests[1].content
    assert (seen.total_steps, seen.hyperparameters.batch_size, seen.dataset.context_tokens) == (2, 4, 512)
    assert [(each.text, each.trained) for each in seen.dataset.shown[0].segments] == [("1", False), ("2", True)]


def test_a_request_with_a_rank_is_sent_to_the_servers_own_method():
    server = Server(previewed(adapterRank=16, adapterAlpha=32), operation())
    request = TuningRequest(base_model="models/a", examples=(Conversation.pair("1", "2"),), adapter_rank=16)

    seen = server.client().preview(request)
    server.client().create_tuned_model(request)

    assert [each.split("?")[0] for each in server.asked] == [
        "POST /tuningfork/v1/tunedModels:preview",
        "POST /tuningfork/v1/tunedModels",
    ]
    assert all("adapterRank=16" in each for each in server.asked)
    assert server.requests[0].content == server.requests[1].content
    assert seen.adapter == AdapterShape(rank=16, alpha=32.0)


def test_a_request_with_probe_prompts_is_sent_to_the_servers_own_method():
    server = Server(operation())
    request = TuningRequest(base_model="models/a", examples=(Conversation.pair("1", "2"),), probe_prompts=("3",))

    server.client().create_tuned_model(request)

    assert server.asked == ["POST /tuningfork/v1/tunedModels"]
    assert json.loads(server.requests[0].content)["tuningTask"]["probePrompts"] == ["3"]


def test_a_preview_without_examples_is_one():
    server = Server({name: value for name, value in previewed().items() if name != "examples"})

    assert (
        server.client().preview(TuningRequest(examples=(Conversation.pair("1", "2"),)), examples=0).dataset.shown == ()
    )


def test_a_preview_that_is_none_is_not_understood():
    with pytest.raises(UnexpectedAnswer):
        Server({"totalSteps": 2}).client().preview(TuningRequest(examples=()))


def test_going_on_from_a_tuned_model_names_it_instead_of_a_base():
    server = Server(operation())

    source = TunedRef(TunedModelId("a"))
    server.client().create_tuned_model(TuningRequest(source=source, examples=(Conversation.pair("1", "2"),)))

    body = json.loads(server.requests[0].content)
    assert body["tunedModelSource"] == {"tunedModel": "tunedModels/a"}
    assert "baseModel" not in body


def test_another_checkpoint_than_the_default_one_is_refused_instead_of_taken_for_it():
    server = Server(operation())
    request = TuningRequest(source=CheckpointRef(TunedModelId("a"), 2), examples=(Conversation.pair("1", "2"),))

    with pytest.raises(ValueError, match="default checkpoint"):
        server.client().create_tuned_model(request)

    assert server.requests == []


def test_a_tuned_model_is_looked_up_by_its_name():
    model = {"name": NAME, "createTime": "2024-03-14T15:09:04Z", "tunedModelSource": {"baseModel": "models/root"}}
    server = Server(model)

    assert server.client().tuned_model(NAME).base_model == "models/root"
    assert server.asked == [f"GET /v1beta/{NAME}"]


def test_a_change_names_its_fields_in_the_mask_and_what_is_cleared_nowhere_else():
    entry = {"name": NAME, "createTime": "2024-03-14T15:09:04Z", "displayName": "counter", "state": "ACTIVE"}
    server = Server(entry)
    change = ModelChange(
        fields=frozenset(
            {
                Changeable.DISPLAY_NAME,
                Changeable.DESCRIPTION,
                Changeable.TEMPERATURE,
                Changeable.TOP_K,
                Changeable.READER_PROJECT_NUMBERS,
            }
        ),
        display_name="counter",
        temperature=0.0,
        # Not among the fields, so not sent.
        top_p=0.5,
        reader_project_numbers=(123, 2**62),
    )

    changed = server.client().update_tuned_model(NAME, change)

    [sent] = server.requests
    assert (sent.method, sent.url.path) == ("PATCH", f"/v1beta/{NAME}")
    assert dict(sent.url.params) == {
        "updateMask": "displayName,description,temperature,topK,readerProjectNumbers",
    }
    assert json.loads(sent.content) == {
        "displayName": "counter",
        "temperature": 0.0,
        "readerProjectNumbers": ["123", str(2**62)],
    }
    assert changed.display_name == "counter"


def test_the_runs_of_a_model_are_listed():
    server = Server({"operations": [operation(1)]})

    [listed] = server.client().operations(NAME)

    assert server.requests[0].url.path == f"/v1beta/{NAME}/operations"
    assert (listed.name, listed.completed_steps, listed.done) == (OPERATION, 1, False)
