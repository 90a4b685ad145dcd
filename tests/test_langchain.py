from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.embeddings import Embeddings
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.prompt_values import PromptValue
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from ingest import ingest
from rag import Answer, CrossLingualRAG, Settings, Where, build, build_retrieval
from rag.errors import EmbeddingError, EndpointError, InputError
from rag.langchain import AnswerRunnable, BgeM3Embeddings, CrossLingualRetriever, answer_runnable, document_of
from rag.ports import Embedder, PassageStore
from rag.retrieval import Retrieved, Retriever
from tests.openai_server import Reply, Server, answering, breaking, scripted_server, status, text, whole

QUESTION = "How often is the Beltomat conveyor belt cleaned, and who checks the tension?"
PIECES = (
    "The conveyor belt is cleaned every Monday [1], and the shift leader ",
    "checks its tension afterwards [1]. Nothing else is known of ",
    "the conveyor belt, ",
    "nor of its tension.",
)
RIGHT = "".join(PIECES)


@pytest.fixture(autouse=True)
def _no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LANGSMITH_", "LANGCHAIN_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("langchain")
    (folder / "wartung.md").write_text(
        "---\nsource: https://elsewhere.example\ndepartment: plant\n---\n"
        "# Wartung\n\nDas Förderband Beltomat wird jeden Montag gereinigt. "
        "Die Schichtleitung prüft danach die Spannung.\n"
    )
    (folder / "pause.md").write_text(
        "# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause von dreißig Minuten zu.\n"
    )
    (folder / "repas.md").write_text("# Repas\n\nLa cantine ouvre à midi et ferme à quatorze heures.\n")
    (folder / "travel.md").write_text("# Travel\n\nTrains are booked by the office at least two weeks ahead.\n")
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
    )
    assert ingest([folder], settings=settings).added == 4
    return settings


@dataclass
class Parts:
    """What pipelines over one open index share: a second opening in this process would wait for the first."""

    settings: Settings
    embedder: Embedder
    store: PassageStore
    retriever: Retriever

    def pipeline(self, settings: Settings) -> CrossLingualRAG:
        return CrossLingualRAG(self.retriever, self.store, build.chat_model(settings, self.embedder), attempts=1)


@pytest.fixture(scope="module")
def parts(index: Settings, pocket: Embedder) -> Iterator[Parts]:
    with closing(build.store(index)) as store:
        yield Parts(
            index, pocket, store, Retriever(pocket, store, build_retrieval.ranking(index, build.checkpoint(index)))
        )


@pytest.fixture
def rag(parts: Parts) -> CrossLingualRAG:
    """The pipeline without a language model."""
    return parts.pipeline(parts.settings)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    replies: list[Reply] | Reply = request.param
    with scripted_server(replies) as running:
        yield running


@pytest.fixture
def talk(parts: Parts, server: Server) -> AnswerRunnable:
    """The pipeline as a Runnable before a scripted language model."""
    llm = parts.settings.llm.model_copy(update={"model": "m", "base_url": server.base_url, "retries": 0, "timeout": 20})
    return answer_runnable(parts.pipeline(parts.settings.model_copy(update={"llm": llm})))


def script(replies: list[Reply] | Reply) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", [replies], indirect=True)


class TestTheRetrieverInLangChainsSuite(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _over_the_index(self, rag: CrossLingualRAG) -> None:
        self.rag = rag

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return CrossLingualRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"rag": self.rag}

    @property
    def retriever_query_example(self) -> str:
        return QUESTION


