"""Explain a hit, evaluate and tune searches, and plan the storage."""
