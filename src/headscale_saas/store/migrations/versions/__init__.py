"""One step per file, numbered; the SQL is beside it."""