class TestTheEmbeddingsInLangChainsSuite(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _of_the_bundled_model(self, pocket: Embedder) -> None:
        self.pocket = pocket

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return BgeM3Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": self.pocket}


class TestTheEmbeddingsInLangChainsUnitSuite(EmbeddingsUnitTests):
    @pytest.fixture(autouse=True)
    def _of_the_bundled_model(self, pocket: Embedder) -> None:
        self.pocket = pocket

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return BgeM3Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": self.pocket}


def test_documents_are_the_passages_of_the_same_retrieval(rag: CrossLingualRAG) -> None:
    passages = rag.retrieve(QUESTION, k=3)
    documents = CrossLingualRetriever(rag=rag, k=3).invoke(QUESTION)
    assert [document.metadata["rank"] for document in documents] == [1, 2, 3]
    for passage, document in zip(passages, documents, strict=True):
        chunk = passage.chunk
        assert (document.id, document.page_content) == (chunk.id, chunk.text)
        assert tuple(document.metadata["span"]) == chunk.span
        assert document.metadata["metadata"] == chunk.metadata
        for name in ("rank", "score", "dense_score", "sparse_score"):
            assert document.metadata[name] == getattr(passage, name)
        plain = "source uri version title heading page language document_language format ordinal chunk_count"
        assert document.metadata.keys() == {*plain.split(), *_SCORES, "span", "metadata", "copies"}
        for name in plain.split():
            assert document.metadata[name] == getattr(chunk, name)


_SCORES = ("rank", "score", "dense_score", "sparse_score")


def test_what_a_document_says_of_itself_does_not_replace_where_it_is(rag: CrossLingualRAG) -> None:
    [document] = CrossLingualRetriever(rag=rag).invoke(QUESTION, k=1)
    assert document.metadata["source"].endswith("wartung.md")
    assert document.metadata["metadata"]["source"] == "https://elsewhere.example"
    assert document.metadata["language"] == "de"


def test_filters_of_the_retriever_hold_until_a_call_gives_others(rag: CrossLingualRAG) -> None:
    retriever = CrossLingualRetriever(rag=rag, where=Where(languages=("fr",)))
    assert [each.metadata["language"] for each in retriever.invoke(QUESTION)] == ["fr"]
    german = retriever.invoke(QUESTION, where=Where(languages=("de",)))
    assert [each.metadata["language"] for each in german] == ["de", "de"]
    later = asyncio.run(retriever.ainvoke(QUESTION, where=Where(languages=("en",))))
    assert [each.metadata["language"] for each in later] == ["en"]
    by_key = retriever.bind(where=Where(metadata={"department": "plant"})).invoke(QUESTION)
    assert [Path(each.metadata["source"]).name for each in by_key] == ["wartung.md"]
    assert [each.metadata["language"] for each in retriever.invoke(QUESTION)] == ["fr"]


def test_the_number_of_documents_can_be_given_to_each_kind_of_call(rag: CrossLingualRAG) -> None:
    retriever = CrossLingualRetriever(rag=rag, k=4)
    assert len(retriever.invoke(QUESTION, k=1)) == 1
    assert len(asyncio.run(retriever.ainvoke(QUESTION, k=2))) == 2
    assert [len(found) for found in retriever.batch([QUESTION, "cantine"], k=3)] == [3, 3]
    at_run_time = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(at_run_time.invoke(QUESTION, config={"configurable": {"k": 1}})) == 1


def test_the_retriever_refuses_what_cannot_be_asked(rag: CrossLingualRAG) -> None:
    retriever = CrossLingualRetriever(rag=rag)
    with pytest.raises(InputError, match="k is 0"):
        retriever.invoke(QUESTION, k=0)
    with pytest.raises(InputError, match="empty"):
        asyncio.run(retriever.ainvoke(" "))
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUESTION, top_k=3)


def test_asynchronous_retrieval_runs_in_another_thread(parts: Parts) -> None:
    ran_in: list[int] = []

    class Noting(CrossLingualRAG):
        def search(self, *arguments: Any, **named: Any) -> Retrieved:
            ran_in.append(threading.get_ident())
            return super().search(*arguments, **named)

    noting = Noting(parts.retriever, parts.store, build.chat_model(parts.settings, parts.embedder))
    retriever = CrossLingualRetriever(rag=noting)

    async def several() -> list[Any]:
        return await asyncio.gather(*(retriever.ainvoke(QUESTION, k=2) for _ in range(6)))

    found = asyncio.run(several())
    alone = retriever.invoke(QUESTION, k=2)
    assert found == [alone] * 6
    assert ran_in.pop() == threading.get_ident()
    assert len(ran_in) == 6
    assert threading.get_ident() not in ran_in


