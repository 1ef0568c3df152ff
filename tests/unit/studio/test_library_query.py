"""What an address of the library means, and the addresses of other views."""

import pytest

from tuningfork.studio.view.library_query import LibraryQuery, pages_around


@pytest.mark.parametrize(
    "address",
    [
        {},
        {"search": "", "state": "", "page": "1"},
        {"state": "nonsense", "order": "drop table", "page": "-3", "owner": "you"},
        {"page": "99999999999999999999", "order": "loss sideways"},
    ],
)
def test_what_an_address_leaves_out_or_has_wrong_is_as_usual(address):
    assert LibraryQuery.of(address) == LibraryQuery()


def test_an_address_leads_back_to_its_view():
    query = LibraryQuery(search="a & b=c", state="failed", base="models/x", owner="me", order="loss desc", page=3)

    written = dict(pair.split("=", 1) for pair in query.address().removeprefix("?").split("&"))

    assert written == {
        "search": "a+%26+b%3Dc",
        "state": "failed",
        "base": "models%2Fx",
        "owner": "me",
        "order": "loss+desc",
        "page": "3",
    }
    assert LibraryQuery().address() == "?"


def test_a_column_is_sorted_one_way_and_then_the_other():
    usual = LibraryQuery()
    by_name = LibraryQuery(order="displayName", page=4)

    assert (usual.direction("createTime"), usual.direction("loss")) == ("descending", "none")
    assert usual.sorted_by("createTime") == "?order=createTime"
    assert usual.sorted_by("displayName") == "?order=displayName"
    assert by_name.sorted_by("displayName") == "?order=displayName+desc"
    assert LibraryQuery(order="displayName desc").sorted_by("displayName") == "?order=displayName"


def test_the_usual_view_leaves_what_is_at_work_to_the_list_above():
    assert LibraryQuery().for_api()["state"] == "SUCCEEDED,FAILED,CANCELLED"
    assert LibraryQuery(state="running").for_api()["state"] == "PREPARING,QUEUED,RUNNING"


@pytest.mark.parametrize(
    ("page", "count", "shown"),
    [(1, 1, [1]), (1, 9, [1, 2, 3, None, 9]), (5, 9, [1, None, 3, 4, 5, 6, 7, None, 9]), (9, 9, [1, None, 7, 8, 9])],
)
def test_pages_nearby_are_linked(page, count, shown):
    assert pages_around(page, count) == shown
