"""Slow, obviously right implementations that the tests compare with."""
