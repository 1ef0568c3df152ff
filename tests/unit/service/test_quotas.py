"""What one caller may use in any minute, by a clock that the test moves."""

import random
import threading

import pytest

from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.errors import QuotaExceeded
from tuningfork.domain.permission import Email, Principal
from tuningfork.service.quotas import JOB_RETRY_SECONDS, Budget, Cost, Quotas
from tuningfork.wire.gemini.service import SERVICE
from tuningfork.wire.google.errors import quota_violation
from workshop import build_workshop, number_request

ADA = Principal(email=Email("ada@example.com"), credential="key1")
ADAS_OTHER_KEY = Principal(email=Email("ada@example.com"), credential="key2")


class Watch:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def watch():
    return Watch()


def exceeded_of(error):
    return quota_violation(error, SERVICE)


def refusal_of(quotas, principal=ADA, method=GeminiMethod.LIST_MODELS):
    with pytest.raises(QuotaExceeded) as refused:
        quotas.admit(principal, method.cost)
    return refused.value


def test_a_budget_that_nobody_set_has_no_end():
    quotas = Quotas()
    quotas.spend(ADA, 10**9)

    for _ in range(1_000):
        quotas.admit(ADA, GeminiMethod.GENERATE_CONTENT.cost)
    quotas.check_jobs(ADA, lambda: pytest.fail("nobody asked to count"))


def test_so_many_requests_fit_in_any_minute_and_no_more(watch):
    quotas = Quotas(Budget(requests_per_minute=3), watch)
    for _ in range(3):
        quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)
        watch.now += 10

    assert refusal_of(quotas).retry_seconds == 30
    watch.now += 29.5
    assert refusal_of(quotas).retry_seconds == 1
    watch.now += 0.5
    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)
    assert refusal_of(quotas).retry_seconds == 10


def test_who_comes_back_when_told_is_let_in(watch):
    quotas = Quotas(Budget(requests_per_minute=5), watch)
    dice = random.Random(3)
    for _ in range(200):
        watch.now += dice.random() * 5
        try:
            quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)
        except QuotaExceeded as refused:
            watch.now += refused.retry_seconds
            quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)


def test_what_is_refused_is_not_counted(watch):
    quotas = Quotas(Budget(requests_per_minute=1), watch)
    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)
    for _ in range(50):
        watch.now += 1
        refusal_of(quotas)
    watch.now += 10

    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)


def test_each_key_has_its_own_budget_also_when_one_person_has_both(watch):
    quotas = Quotas(Budget(requests_per_minute=1), watch)
    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)

    quotas.admit(ADAS_OTHER_KEY, GeminiMethod.LIST_MODELS.cost)
    refusal_of(quotas)
    refusal_of(quotas, ADAS_OTHER_KEY)


@pytest.mark.parametrize("method", [GeminiMethod.GET_OPERATION, GeminiMethod.GET_TUNED_MODEL])
def test_waiting_for_a_job_uses_nothing_and_is_never_refused(watch, method):
    quotas = Quotas(Budget(requests_per_minute=1), watch)
    for _ in range(100):
        quotas.admit(ADA, method.cost)
    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)

    quotas.admit(ADA, method.cost)


def test_tokens_are_refused_when_the_minute_has_none_left(watch):
    quotas = Quotas(Budget(tokens_per_minute=100), watch)
    quotas.admit(ADA, GeminiMethod.GENERATE_CONTENT.cost)
    quotas.spend(ADA, 99)
    watch.now += 20
    quotas.admit(ADA, GeminiMethod.GENERATE_CONTENT.cost)
    quotas.spend(ADA, 60)

    assert refusal_of(quotas, method=GeminiMethod.STREAM_GENERATE_CONTENT).retry_seconds == 40
    watch.now += 40
    quotas.admit(ADA, GeminiMethod.GENERATE_CONTENT.cost)


def test_an_answer_larger_than_the_budget_holds_up_the_next_for_a_minute(watch):
    quotas = Quotas(Budget(tokens_per_minute=100), watch)
    quotas.spend(ADA, 10)
    watch.now += 30
    quotas.spend(ADA, 100_000)

    assert refusal_of(quotas, method=GeminiMethod.GENERATE_TEXT).retry_seconds == 60


