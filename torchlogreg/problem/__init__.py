"""The problem: rows, families, penalties, and the objective made of them."""
