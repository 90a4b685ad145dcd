"""Colours of the report's cells: even steps of perceived lightness, each with a text colour that can be read on it."""

from __future__ import annotations

import math
from typing import Final

STEPS: Final = 40
"""A cell's value is rounded to a fortieth: finer differences of lightness are not seen, and its number is printed."""
FULL_PREFERENCE: Final = 0.5
"""Difference of two shares at which the colours of preference end."""

_BLUE: Final = 255.0
_ORANGE: Final = 60.0
"""Hues in OKLCH, degrees: told apart in every common form of colour blindness."""


def value_class(value: float) -> str:
    """The class of a cell whose value lies between 0 and 1."""
    return f"v{round(STEPS * min(max(value, 0.0), 1.0))}"


def difference_class(difference: float) -> str:
    """The class of a cell for a difference of two shares: blue below 0, orange above."""
    part = min(max(difference / FULL_PREFERENCE, -1.0), 1.0)
    return f"d{round(STEPS * (part + 1) / 2)}"


def style() -> str:
    """Rules for every class, for light and for dark screens."""
    return f"{_rules(False)}\n@media screen and (prefers-color-scheme: dark) {{\n{_rules(True)}\n}}"


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours written `#rrggbb`, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _rules(dark: bool) -> str:
    rules = []
    for step in range(STEPS + 1):
        part = step / STEPS
        rules.append(_rule(f"v{step}", _shade(part, _BLUE, dark)))
        away = 2 * part - 1
        rules.append(_rule(f"d{step}", _shade(abs(away), _BLUE if away < 0 else _ORANGE, dark)))
    return "\n".join(rules)


def _rule(name: str, background: str) -> str:
    # Black or white reaches 4.58 : 1 on any colour: the two ratios multiply to 21.
    text = max("#000000", "#ffffff", key=lambda colour: contrast(colour, background))
    return f".{name} {{ background: {background}; color: {text} }}"


def _shade(part: float, hue: float, dark: bool) -> str:
    """Little is close to the page's own colour, much is far from it."""
    lightness = 0.26 + 0.62 * part if dark else 0.97 - 0.59 * part
    chroma = 0.01 + 0.13 * math.sin(math.pi * min(part, 0.75) / 1.5)
    while True:
        channels = _srgb(lightness, chroma, hue)
        if all(0.0 <= channel <= 1.0 for channel in channels) or chroma <= 0.0:
            return "#" + "".join(f"{round(255 * min(max(channel, 0.0), 1.0)):02x}" for channel in channels)
        chroma -= 0.005  # outside of what screens show: greyer, as light as before


def _srgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """OKLCH to sRGB, 0 to 1 where it can be shown (B. Ottosson, "A perceptual color space for image processing")."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _companded(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _companded(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _companded(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _companded(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
