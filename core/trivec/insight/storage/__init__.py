"""Measure what small token vectors cost in quality."""