@pytest.mark.parametrize("method", [method for method in (*GeminiMethod, *OwnMethod) if method.cost is not Cost.TOKENS])
def test_what_uses_no_tokens_is_not_refused_for_them(watch, method):
    quotas = Quotas(Budget(tokens_per_minute=1), watch)
    quotas.spend(ADA, 5)

    quotas.admit(ADA, method.cost)


def test_a_refusal_for_tokens_uses_no_request(watch):
    quotas = Quotas(Budget(requests_per_minute=1, tokens_per_minute=1), watch)
    quotas.spend(ADA, 1)
    refusal_of(quotas, method=GeminiMethod.GENERATE_CONTENT)

    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)


def test_jobs_are_refused_when_so_many_are_not_done(watch):
    quotas = Quotas(Budget(concurrent_jobs=2), watch)
    quotas.check_jobs(ADA, lambda: 1)

    with pytest.raises(QuotaExceeded) as refused:
        quotas.check_jobs(ADA, lambda: 2)

    assert refused.value.retry_seconds == JOB_RETRY_SECONDS
    assert exceeded_of(refused.value).id == "ConcurrentTuningJobsPerKey"
    assert exceeded_of(refused.value).value == 2


def test_a_refusal_says_which_budget_whose_and_how_large(watch):
    quotas = Quotas(Budget(requests_per_minute=1), watch)
    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)

    exceeded = exceeded_of(refusal_of(quotas))

    assert (exceeded.metric, exceeded.id, exceeded.value, exceeded.dimensions) == (
        "generativelanguage.googleapis.com/requests",
        "RequestsPerMinutePerKey",
        1,
        (("key", "key1"),),
    )


def test_callers_that_stay_away_are_forgotten(watch):
    quotas = Quotas(Budget(requests_per_minute=5), watch)
    for number in range(100):
        quotas.admit(Principal(email=Email("x@y.z"), credential=f"key{number}"), GeminiMethod.LIST_MODELS.cost)
        watch.now += 1
    watch.now += 61
    quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)

    assert set(quotas._requests._windows) == {"key1"}


def test_many_threads_get_what_there_is_and_not_one_more(watch):
    quotas = Quotas(Budget(requests_per_minute=100), watch)
    admitted = []

    def ask():
        for _ in range(50):
            try:
                quotas.admit(ADA, GeminiMethod.LIST_MODELS.cost)
            except QuotaExceeded:
                continue
            admitted.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admitted) == 100


@pytest.fixture
def two_jobs(database, artifacts, clock, executor):
    """A house where each key may have two jobs that are not done."""
    workshop = build_workshop(database, artifacts, clock, executor, Quotas(Budget(concurrent_jobs=2)))
    yield workshop
    workshop.dispatcher.close()


def test_a_job_too_many_is_refused_and_leaves_nothing(two_jobs):
    made = [two_jobs.tuning.create(ADA, number_request()) for _ in range(2)]

    with pytest.raises(QuotaExceeded):
        two_jobs.tuning.create(ADA, number_request())

    assert {found.job.id for found in two_jobs.tuning.list(ADA).items} == {each.job.id for each in made}
    directory = two_jobs.artifacts.dataset_path(made[0].job.id).parent
    assert sorted(directory.iterdir()) == sorted(two_jobs.artifacts.dataset_path(each.job.id) for each in made)


def test_a_job_that_is_done_makes_room_for_another(two_jobs):
    made = [two_jobs.tuning.create(ADA, number_request()) for _ in range(2)]
    two_jobs.tuning.create(ADAS_OTHER_KEY, number_request())

    two_jobs.tuning.cancel(ADA, made[1].model.id)
    two_jobs.tuning.create(ADA, number_request())
    two_jobs.advance()
    two_jobs.tuning.create(ADA, number_request())

    with pytest.raises(QuotaExceeded):
        two_jobs.tuning.create(ADA, number_request())


def test_of_many_creates_at_once_no_more_than_may_be_go_through(two_jobs):
    refused = []

    def create():
        try:
            two_jobs.tuning.create(ADA, number_request())
        except QuotaExceeded:
            refused.append(1)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 6
    assert len(two_jobs.tuning.list(ADA).items) == 2
