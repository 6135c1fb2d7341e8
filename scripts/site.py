"""What mkdocs asks while it builds the site: see mkdocs.yml.

The navigation is docs/README.md: a tab for each product, a section for each kind of page. Links to files outside of
docs/ (configurations, scripts) become plain text, since the site does not have them.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

INDEX = "README.md"
Nav = list[dict[str, Any]]


def navigation(index: str) -> Nav:
    """The tabs, sections and pages that the index lists, in its order. Pages outside of docs/ are left out."""
    tabs: Nav = [{"Documentation": INDEX}]
    for line in index.splitlines():
        title = line.lstrip("# ").strip()
        if line.startswith("## "):
            sections: Nav = []
            tabs.append({title[0].upper() + title[1:]: sections})
        elif line.startswith("### "):
            pages: Nav = []
            sections.append({title: pages})
        elif (link := re.match(r"- \[(.+?)\]\((.+?\.md)\)", line)) and not link[2].startswith(".."):
            pages.append({link[1]: link[2]})
    return tabs


def on_config(config: Any) -> Any:
    config["nav"] = navigation((Path(config["docs_dir"]) / INDEX).read_text())
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page without links to what the site does not have."""
    folder = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        inside = posixpath.normpath(posixpath.join(folder, found[2].partition("#")[0]))
        absent = inside.startswith("..") or not (Path(config["docs_dir"]) / inside).is_file()
        return found[1] if absent else found[0]

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)", link, markdown)
