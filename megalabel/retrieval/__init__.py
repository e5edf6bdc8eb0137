"""Ranking by search: nearest training texts, label documents, and a learned merge of the candidates of rankers."""
