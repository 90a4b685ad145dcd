"""The state of one `rag chat`: what commands work on."""

from __future__ import annotations

import logging
import sys
import threading
from difflib import get_close_matches
from typing import TYPE_CHECKING, TextIO

from rag import build
from rag.api import open_rag
from rag.chat.conversation import Conversation, Options
from rag.chat.sessions import Session, SessionFolder
from rag.errors import IndexMissingError, InputError, RagError
from rag.normalization import printable
from rag.pipeline import CrossLingualRAG
from rag.rendering.markdown import MarkdownStream
from rag.rendering.passages import laid_out
from rag.rendering.screen import Screen
from rag.rendering.text import counted, remarks, sources_text
from rag.types import Answer, Citation, Passage, StoredDocument

if TYPE_CHECKING:
    from rag_config.settings import Settings


_log = logging.getLogger(__name__)


class Chat:
    """An open index, a conversation about it, and the screen it is shown on. Use it in a `with`.

    Attributes:
        settings: of the index that is open now.
        screen: what `out` can show.
        sessions: where conversations are kept.
        conversation: the one that is going on.
        numbered: what `/quote N` refers to: the citations of the last answer, or the passages of a search after it.
        leaving: set by /exit.
        exit_code: of the first failure, for a program that reads a pipe to its end.
    """

    def __init__(
        self, settings: Settings, options: Options, session: Session | None, out: TextIO | None = None
    ) -> None:
        """Opens the index; its model is loaded by `warm_up`, or with the first question.

        Args:
            session: a conversation to go on with; None begins one.

        Raises:
            NotConfiguredError, UnavailableError: as `open_rag`.
        """
        self.settings = settings
        self.out = out or sys.stdout
        self.screen = Screen.of(self.out, right_to_left=settings.right_to_left)
        self.sessions = SessionFolder(settings.chat.path, keep=settings.chat.keep)
        self.numbered: dict[int, list[Citation | Passage]] = {}
        self.leaving = False
        self.exit_code = 0
        self._documents: list[StoredDocument] | None = None
        self._listing = threading.Lock()
        self._warming: threading.Thread | None = None
        self._rag = open_rag(settings)
        self.conversation = Conversation(self._rag, session or self.sessions.new(self.place), options, self.place)

    @property
    def place(self) -> str:
        """Store and collection, for people."""
        store = self.settings.store
        return f"{store.url or store.path} · {store.collection}"

    @property
    def rag(self) -> CrossLingualRAG:
        """The open index."""
        return self._rag

    @property
    def is_loading(self) -> bool:
        """Whether the model is still being loaded."""
        return self._warming is not None and self._warming.is_alive()

    def documents(self) -> list[StoredDocument]:
        """What the index holds, as it was when it was first asked for."""
        with self._listing:
            if self._documents is None:
                self._documents = list(self._rag.documents())
            return self._documents

    def warm_up(self) -> None:
        """Begins to load the model in a thread; what goes wrong there is said when a question is asked."""

        def load() -> None:
            try:
                self._rag.warm_up()
            except Exception:  # noqa: BLE001  whatever it is, the first question meets it again and says so
                _log.debug("the model could not be loaded ahead of the first question", exc_info=True)

        self._warming = threading.Thread(target=load, name="rag-warm-up", daemon=True)
        self._warming.start()

    def say(self, text: str = "") -> None:
        """Writes plain text, laid out for the screen."""
        self.show(laid_out(text, self.screen))

    def show(self, rendered: str) -> None:
        """Writes lines that have been made for this screen already."""
        self.out.write(f"{rendered}\n")
        self.out.flush()

    def complain(self, error: RagError) -> None:
        """One line about what went wrong, on stderr; the conversation goes on."""
        self.out.flush()
        line = f"rag: {printable(' '.join(str(error).split()))}"
        sys.stderr.write(f"{laid_out(line, self.screen) if sys.stderr.isatty() else line}\n")
        sys.stderr.flush()
        self.exit_code = self.exit_code or error.exit_code

    def show_answer(self, answer: Answer) -> None:
        """An answer that is there already, as it was shown when it came."""
        with MarkdownStream(self.out, self.screen) as shown:
            shown.feed(answer.text)
        self.show_sources(answer)

    def show_sources(self, answer: Answer) -> None:
        """What stands below an answer: its sources, and what is wrong with it."""
        if answer.citations:
            self.say(f"\n{sources_text(answer, self.settings.answer.templates)}")
        for remark in remarks(answer, self.settings.answer.templates):
            self.say(f"({remark})")
        self.numbered = {}

    def begin(self, session: Session | None = None) -> None:
        """Goes over to `session`, or to a new one."""
        session = session or self.sessions.new(self.place)
        self.conversation = Conversation(self._rag, session, self.conversation.options, self.place)
        self.numbered = {}

    def open_collection(self, name: str) -> None:
        """Goes over to another collection of the same store; the conversation goes on.

        Raises:
            InputError: that can be no collection's name.
            NotConfiguredError, UnavailableError: it cannot be opened; the old one stays.
        """
        store = self.settings.store
        try:
            chosen = type(store).model_validate({**dict(store), "collection": name})
        except ValueError as error:
            raise InputError(
                f"{name!r} is no name of a collection: letters, digits, dots, hyphens and underscores"
            ) from error
        settings = self.settings.model_copy(update={"store": chosen})
        try:
            opened = open_rag(settings)
        except IndexMissingError as error:
            there = build.collections(settings)
            near = get_close_matches(name, there, n=1) or there[:1]
            hint = f"the nearest is {near[0]!r}, /collection lists them" if near else "none is there"
            raise InputError(
                f"there is no collection {name!r}: {hint}; `ingest --collection {name}` makes it"
            ) from error
        with self._listing:
            self._rag.close()
            self.settings, self._rag, self._documents = settings, opened, None
        self.conversation.rag, self.conversation.collection = opened, self.place
        self.numbered = {}

    def number(self, found: dict[int, list[Citation | Passage]]) -> None:
        """Sets what `/quote N` refers to."""
        self.numbered = found

    def greeting(self) -> str:
        """What is open, and how to get help."""
        documents = self.documents()
        languages = {document.language for document in documents}
        return (
            f"{counted(len(documents), 'document')} in {counted(len(languages), 'language')} ({self.place}). "
            "/help shows the commands, Ctrl-D leaves."
        )

    def close(self) -> None:
        """Lets go of the index."""
        self._rag.close()

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
