"""What --help says of each command beside its docstring and options: arguments, exit codes, environment, files."""

from __future__ import annotations

from dataclasses import dataclass

Rows = tuple[tuple[str, str], ...]

_QUESTION: Rows = (("QUESTION", "In any language, in quotes; - reads it from the standard input (UTF-8)."),)
_SOURCE = "As list and search show it: a relative or absolute path or a URI"
_STORE: Rows = (
    ("RAG_STORE__PATH", "Folder of the index, where --store is not given."),
    ("RAG_STORE__URL", "Address of a Qdrant server; goes before the folder."),
    ("RAG_STORE__API_KEY", "Key of that server."),
    ("RAG_STORE__COLLECTION", "Name of the collection, where --collection is not given."),
)
_MODEL: Rows = (("RAG_EMBEDDER__MODEL", "Embedding model, where --model is not given."),)
_HUB: Rows = (
    ("HF_HOME", "Where models from the hub are kept, by default ~/.cache/huggingface."),
    ("HF_ENDPOINT", "Address of the hub, where it is another than huggingface.co."),
    ("HF_HUB_OFFLINE", "1 forbids to ask the hub."),
)
_LANGUAGE_MODEL: Rows = (
    ("RAG_LLM__MODEL", "Language model; without one, sentences of the documents are quoted."),
    ("RAG_LLM__BASE_URL", "Its endpoint; by default OPENAI_BASE_URL, else OpenAI's."),
    ("RAG_LLM__API_KEY", "Its key; OPENAI_API_KEY serves where RAG_LLM__BASE_URL is not set."),
)
_SETTINGS: Rows = (
    ("rag.toml", "Settings, in the working folder; `rag init` writes it."),
    (".env", "RAG_… variables, in the working folder; they go before rag.toml."),
)
_USAGE = (2, "What was given cannot be used: an option, a setting, a name.")
_NOT_CONFIGURED = (3, "The model or the index is not there yet, or they do not fit each other.")
_UNAVAILABLE = (5, "The store, its server or the language model does not answer.")
_INTERRUPTED = (130, "Interrupted with Ctrl-C.")


@dataclass(frozen=True, slots=True)
class Text:
    """What a page says; rows are pairs of a term and its description.

    Attributes:
        success: what exit code 0 means.
        failure: what exit code 1 means.
        codes: the exit codes above 1.
        see_also: other commands.
    """

    arguments: Rows = ()
    success: str = "Done."
    failure: str = "Something failed; standard error says what."
    codes: tuple[tuple[int, str], ...] = (_USAGE, _NOT_CONFIGURED, _UNAVAILABLE, _INTERRUPTED)
    environment: Rows = ()
    files: Rows = ()
    see_also: tuple[str, ...] = ()


def exit_codes(text: Text) -> Rows:
    """All exit codes with their meanings."""
    rows = ((0, text.success), (1, text.failure), *text.codes)
    return tuple((str(code), meaning) for code, meaning in rows)


