"""Documents of headings, sentences, tables and pictures, as Markdown and as HTML.

The HTML is one file that asks the network for nothing, and light or dark as the reader's screen is.
"""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Sentence:
    """A paragraph; a warning stands out."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report."""

    name: str
    alt: str


@dataclass(frozen=True)
class Matrix:
    """Shares from 0 to 1, one row a name, the darker the higher; ``corner`` says what the rows are."""

    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]

    @property
    def table(self) -> Table:
        """The same as text, in per cent."""
        return Table((self.corner, *self.columns), tuple((name, *map(percent, row)) for name, row in self.rows))


@dataclass(frozen=True)
class SideBySide:
    """Matrices beside each other, as far as the page is wide."""

    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class Drawing:
    """An SVG that is part of the page, so that it takes the page's colours; ``alt`` says what it shows."""

    svg: str
    alt: str


Block = Heading | Sentence | Table | Picture | Matrix | SideBySide | Drawing


def percent(share: float | None) -> str:
    """A share in per cent, and a dash where it is unknown.

    >>> percent(0.4863), percent(None)
    ('48.6%', '-')
    """
    return "-" if share is None else f"{share:.1%}"


def as_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The document in GitHub's Markdown; pictures are the files beside it.

    >>> print(as_markdown("Test", [Table(("emotion", "recall"), (("sad", "50.0%"),))]), end="")
    # Test
    <BLANKLINE>
    | emotion | recall |
    |:--|--:|
    | sad | 50.0% |
    """

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def render(block: Block) -> str:
        match block:
            case Heading(text):
                return f"## {text}"
            case Sentence(text, warning):
                return f"> **{text}**" if warning else text
            case Table(header, rows):
                ruler = "|:--|" + "--:|" * (len(header) - 1)
                return "\n".join([line(header), ruler, *map(line, rows)])
            case Picture(name, alt):
                return f"![{alt}]({name})"
            case Matrix(title):
                return f"{title}\n\n{render(block.table)}"
            case SideBySide(matrices):
                return "\n\n".join(map(render, matrices))
            case Drawing(_, alt):
                return f"*{alt}: see the HTML page.*"

    return "\n\n".join([f"# {title}", *map(render, blocks)]) + "\n"


STYLE = """
:root {
  color-scheme: light dark; --ink: #222; --page: #fff; --line: #e6e6e6; --heat: 0 114 178;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b0508f;
  --c4: #8a6d00; --c5: #3d9ad1; --c6: #6b6b6b; --c7: #7a4a1e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8e6e3; --page: #16181c; --line: #33373d; --heat: 0 105 170;
    --c0: #56b4e9; --c1: #ff8a3c; --c2: #2fcf9f; --c3: #e08fc4;
    --c4: #e6c229; --c5: #9fb6ff; --c6: #b8b8b8; --c7: #d09a66;
  }
}
body {
  font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 54rem; margin: 2rem auto; padding: 0 1rem;
}
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem } p { max-width: 46rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 }
img { max-width: 100%; max-height: 36rem } figure { margin: 1rem 0 } figcaption { font-weight: 600 }
svg { width: 100%; height: auto } svg text { font-family: system-ui, sans-serif !important }
.scroll { overflow-x: auto } .side { display: flex; flex-wrap: wrap; gap: 0 2rem }
.matrix { font-size: .8rem } .matrix th { padding: .2rem .6rem .2rem 0 }
.matrix td:not(:first-child) {
  text-align: center; padding: .25rem .3rem; border: 2px solid var(--page);
  background: rgb(var(--heat) / var(--share));
}
.side .matrix th:not(:first-child) {
  writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; font-weight: 400; padding: .4rem .1rem;
}
.matrix .full { color: #fff }
.warning { border-left: 4px solid #d55e00; padding-left: 1rem; font-weight: 600 }
"""


def as_html(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The document as one HTML file that holds the pictures of ``folder``."""

    def render(block: Block) -> str:
        match block:
            case Heading(text):
                return f"<h2>{html.escape(text)}</h2>"
            case Sentence(text, warning):
                return f"<p{' class=warning' * warning}>{html.escape(text)}</p>"
            case Table(header, rows):
                body = "".join(_row("td", cells) for cells in rows)
                return f'<div class="scroll"><table>{_row("th", header)}{body}</table></div>'
            case Picture(name, alt):
                data = base64.b64encode((folder / name).read_bytes()).decode()
                return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
            case Matrix():
                return _matrix(block)
            case SideBySide(matrices):
                return f'<div class="side">{"".join(map(render, matrices))}</div>'
            case Drawing(svg, alt):
                return f'<figure role="img" aria-label="{html.escape(alt)}">{svg}</figure>'

    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *map(render, blocks)])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _matrix(matrix: Matrix) -> str:
    def cell(share: float | None) -> str:
        full = ' class="full"' if (share or 0) > 0.85 else ""
        text = "-" if share is None else f"{share:.0%}"
        return f'<td{full} style="--share: {share or 0:.2f}">{text}</td>'

    rows = "".join(f"<tr><td>{html.escape(name)}</td>{''.join(map(cell, shares))}</tr>" for name, shares in matrix.rows)
    caption = f"<figcaption>{html.escape(matrix.title)}</figcaption>" if matrix.title else ""
    head = _row("th", (matrix.corner, *matrix.columns))
    return f'<figure class="scroll">{caption}<table class="matrix">{head}{rows}</table></figure>'
