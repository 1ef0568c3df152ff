"""The texts that say what ROUGE-L of the held-out summaries means."""

import re

import make_data
import use_cases_bounds


def test_the_second_summaries_are_one_for_each_dialogue_and_name_nobody():
    names = {name for part in make_data.PARTS for kind in make_data.NAMES for name in make_data.words(part)[kind]}
    slots = {f"{{{kind}}}" for kind in make_data.NAMES}
    second = use_cases_bounds.second_summaries()

    assert len(second) == len(use_cases_bounds.dialogues())
    for summary in second:
        assert set(re.findall(r"#\w+#", summary)) <= {"#Person1#", "#Person2#"}
        assert names.isdisjoint(re.findall(r"\w+", summary))
        assert not any(slot in summary for slot in slots)


def test_a_second_person_scores_more_than_texts_that_know_nothing_of_the_dialogue():
    second, *others = use_cases_bounds.bounds().values()

    assert second > 1.5 * max(others)
