"""A job with a validation set, from the request to the recorded evaluations, on a real trainer."""

import dataclasses
import random

import peft
import pytest
import torch
from prometheus_client import CollectorRegistry
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

import mortality
from job_lives import follow
from mortality import Deaths
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.errors import Code
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.local import environment
from tuningfork.execution.local.trainers import LocalTrainers
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import checkpoints, evaluations
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, NUMBER_PAIRS, SERVER, number_request

pytestmark = [
    pytest.mark.slow,
    # PEFT 0.21 still asks transformers by a name that is on its way out.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

HELD_OUT = tuple(Conversation.pair(*each) for each in (("11", "12"), ("seventy", "seventy one"), ("-7", "-6")))
IN_FLOAT32 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""On every processor, so that it can be compared with transformers to five digits."""


@dataclasses.dataclass(frozen=True)
class Service:
    """The use cases over one trainer process."""

    database: Database
    artifacts: Artifacts
    tuning: Tuning
    running: Running
    trainers: LocalTrainers
    deaths: Deaths

    def job(self, tuned):
        return self.tuning.get(ADA, tuned.model.id).job

    def evaluations(self, tuned):
        with self.database.read() as connection:
            return evaluations.evaluations_of(connection, tuned.job.id)

    def default(self, tuned):
        """The step and the weights of the default checkpoint, the only one beside the last."""
        with self.database.read() as connection:
            kept = checkpoints.checkpoints_of(connection, tuned.job.id)
            default = checkpoints.find_checkpoint(connection, tuned.model.id)
        assert [each.step for each in kept] == [default.step, self.job(tuned).completed_steps]
        place = self.artifacts.store.root / default.artifact
        return default.step, (place / "adapter_model.safetensors").read_bytes()

    def weights(self, tuned):
        return (self.artifacts.adapter_directory(tuned.job.id) / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def service(database, artifacts, clock, tiny_llama, tmp_path):
    variables = environment.of_worker(1, "warning") | environment.of_artifacts(artifacts.store.root) | IN_FLOAT32
    deaths = Deaths(tmp_path / "order")
    trainers = LocalTrainers(variables | deaths.variables, mortality.MODULE)
    catalog, metrics = Catalog((tiny_llama,)), Metrics(CollectorRegistry(), database)
    yield Service(
        database=database,
        artifacts=artifacts,
        tuning=Tuning(database, artifacts, catalog, clock, random.Random(0).getrandbits, metrics),
        running=Running(database, artifacts, catalog, clock, metrics, server=SERVER, savepoint_every=2),
        trainers=trainers,
        deaths=deaths,
    )
    trainers.close()


@torch.no_grad()
def plain_evaluation(base, adapter, pairs):
    """Mean loss, count of targets and of those that were likeliest, by transformers and PEFT, a pair at a time."""
    tokenizer = AutoTokenizer.from_pretrained(base.location)
    plain = AutoModelForCausalLM.from_pretrained(base.location, dtype=torch.float32, attn_implementation="eager")
    model = peft.PeftModel.from_pretrained(plain, adapter).eval()
    end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    losses, right = [], 0
    for asked, answer in pairs:
        chat = [{"role": "user", "content": asked}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        targets = [*tokenizer(answer, add_special_tokens=False)["input_ids"], end]
        logits_NV = model(torch.tensor([[*prompt, *targets]])).logits[0, len(prompt) - 1 : -1]
        losses += cross_entropy(logits_NV, torch.tensor(targets), reduction="none").tolist()
        right += int((logits_NV.argmax(-1) == torch.tensor(targets)).sum())
    return sum(losses) / len(losses), len(losses), right


def test_evaluations_are_recorded_at_their_steps_and_the_last_is_that_of_transformers(service, tiny_llama):
    request = number_request(
        base_model=tiny_llama.name,
        hyperparameters=RequestedHyperparameters(epoch_count=5, batch_size=4, learning_rate=0.01),
    )
    plain = service.tuning.create(ADA, request)
    evaluated = service.tuning.create(ADA, dataclasses.replace(request, validation=HELD_OUT, evaluate_every=5))
    for _ in range(2):
        follow(service.running, service.trainers)

    found = service.evaluations(evaluated)
    assert [(each.step, each.epoch) for each in found] == [(5, 1), (10, 2), (15, 4), (19, 5)]
    pairs = [example.as_pair() for example in HELD_OUT]
    adapter = service.artifacts.adapter_directory(evaluated.job.id)
    mean_loss, targets, right = plain_evaluation(tiny_llama, adapter, pairs)
    assert found[-1].mean_loss == pytest.approx(mean_loss, rel=1e-4)
    assert (found[-1].targets, found[-1].right_targets) == (targets, right)
    assert 0 < found[-1].right_share < 1
    assert len({each.mean_loss for each in found}) == 4

    assert service.evaluations(plain) == ()
    curves = [[each.mean_loss for each in service.job(tuned).snapshots] for tuned in (plain, evaluated)]
    assert curves[0] == curves[1]
    assert service.weights(plain) == service.weights(evaluated)


def test_a_job_whose_trainer_is_killed_goes_on_being_evaluated_at_the_same_steps(service, tiny_llama):
    request = number_request(
        base_model=tiny_llama.name,
        validation=(*HELD_OUT, *NUMBER_PAIRS),
        hyperparameters=RequestedHyperparameters(epoch_count=80, batch_size=4, learning_rate=0.001),
        evaluate_every=50,
    )
    undisturbed = service.tuning.create(ADA, request)
    follow(service.running, service.trainers)
    disturbed = service.tuning.create(ADA, request)
    begun = []
    for last_step in (9, 60):
        service.deaths.order(after_step=last_step, saved=True)
        begun.append(follow(service.running, service.trainers).step)
        assert service.job(disturbed).state is JobState.QUEUED
    begun.append(follow(service.running, service.trainers).step)

    numbers = [
        [(each.step, each.mean_loss, each.targets, each.right_targets) for each in service.evaluations(tuned)]
        for tuned in (undisturbed, disturbed)
    ]
    assert begun[0] == 0 < begun[1] <= begun[2]
    assert [step for step, *_ in numbers[0]] == [50, 100, 150, 200, 250, 300]
    assert numbers[1] == numbers[0]
    assert service.weights(disturbed) == service.weights(undisturbed)


def test_a_dpo_job_is_evaluated_on_preferences(service, tiny_llama):
    def preference(asked, chosen, rejected):
        prompt = Conversation(turns=(Turn.said(Speaker.USER, asked),))
        return Preference(prompt=prompt, chosen=(chosen,), rejected=(rejected,))

    tuned = service.tuning.create(
        ADA,
        number_request(
            base_model=tiny_llama.name,
            examples=(preference("1", "2", "9"), preference("3", "4", "9")),
            validation=(preference("5", "6", "9"),),
            hyperparameters=RequestedHyperparameters(
                epoch_count=4, batch_size=1, learning_rate=0.01, objective=DirectPreferenceOptimization()
            ),
            evaluate_every=4,
        ),
    )
    follow(service.running, service.trainers)

    first, last = service.evaluations(tuned)
    assert (first.step, last.step) == (4, 8)
    # Digits are one token each: that digit and the end of the turn, of the chosen answer alone.
    assert (first.targets, last.targets) == (2, 2)
    assert last.mean_loss < 0.6931


def test_a_validation_example_longer_than_the_context_fails_the_job_before_its_first_step(service, tiny_llama):
    too_long = Conversation.pair("x" * 600, "y")
    tuned = service.tuning.create(ADA, number_request(base_model=tiny_llama.name, validation=(*HELD_OUT, too_long)))
    assignment = service.running.claim()
    [failed] = service.trainers.train(assignment)
    service.running.fail(tuned.job.id, failed.code, failed.message)

    job = service.job(tuned)
    assert (job.state, job.completed_steps, job.error.code) == (JobState.FAILED, 0, Code.INVALID_ARGUMENT)
    assert job.error.message.startswith("validation[3]: ")


def test_a_job_whose_trainer_is_killed_stops_early_at_the_same_step_with_the_same_weights(service, tiny_llama):
    # The model becomes sure of an answer that is not the one in the validation set.
    request = number_request(
        base_model=tiny_llama.name,
        examples=tuple(Conversation.pair(asked, "2") for asked in "1357"),
        validation=(Conversation.pair("1", "7"), Conversation.pair("3", "7")),
        hyperparameters=RequestedHyperparameters(epoch_count=40, batch_size=2, learning_rate=0.002),
        evaluate_every=2,
        early_stopping=EarlyStopping(patience=4),
    )
    undisturbed = service.tuning.create(ADA, request)
    follow(service.running, service.trainers)
    wanted = service.job(undisturbed)
    disturbed = service.tuning.create(ADA, request)
    for last_step in (3, wanted.completed_steps - 2):
        service.deaths.order(after_step=last_step, saved=True)
        follow(service.running, service.trainers)
        assert service.job(disturbed).state is JobState.QUEUED
    follow(service.running, service.trainers)

    done = service.job(disturbed)
    assert (wanted.state, done.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    assert 8 < done.completed_steps == wanted.completed_steps < wanted.total_steps
    assert service.weights(disturbed) == service.weights(undisturbed)
    defaults = [service.default(tuned) for tuned in (undisturbed, disturbed)]
    assert defaults[0] == defaults[1]
    step, _ = defaults[0]
    assert step == min(service.evaluations(disturbed), key=lambda each: each.mean_loss).step < done.completed_steps
