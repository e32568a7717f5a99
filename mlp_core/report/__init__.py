"""Finished runs beside the tables of the papers."""
