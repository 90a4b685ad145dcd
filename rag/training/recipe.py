"""What a training run is made of: languages, sources, sizes and steps, in one frozen tree that a TOML file fills."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rag.errors import InputError
from rag.language import parse_tag

BUNDLED = Path(__file__).parent / "recipes"
"""Recipes that come with the package."""

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Part):
    """Which pairs are read, and how often each is drawn.

    Attributes:
        languages: BCP-47 tags of the files to read, `en-TAG.tsv[.gz]`; empty: all that are there.
        sources: how often a source's pairs are drawn against those of others, by tag; a tag that is not named has
            `other_sources`.
        other_sources: that weight; 0 leaves them out.
        language_exponent: languages are drawn in proportion to (their weighted pairs) ** this.
        exclude: regular expressions; a pair is left out when one is found on either side.
        longest: characters of the longest side of a pair that is read.
        held_out: pairs a language, at most a tenth of them, that are kept from training to measure it with.
    """

    languages: tuple[str, ...] = ()
    sources: dict[str, Annotated[float, Field(ge=0)]] = {}
    other_sources: Annotated[float, Field(ge=0)] = 1.0
    language_exponent: Share = 0.5
    exclude: tuple[str, ...] = ()
    longest: Size = 700
    held_out: Count = 200

    @field_validator("languages")
    @classmethod
    def _tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(parse_tag(tag) for tag in tags))
        except InputError as error:
            raise ValueError(str(error)) from error

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


class Student(_Part):
    """Sizes of a student that is trained from nothing.

    Attributes:
        vocabulary: pieces of the tokenizer, special tokens not counted.
        hidden: length of the vectors.
        layers: encoder layers.
        heads: attention heads of each.
        intermediate: width of the feed-forward layers.
        window: longest text in tokens, special tokens included.
    """

    vocabulary: Size = 32_000
    hidden: Size = 256
    layers: Size = 4
    heads: Size = 4
    intermediate: Size = 1024
    window: Annotated[int, Field(ge=16)] = 1024

    @model_validator(mode="after")
    def _whole_heads(self) -> Student:
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} is no multiple of heads = {self.heads}")
        if self.vocabulary > 65_000:
            raise ValueError(
                f"vocabulary = {self.vocabulary} is too large: token ids are kept in 16 bits, at most 65000"
            )
        return self


class Teacher(_Part):
    """How the teacher is asked.

    Attributes:
        tokens: longest text in the teacher's own tokens; the rest is cut.
        vocabulary: share of the pairs drawn that are made of the teacher's own English words, for words that the
            parallel text lacks; 0 makes none.
        vocabulary_texts: how many of these are made beside one a word.
    """

    tokens: Annotated[int, Field(ge=8)] = 128
    vocabulary: Share = 0.2
    vocabulary_texts: Count = 180_000


class Stage(_Part):
    """One stage of the training.

    Attributes:
        steps: optimizer steps; 0 leaves the stage out.
        rate: learning rate of the weights.
        batch: pairs (static), tokens of both sides (transformer), passages (heads) in a step.
    """

    steps: Count
    rate: Rate
    batch: Size


class Recipe(_Part):
    """All that decides the weights, beside the teacher, the pairs and the seed.

    Attributes:
        lexical, beginning_tokens, beginning_weight: what the model card says of making vectors, under `retrieval`, see
            `rag.model_card.Representation`. The training knows nothing of it.
        sparse_weight, coverage, centring: what it recommends for fusion, likewise.
        checkpoint: steps between two checkpoints, each with an evaluation.
    """

    data: Data = Data()
    student: Student = Student()
    teacher: Teacher = Teacher()
    static: Stage = Stage(steps=3000, rate=0.03, batch=2048)
    transformer: Stage = Stage(steps=1500, rate=4e-4, batch=20_000)
    heads: Stage = Stage(steps=1500, rate=3e-4, batch=64)
    checkpoint: Size = 500
    lexical: Literal["own", "bm25"] | None = None
    beginning_tokens: Annotated[int, Field(ge=3)] | None = None
    beginning_weight: Annotated[float, Field(ge=0)] | None = None
    sparse_weight: Annotated[float, Field(ge=0)] | None = None
    coverage: Annotated[float, Field(ge=0)] | None = None
    centring: Share | None = None


def load(name: str) -> Recipe:
    """The recipe of that name, or in that file.

    Raises:
        InputError: there is none, or it says something that cannot be done; the message names the place.
    """
    path = BUNDLED / f"{name}.toml"
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        path = Path(name)
    known = ", ".join(sorted(file.stem for file in BUNDLED.glob("*.toml")))
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no recipe {name!r}: give a TOML file, or one of: {known}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"the recipe {name!r} cannot be read as TOML ({error})") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        raise InputError(f"recipe {name!r}, {place}: {told[:1].lower()}{told[1:]}") from error
