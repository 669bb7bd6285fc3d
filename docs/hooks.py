"""MkDocs hooks: pages that are generated from the repository.

The site has the pages of ``docs/`` at its root. It also contains ``experiments/``, ``benchmarks/``, and
the Markdown files of the top level, under their own paths. Links are written for the repository, and
are rewritten for the site.
"""

import ast
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from kitsseg.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
OUTSIDE = ("experiments", "benchmarks")
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE")
SHOWN = {".md", ".png", ".svg", ".csv", ".tex", ".yaml", ".py"}
GROUPS = (
    "data", "source", "labels", "split", "window", "augmentation", "model", "loss", "optimizer",
    "scheduler", "finetune", "callbacks", "trainer", "logger", "experiment", "postprocess",
    "hydra/launcher", "hydra/sweeper", "paths",
)  # fmt: skip
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside ``docs/`` and the generated pages."""
    for path in [*(f for folder in OUTSIDE for f in sorted((ROOT / folder).rglob("*"))), *_top()]:
        if path.is_file() and (path.suffix in SHOWN or path.parent == ROOT):
            name = str(path.relative_to(ROOT))
            name = "project.md" if name == "README.md" else name
            files.append(File.generated(config, name, abs_src_path=str(path)))
    pages = {
        "reference/commands.md": commands(),
        "reference/configuration.md": configuration(),
        "reference/api.md": api(),
        "gallery.md": gallery(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def _top() -> Iterator[Path]:
    return (ROOT / name for name in TOP)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite relative links from paths in the repository to paths in the site."""
    source = _in_repository(page.file.src_uri)

    def rewrite(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        found = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if (ROOT / found).is_dir():
            found = os.path.join(found, "README.md")
        site = os.path.relpath(_in_site(found), os.path.dirname(page.file.src_uri) or ".")
        return f"]({site}{anchor})"

    return LINK.sub(rewrite, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make empty header cells plain cells, as screen readers expect."""
    return re.sub(r"<th( [^>]*)?></th>", r"<td\1></td>", html)


def _in_repository(uri: str) -> str:
    if uri == "project.md":
        return "README.md"
    return uri if uri.startswith(OUTSIDE) or uri in TOP else f"docs/{uri}"


def _in_site(path: str) -> str:
    if path == "README.md":
        return "project.md"
    return path.removeprefix("docs/")


def commands() -> str:
    """Return the page of all commands: what each does, and its configuration file with the comments."""
    parts = [
        "# Commands\n",
        "`kitsseg NAME ...`, `python -m kitsseg NAME ...` and `python -m kitsseg.NAME ...` are "
        "equivalent. Values are set as `key=value`. `--help` lists the keys with their current values. "
        "The choices of groups are on the page [Configuration](configuration.md).\n",
    ]
    for name in COMMANDS:
        source = (ROOT / "kitsseg" / f"{name}.py").read_text()
        text = (ROOT / "conf" / f"{name}.yaml").read_text()
        text = re.sub(r"\n  help:\n.*", "\n", text, flags=re.DOTALL)
        summary = ast.get_docstring(ast.parse(source)) or ""
        parts.append(
            f'## {name}\n\n{summary}\n\n```yaml title="conf/{name}.yaml"\n{text.rstrip()}\n```\n'
        )
    return "\n".join(parts)


def configuration() -> str:
    """Return the page of all groups and their choices."""
    parts = [
        "# Configuration\n",
        "Each group has one file per choice. `GROUP=CHOICE` selects it, and `GROUP.KEY=VALUE` sets a "
        "value. `_target_` names the class, whose arguments are the other keys. Any of its "
        "arguments can be added with `+`.\n",
    ]
    public = {f"{module}.{name}" for name, module in api_modules().items()}
    for group in GROUPS:
        parts.append(f"## {group}\n")
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            text = path.read_text().replace("# @package _global_\n", "").rstrip()
            parts.append(f"### {group}={path.stem}\n\n```yaml\n{text}\n```\n")
            target = re.search(r"_target_: (kitsseg\.[\w.]+)", text)
            if target and target[1] in public:
                parts.append(f"Arguments: [{target[1].split('.')[-1]}](api.md#{target[1]})\n")
    return "\n".join(parts)


def api_modules() -> dict[str, str]:
    """Return the module of each public name of ``kitsseg``."""
    tree = ast.parse((ROOT / "kitsseg" / "__init__.py").read_text())
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    (modules,) = (node.value for node in assigned if getattr(node.targets[0], "id", "") == "_MODULES")
    found: dict[str, str] = ast.literal_eval(modules)
    return found


def api() -> str:
    """Return the page of the public Python API, from the docstrings."""
    parts = [
        "# Python API\n",
        "All names are imported from `kitsseg`, for example `from kitsseg import Segmenter`. "
        "How to use them is described in [Python](../how-to/python.md).\n",
        *(f"::: {module}.{name}\n" for name, module in sorted(api_modules().items())),
    ]
    return "\n".join(parts)


def gallery() -> str:
    """Return the page of all studies: question, first picture or table, and conclusion."""
    parts = [
        "# Gallery\n",
        "Each study has a question, the commands and commit that answer it, and a conclusion. "
        "The page of a study contains all of its tables.\n",
    ]
    for path in sorted((ROOT / "experiments").glob("*/README.md")):
        text = path.read_text()
        title = text.split("\n", 1)[0].removeprefix("# ")
        folder = f"../experiments/{path.parent.name}"
        parts.append(f"## [{title}]({folder}/README.md)\n")
        for name in ("Question", "Conclusion"):
            if found := re.search(rf"\*\*{name}\.\*\*(.*?)\n\n", text + "\n\n", re.DOTALL):
                parts.append(f"**{name}.**{moved(found[1], folder)}\n")
        picture = re.search(r"^!\[([^\]]*)\]\(([^)]+)\)$", text, re.MULTILINE)
        table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
        if picture:
            parts.append(f"![{picture[1]}]({folder}/{picture[2]})\n")
        elif table:
            parts.append(f"{table[0]}\n")
    return "\n".join(parts)


def moved(text: str, folder: str) -> str:
    """Return Markdown of a page in ``folder`` with links for a page outside."""

    def target(link: re.Match[str]) -> str:
        return f"]({posixpath.normpath(f'{folder}/{link[1]}')})"

    return re.sub(r"\]\((?!https?:)([^)]+)\)", target, text)
