"""The language and the theme of a browser."""

from starlette.responses import Response

from tuningfork.studio.frame.address import PREFIX
from tuningfork.studio.frame.session import Theme
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.texts.catalog import LANGUAGES


async def prefer(visit: Visit) -> Response:
    """Keep what was chosen, and go back to the page."""
    fields = await visit.form()
    back = fields.get("next", "")
    if not back.startswith(f"{PREFIX}/") or "\\" in back or not back.isprintable():
        back = f"{PREFIX}/library"
    response = visit.redirect(back.removeprefix(PREFIX))
    if fields.get("language") in LANGUAGES:
        visit.cookies.prefer(response, "language", fields["language"])
    if fields.get("theme") in set(Theme):
        visit.cookies.prefer(response, "theme", fields["theme"])
    return response


PAGES = (Page("POST", "/preferences", prefer, public=True),)