TEXTS: dict[str, Text] = {
    "rag": Text(
        environment=(
            *_STORE,
            *_MODEL,
            *_LANGUAGE_MODEL,
            ("RAG_…", "`rag config` lists every variable and what is in effect."),
        ),
        files=_SETTINGS,
        see_also=("ingest --help", "rag COMMAND --help"),
    ),
    "ask": Text(
        arguments=_QUESTION,
        success="Answered, or said that the documents do not hold the answer.",
        failure="The answer broke off.",
        environment=(
            *_LANGUAGE_MODEL,
            *_MODEL,
            *_STORE,
            ("RAG_LANGUAGE", "Language to answer in where the question's cannot be told."),
        ),
        files=_SETTINGS,
        see_also=("rag search", "rag show", "rag chat", "rag doctor"),
    ),
    "chat": Text(
        success="Left with Ctrl-D or /exit.",
        environment=(
            *_LANGUAGE_MODEL,
            *_MODEL,
            *_STORE,
            ("RAG_CHAT__PATH", "Folder of the conversations and of the input history."),
            ("RAG_CHAT__KEEP", "false keeps neither."),
        ),
        files=_SETTINGS,
        see_also=("rag ask", "rag search", "rag show"),
    ),
    "completion": Text(
        failure="A file cannot be read or written.",
        codes=(_USAGE, _INTERRUPTED),
        environment=(
            ("SHELL", "The shell, where it cannot be told from what runs this command."),
            ("ZDOTDIR", "Folder of .zshrc, where it is not the home folder."),
            ("XDG_DATA_HOME", "Where the scripts for bash and zsh go, by default ~/.local/share."),
            ("XDG_CONFIG_HOME", "Where fish looks for completions, by default ~/.config."),
        ),
        files=(
            ("~/.bashrc, ~/.zshrc", "Get a marked block of lines, which --remove takes out again."),
            ("~/.config/fish/completions", "Gets rag.fish and ingest.fish; fish needs nothing else."),
        ),
        see_also=("rag init",),
    ),
    "config": Text(codes=(_USAGE, _INTERRUPTED), files=_SETTINGS, see_also=("rag init", "rag doctor")),
    "doctor": Text(
        success="No check failed.",
        failure="A check failed.",
        codes=(_USAGE, _INTERRUPTED),
        environment=(*_STORE, *_MODEL, *_LANGUAGE_MODEL),
        files=_SETTINGS,
        see_also=("rag init", "rag config"),
    ),
    "eval": Text(
        codes=(_USAGE,),
        environment=(("RAG_…", "As for each of the commands."),),
        files=_SETTINGS,
        see_also=("rag eval retrieval --help", "rag eval generate --help"),
    ),
    "generate": Text(
        success="Made, or there was nothing left to ask.",
        failure="Requests failed and questions are missing, or you chose not to ask.",
        environment=(
            ("RAG_LLM__MODEL", "Language model, which this command needs."),
            *_LANGUAGE_MODEL[1:],
            *_MODEL,
            *_STORE,
        ),
        files=(
            *_SETTINGS,
            ("gold.rejected.jsonl", "Beside --out: questions that were not kept, with the reason."),
            ("gold.run.json", "Beside --out: what the run was begun with; to go on, it must be the same."),
        ),
        see_also=("rag eval retrieval", "rag list"),
    ),
    "retrieval": Text(
        arguments=(
            ("FOLDER", "Of a data set: corpus.jsonl and queries.jsonl; or of bitext."),
            ("FILE", "Bitext: en-de.tsv[.gz], or lines of language, English, translation."),
        ),
        success="Measured, and no gate fell.",
        failure="A figure is below --min-ndcg or --min-recall; standard error says which.",
        environment=(*_MODEL, *_STORE),
        files=_SETTINGS,
        see_also=("rag eval generate", "rag search"),
    ),
    "tune": Text(codes=(_USAGE,), files=_SETTINGS, see_also=("rag tune retrieval --help", "rag eval")),
    "tune retrieval": Text(
        arguments=(("FOLDER", "Of a data set: corpus.jsonl and queries.jsonl."),),
        success="Tuned; standard output says whether there is a gain, and what was saved.",
        environment=(*_MODEL, *_STORE, ("RAG_…", "The present settings, which are to be beaten.")),
        files=(*_SETTINGS, ("tuning.json", "In the folder of the index: what --save keeps; deleting it undoes that.")),
        see_also=("rag eval retrieval", "rag eval generate", "rag config"),
    ),
    "init": Text(
        success="Written, or nothing had to be changed.",
        failure="A check failed (with --yes all is written nevertheless), or you chose not to write.",
        codes=(_USAGE, (130, "Left with Ctrl-C or Ctrl-D; nothing was written.")),
        environment=(
            ("RAG_LLM__API_KEY", "Key of the language model; where it is set, it is not asked for."),
            ("RAG_STORE__API_KEY", "Key of the Qdrant server; likewise."),
            ("OPENAI_API_KEY", "Serves for OpenAI's endpoint."),
            ("HF_HOME", "Where models from the hub are kept, by default ~/.cache/huggingface."),
        ),
        files=(
            ("rag.toml", "Written in the working folder; comments and other keys stay."),
            (".env", "Keys that were typed in, readable by its owner alone; other lines stay."),
        ),
        see_also=("rag doctor", "rag config", "ingest", "rag completion"),
    ),
    "list": Text(environment=_STORE, files=_SETTINGS, see_also=("rag show", "ingest remove")),
    "models": Text(
        success="Listed.",
        codes=(
            (2, "What was given cannot be used: an option, or a file of --figures; the others are shown."),
            _INTERRUPTED,
        ),
        environment=_HUB[:1],
        see_also=("rag eval retrieval", "rag models pull --help", "rag models check --help"),
    ),
    "pull": Text(
        arguments=(
            ("ID", "As `rag models` shows it, or of another: fine-tuned from BGE-M3, or of sentence-transformers."),
        ),
        success="It is on this machine, and usable.",
        codes=(_USAGE, (3, "It cannot be fetched, or is no model that this program embeds with."), _INTERRUPTED),
        environment=(
            ("RAG_EMBEDDER__REVISION", "Revision, where ID is the model of the settings and --revision is not given."),
            *_HUB,
        ),
        files=_SETTINGS,
        see_also=("rag models", "rag models check", "rag doctor"),
    ),
    "check": Text(
        arguments=(("DIR|ID", "A folder, or a model that is bundled or was fetched."),),
        success="It is usable.",
        codes=(_USAGE, (3, "It is not here, or not usable."), _INTERRUPTED),
        environment=(
            ("RAG_EMBEDDER__REVISION", "Revision, where ID is the model of the settings and --revision is not given."),
            *_HUB[:1],
        ),
        files=_SETTINGS,
        see_also=("rag models pull", "rag doctor"),
    ),
    "search": Text(
        arguments=_QUESTION,
        success="Searched, whether anything was found or not.",
        environment=(
            *_MODEL,
            *_STORE,
            ("RAG_RETRIEVAL__MODE", "Which scores rank, where --mode is not given."),
        ),
        files=_SETTINGS,
        see_also=("rag ask", "rag show", "rag list"),
    ),
    "show": Text(
        arguments=(("SOURCE", f"{_SOURCE}, or the end of one."), ("#ORDINAL", "A passage of it, counted from 0.")),
        environment=_STORE,
        files=_SETTINGS,
        see_also=("rag list", "rag search"),
    ),
    "ingest": Text(
        arguments=(("PATH…", "Files or folders; folders are taken with all that is below them."),),
        success="Every document is in the index.",
        failure="Some documents could not be read; the others are in the index.",
        environment=(
            *(*_STORE, *_MODEL),
            ("RAG_INGEST__CHUNK_TOKENS", "Longest passage, in the model's tokens."),
            ("RAG_INGEST__READ_SECONDS", "Seconds that reading one file may take."),
            ("RAG_INGEST__READ_MEMORY", "Megabytes that it may need."),
            ("RAG_INGEST__MAX_BYTES", "Bytes of the largest file that is read."),
            ("RAG_INGEST__MAX_PAGES", "Pages of the longest PDF that is read."),
        ),
        files=(*_SETTINGS, (".ragignore", "In any folder: what to leave out below it, as in .gitignore.")),
        see_also=("rag list", "rag search", "rag doctor"),
    ),
    "remove": Text(
        arguments=(("SOURCE…", f"{_SOURCE}, or a glob."),),
        failure="A SOURCE is not in the index, or you chose not to remove.",
        environment=_STORE,
        files=_SETTINGS,
        see_also=("ingest list", "rag show"),
    ),
    "verify": Text(
        arguments=(("PATH…", "Files or folders that were ingested; they need not be there any more."),),
        success="All that was looked at is whole, or has been mended.",
        failure="Something is torn, orphaned, stale or cannot be checked; standard error says what.",
        environment=(*_STORE, *_MODEL, ("RAG_INGEST__CHUNK_TOKENS", "Longest passage; another than before: stale.")),
        files=_SETTINGS,
        see_also=("ingest remove", "rag list", "rag doctor"),
    ),
    "watch": Text(
        arguments=(("DIR…", "Folders; they may vanish and come back while they are watched."),),
        success="It never ends by itself.",
        failure="Something failed that waiting does not mend; standard error says what.",
        codes=(_USAGE, _NOT_CONFIGURED, _INTERRUPTED),
        environment=(*_STORE, *_MODEL, ("RAG_INGEST__CHUNK_TOKENS", "Longest passage, in the model's tokens.")),
        files=(*_SETTINGS, (".ragignore", "In any folder: what to leave out below it, as in .gitignore.")),
        see_also=("ingest", "ingest list", "ingest remove"),
    ),
    "rebuild": Text(
        success="The new index answers.",
        failure="Some documents could not be read; the old index answers.",
        environment=(*_STORE, *_MODEL, ("RAG_INGEST__CHUNK_TOKENS", "Longest passage, in the model's tokens.")),
        files=_SETTINGS,
        see_also=("ingest", "ingest remove", "rag tune retrieval"),
    ),
    "export": Text(
        arguments=(("FILE", "What to write; - for the standard output."),),
        environment=_STORE,
        files=_SETTINGS,
        see_also=("ingest import", "ingest list"),
    ),
    "import": Text(
        arguments=(("FILE", "What `ingest export` wrote, compressed or not; - for the standard input."),),
        success="Every document of the archive is in the index.",
        failure="The archive is damaged or cut off; the documents before are in the index.",
        environment=_STORE,
        files=_SETTINGS,
        see_also=("ingest export", "ingest list", "rag doctor"),
    ),
    "train": Text(codes=(_USAGE, _INTERRUPTED), see_also=("rag train distill --help", "rag models")),
    "distill": Text(
        success="The student is in --out.",
        codes=(
            _USAGE,
            (3, "The teacher cannot be loaded, or --init or --tokenizer is no usable checkpoint."),
            (5, "A checkpoint or the student cannot be written; what was written before stays."),
            _INTERRUPTED,
        ),
        environment=(
            ("OMP_NUM_THREADS", "Threads; a run that goes on with as many as before ends with the same weights."),
            *_HUB,
        ),
        files=(
            ("OUT.training/", "Tokenizer, the teacher's vectors and checkpoints, until you remove it."),
            ("OUT.training/log.jsonl", "What happened, one JSON object a line."),
        ),
        see_also=("rag models", "rag eval retrieval", "rag search --model"),
    ),
}
