"""Stages tell what whole jobs cost, where the operator has a price and the job's tokens were counted."""

from dataclasses import replace

import pytest

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.data_statistics import StatisticsBuilder
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
