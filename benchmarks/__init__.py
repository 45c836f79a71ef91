"""Measures the host beside what people use today, on the same server and the same rows."""
