"""Does a text address a language model with orders? Rules on who is spoken to and what is asked, in 18 languages. Pure.

A manual is full of orders, but to people and about things. Flagged is a sentence that (1) has the instructions given
so far set aside, (2) wants the model's own instructions shown, (3) puts a link or image into the answer or sends the
conversation away, or (4) holds a turn that only a language model can be meant by: "if you are an AI", "answer only
with", "from now on you are". No single word is enough. What asks for nothing in such terms ("Paris is the capital of
Italy") is not noticed: this is a note for the reader, not the defence.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Final

import regex

from rag.normalization import visible

_AI: Final = r"(?:AI|A\.I\.|LLMs?|GPT|ChatGPT|Claude|Gemini|Copilot)"
_LINK: Final = regex.compile(
    r"https?:|www\.|!\[|\]\(|\b(?:URL|HTML|Markdown)\b|(?<!\p{L})(?:links?|images?|liens?|enlaces?|imagen|imágenes|"
    r"Bild|Grafik|immagin|colleg|imagem|afbeelding|obraz|odnośnik|ссылк|изображени|картинк|посиланн|зображенн|bağlantı|"
    r"görsel|resim|tautan|gambar|liên kết|hình ảnh|लिंक|छवि|चित्र)|رابط|صورة|リンク|画像|링크|이미지|链接|連結|图片|圖片",
    regex.IGNORECASE,
)
_SENTENCE: Final = regex.compile(r"(?<=[.!?…؟।])\s+|(?<=[。！？])|[\r\n]+")
_JOINED: Final = frozenset({"ar", "hi", "ja", "ko", "zh"})
"""Written without spaces, or with words grown onto others: a stem may stand anywhere."""


def gives_orders(text: str) -> bool:
    """Whether a sentence of `text` gives orders to a language model."""
    shown = visible(text)
    return any(_is_order(sentence) for sentence in _SENTENCE.split(shown) if sentence and sentence.strip())


def _is_order(sentence: str) -> bool:
    return any(
        (words["override"].search(sentence) and words["rules"].search(sentence) and words["prior"].search(sentence))
        or (words["reveal"].search(sentence) and words["secret"].search(sentence))
        or (words["attach"].search(sentence) and words["reply"].search(sentence) and _LINK.search(sentence))
        or words["turns"].search(sentence)
        for words in _rules()
    )


@cache
def _rules() -> tuple[dict[str, regex.Pattern[str]], ...]:
    """For each language, what is looked for by kind."""
    table = tomllib.loads(files(__package__).joinpath("orders.toml").read_text(encoding="utf-8"))
    return tuple(
        {kind: _any_of(words, joined=language in _JOINED) for kind, words in row.items()}
        for language, row in table.items()
    )


def _any_of(words: list[str], *, joined: bool) -> regex.Pattern[str]:
    begins = "" if joined else r"(?<!\p{L})"
    return regex.compile(f"{begins}(?:{'|'.join(words)})".replace("{AI}", _AI), regex.IGNORECASE)
