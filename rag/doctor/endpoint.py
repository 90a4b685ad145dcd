"""Is the language model's endpoint configured and reachable, does it know the model, and does it answer?"""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rag.doctor.finding import Setup, Verdict, failed, failed_by, passed, warned
from rag.errors import RagError
from rag.types import ChatRequest, Message, TextDelta, Voided

if TYPE_CHECKING:
    import httpx2

    from rag.chat_models.connection import Endpoint

_OLLAMA = 11434  # its port
_SHOWN_AT_ONCE = 5
# Enough for one word. With a single token, models that think before they answer refuse the request.
_ANSWER_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of asking for the list of models.

    Attributes:
        refusal: why no request could be made, or why it reached nobody.
        status: of the reply; None where none came, or none was asked for.
        models: ids in the list; None where the reply was no list.
    """

    place: Endpoint | None = None
    refusal: Verdict | None = None
    status: int | None = None
    models: tuple[str, ...] | None = None


def ask_for_models(setup: Setup) -> Probe:
    """GET /models, with the key, login and query that the chat model sends, and by the same rule on proxies."""
    from rag.chat_models.connection import endpoint

    base_url, key = setup.settings.llm.endpoint()
    try:
        place = endpoint(base_url, key.get_secret_value() if key else None)
    except RagError as error:
        return Probe(refusal=failed_by(error))
    return Probe(place) if setup.offline else _get(place, setup.limits.connect_seconds)


def _get(place: Endpoint, seconds: float) -> Probe:
    import httpx2

    from rag.chat_models.endpoint_errors import presentable

    try:
        with httpx2.Client(
            auth=place.login, timeout=seconds, trust_env=not place.is_loopback, follow_redirects=True
        ) as client:
            reply = client.get(
                f"{place.url}/models",
                params=dict(place.query) or None,
                headers={**place.credentials, "Accept": "application/json"},
            )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = presentable(str(error) or type(error).__name__, place)
        return Probe(place, refusal=failed(f"no connection to {place.url} ({reason})", _how_to_reach(place)))
    return Probe(place, status=reply.status_code, models=_ids(reply) if reply.is_success else None)


def reachable(setup: Setup) -> Verdict:
    """Is an endpoint configured, with a key where it must have one, and does a server answer there?"""
    llm = setup.settings.llm
    if not llm.model:
        lost = " (RAG_LLM__BASE_URL is set, but no model)" if llm.base_url else ""
        return warned(
            f"no language model is configured{lost}: answers quote the best sentences of the documents",
            "RAG_LLM__MODEL=NAME, with RAG_LLM__BASE_URL=http://localhost:11434/v1 or RAG_LLM__API_KEY",
        )
    probe = setup.probe
    if probe.refusal or not probe.place:
        return probe.refusal or failed("no endpoint", "set RAG_LLM__BASE_URL")
    key = "with a key" if llm.endpoint()[1] else "without a key"
    if setup.offline:
        return passed(f"{llm.model} at {probe.place.url}, {key}; not asked, as --offline says")
    return passed(f"{probe.place.url} is reached, {key}")


def listed(setup: Setup) -> Verdict | None:
    """Does the endpoint know the model? Many list what they have; those that do not are believed."""
    place, name = _to_be_asked(setup)
    if place is None:
        return None
    probe = setup.probe
    if probe.status in (401, 403):
        return failed(f"{place.url} refused the key ({probe.status})", "set RAG_LLM__API_KEY to a key of this endpoint")
    if probe.models is None:
        return passed(f"{place.url} has no list of models (status {probe.status})")
    # Ollama writes the tag that it assumes, Google its own kind of path.
    if any(each in (name, f"{name}:latest", f"models/{name}") for each in probe.models):
        return passed(f"{name} is one of {len(probe.models)} at {place.url}")
    near = get_close_matches(name, probe.models, n=_SHOWN_AT_ONCE, cutoff=0.4) or sorted(probe.models)[:_SHOWN_AT_ONCE]
    choice = f"RAG_LLM__MODEL={shlex.quote(near[0])}" if near else "load a model there"
    others = f" (others there: {', '.join(near[1:])})" if near[1:] else ""
    pull = f"ollama pull {shlex.quote(name)}; or " if _is_ollama(place) else ""
    # Only a warning: gateways also serve what they do not list, and the next check asks for an answer.
    return warned(f"{name} is not among the {len(probe.models)} models at {place.url}", f"{pull}{choice}{others}")


def answer(setup: Setup) -> Verdict | None:
    """Does the model answer, through the adapter that answers questions, in one word?

    Raises:
        EndpointError: it does not.
    """
    place, name = _to_be_asked(setup)
    if place is None:
        return None
    from rag import build

    chat_model = build.language_model(
        setup.settings,
        max_tokens=_ANSWER_TOKENS,
        timeout=min(setup.settings.llm.timeout, setup.limits.answer_seconds),
        retries=0,  # an examination shows what the first attempt meets
    )
    request = ChatRequest([Message("user", "Reply with one word: yes")], question="", passages=(), language="en")
    started = perf_counter()
    with closing(chat_model.stream(request)) as events:
        event = next(event for event in events if not isinstance(event, Voided))
    seconds = perf_counter() - started
    if isinstance(event, TextDelta):
        return passed(f"{name} begins to answer after {seconds:.1f} s")
    if event.reason == "length":  # it was still thinking
        return passed(f"{name} works on an answer; {_ANSWER_TOKENS} tokens were not enough for its first word")
    return warned(f"{name} answered with nothing ({event.reason})", "look at the server's log, or set RAG_LLM__MODEL")


def _to_be_asked(setup: Setup) -> tuple[Endpoint | None, str]:
    """Where to ask, and for which model; None where there is nothing to ask, as the check `endpoint` says."""
    name = setup.settings.llm.model
    if setup.offline or not name or setup.probe.refusal:
        return None, ""
    return setup.probe.place, name


def _ids(reply: httpx2.Response) -> tuple[str, ...] | None:
    """The ids in OpenAI's list of models, or in a bare list of them; None for anything else, such as a web page."""
    try:
        body = reply.json()
    except ValueError:
        return None
    entries = body.get("data") if isinstance(body, dict) else body
    if not isinstance(entries, list):
        return None
    ids = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return tuple(name for name in ids if isinstance(name, str))


def _how_to_reach(place: Endpoint) -> str:
    correct = "check RAG_LLM__BASE_URL"
    if not place.is_loopback:
        return f"{correct}, and the network or proxy between"
    return f"{'ollama serve' if _is_ollama(place) else 'start the server there'}; or {correct}"


def _is_ollama(place: Endpoint) -> bool:
    return place.is_loopback and urlsplit(place.url).port == _OLLAMA
