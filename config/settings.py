"""One frozen tree of settings.

Precedence: arguments (command-line flags) over environment (`RAG_…`, `__` between levels) over `.env` over `rag.toml`
over defaults; both files are looked for in the working folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

APPLICATION = "cross-lingual-rag"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StoreSettings(_Group):
    """Where the index is."""

    path: Path = Field(default_factory=lambda: user_data_path(APPLICATION) / "store")
    """Folder of the embedded index; one folder a collection lies in it."""
    collection: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Name of the collection."""
    url: str | None = None
    """Address of a Qdrant server, such as http://localhost:6333; when set, the index is there and not at `path`."""
    api_key: SecretStr | None = None
    """Key of the server."""
    timeout: float = Field(default=30, gt=0)
    """Seconds a request to the server may take, and writes are retried."""
    quantization: bool = False
    """Whether a collection made on the server keeps int8 copies of its dense vectors in memory."""
    on_disk: bool = True
    """Whether a collection made on the server keeps its original vectors on disk."""
    tenant_key: str | None = None
    """Metadata key that separates the tenants of a new collection: all documents must have it, all searches name it."""
    metadata_keys: Annotated[tuple[str, ...], NoDecode, Field(max_length=31)] = ()
    """Metadata keys, with commas between, that a server indexes before any data; others when they are first met."""
    optimize: bool = True
    """Whether `ingest` makes the search graphs of an index in a folder once more than 20,000 passages are new."""

    @field_validator("metadata_keys", mode="before")
    @classmethod
    def _are_words(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("tenant_key", "metadata_keys")
    @classmethod
    def _are_keys(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for key in (value,) if isinstance(value, str) else value or ():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
                raise ValueError(f"{key!r} cannot be a metadata key: use letters, digits, _ and -")
        return value

    @field_validator("path", mode="before")
    @classmethod
    def _is_a_path(cls, value: object) -> object:
        if "://" in str(value):
            raise ValueError("is a URL: give a server's as RAG_STORE__URL or --store")
        if not str(value).strip():
            raise ValueError("is empty, perhaps from a variable that is not set: give a path")
        try:
            return Path(value).expanduser() if isinstance(value, (str, Path)) else value
        except RuntimeError as error:
            raise ValueError(f"{value} names the folder of a user who is not there: give a path") from error


class EmbedderSettings(_Group):
    """The embedding model."""

    model: str = "BAAI/bge-m3"
    """Hub id, local folder, or `pocket-m3` (bundled)."""
    revision: str | None = None
    """Commit of the hub id; by default the one this version was written for, else `main`."""
    device: str = "auto"
    """`auto` (CUDA, else Apple's MPS, else CPU), or a torch device such as `cpu` or `cuda:1`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the forward pass; `auto` takes bfloat16 where the hardware computes in it."""
    backend: Literal["torch", "openvino", "flagembedding"] = "torch"
    """What computes a checkpoint in BGE-M3's layout; `flagembedding` is the reference, to compare with."""
    batch_tokens: int | None = Field(default=None, ge=16)
    """Tokens in one forward pass; by default what a short measurement on this machine found fastest."""
    query_cache: int = Field(default=1024, ge=0)
    """Questions whose vectors are kept in memory."""
    keep_copy: bool = True
    """Whether large weights are kept on disk a second time, in the precision they are computed in."""
    query_prompt: str | None = None
    """Put before a question, with sentence-transformers models; by default the model's own."""
    passage_prompt: str | None = None
    """Put before a passage, likewise."""
    truncate_dim: int | None = Field(default=None, ge=1)
    """Components kept of a dense vector, with models that were trained for that; by default all."""


class LLMSettings(_Group):
    """The language model: any OpenAI-compatible endpoint. It is configured exactly when `model` is set."""

    model: str | None = None
    """Name of the model at the endpoint."""
    base_url: str | None = Field(default=None, repr=False)
    """Endpoint, such as http://localhost:11434/v1, or with a login in it; by default OPENAI_BASE_URL, else OpenAI's."""
    api_key: SecretStr | None = None
    """Key of the endpoint; OPENAI_API_KEY serves only where the base URL is unset or comes from OPENAI_BASE_URL."""
    temperature: float = Field(default=0.1, ge=0, le=2)
    """Sampling temperature."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longest answer in tokens."""
    timeout: float = Field(default=60, gt=0)
    """Seconds without a sign of life after which a request is given up."""
    retries: int = Field(default=2, ge=0)
    """Further attempts after a refusal for load (429), a server error or a failed connection."""
    deadline: float = Field(default=300, gt=0)
    """Seconds after which an answer ends, however often it was asked for."""
    context_tokens: int | None = Field(default=None, ge=512)
    """Tokens that the model reads and writes in one request; passages and history are made to fit."""
    prompt_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million tokens that the model reads; the answers' cost is told where both prices are set."""
    completion_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million tokens that it writes."""
    structured: bool = False
    """Whether answers are asked for as JSON of claims and quotes, for models that keep to a schema better than to a
    form of text."""

    def endpoint(self) -> tuple[str | None, SecretStr | None]:
        """Base URL and key to use; a key from OPENAI_API_KEY never goes to a base URL that was set here."""
        if self.base_url is not None:
            return self.base_url, self.api_key
        fallback = os.environ.get("OPENAI_API_KEY")
        key = self.api_key or (SecretStr(fallback) if fallback else None)
        return os.environ.get("OPENAI_BASE_URL") or None, key


class RetrievalSettings(_Group):
    """From question to passages."""

    mode: Literal["hybrid", "dense", "sparse"] = "hybrid"
    """Which scores rank."""
    fusion: Literal["normalized", "weighted", "rrf"] | None = None
    """How hybrid ranks, by default as tuned, else `normalized`: weighted sum of exact scores less the level of the
    passage's language, that sum as it is, or reciprocal ranks."""
    dense_weight: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Weight of the dense score; by default the model's own, else 1 (BGE-M3 paper)."""
    sparse_weight: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Weight of the sparse score; by default the model's own, else 0.3 (BGE-M3 paper)."""
    level_k: int | None = Field(default=None, ge=1, le=100)
    """Passages whose mean score is the level of their language; by default as tuned, else 8."""
    own_places: int = Field(default=2, ge=1, le=10_000)
    """Passages in the asker's language that `normalized` compares with others as they are; any further must stand out
    more."""
    coverage: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Power of the share of the question's words that a passage has, which its sparse score is multiplied by; by
    default the model's own, else 0."""
    centring: float | None = Field(default=None, ge=0, le=1)
    """How much of what all passages have in common is taken out of the question's vector; by default the model's own,
    else 0."""
    rrf_k: int = Field(default=60, ge=1)
    """Rank constant of reciprocal rank fusion (Cormack et al. 2009), ranks counted from 1."""
    depth: int | None = Field(default=None, ge=1, le=10_000)
    """Candidates taken from each vector; by default as tuned, else 100."""
    language_depth: int = Field(default=12, ge=1, le=1000)
    """Candidates taken from each language beside them, for `normalized`."""
    romanised: bool = True
    """Whether questions typed in Latin letters for another script are searched in that script, too."""
    translate: int = Field(default=0, ge=0, le=20)
    """Into how many languages of the index the language model translates the question; 0 for none."""
    reranker: Literal["off", "colbert", "cross-encoder", "llm"] = "off"
    """What puts the best candidates in a better order: the embedding model's third head, another model, or the
    language model."""
    reranker_model: str = "BAAI/bge-reranker-v2-m3"
    """Hub id or folder of the cross-encoder."""
    reranker_revision: str | None = None
    """Commit of the hub id; by default the one this version was written for, else `main`."""
    rerank_depth: int = Field(default=30, ge=2, le=1000)
    """Candidates that the reranker reads."""
    rerank_weight: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """How much the reranker's order counts against the one before."""
    collapse: Literal["translations", "near", "off"] = "translations"
    """What is one result: translations and near-copies of a passage, near-copies alone, or each passage by itself."""
    collapse_similarity: float = Field(default=0.3, ge=0, le=1.5)
    """Least evidence for a translation; higher folds less."""
    quotas: Annotated[tuple[str, ...], NoDecode] = ()
    """Places for languages among the results, with commas between: `de=3`, `de=2-4`, `de=2-`, `de=-4`, `*=-1`."""

    @field_validator("quotas", mode="before")
    @classmethod
    def _are_quotas(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value


class AnswerSettings(_Group):
    """In which language answers come, and what comes with them."""

    policy: Literal["match", "pin", "bilingual"] = "match"
    """The question's language; always `answer.language`; or the question's and, once more, `answer.language`."""
    language: str | None = None
    """BCP-47 tag for `pin` and `bilingual`; without it `bilingual` takes the language of most passages."""
    translate_quotes: bool = True
    """Whether the language model translates the quotes of an answer for the asker, in a request of its own."""
    templates: Path | None = None
    """Folder of files such as de.toml whose texts go before the program's own."""

    @model_validator(mode="after")
    def _has_what_it_pins(self) -> AnswerSettings:
        if self.policy == "pin" and not self.language:
            raise ValueError("policy `pin` needs answer.language: give a tag such as de")
        return self


class IngestSettings(_Group):
    """From files to chunks."""

    chunk_tokens: int = Field(default=320, ge=32, le=8192)
    """Longest embedded string of a chunk (title, headings and text) in the model's tokens."""
    read_seconds: float = Field(default=120, gt=0)
    """Seconds that reading one file may take; then it has failed, and the others go on."""
    read_memory: int = Field(default=2000, ge=50)
    """Megabytes that reading one file may need."""
    max_bytes: int = Field(default=200_000_000, ge=1)
    """Bytes of the largest file that is read."""
    max_pages: int = Field(default=20_000, ge=1)
    """Pages of the longest PDF that is read."""


class ChatSettings(_Group):
    """`rag chat`."""

    path: Path = Field(default_factory=lambda: user_data_path(APPLICATION) / "chat")
    """Folder of the conversations and of the input history, readable by its owner alone."""
    keep: bool = True
    """Whether conversations and input history are kept there."""


class Settings(BaseSettings):
    """All settings; immutable. See the module for where values come from."""

    model_config = SettingsConfigDict(
        env_prefix="RAG_",
        env_nested_delimiter="__",
        env_file=".env",
        toml_file="rag.toml",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # a key under a mistyped name is still a key
        nested_model_default_partial_update=True,
    )

    language: str | None = None
    """BCP-47 tag to answer in where the question's own language cannot be told."""
    right_to_left: Literal["auto", "logical", "visual"] = "auto"
    """What the terminal needs: `logical` if it orders right-to-left text itself, `visual` if not, `auto` to guess."""
    store: StoreSettings = StoreSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    llm: LLMSettings = LLMSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    ingest: IngestSettings = IngestSettings()
    chat: ChatSettings = ChatSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, .env, rag.toml: the first that has a value wins."""
        return init_settings, env_settings, _DotEnv(settings_cls), TomlConfigSettingsSource(settings_cls)


class _DotEnv(DotEnvSettingsSource):
    """A .env file is shared with other programs: only what begins with RAG_ and names a field is ours."""

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        return {key: value for key, value in super().__call__().items() if key in fields}
