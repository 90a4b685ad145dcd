"""Conversations are kept turn by turn, survive a crash, and are found again."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from rag.chat import transcript
from rag.chat.conversation import history
from rag.chat.sessions import Session, SessionFolder, Turn
from rag.citations import check
from rag.errors import InputError, RagError
from rag.types import Answer, Message, Usage
from tests.samples import a_passage

PLACE = "store · manuals"


def an_answer(question: str = "Wie fest?", text: str = "Mit 24 Nm [1].", **changes: Any) -> Answer:
    passage = a_passage()
    fields: dict[str, Any] = {
        "question": question,
        "text": text,
        "asked_in": "de",
        "language": "de",
        "answered_in": "de",
        "language_ok": True,
        "complete": True,
        "refused": False,
        "citations": check(text, (), [passage]).citations,
        "passages": (passage,),
        "usage": Usage(3, 2, 1),
        "timings": {"total": 0.5},
        **changes,
    }
    return Answer(**fields)


@pytest.fixture
def folder(tmp_path: Path) -> SessionFolder:
    return SessionFolder(tmp_path / "chat")


def test_a_conversation_comes_back_as_it_was(folder: SessionFolder) -> None:
    session = folder.new(PLACE)
    session.add(an_answer())
    session.add(an_answer("And in winter?", "Not said.", language="en", language_ok=None, complete=False))
    again = folder.open(session.id)
    assert again.turns == session.turns
    assert (again.id, again.place, again.title) == (session.id, PLACE, "Wie fest?")


def test_a_name_that_is_no_valid_text_comes_back(folder: SessionFolder) -> None:
    passage = a_passage(uri="file:///library/hand%FFbuch.pdf")
    answer = an_answer(citations=check("So [1].", (), [passage]).citations, passages=(passage,))
    assert "\udcff" in answer.citations[0].source
    session = folder.new(PLACE)
    session.add(answer)
    assert folder.latest().turns[0].answer == answer


def test_an_answer_asked_for_again_replaces_the_last(folder: SessionFolder) -> None:
    session = folder.new(PLACE)
    session.add(an_answer("one"))
    session.add(an_answer("two", "first try"))
    session.add(an_answer("two", "second try"), replaces_last=True)
    assert [turn.answer.text for turn in session.turns] == ["Mit 24 Nm [1].", "second try"]
    assert folder.open(session.id).turns == session.turns


def test_a_line_that_a_crash_cut_off_costs_no_other_turn(folder: SessionFolder) -> None:
    session = folder.new(PLACE)
    session.add(an_answer("one"))
    assert session.path is not None
    whole = session.path.read_bytes()
    session.path.write_bytes(whole + whole.splitlines()[1][:100])
    torn = folder.open(session.id)
    assert [turn.answer.question for turn in torn.turns] == ["one"]
    torn.add(an_answer("two"))
    assert [turn.answer.question for turn in folder.open(session.id).turns] == ["one", "two"]


def test_only_the_turn_that_was_replaced_goes_whoever_wrote_last(folder: SessionFolder) -> None:
    session = folder.new(PLACE)
    session.add(an_answer("one"))
    other = folder.open(session.id)
    session.add(an_answer("two", "first try"))
    other.add(an_answer("of another program"))
    session.add(an_answer("two", "second try"), replaces_last=True)
    kept = [(turn.answer.question, turn.answer.text) for turn in folder.open(session.id).turns]
    assert ("of another program", "Mit 24 Nm [1].") in kept
    assert ("two", "second try") in kept
    assert ("two", "first try") not in kept


def test_a_time_that_cannot_be_costs_no_other_turn(folder: SessionFolder) -> None:
    session = folder.new(PLACE)
    session.add(an_answer("one"))
    assert session.path is not None
    line = json.loads(session.path.read_text().splitlines()[1])
    with session.path.open("a") as file:
        file.write(json.dumps({**line, "asked_at": 1e30}) + "\n")
    assert [turn.answer.question for turn in folder.open(session.id).turns] == ["one"]


def test_only_the_owner_can_read_it(folder: SessionFolder) -> None:
    session = folder.new(PLACE)
    session.add(an_answer())
    assert session.path is not None
    assert stat.S_IMODE(session.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(session.path.parent.stat().st_mode) == 0o700


def test_a_conversation_without_turns_leaves_no_file(folder: SessionFolder, tmp_path: Path) -> None:
    folder.new(PLACE)
    assert folder.summaries() == []
    assert not (tmp_path / "chat").exists()


def test_what_must_not_be_kept_is_not(tmp_path: Path) -> None:
    kept = SessionFolder(tmp_path / "chat")
    session = kept.new(PLACE)
    session.add(an_answer("one"))
    forgetful = SessionFolder(tmp_path / "chat", keep=False)
    forgetful.new(PLACE).add(an_answer())
    forgetful.open(session.id).add(an_answer("two"))
    assert [len(each.turns) for each in (kept.latest(),)] == [1]
    assert len(kept.summaries()) == 1


def test_the_latest_comes_first(folder: SessionFolder) -> None:
    first, second = folder.new(PLACE), folder.new(PLACE)
    first.add(an_answer("old"))
    second.add(an_answer("new"))
    assert [summary.title for summary in folder.summaries()] == ["new", "old"]
    first.add(an_answer("newest"))
    assert folder.latest().id == first.id
    assert [summary.turns for summary in folder.summaries()] == [2, 1]


def test_the_beginning_of_an_id_will_do_where_it_is_one_s_alone(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path)
    for name in ("2026-01-01-0900-aaaa", "2026-01-02-0900-bbbb"):
        Session(name, PLACE, path=tmp_path / f"{name}.jsonl").add(an_answer(name))
    assert folder.open("2026-01-02").title == "2026-01-02-0900-bbbb"
    with pytest.raises(InputError, match="2 conversations begin with '2026'"):
        folder.open("2026")


def test_a_conversation_that_is_gone_is_named_with_the_nearest(folder: SessionFolder) -> None:
    with pytest.raises(InputError, match=r"no conversation '2026-01-01' .*none is kept yet"):
        folder.open("2026-01-01")
    with pytest.raises(InputError, match="no conversation is kept"):
        folder.latest()
    session = folder.new(PLACE)
    session.add(an_answer())
    with pytest.raises(InputError, match=f"nearest is '{session.id}'"):
        folder.open(session.id[:-1] + "x")


@pytest.mark.parametrize("content", [b"", b"not json\n", b'{"format": 99}\n', b"[1]\n", b"\xff\xfe\x00"])
def test_a_file_of_another_kind_is_refused_and_costs_no_other(
    folder: SessionFolder, tmp_path: Path, content: bytes
) -> None:
    session = folder.new(PLACE)
    session.add(an_answer())
    (tmp_path / "chat" / "foreign.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="no conversation that this version can read"):
        folder.open("foreign")
    assert [summary.id for summary in folder.summaries()] == [session.id]


def test_a_folder_that_cannot_be_written_to_is_said_and_the_turn_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    session = SessionFolder(tmp_path / "file").new(PLACE)
    with pytest.raises(RagError, match="RAG_CHAT__PATH"):
        session.add(an_answer())
    assert len(session.turns) == 1


def test_history_holds_questions_and_answers_without_markers() -> None:
    turns = [Turn(1.0, an_answer("Wie fest?", "Mit 24 Nm [1], „sagt“ er [2].")), Turn(2.0, an_answer("Und M10?"))]
    assert history(turns) == [
        Message("user", "Wie fest?"),
        Message("assistant", "Mit 24 Nm, „sagt“ er."),
        Message("user", "Und M10?"),
        Message("assistant", "Mit 24 Nm."),
    ]


def test_history_holds_whole_turns_and_the_latest_of_them() -> None:
    turns = [Turn(float(number), an_answer(f"question {number}", "word " * 600)) for number in range(5)]
    kept = history(turns)
    assert [message.content for message in kept if message.role == "user"] == ["question 3", "question 4"]
    assert history([]) == []


def test_of_a_last_turn_that_is_too_long_its_beginning_is_kept() -> None:
    [asked, answered] = history([Turn(1.0, an_answer("why", "word " * 4000))])
    assert asked.content == "why"
    assert answered.content.startswith("word word")
    assert len(answered.content) == 4000


def test_a_transcript_is_read_by_people_or_by_programs(folder: SessionFolder, tmp_path: Path) -> None:
    session = folder.new(PLACE)
    session.add(an_answer())
    transcript.save(session, tmp_path / "talk.md")
    written = (tmp_path / "talk.md").read_text()
    assert written.startswith("# Wie fest?\n")
    assert "Mit 24 Nm [1]." in written
    assert "Die Schrauben werden mit 24 Nm angezogen." in written
    transcript.save(session, tmp_path / "talk.json")
    [turn] = json.loads((tmp_path / "talk.json").read_text())["turns"]
    assert turn["citations"][0]["quote"] == "Die Schrauben werden mit 24 Nm angezogen."


def test_a_transcript_overwrites_nothing(folder: SessionFolder, tmp_path: Path) -> None:
    session = folder.new(PLACE)
    with pytest.raises(InputError, match="nothing to save"):
        transcript.save(session, tmp_path / "talk.md")
    session.add(an_answer())
    (tmp_path / "talk.md").write_text("mine")
    with pytest.raises(InputError, match="stays as it is"):
        transcript.save(session, tmp_path / "talk.md")
    assert (tmp_path / "talk.md").read_text() == "mine"
    with pytest.raises(RagError, match="cannot be written"):
        transcript.save(session, tmp_path / "nowhere" / "talk.md")
