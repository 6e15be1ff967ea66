"""A bar chart with a logarithmic axis as SVG, readable on light and on dark pages."""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

WIDTH = 900
_LEFT, _RIGHT, _TOP = 370, 90, 70
_BAR, _GAP, _BETWEEN = 13, 3, 17

# One set of colours for each kind of page; both tell the series apart for the colour-blind too.
_STYLE = """
  svg { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
  .page { fill: #ffffff; } .ink { fill: #1f2328; }
  .soft { fill: #59636e; } .line { stroke: #d1d9e0; }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
  .s0 { fill: #0969da; } .s1 { fill: #d4760a; } .s2 { fill: #8c959f; }
  .title { font-size: 15px; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .ink { fill: #e6edf3; }
    .soft { fill: #9198a1; } .line { stroke: #30363d; }
    .value { stroke: #0d1117; }
    .s0 { fill: #4493f8; } .s1 { fill: #f0943a; } .s2 { fill: #6e7681; }
  }
"""


def bars(
    title: str, series: Sequence[str], groups: Sequence[tuple[str, Sequence[float | None]]]
) -> str:
    """Draw a chart.

    Args:
        title: above it.
        series: names of the bars in each group, three at most.
        groups: (name, seconds of each series); None where there is no figure.

    Returns:
        The SVG.
    """
    known = [value for _, values in groups for value in values if value]
    low, high = floor(log10(min(known, default=0.01))), ceil(log10(max(known, default=1)))
    high = max(high, low + 1)
    scale = (WIDTH - _LEFT - _RIGHT) / (high - low)
    block = len(series) * (_BAR + _GAP) - _GAP
    bottom = _TOP + len(groups) * (block + _BETWEEN)
    height = bottom + 34

    def across(value: float) -> float:
        return _LEFT + (log10(value) - low) * scale

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 '
        f'{WIDTH} {height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="ink title" x="20" y="28">{escape(title)}</text>',
    ]
    at = 20
    for number, name in enumerate(series):
        out.append(f'<rect class="s{number}" x="{at}" y="41" width="11" height="11" rx="2"/>')
        out.append(f'<text class="soft" x="{at + 17}" y="51">{escape(name)}</text>')
        at += 45 + 7 * len(name)
    for power in range(low, high + 1):
        x = across(10.0**power)
        out.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom - 4}"/>')
        out.append(
            f'<text class="soft" x="{x:.1f}" y="{bottom + 14}" '
            f'text-anchor="middle">{10.0**power:g} s</text>'
        )
    for row, (name, values) in enumerate(groups):
        top = _TOP + row * (block + _BETWEEN) + _BETWEEN / 2
        for line, part in enumerate(lines := _wrapped(name)):
            y = top + block / 2 + 4 + 15 * (line - (len(lines) - 1) / 2)
            out.append(
                f'<text class="ink" x="{_LEFT - 12}" y="{y:.1f}" '
                f'text-anchor="end">{escape(part)}</text>'
            )
        for number, value in enumerate(values):
            y = top + number * (_BAR + _GAP)
            end = _LEFT if not value else max(across(value), _LEFT + 1)
            if value:
                out.append(
                    f'<rect class="s{number}" x="{_LEFT}" y="{y:.1f}" width="{end - _LEFT:.1f}" '
                    f'height="{_BAR}"'
                    ' rx="2"/>'
                )
            label = f"{value:.3g} s" if value else "not run"
            out.append(
                f'<text class="soft value" x="{end + 6:.1f}" y="{y + 10.5:.1f}">{label}</text>'
            )
    return "\n".join([*out, "</svg>"]) + "\n"


def _wrapped(text: str, width: int = 54) -> list[str]:
    """A name in lines that fit beside the bars."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
