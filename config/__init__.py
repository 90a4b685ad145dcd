"""Settings of the application; installed under the name `rag_config`."""