def test_a_file_name_that_is_not_text_does_not_break_a_prompt(rag: CrossLingualRAG) -> None:
    [passage] = rag.retrieve(QUESTION, k=1)
    document = document_of(replace(passage, chunk=replace(passage.chunk, uri="file:///depot/caf%E9.md")))
    assert document.metadata["source"].encode() == b"/depot/caf?.md"
    assert document.metadata["uri"] == "file:///depot/caf%E9.md"


def test_embeddings_are_the_models_dense_vectors(pocket: Embedder) -> None:
    texts = ["Das Förderband wird gereinigt.", "Trains are booked."]
    embeddings = BgeM3Embeddings(pocket)
    assert embeddings.embed_documents(texts) == [each.dense.tolist() for each in pocket.embed_passages(texts)]
    query = embeddings.embed_query(texts[0])
    assert query == pocket.embed_query(texts[0]).dense.tolist()
    assert len(query) == pocket.dimension
    assert sum(value * value for value in query) == pytest.approx(1, abs=1e-5)
    assert embeddings.embed_documents([]) == []
    with pytest.raises(EmbeddingError, match="empty"):
        embeddings.embed_documents(["fine", ""])


@script(text(*PIECES))
def test_an_invoked_runnable_gives_the_answer_of_the_pipeline(talk: AnswerRunnable, server: Server) -> None:
    answer = talk.invoke(QUESTION)
    assert isinstance(answer, Answer)
    assert answer.text == RIGHT
    assert "jeden Montag" in answer.citations[0].quote
    assert asyncio.run(talk.ainvoke(QUESTION)).text == RIGHT
    assert len(server.requests) == 2


@script(text(*PIECES))
def test_the_pieces_of_a_stream_make_up_the_text_of_the_answer_at_its_end(talk: AnswerRunnable) -> None:
    async def collected() -> list[Any]:
        return [event async for event in talk.astream(QUESTION)]

    for events in (list(talk.stream(QUESTION)), asyncio.run(collected())):
        *pieces, answer = events
        assert isinstance(answer, Answer)
        assert all(isinstance(piece, str) for piece in pieces)
        assert "".join(map(str, pieces)) == answer.text == RIGHT
        assert len(pieces) > 1


@script(text("Das Förderband wird jeden Montag gereinigt, danach prüft die Schichtleitung die Spannung [1]."))
def test_a_question_comes_with_language_filter_number_and_history(talk: AnswerRunnable, server: Server) -> None:
    answer = talk.invoke(
        {
            "question": QUESTION,
            "language": "DE",
            "k": 1,
            "where": Where(metadata={"department": "plant"}),
            "history": [
                SystemMessage("You are terse."),
                HumanMessage("Where is the belt?"),
                AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
                ToolMessage("hall 3, secret door code", tool_call_id="1"),
                AIMessageChunk(content=[{"type": "text", "text": "In hall "}, {"type": "text", "text": "3."}]),
                ChatMessage(content="Thanks.", role="User"),
            ],
        }
    )
    assert answer.language == "de"
    assert [Path(passage.chunk.source).name for passage in answer.passages] == ["wartung.md"]
    sent = server.requests[0].body["messages"][1:-1]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "You are terse."),
        ("user", "Where is the belt?"),
        ("assistant", "In hall 3."),
        ("user", "Thanks."),
    ]


