"""Benchmarks: competitors next to each other, in one process, judged by one objective."""
