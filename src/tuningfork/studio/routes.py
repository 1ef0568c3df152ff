"""Every page of the Studio but the form to sign in."""

from tuningfork.studio.pages import (
    at_work,
    compare,
    create_check,
    create_columns,
    create_data,
    create_settings,
    evaluation_form,
    evaluations,
    get_code,
    library,
    model,
    operations,
    playground,
    preferences,
    sharing,
)

PAGES = (
    *preferences.PAGES,
    *at_work.PAGES,
    *operations.PAGES,
    *library.PAGES,
    *model.PAGES,
    *sharing.PAGES,
    *compare.PAGES,
    *create_data.PAGES,
    *create_columns.PAGES,
    *create_check.PAGES,
    *create_settings.PAGES,
    *playground.PAGES,
    # Before the page of one evaluation, whose id could be any word.
    *evaluation_form.PAGES,
    *evaluations.PAGES,
    *get_code.PAGES,
)