@script(text(*PIECES))
def test_what_is_bound_holds_where_the_input_says_nothing_else(talk: AnswerRunnable) -> None:
    bound = talk.bind(k=1, language="en")
    assert len(bound.invoke(QUESTION).passages) == 1  # type: ignore[union-attr] # invoke gives no text
    assert len(talk.invoke({"question": QUESTION, "k": 2}, k=1).passages) == 2
    assert len(talk.invoke({"question": QUESTION, "k": None, "history": None}).passages) == 4
    assert len(talk.invoke({"question": QUESTION, "k": None}, k=1).passages) == 1
    assert list(bound.stream(QUESTION))[-1].passages[1:] == ()  # type: ignore[union-attr] # the last is the answer


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"query": QUESTION}, "'query'"),
        ({"question": QUESTION, "languages": "de"}, "did you mean 'language'"),
        ({"language": "de"}, "no question"),
        ({"question": None}, "no question"),
        ([QUESTION], "list"),
        (7, "question is of type int"),
        ({"question": QUESTION, "k": "3"}, "k is of type str"),
        ({"question": QUESTION, "where": {"languages": ["de"]}}, "where is of type dict"),
        ({"question": QUESTION, "history": HumanMessage("hi")}, "history is of type HumanMessage"),
        ({"question": QUESTION, "history": [("human", "hi")]}, "message 1 .*convert_to_messages"),
        (
            {"question": QUESTION, "history": [HumanMessage("hi"), ChatMessage(content="hm", role="critic")]},
            "2 .* 'critic'",
        ),
        ({"question": QUESTION, "language": "not a language"}, "not a language"),
        ("  ", "empty"),
    ],
)
def test_an_input_that_cannot_be_asked_is_refused_by_its_reason(rag: CrossLingualRAG, asked: Any, said: str) -> None:
    runnable = answer_runnable(rag)

    async def streamed() -> None:
        async for _ in runnable.astream(asked):
            pass

    with pytest.raises(InputError, match=said):
        runnable.invoke(asked)
    with pytest.raises(InputError, match=said):
        list(runnable.stream(asked))
    with pytest.raises(InputError, match=said):
        asyncio.run(streamed())


def test_a_message_that_is_no_turn_is_left_out_only_when_it_says_nothing(rag: CrossLingualRAG) -> None:
    runnable = answer_runnable(rag)
    blank: list[BaseMessage] = [RemoveMessage(id="1"), AIMessage(" \n")]
    assert runnable.invoke({"question": QUESTION, "history": blank}).complete


@script([text(*PIECES), text(*PIECES), text(*PIECES)])
def test_the_runnable_is_a_step_among_others(talk: AnswerRunnable) -> None:
    seen: list[Any] = []

    class Listening(BaseCallbackHandler):
        def on_chain_end(self, outputs: Any, **_: Any) -> None:
            seen.append(outputs)

    chain = {"question": RunnablePassthrough(), "k": lambda _: 2} | talk | RunnableLambda(lambda answer: answer.text)
    assert chain.invoke(QUESTION) == RIGHT
    assert "".join(chain.stream(QUESTION, config={"callbacks": [Listening()]})) == RIGHT
    assert any(isinstance(output, Answer) and output.text == RIGHT for output in seen)

    async def last() -> Any:
        return [piece async for piece in chain.astream(QUESTION)]

    assert asyncio.run(last()) == [RIGHT]


@script(text(*PIECES))
def test_a_batch_answers_every_question_in_its_order(talk: AnswerRunnable) -> None:
    canteen, trains = "When does the canteen open?", "Who books the trains for us?"
    questions: list[Any] = [QUESTION, {"question": canteen, "k": 1}, trains]
    for answers in (talk.batch(questions), asyncio.run(talk.abatch(questions, config={"max_concurrency": 2}))):
        asked = [answer.question for answer in answers if isinstance(answer, Answer)]
        assert asked == [QUESTION, canteen, trains]


@script([status(500, "out of order"), status(500, "out of order"), text(*PIECES)])
def test_errors_of_the_endpoint_reach_the_caller_and_can_be_retried(talk: AnswerRunnable) -> None:
    async def streamed() -> None:
        async for _ in talk.astream(QUESTION):
            pass

    with pytest.raises(EndpointError, match="out of order"):
        asyncio.run(streamed())
    patient = talk.with_retry(retry_if_exception_type=(EndpointError,), wait_exponential_jitter=False)
    assert patient.invoke(QUESTION).text == RIGHT  # type: ignore[union-attr] # invoke gives no text


@script(breaking(PIECES[0] * 4))
def test_an_answer_that_breaks_off_is_given_as_incomplete(talk: AnswerRunnable) -> None:
    *pieces, answer = talk.stream(QUESTION)
    assert isinstance(answer, Answer)
    assert not answer.complete
    assert "".join(map(str, pieces)) == answer.text


