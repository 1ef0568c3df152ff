"""Which rows of an evaluation its address asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from tuningfork.studio.view.evaluation import MEASURES, VERDICTS

PAGE_SIZE = 25
_MOST_PAGE = 100_000


@dataclass(frozen=True, slots=True)
class EvaluationQuery:
    """A view of rows; what the address leaves out is as the API has it. `model` is a name in the API."""

    model: str = ""
    measure: str = ""
    verdict: str = ""
    search: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str], models: frozenset[str], measures: tuple[str, ...]) -> "EvaluationQuery":
        """The view of an address; what the evaluation does not have is as usual."""
        page = query.get("page", "1")
        return cls(
            model=query.get("model", "") if query.get("model") in models else "",
            measure=query.get("measure", "") if query.get("measure") in measures else measures[0],
            verdict=query.get("verdict", "") if query.get("verdict") in VERDICTS else "",
            search=query.get("search", "").strip()[:200],
            page=min(_MOST_PAGE, max(1, int(page))) if page.isdecimal() and len(page) < 8 else 1,
        )

    def for_api(self) -> dict[str, str]:
        """The query of the API's rows."""
        named = {"model": self.model, "measure": self.measure, "verdict": self.verdict, "search": self.search}
        kept = {name: value for name, value in named.items() if value}
        return {**kept, "start": str((self.page - 1) * PAGE_SIZE), "count": str(PAGE_SIZE)}

    def address(self, **changes: object) -> str:
        """The query of this view's own address, with changes; another filter begins at the first page."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        named = {
            "model": changed.model,
            "measure": "" if changed.measure == MEASURES[0] else changed.measure,
            "verdict": changed.verdict,
            "search": changed.search,
            "page": "" if changed.page == 1 else str(changed.page),
        }
        written = urlencode({name: value for name, value in named.items() if value})
        return f"?{written}"

    def page_count(self, total: int) -> int:
        """How many pages so many rows take."""
        return max(1, -(-total // PAGE_SIZE))
