"""Every page can be reached from the README, and every link between pages leads somewhere."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PAGES = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")),
    *sorted((REPO / "docs").glob("*.md")),
    *sorted((REPO / "examples").glob("*/README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[Path, str]]:
    """(file, heading) of each link that stays in the repository."""
    found = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            file, _, heading = target.partition("#")
            found.append(((page.parent / file).resolve() if file else page, heading))
    return found


def headings(page: Path) -> set[str]:
    """As they stand behind a `#`: lower case, without punctuation, hyphens for spaces."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_links_lead_somewhere(page):
    for file, heading in links(page):
        assert file.exists(), f"{page.name}: {file.name} is not there"
        assert not heading or heading in headings(file), f"{page.name}: {file.name} has no heading {heading}"


def test_every_page_can_be_reached_from_the_readme():
    reached, ahead = set(), [REPO / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            ahead += [file for file, _ in links(page)]
    assert set(PAGES) <= reached