def trickle(_: dict[str, Any]) -> Iterator[str]:
    """An answer that goes on for longer than a test waits."""
    yield RIGHT
    for _piece in range(400):
        time.sleep(0.05)
        yield " Every Monday [1]."


@script(answering(trickle))
def test_leaving_a_stream_ends_the_request(talk: AnswerRunnable, server: Server) -> None:
    for event in talk.stream(QUESTION):
        assert isinstance(event, str)
        break
    assert server.requests[0].hung_up.wait(10)


@script(answering(trickle))
def test_leaving_an_asynchronous_stream_ends_the_request(talk: AnswerRunnable, server: Server) -> None:
    async def leave() -> None:
        events: Any = talk.astream(QUESTION)
        assert isinstance(await anext(events), str)
        await events.aclose()

    asyncio.run(leave())
    assert server.requests[0].hung_up.wait(10)


@script(answering(trickle))
def test_cancelling_the_asynchronous_call_ends_the_request(talk: AnswerRunnable, server: Server) -> None:
    async def leave() -> None:
        task = asyncio.create_task(talk.ainvoke(QUESTION))
        while not server.requests:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert server.requests[0].hung_up.wait(10)


def test_the_loop_goes_on_while_an_answer_is_made(rag: CrossLingualRAG) -> None:
    async def ticks() -> int:
        count = 0
        task = asyncio.create_task(answer_runnable(rag).ainvoke(QUESTION))
        while not task.done():
            count += 1
            await asyncio.sleep(0)
        return count

    assert asyncio.run(ticks()) > 2


def test_input_and_output_have_a_schema(rag: CrossLingualRAG) -> None:
    asked = answer_runnable(rag).get_input_jsonschema()
    assert set(asked["$defs"]["Question"]["properties"]) == {"question", "language", "k", "where", "history"}
    assert asked["$defs"]["Question"]["required"] == ["question"]
    assert "citations" in answer_runnable(rag).get_output_jsonschema()["$defs"]["Answer"]["properties"]


def test_langchain_is_loaded_by_its_face_alone_and_brings_no_model() -> None:
    program = (
        "import sys, rag, rag.api, rag.pipeline\n"
        "assert 'langchain_core' not in sys.modules\n"
        "import rag.langchain\n"
        "assert 'langchain_core' in sys.modules\n"
        "assert not {'torch', 'openai', 'qdrant_edge', 'qdrant_client'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@script(whole("Every Monday [1]."))
def test_the_program_of_the_documentation_runs(
    index: Settings, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "langchain.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    for key, value in {
        "RAG_STORE__PATH": str(index.store.path),
        "RAG_EMBEDDER__MODEL": "pocket-m3",
        "RAG_EMBEDDER__DTYPE": "float32",
    }.items():
        monkeypatch.setenv(key, value)

    def chat_openai(model: str) -> RunnableLambda[PromptValue, AIMessage]:
        """Stands in for langchain-openai, which is no dependency: the same endpoint with less around it."""

        def complete(prompt: PromptValue) -> AIMessage:
            messages: Any = convert_to_openai_messages(prompt.to_messages())
            with openai.OpenAI(base_url=server.base_url, api_key="none") as client:
                reply = client.chat.completions.create(model=model, messages=messages)
            return AIMessage(reply.choices[0].message.content or "")

        return RunnableLambda(complete)

    stand_in = ModuleType("langchain_openai")
    stand_in.ChatOpenAI = chat_openai  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain_openai", stand_in)
    names: dict[str, Any] = {}
    exec(compile(program, "docs/langchain.md", "exec"), names)

    assert "Every Monday [1]." in capsys.readouterr().out
    system, human = server.requests[0].body["messages"]
    assert "Das Förderband Beltomat wird jeden Montag gereinigt." in system["content"]
    assert human["content"] == "How often is the conveyor belt cleaned?"
    assert [document.metadata["language"] for document in names["french"]] == ["fr"]
    assert names["answer"].language == "de"
    assert len(names["texts"]) == 2
    assert [document.page_content for document in names["nearest"]] == ["Das Förderband wird jeden Montag gereinigt."]
