"""Stages tell what whole jobs cost, where the operator has a price and the job's tokens were counted."""

from dataclasses import replace

import pytest

from fakes import ECHO_CATALOG
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.data_statistics import StatisticsBuilder
from tuningfork.domain.job_stage import JobStage
from tuningfork.service.base_models import why_base_is_lacking
from tuningfork.service.paging import Page
from tuningfork.service.tuning.staging import Staging
from workshop import ADA, number_request


def counted(*, tokens):
    builder = StatisticsBuilder()
    builder.add(Conversation.pair("1", "2"), messages=2, input_tokens=tokens - 1, output_tokens=1)
    return builder.finish()


@pytest.mark.parametrize(("price", "tokens", "cost"), [(2.0, 500_000, 5.0), (None, 500_000, None), (2.0, None, None)])
def test_a_cost_is_of_all_epochs_of_the_tokens_that_were_counted(workshop, price, tokens, cost):
    tuned = workshop.tuning.create(ADA, number_request())
    statistics = None if tokens is None else counted(tokens=tokens)
    job = replace(
        tuned.job,
        data_statistics=statistics,
        hyperparameters=replace(tuned.job.hyperparameters, epoch_count=5),
    )
    found = replace(tuned, job=job)
    staging = Staging(
        workshop.executor,
        workshop.running.speeds,
        lambda *_, **__: found,
        lambda *_, **__: Page((found,), ""),
        price=price,
    )

    assert staging.of(ADA, tuned.model.id).cost == cost
    assert [each.cost for each in staging.list(ADA).items] == [cost]


@pytest.mark.parametrize("lacking", ["", "this server does not have the base model models/x"])
def test_a_waiting_job_whose_base_is_not_here_says_so_and_is_not_just_queued(workshop, lacking):
    tuned = workshop.tuning.create(ADA, number_request())
    staging = Staging(
        workshop.executor,
        workshop.running.speeds,
        workshop.tuning.get,
        workshop.tuning.list,
        lacks_base_of=lambda _: lacking,
    )

    found = staging.of(ADA, tuned.model.id)

    if lacking:
        assert (found.stage, found.beginning.held_up_by) == (JobStage.HELD_UP, lacking)
    else:
        assert (found.stage, found.beginning) == (JobStage.QUEUED, None)


def test_what_a_base_lacks_is_told_of_bases_that_are_not_there_and_of_those_that_cannot_be_read():
    [first, *_] = ECHO_CATALOG.models
    catalog = Catalog((replace(first, fault="no weights"),))
    assert why_base_is_lacking(ECHO_CATALOG, first.name, None) == ""
    assert why_base_is_lacking(ECHO_CATALOG, "models/x", None) == "this server does not have the base model models/x"
    assert why_base_is_lacking(catalog, first.name, None) == f"this server cannot use {first.name}: no weights"
