"""Every page of the Studio but the form to sign in."""

from tuningfork.studio.pages import (
    at_work,
    compare,
    create_check,
    create_columns,
    create_data,
    create_settings,
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
    *get_code.PAGES,
)
