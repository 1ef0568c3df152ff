"""Every page of the Studio but the form to sign in."""

from tuningfork.studio.pages import library, model, preferences, sharing

PAGES = (
    *preferences.PAGES,
    *library.PAGES,
    *model.PAGES,
    *sharing.PAGES,
)
