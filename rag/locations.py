"""Where a document is, as its URI and its readable `source`, and what the name of a file of translations says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

_TRANSLATIONS = re.compile(r"en-([A-Za-z0-9-]+)\.tsv(?:\.gz)?")


def uri_of(path: Path) -> str:
    """The absolute, percent-encoded file URI of `path`; links and `..` are resolved, so two spellings are one document.

    Paths that are not UTF-8 keep their bytes, percent-encoded.
    """
    return path.resolve().as_uri()


def source_of(uri: str) -> str:
    """`uri` as people write it: relative to the working folder where it lies below it, else the URI's path.

    What is not a file URI is returned as it is.
    """
    path = path_of(uri)
    try:
        return str(Path(path).relative_to(_working_folder()))
    except ValueError:
        return path


def path_of(uri: str) -> str:
    """The absolute path of a file URI; what is not a file URI is returned as it is."""
    parts = urlsplit(uri)
    return unquote(parts.path, errors="surrogateescape") if parts.scheme == "file" else uri


def _working_folder() -> Path:
    """The working folder with links resolved, as `uri_of` resolves them; the root where it has been removed."""
    try:
        return Path.cwd().resolve()
    except OSError:
        return Path(os.sep)


def translation_tag(name: str) -> str | None:
    """`pt-BR` of a file that is called `en-pt-BR.tsv` or `en-pt-BR.tsv.gz`: English<TAB>translation on each line.

    None for files of another name. Whether the language exists is for `rag.language.parse_tag` to say.
    """
    found = _TRANSLATIONS.fullmatch(name)
    return found[1] if found else None
