"""What in a passage looks like a part of the request around it, made harmless and still readable. Pure.

Escaped are: fences (`<<<…>>>`, and the request's own mark beside an angle bracket), the tokens by which chat templates
tell roles apart (`<|im_start|>`, `[INST]`, `<<SYS>>`, `<start_of_turn>`, `</s>`, `<think>` and their kin), a role at
the beginning of a line (`Human:`, `### System`), and markers of citations (`[1]`, `[1: "`). Each of their signs gives
way to one that looks like it, one code point for one. Characters that nobody sees are left out, as orders can be hidden
in them; these alone change the length.
"""

from __future__ import annotations

from typing import Final

import regex

from rag.normalization import visible

_LOOK_ALIKES: Final = {"<": "⟨", ">": "⟩", "[": "⟦", "]": "⟧", ":": "꞉", "|": "¦", "#": "♯"}
_ALSO: Final = {"＜": "<", "＞": ">", "［": "[", "］": "]", "【": "[", "】": "]", "：": ":", "｜": "|", "＃": "#"}
# What the output filter makes of an answer's text beside these, where that is a quotation.
_OF_THE_OUTPUT: Final = {"ˋ": "`", "＆": "&"}
_ESCAPED: Final = str.maketrans(_LOOK_ALIKES | {wide: _LOOK_ALIKES[plain] for wide, plain in _ALSO.items()})

FOLDED: Final = str.maketrans({look: plain for plain, look in _LOOK_ALIKES.items()} | _ALSO | _OF_THE_OUTPUT)
"""For `str.translate`, code point for code point: text that was escaped and text that was not become the same.

A quote of a passage that a model has seen escaped is looked for in the stored text with both folded by this, and with
the characters that `rag.normalization.visible` leaves out left out of both.
"""

_TAGS: Final = (
    "s|bos|eos|pad|unk|start_of_turn|end_of_turn|turn|system|user|assistant|human|model|tool|developer|think|thinking|"
    "thought|reasoning|reflection|analysis|final|tool_call|tool_calls|tool_response|function_call|function_calls|"
    "function_results|invoke|instruction|instructions|prompt|context|document|documents|passage|passages|source|sources|"
    "data|query|question|answer|response|message|im_start|im_end|endoftext|begin_of_text|eot_id"
)
_BRACKETED: Final = (
    "INST|SYS|SYSTEM|SYSTEM_PROMPT|THINK|USER|ASSISTANT|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|END|START|"
    "END OF [A-Z ]{1,30}|START OF [A-Z ]{1,30}|BEGIN [A-Z ]{1,30}"
)
# English first; then ar, de, es, fr, hi, id, it, ja, ko, nl, pl, pt, ru, tr, uk, vi, zh.
_ROLES: Final = (
    "system|system message|system prompt|user|human|assistant|ai|ai assistant|chatbot|bot|model|developer|tool|"
    "instruction|instructions|prompt|response|output|new instructions?|"
    "النظام|المستخدم|المساعد|مساعد|تعليمات|benutzer|nutzer|assistent|anweisung|anweisungen|sistema|usuario|asistente|"
    "instrucciones|système|utilisateur|consigne|सिस्टम|प्रणाली|उपयोगकर्ता|सहायक|निर्देश|sistem|pengguna|asisten|instruksi|"
    "utente|assistente|istruzioni|システム|ユーザー|アシスタント|指示|시스템|사용자|어시스턴트|지시|systeem|gebruiker|"
    "instructie|użytkownik|asystent|polecenie|usuário|instruções|система|пользователь|ассистент|инструкция|kullanıcı|"
    "asistan|talimat|користувач|асистент|інструкція|hệ thống|người dùng|trợ lý|chỉ thị|系统|系統|用户|用戶|助手|指令"
)
_NUMBERS: Final = r"\p{Nd}{1,3}(?:\s?[,;、，؛،\-–—]\s?\p{Nd}{1,3}){0,15}"
_OPENING: Final = regex.compile(r"[<＜]{3,}+")
_CLOSING: Final = regex.compile(r"[>＞]{3,}+")
_LINE: Final = r"(?<![^\n\u2028\u2029])"
_FORGED: Final = regex.compile(
    rf"""
      (?<![<＜])[<＜]{{2,}}+/?SYS[>＞]{{2,}}
    | [<＜]\s?[|｜¦][^|｜\n]{{0,60}}[|｜¦]\s?[>＞]                     # <|im_start|>
    | [<＜]\s?/?\s?(?:{_TAGS})(?:\s[^<>\n]{{0,120}})?\s?/?[>＞]
    | [\[［]\s?/?\s?(?:{_BRACKETED})\s?[\]］]
    | [\[［【]\s?{_NUMBERS}\s?[\]］】]                                  # [1], [1, 2], [1-3]
    | [\[［【](?=\s?{_NUMBERS}\s?[:：])                                # [1: "
    | {_LINE}[ \t>*_~-]{{0,40}}+(?:[#＃]{{1,6}}+[ \t*_]{{0,4}}+)?(?:{_ROLES})[ \t*_]{{0,4}}[:：]
    | {_LINE}[ \t>*_~-]{{0,40}}+[#＃]{{1,6}}+[ \t*_]{{0,4}}+(?:{_ROLES})(?=[ \t*_]{{0,4}}+(?:\n|\Z))
    """,
    regex.VERBOSE | regex.IGNORECASE,
)


def escaped(text: str, mark: str) -> str:
    """`text` with no fence, role or marker in it.

    Args:
        mark: what the fences of this request carry.
    """
    own = regex.escape(mark)
    beside = regex.compile(
        rf"(?<![<＜])[<＜]++\s{{0,4}}{own}(?:\s{{0,4}}[>＞]++)?|{own}\s{{0,4}}[>＞]++", regex.IGNORECASE
    )
    shown = beside.sub(_with_look_alikes, visible(text))
    shown = "\n".join(map(_without_fence, shown.split("\n")))
    return str(_FORGED.sub(_with_look_alikes, shown))


def _without_fence(line: str) -> str:
    """`line` with its long runs of angle brackets escaped, if one that opens stands before one that closes."""
    opening = _OPENING.search(line)
    if opening is None or _CLOSING.search(line, opening.end()) is None:
        return line
    return str(_CLOSING.sub(_with_look_alikes, _OPENING.sub(_with_look_alikes, line)))


def _with_look_alikes(found: regex.Match[str]) -> str:
    return str(found.group()).translate(_ESCAPED)
