"""Bar charts as SVG."""

import html

COLOURS = {"Sluice": "#0b6e99", "direct": "#c9ced6"}
OTHER = "#8d99ae"
ROW, LABEL, WIDTH, TOP = 26, 110, 720, 44


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bars(title, unit, values):
    """A horizontal bar for each name; those that dwarf the others are cut, and say so."""
    height = TOP + ROW * len(values) + 12
    others = sorted(values.values())
    top = others[-1]
    # One that is ten times the next would leave the others no room.
    if len(others) > 2 and others[-1] > 10 * others[-2]:
        top = others[-2] * 1.25
    room = WIDTH - LABEL - 130
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" role="img">',
        f"<title>{html.escape(title)}, {html.escape(unit)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="24" font-size="15" font-weight="bold" fill="#1c2530">'
        f"{html.escape(title)}"
        '<tspan font-size="12" font-weight="normal" fill="#5b6675">'
        f" {html.escape(unit)}</tspan></text>",
    ]
    for index, (name, value) in enumerate(values.items()):
        y = TOP + ROW * index
        is_cut = value > top
        length = room if is_cut else max(1, room * value / top)
        colour = COLOURS.get(name, OTHER)
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end" fill="#1c2530">'
            f"{html.escape(name)}</text>",
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{ROW - 8}" fill="{colour}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 14}" fill="#1c2530">{number(value)}'
            f"{' (bar is cut)' if is_cut else ''}</text>",
        ]
    return "\n".join(parts + ["</svg>"]) + "\n"
