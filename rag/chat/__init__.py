"""The REPL: a conversation with the documents."""
