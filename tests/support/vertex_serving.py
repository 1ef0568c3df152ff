"""Callers of Vertex AI's methods of models, endpoints, text and metrics, and models that they find there."""

from dataclasses import dataclass
from typing import Any

from caller import TUTORIAL_BODY, Caller, caller_of
from tuningfork.api.google.form import GoogleForm
from tuningfork.dialect.form import Dialect
from tuningfork.dialect.vertex.serving import Serving
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.execution.base import Evaluated, Finished, Stepped
from tuningfork.service.tuning.endpoints import Endpoints
from tuningfork.service.tuning.experiments import Experiments
from tuningfork.service.tuning.registry import Registry
from tuningfork.wire.vertex.errors import VERTEX_ERRORS
from workshop import ADA, Workshop

PLACE = f"projects/{ADA.project}/locations/global"
"""Where the models are that Ada makes through the Gemini API."""
V1, V1BETA1 = f"/v1/{PLACE}", f"/v1beta1/{PLACE}"


def serving_of(workshop: Workshop) -> Serving:
    """The use cases over a workshop."""
    return Serving(
        generation=workshop.generation,
        registry=Registry(workshop.database, workshop.tuning, workshop.clock),
        endpoints=Endpoints(workshop.database),
        experiments=Experiments(workshop.database),
        clock=workshop.clock,
    )


def serving_caller(workshop: Workshop) -> Caller:
    """Somebody who calls these methods beside the Gemini API's."""
    dialect = Dialect(
        prefixes={"/v1": "v1", "/v1beta1": "v1beta1"},
        bindings=serving_of(workshop).bindings(),
        form=GoogleForm(VERTEX_ERRORS),
    )
    return caller_of(workshop, further=(dialect,))


@dataclass(frozen=True, slots=True)
class Registered:
    """A tuned model as the registry names it."""

    model: TunedModel
    name: str
    endpoints: tuple[str, ...]

    def path(self, version: str = "v1") -> str:
        """The path of its newest version."""
        return f"/{version}/{self.name}"


def keep_early(workshop: Workshop, model_id: str, step: int = 2) -> None:
    """Keep a checkpoint of the model's job, which answers `early` to `8`, and give the job back to the queue."""
    assignment = workshop.running.claim()
    assert assignment is not None
    assert assignment.model == model_id
    early = assignment.work.below(f"early-{step}")
    with workshop.artifacts.store.writing(early) as directory:
        directory.mkdir()
        (directory / "answers.json").write_text('{"known": {"8": "early"}}')
    workshop.running.checkpoint_kept(assignment.job_id, step, 0, early)
    workshop.running.give_back(assignment.job_id, died=False)


def train_on(workshop: Workshop) -> None:
    """Take the next job to its end, as if it went on after its checkpoints."""
    assignment = workshop.running.claim()
    assert assignment is not None
    for event in workshop.executor.train(assignment):
        match event:
            case Stepped(snapshot=snapshot, tokens=tokens):
                workshop.running.record(assignment.job_id, snapshot, tokens)
            case Evaluated(evaluation=evaluation):
                workshop.running.evaluated(assignment.job_id, evaluation)
            case Finished(adapter=adapter):
                workshop.running.finish(assignment.job_id, adapter)


def registered(caller: Caller, model_id: str, version: str = "v1") -> Registered:
    """The names of a model that is registered, read through the API."""
    model = caller.workshop.tuning.get(ADA, model_id).model
    path = f"/{version}/{PLACE}/models/{model.registry_model}@{model.version}"
    answer = caller.get(path)
    assert answer.status_code == 200, answer.text
    deployed = [each["endpoint"] for each in answer.json().get("deployedModels", [])]
    return Registered(model=model, name=f"{PLACE}/models/{model.registry_model}", endpoints=tuple(deployed))


def two_checkpoints(caller: Caller, name: str = "numbers", **changes: Any) -> Registered:
    """A model of that id whose job has left two checkpoints."""
    answer = caller.post(f"/v1beta/tunedModels?tunedModelId={name}", {**TUTORIAL_BODY, **changes})
    assert answer.status_code == 200, answer.text
    keep_early(caller.workshop, name)
    train_on(caller.workshop)
    return registered(caller, name)


def key_in_adas_project(caller: Caller, person: Principal) -> str:
    """A key for somebody else that is bound to Ada's project."""
    return str(caller.workshop.access.create_key("colleague's", person.email, ADA.project).key)
