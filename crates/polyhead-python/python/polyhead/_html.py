"""Answers as notebooks show them: HTML in the colours of the page around it, light or dark, without scripts.

All text comes from outside, and is escaped. Colours are translucent, so that they do on either ground.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_MARK = "background:hsl({hue} 75% 55% / .28);border-radius:.3em;padding:.1em .3em;line-height:1.9;color:inherit"
_TYPE = "font-size:.72em;font-weight:600;margin-left:.4em;opacity:.8"


def _hue(name: str) -> int:
    """Of a label: the same in every answer and every process."""
    return zlib.crc32(name.encode()) * 137 % 360


def entities_html(text: str, spans: Sequence[Mapping[str, Any]]) -> str:
    """The text with its spans highlighted, each with its type. A span that overlaps one before it is left out."""
    parts, end = [], 0
    for span in spans:
        if span["start"] < end:
            continue
        kind, score = escape(span["type"]), f"{span['score']:.2f}"
        parts.append(escape(text[end : span["start"]]))
        parts.append(
            f'<mark style="{_MARK.format(hue=_hue(span["type"]))}" title="{kind} {score}">'
            f'{escape(text[span["start"] : span["end"]])}<span style="{_TYPE}">{kind}</span></mark>'
        )
        end = span["end"]
    parts.append(escape(text[end:]))
    return f'<div style="white-space:pre-wrap">{"".join(parts)}</div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td style="text-align:right">{value:.2f}</td>'
    return f'<td style="text-align:left">{escape(str(value))}</td>'


def rows_html(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table style="color:inherit"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def tree_html(words: Sequence[Mapping[str, Any]]) -> str:
    """A row for each word, with its head."""
    heads = [words[word["head"] - 1]["text"] if word["head"] > 0 else "ROOT" for word in words]
    rows = [
        (at, word["text"], word["label"], head, word["score"])
        for at, (word, head) in enumerate(zip(words, heads), 1)
    ]
    return rows_html(("", "word", "relation", "head", "score"), rows)
