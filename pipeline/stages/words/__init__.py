"""Words of texts and questions, in every script: split, stemmed, and written as lexemes for PostgreSQL."""
