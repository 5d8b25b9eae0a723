"""Pure functions on files, text and vectors: extract, repair, chunk, quote, check citations.

Nothing here starts a process or thread, reads the environment, or talks to a database or a network. Callers choose the
process that runs a function; untrusted files are read in the sandbox. The functions read their arguments, and `repair`
also reads the vocabulary of the packaged model.
"""
