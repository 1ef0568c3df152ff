"""Lists of tuned models: pages, filters, and who sees what."""

import base64
import json

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import GranteeType, Permission, PermissionId, Role
from tuningfork.store import access
from workshop import ADA, BOB, number_request


@pytest.fixture
def tuning(workshop):
    return workshop.tuning


def create(tuning, *names, principal=ADA, **changes):
    for name in names:
        tuning.create(principal, number_request(tuned_model_id=name, **changes))


def names(page):
    return [tuned.model.id for tuned in page.items]


def share(database, model_id, email, role):
    permission = Permission(
        id=PermissionId(f"p{role.rank}"),
        model_id=model_id,
        grantee_type=GranteeType.USER if email else GranteeType.EVERYONE,
        email=email,
        role=role,
    )
    with database.write() as connection:
        access.grant(connection, permission)


def refusal(tuning, **arguments):
    with pytest.raises(InvalidArgument) as caught:
        tuning.list(ADA, **arguments)
    (violation,) = caught.value.violations
    return violation


def test_without_models_there_is_an_empty_last_page(tuning):
    page = tuning.list(ADA)
    assert (page.items, page.next_page_token) == ((), "")


def test_ten_models_the_oldest_first_are_a_page(tuning):
    create(tuning, *(f"m{number:02}" for number in range(12)))
    page = tuning.list(ADA)
    assert names(page) == [f"m{number:02}" for number in range(10)]
    assert names(tuning.list(ADA, page_token=page.next_page_token)) == ["m10", "m11"]


def test_a_model_comes_with_its_job_and_steps(workshop):
    create(workshop.tuning, "a", "b")
    workshop.advance(steps=2)
    listed = workshop.tuning.list(ADA).items
    assert [(tuned.job.model_id, tuned.job.completed_steps) for tuned in listed] == [("a", 2), ("b", 0)]
    assert listed[0] == workshop.tuning.get(ADA, listed[0].model.id)


@pytest.mark.parametrize(("asked", "shown"), [(None, 10), (0, 10), (1, 1), (11, 11), (1_000, 12), (2_000_000_000, 12)])
def test_a_page_has_the_size_that_was_asked_for_within_bounds(tuning, asked, shown):
    create(tuning, *(f"m{number:02}" for number in range(12)))
    assert len(tuning.list(ADA, page_size=asked).items) == shown


def test_a_full_last_page_says_that_it_is_the_last(tuning):
    create(tuning, "a", "b")
    assert tuning.list(ADA, page_size=2).next_page_token == ""


def test_a_negative_size_is_refused(tuning):
    assert refusal(tuning, page_size=-1).field == "page_size"


def test_pages_neither_repeat_nor_hide_models_while_others_come_and_go(tuning):
    create(tuning, "a", "b", "c", "d")
    first = tuning.list(ADA, page_size=2)
    tuning.delete(ADA, "a")
    tuning.delete(ADA, "b")
    create(tuning, "e")
    second = tuning.list(ADA, page_size=2, page_token=first.next_page_token)
    third = tuning.list(ADA, page_size=2, page_token=second.next_page_token)

    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!!!!",
        "ä",
        base64.urlsafe_b64encode(b"[1]").decode(),
        base64.urlsafe_b64encode(b'["a","b","c"]').decode(),
        base64.urlsafe_b64encode(b"[1e400,1,1]").decode(),
        base64.urlsafe_b64encode(b"[1000000000000000000000,1,1]").decode(),
        base64.urlsafe_b64encode(b"\xff\xff\xff").decode(),
        base64.urlsafe_b64encode(b"7").decode(),
    ],
)
def test_a_token_that_was_made_up_is_refused(tuning, token):
    assert refusal(tuning, page_token=token).field == "page_token"


def test_a_token_belongs_to_its_filter(tuning):
    create(tuning, "a", "b")
    token = tuning.list(ADA, page_size=1, filter="number").next_page_token
    assert "another filter" in refusal(tuning, page_token=token, filter="generator").description
    assert names(tuning.list(ADA, page_token=token, filter="number")) == ["b"]


def test_a_token_shows_nobody_what_they_may_not_see(tuning):
    create(tuning, "a", "b", "c")
    create(tuning, "x", principal=BOB)
    token = tuning.list(ADA, page_size=1).next_page_token
    assert names(tuning.list(BOB, page_token=token)) == ["x"]
    padded = token + "=" * (-len(token) % 4)
    assert ADA.email not in json.dumps(json.loads(base64.urlsafe_b64decode(padded)))


@pytest.mark.parametrize(
    ("filter_", "shown"),
    [
        ("", ["mine", "edited", "read"]),
        ("owner:me", ["mine"]),
        ("writers:me", ["mine", "edited"]),
        ("readers:me", ["mine", "edited", "read"]),
        ("readers:everyone", ["public"]),
        ("readers:everyone owner:me", []),
        ("NUMBER", ["mine", "edited", "read"]),
        ("number owner:me", ["mine"]),
        ("owner:me poems", []),
        ("  number   gen  ", ["mine", "edited", "read"]),
        ("readers:everyone number", ["public"]),
    ],
)
def test_a_filter_selects(tuning, database, filter_, shown):
    create(tuning, "mine")
    create(tuning, "edited", "read", "hidden", "public", principal=BOB)
    share(database, "edited", ADA.email, Role.WRITER)
    share(database, "read", ADA.email, Role.READER)
    share(database, "public", None, Role.READER)

    assert names(tuning.list(ADA, filter=filter_)) == shown


def test_the_description_is_searched_too(tuning):
    create(tuning, "a", description="Zählt weiter")
    create(tuning, "b")
    assert names(tuning.list(ADA, filter="ZÄHLT")) == ["a"]


@pytest.mark.parametrize("filter_", ["owner:you", "OWNER:ME", "color:red", ":", "readers:"])
def test_an_unknown_operator_is_refused_with_those_there_are(tuning, filter_):
    violation = refusal(tuning, filter=filter_)
    assert violation.field == "filter"
    assert violation.description == (
        f"unknown operator {filter_!r}; use words, or one of owner:me, writers:me, readers:me, readers:everyone"
    )


@pytest.mark.parametrize("filter_", ["q" * 1_000, "q " * 500, "\ufdfa" * 1_000, "% " * 500])
def test_the_longest_filter_is_looked_for(tuning, filter_):
    create(tuning, "a")
    assert names(tuning.list(ADA, filter=filter_)) == []


@pytest.mark.parametrize("filter_", ["a" * 1_001, "a " * 40_000, "\ufdfa" * 5_000])
def test_a_longer_filter_is_refused(tuning, filter_):
    violation = refusal(tuning, filter=filter_)
    assert violation.field == "filter"
    assert violation.description == f"filter must be at most 1000 characters; it has {len(filter_)}"
