"""Fixtures of the fleet's tests."""

from tests.fleet.kit import host

__all__ = ["host"]
