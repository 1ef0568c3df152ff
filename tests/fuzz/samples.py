"""Requests that are right, one or more for every method: what the mutations start from."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from caller import TUTORIAL_BODY, turn

VERSIONS = ("v1beta", "v1", "v1alpha", "v1beta3", "v1beta2")
ACTIVE, CREATING, FAILED, BASE = "active-model", "creating-model", "failed-model", "echo-001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request. `body` None sends none; bytes are sent as they are, anything else as JSON."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    # The credential is put in when the request is sent; "" sends none.
    key: str = field(default="ada")


ASK = {
    "contents": [turn("hello"), turn("hi", "model"), turn("LXIII")],
    "systemInstruction": turn("Be brief."),
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}],
    "generationConfig": {
        "candidateCount": 2,
        "stopSequences": ["x"],
        "maxOutputTokens": 4,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 5,
        "seed": 1,
        "presencePenalty": 0.5,
        "frequencyPenalty": 0.5,
        "responseLogprobs": True,
        "logprobs": 2,
    },
}
JSON_ASK = {
    "contents": [turn("a list")],
    "generationConfig": {
        "maxOutputTokens": 4,
        "responseMimeType": "application/json",
        "responseSchema": {
            "type": "OBJECT",
            "properties": {"name": {"type": "STRING", "enum": ["a", "b"]}, "n": {"type": "INTEGER", "minimum": 1}},
            "required": ["name"],
            "propertyOrdering": ["name", "n"],
        },
    },
}
TEXT = {"prompt": {"text": "hello"}, "temperature": 0.5, "candidateCount": 1, "maxOutputTokens": 4, "topK": 3}
PERMISSION = {"granteeType": "USER", "emailAddress": "carol@example.com", "role": "READER"}
CHANGE = {"displayName": "another name", "description": "told", "temperature": 0.5, "topP": 0.9, "topK": 3}


def samples(permission: str, operations: dict[str, str]) -> list[Sample]:
    """Right requests for every method.

    Args:
        permission: the id of a permission of the active model.
        operations: model id to the id of its operation.

    """
    return [
        replace(sample, path=f"/{version}{sample.path}")
        for sample in (*_models(), *_tuned_models(), *_operations(operations), *_permissions(permission), *_texts())
        for version in VERSIONS
    ] + list(_ours())


def _models() -> Iterator[Sample]:
    yield Sample(verb="GET", path="/models", query=(("pageSize", "2"),))
    yield Sample(verb="GET", path=f"/models/{BASE}")


def _tuned_models() -> Iterator[Sample]:
    yield Sample(verb="POST", path="/tunedModels", body=TUTORIAL_BODY)
    yield Sample(verb="POST", path="/tunedModels", query=(("tunedModelId", "chosen-1"),), body=TUTORIAL_BODY)
    source = {"tunedModelSource": {"tunedModel": f"tunedModels/{ACTIVE}"}, "tuningTask": TUTORIAL_BODY["tuningTask"]}
    yield Sample(verb="POST", path="/tunedModels", body=source)
    query = (("page_size", "3"), ("pageToken", ""), ("filter", "owner:me number"))
    yield Sample(verb="GET", path="/tunedModels", query=query)
    for model in (ACTIVE, CREATING, FAILED):
        yield Sample(verb="GET", path=f"/tunedModels/{model}")
        yield Sample(verb="PATCH", path=f"/tunedModels/{model}", body=CHANGE)
        mask = (("updateMask", "displayName,temperature"),)
        yield Sample(verb="PATCH", path=f"/tunedModels/{model}", query=mask, body=CHANGE)
    yield Sample(verb="DELETE", path="/tunedModels/chosen-1")
    yield Sample(verb="POST", path="/tunedModels/chosen-1:cancel", body={})
    yield Sample(verb="POST", path="/tunedModels/chosen-1:transferOwnership", body={"emailAddress": "bob@example.com"})


def _operations(operations: dict[str, str]) -> Iterator[Sample]:
    yield Sample(verb="GET", path="/operations", query=(("filter", "done=true"), ("pageSize", "5")))
    for model, operation in operations.items():
        one = f"/tunedModels/{model}/operations/{operation}"
        yield Sample(verb="GET", path=one)
        yield Sample(verb="GET", path=f"/tunedModels/{model}/operations", query=(("pageSize", "5"),))
        yield Sample(verb="DELETE", path=one)
        if model != CREATING:
            yield Sample(verb="POST", path=f"{one}:cancel")


def _permissions(permission: str) -> Iterator[Sample]:
    all_of_them = f"/tunedModels/{ACTIVE}/permissions"
    yield Sample(verb="POST", path=all_of_them, body=PERMISSION)
    yield Sample(verb="POST", path=all_of_them, body={"granteeType": "EVERYONE", "role": "READER"})
    yield Sample(verb="GET", path=all_of_them, query=(("pageSize", "2"),))
    yield Sample(verb="GET", path=f"{all_of_them}/{permission}")
    mask = (("updateMask", "role"),)
    yield Sample(verb="PATCH", path=f"{all_of_them}/{permission}", query=mask, body={"role": "WRITER"})
    yield Sample(verb="DELETE", path=f"{all_of_them}/{permission}")


def _ours() -> Iterator[Sample]:
    yield Sample(verb="POST", path="/tuningfork/v1/tunedModels:preview", query=(("examples", "2"),), body=TUTORIAL_BODY)
    yield Sample(verb="POST", path="/tuningfork/v1/tunedModels", query=(("adapterRank", "2"),), body=TUTORIAL_BODY)
    token = {"scopes": ["https://www.googleapis.com/auth/generative-language.tuning"], "lifetime": "600s"}
    yield Sample(verb="POST", path="/tuningfork/v1/accessTokens", body=token)
    yield Sample(verb="POST", path="/tuningfork/v1/refreshTokens", body={"name": "laptop"})
    yield Sample(verb="GET", path="/tuningfork/v1/refreshTokens")
    yield Sample(verb="POST", path="/tuningfork/v1/refreshTokens/none:revoke", body={})
    yield Sample(verb="POST", path="/tuningfork/v1/sessions", body={"displayName": "browser"})
    yield Sample(verb="GET", path="/tuningfork/v1/sessions")
    yield Sample(verb="DELETE", path="/tuningfork/v1/sessions/none")
    yield Sample(verb="GET", path="/tuningfork/v1/caller")
    yield Sample(verb="GET", path="/tuningfork/v1/engines")
    account = {"name": "laptop", "tokenUri": "http://127.0.0.1/token"}
    yield Sample(verb="POST", path="/tuningfork/v1/serviceAccounts", body=account)
    yield Sample(verb="GET", path="/tuningfork/v1/serviceAccounts")
    yield Sample(verb="POST", path="/tuningfork/v1/serviceAccounts/none:revoke", body={})
    yield Sample(verb="GET", path=f"/tuningfork/v1/tunedModels/{ACTIVE}/adapter")
    yield Sample(verb="GET", path=f"/tuningfork/v1/tunedModels/{ACTIVE}/diagnosis")
    yield Sample(verb="GET", path=f"/tuningfork/v1/tunedModels/{ACTIVE}/job")
    window = (("afterStep", "3"), ("afterValidationStep", "0"))
    yield Sample(verb="GET", path=f"/tuningfork/v1/tunedModels/{ACTIVE}/series", query=window)
    sorting = (("pageSize", "2"), ("page", "1"), ("search", "a"), ("state", "RUNNING"), ("orderBy", "loss desc"))
    yield Sample(verb="GET", path="/tuningfork/v1/tunedModels", query=(*sorting, ("base", "b"), ("owner", "me")))
    yield Sample(verb="GET", path="/tuningfork/v1/diagnoses", query=(("pageSize", "2"),))
    yield Sample(verb="GET", path="/healthz")
    yield Sample(verb="GET", path="/metrics")


def _texts() -> Iterator[Sample]:
    # The last one is how LiteLLM writes a tuned model's name.
    for name in (f"models/{BASE}", f"tunedModels/{ACTIVE}", f"tunedModels/{CREATING}", f"models/tunedModels/{ACTIVE}"):
        for body in (ASK, JSON_ASK, {"contents": [turn("hello")]}):
            yield Sample(verb="POST", path=f"/{name}:generateContent", body=body)
            yield Sample(verb="POST", path=f"/{name}:streamGenerateContent", body=body)
            yield Sample(verb="POST", path=f"/{name}:streamGenerateContent", query=(("alt", "sse"),), body=body)
        yield Sample(verb="POST", path=f"/{name}:countTokens", body={"contents": [turn("hello")]})
        inner = {"generateContentRequest": {"model": name, **ASK}}
        yield Sample(verb="POST", path=f"/{name}:countTokens", body=inner)
        yield Sample(verb="POST", path=f"/{name}:generateText", body=TEXT)
