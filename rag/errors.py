"""Everything this library raises on purpose.

A message is one line: what was wrong, the value, what to do next. The command line prints it as it is and exits with
`exit_code`.

    RagError                     1
    ├── InputError               2   a question, option or setting that cannot be used
    ├── ReadError                1   one file cannot be read as text; the others go on
    ├── EmbeddingError           1   an empty text, or a text beyond the model's window
    ├── NotConfiguredError       3
    │   ├── ModelUnavailableError    the model is not on this machine and cannot be fetched
    │   ├── CheckpointError          the folder is not a usable BGE-M3 checkpoint
    │   ├── IndexMissingError        nothing has been ingested into this collection yet
    │   └── IndexMismatchError       the index was made by another model or an older version of this program
    └── UnavailableError         5
        ├── StoreError               the store cannot be opened, read or written
        ├── IndexBusyError           another process holds the index
        ├── DiskError                a file cannot be written
        ├── EndpointError            the language model's endpoint cannot be reached or refuses
        │   └── ContextLengthError       the request is longer than the language model can read
        └── RerankError              the reranker cannot be loaded or asked, or gives no order
"""

from __future__ import annotations


class RagError(Exception):
    """Base of every error that is meant for the user."""

    exit_code = 1


class InputError(RagError):
    """A question, option or setting that cannot be used."""

    exit_code = 2


class ReadError(RagError):
    """One file cannot be read as text."""


class EmbeddingError(RagError):
    """A text that cannot be embedded: empty, or longer than the model's window."""


class NotConfiguredError(RagError):
    """Something the command needs is not there yet."""

    exit_code = 3


class ModelUnavailableError(NotConfiguredError):
    """The embedding model is not on this machine and cannot be fetched."""


class CheckpointError(NotConfiguredError):
    """The folder is not a usable BGE-M3 checkpoint."""


class IndexMissingError(NotConfiguredError):
    """Nothing has been ingested into this collection yet."""


class IndexMismatchError(NotConfiguredError):
    """The index was made by another model or another version of the schema."""


class UnavailableError(RagError):
    """Something the command talks to does not answer."""

    exit_code = 5


class StoreError(UnavailableError):
    """The store cannot be opened, read or written."""


class IndexBusyError(UnavailableError):
    """Another process holds the index."""


class DiskError(UnavailableError):
    """A file cannot be written: the disk is full, or the place may not be written to."""


class EndpointError(UnavailableError):
    """The language model's endpoint cannot be reached or refuses the request."""


class ContextLengthError(EndpointError):
    """The request, with the room for its answer, is longer than the language model can read."""


class RerankError(UnavailableError):
    """The reranker cannot be loaded or asked, or gives no order; the passages stay in the order they had."""
