"""Language models that turn passages and a question into an answer."""
